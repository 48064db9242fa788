//! `datamesh config check|show`.

use super::{Failed, print};
use crate::config::{Flags, Kind, SETTINGS, load};
use crate::prepared::Prepared;
use clap::{Args, Subcommand};

/// Look at the settings.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether the settings are valid; exit code 2 where they are not.
    Check(Flags),
    /// Print the settings in force as TOML (without secrets), and their environment variables.
    Show(Flags),
}

impl Config {
    pub(crate) fn run(self) -> Result<(), Failed> {
        match self.action {
            Action::Check(flags) => {
                Prepared::new(&load(&flags, std::env::vars())?)?;
                print("settings are valid\n")
            }
            Action::Show(flags) => {
                let config = load(&flags, std::env::vars())?;
                let mut text = toml::to_string(&config).map_err(Failed::because)?;
                text.push_str(
                    "\n# Each by environment, or by flag (--set NAME=VALUE); [[accounts]] by file alone:\n",
                );
                let lines = SETTINGS.iter().map(|setting| {
                    let by_flag = match setting.kind {
                        Kind::Secret => "not by flag".to_owned(),
                        _ => format!("--set {}=", setting.name),
                    };
                    let variable = setting.variable();
                    format!("# {variable} ({:?}), {by_flag}\n", setting.kind)
                });
                text.extend(lines);
                print(&text)
            }
        }
    }
}
