//! The command line, one file per noun.

mod bench;
mod config;
mod drive;
mod key;
mod keyring;
mod object;
mod remote;
mod render;
mod scrub;
mod secret;
mod serve;
mod status;
mod welcome;
mod work;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Self-hosted, S3-compatible object gateway over an encrypted, erasure-coded store.
#[derive(Debug, Parser)]
#[command(name = "datamesh", version, propagate_version = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve S3 over the given drives.
    Serve(serve::Serve),
    /// Look at the settings.
    Config(config::Config),
    /// Cluster, drives, replicas and background work at a glance.
    Status(status::Status),
    /// Look at drives, and change them.
    Drive(drive::Drive),
    /// Read every shard, snapshot and table, and make anew what is damaged.
    Scrub(scrub::Scrub),
    /// What waits to be freed; it is freed by itself, every 10 s.
    Gc(work::Gc),
    /// What waits to be repaired; it is repaired by itself. `repair start`: look at everything now.
    Repair(work::Repair),
    /// Look at where an object's bytes are.
    Object(object::Object),
    /// Keys that seal objects.
    Keyring(keyring::Keyring),
    /// Access keys of the accounts.
    Key(key::Key),
    /// Put and get objects for a few seconds and say how fast that was.
    Bench(bench::Bench),
    /// Print a completion script for a shell.
    Completion {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

/// Why a command ended badly: what to say, and the exit code (1: failed; 2: wrong settings or words).
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    pub(crate) fn because(error: impl std::fmt::Display) -> Self {
        Self {
            code: 1,
            message: error.to_string(),
        }
    }

    /// Wrong words or settings.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }
}

impl From<crate::config::ConfigError> for Failed {
    fn from(error: crate::config::ConfigError) -> Self {
        Self {
            code: 2,
            message: error.to_string(),
        }
    }
}

impl CommandLine {
    /// Runs the command; its exit code.
    pub(crate) fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Config(config) => config.run(),
            Command::Status(status) => status.run(),
            Command::Drive(drive) => drive.run(),
            Command::Scrub(scrub) => scrub.run(),
            Command::Gc(gc) => gc.run(),
            Command::Repair(repair) => repair.run(),
            Command::Object(object) => object.run(),
            Command::Keyring(keyring) => keyring.run(),
            Command::Key(key) => key.run(),
            Command::Bench(bench) => bench.run(),
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "datamesh", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => {
                // A closed standard error leaves only the exit code to speak.
                let _unheard = writeln!(std::io::stderr(), "datamesh: {}", failed.message);
                ExitCode::from(failed.code)
            }
        }
    }
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failed::because(e)),
        _ => Ok(()),
    }
}
