use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use std::path::PathBuf;

/// Where packages put the completions of shells.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Fish, "fish/vendor_completions.d"),
    (Shell::Zsh, "zsh/site-functions"),
];

/// Writes manual pages and completions for shells, for packages
#[derive(clap::Args)]
pub struct Pages {
    /// The folder, as /usr/share
    folder: PathBuf,
}

impl Pages {
    pub fn run(self, mut command: Command) -> Result<()> {
        let folder = |name: &str| {
            let folder = self.folder.join(name);
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string()).map(|()| folder)
        };
        let pages = folder("man/man1")?;
        clap_mangen::generate_to(command.clone(), &pages).with_context(|| pages.display().to_string())?;
        for (shell, place) in COMPLETIONS {
            let place = folder(place)?;
            let written = clap_complete::generate_to(shell, &mut command, "acerust", &place);
            written.with_context(|| place.display().to_string())?;
        }
        Ok(())
    }
}
