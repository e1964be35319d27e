//! The command line. Every subcommand is a file; what they share is in `options`, `output`, `frames` and `results`.

mod allocator;
mod basis;
mod bench;
mod build;
mod compare;
mod conditions;
mod convert;
mod eval;
mod fit;
mod frames;
mod info;
mod learning;
mod options;
mod output;
mod pages;
mod plot;
mod refit;
mod report;
mod results;
mod select;
#[cfg(unix)]
mod signals;
mod solving;
mod uncertainty;

use clap::{CommandFactory, Parser, Subcommand};
use options::Options;
use std::process::ExitCode;

/// Interatomic potentials of the atomic cluster expansion.
///
/// Energies are in eV, lengths in Å, forces in eV/Å. A file named `-` is the standard input or output; structures may be compressed by
/// gzip. Exit status: 0, 1 after an error, 2 for wrong usage.
#[derive(Parser)]
#[command(name = "acerust", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Convert(convert::Convert),
    Info(info::Info),
    Eval(eval::Eval),
    Basis(basis::Basis),
    Compare(compare::Compare),
    Bench(bench::Bench),
    Fit(fit::Fit),
    Refit(refit::Refit),
    Select(select::Select),
    #[command(hide = true)]
    Pages(pages::Pages),
}

fn main() -> ExitCode {
    allocator::share();
    let Cli { options, command } = Cli::parse();
    #[cfg(unix)]
    let ready = || options.set_threads().and_then(|()| signals::tidy_up());
    #[cfg(not(unix))]
    let ready = || options.set_threads();
    let with_device = matches!(command, Command::Fit(_));
    let known = match command {
        Command::Build(_) | Command::Convert(_) | Command::Fit(_) | Command::Refit(_) => options.refuse(with_device),
        _ => Ok(()),
    };
    let done = known.and_then(|()| ready()).and_then(|()| match command {
        Command::Build(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Info(command) => command.run(&options),
        Command::Eval(command) => command.run(&options),
        Command::Basis(command) => command.run(&options),
        Command::Compare(command) => command.run(&options),
        Command::Bench(command) => command.run(&options),
        Command::Fit(command) => command.run(&options),
        Command::Refit(command) => command.run(),
        Command::Select(command) => command.run(&options),
        Command::Pages(command) => command.run(Cli::command()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("acerust: {}", output::message(&error));
            ExitCode::FAILURE
        }
    }
}
