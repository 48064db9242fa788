//! `datamesh-roofline DIRECTORY`: what this machine can do, as JSON.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let directory = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let line = match bench::roofline::measure(&directory) {
        Ok(found) => serde_json::to_string(&found).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match line {
        Ok(line) => match writeln!(std::io::stdout(), "{line}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_closed) => ExitCode::FAILURE,
        },
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}
