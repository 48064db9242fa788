//! `datamesh config check|show`.

use super::{Failed, print};
use crate::config::{Flags, SETTINGS, load};
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
                load(&flags, std::env::vars())?;
                print("settings are valid\n")
            }
            Action::Show(flags) => {
                let mut config = load(&flags, std::env::vars())?;
                for account in &mut config.accounts {
                    account.secret_key = "(not shown)".into();
                }
                let mut text = toml::to_string(&config).map_err(Failed::because)?;
                text.push_str("\n# By environment:\n");
                for setting in SETTINGS {
                    text += &[
                        "# ",
                        &setting.variable(),
                        " = ",
                        &format!("{:?}", setting.kind),
                        "\n",
                    ]
                    .concat();
                }
                print(&text)
            }
        }
    }
}
