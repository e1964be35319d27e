//! What a program leaves behind when it is told to end: nothing.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// From now on files under way are removed when a signal ends the program.
pub fn tidy_up() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signals")?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            acerust::file::remove_unfinished();
            // Ends as it would have ended: who started it sees by what.
            let _ = emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("acerust-signals".into()).spawn(wait).context("a thread for signals")?;
    Ok(())
}
