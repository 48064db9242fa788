//! Passphrases: typed without echo, or from a file; never an argument, which every process can read.

use super::Failed;
use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Once;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

/// From `file` (its first line), else asked for on the terminal; twice where it seals.
pub(super) fn passphrase(file: Option<&Path>, twice: bool) -> Result<Zeroizing<String>, Failed> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file);
        let text =
            Zeroizing::new(text.map_err(|e| Failed::wrong(format!("{}: {e}", file.display())))?);
        let first = text.lines().next().unwrap_or_default();
        return Ok(Zeroizing::new(first.to_owned()));
    }
    if !isatty(std::io::stdin()) {
        return Err(Failed::wrong(
            "no terminal to ask for the passphrase: give --passphrase-file FILE",
        ));
    }
    let typed = hidden("Passphrase: ")?;
    if twice && *hidden("Again: ")? != *typed {
        return Err(Failed::wrong("the passphrases differ"));
    }
    Ok(typed)
}

/// The terminal without echo; as it was before, once this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> Result<Self, Failed> {
        let before = tcgetattr(std::io::stdin()).map_err(Failed::because)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        restore_on_signals(before.clone());
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(Failed::because)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        restore(&self.0);
    }
}

fn restore(before: &Termios) {
    // A terminal that is gone needs nothing.
    let _gone = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
}

/// A signal that ends the process lets nobody restore anything: a thread does, and ends it, as the
/// signal would have, from now on.
fn restore_on_signals(before: Termios) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (tell, registered) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build();
            let Ok(runtime) = runtime else { return };
            let number = runtime.block_on(async {
                let (mut int, mut term) = (
                    signal(SignalKind::interrupt()).ok()?,
                    signal(SignalKind::terminate()).ok()?,
                );
                tell.send(()).ok()?;
                tokio::select! {
                    _ = int.recv() => Some(SignalKind::interrupt()),
                    _ = term.recv() => Some(SignalKind::terminate()),
                }
            });
            let Some(number) = number else { return };
            restore(&before);
            std::process::exit(128 + number.as_raw_value());
        });
        // An error: the thread is gone, and a signal will leave the terminal without echo.
        let _registered = registered.recv();
    });
}

fn hidden(prompt: &str) -> Result<Zeroizing<String>, Failed> {
    let quiet = Quiet::new()?;
    write!(std::io::stderr(), "{prompt}").map_err(Failed::because)?;
    let line = line();
    drop(quiet);
    writeln!(std::io::stderr()).map_err(Failed::because)?;
    line
}

fn line() -> Result<Zeroizing<String>, Failed> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(Failed::because)?;
    Ok(Zeroizing::new(
        line.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Has `word` typed before what cannot be undone.
pub(super) fn confirm(warning: &str, word: &str) -> Result<(), Failed> {
    if !isatty(std::io::stdin()) {
        return Err(Failed::wrong("no terminal to confirm on: give --yes"));
    }
    write!(std::io::stderr(), "{warning}\nType {word} to go on: ").map_err(Failed::because)?;
    if *line()? == word {
        Ok(())
    } else {
        Err(Failed::because("not confirmed; nothing was changed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_first_line_is_the_passphrase() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("p");
        std::fs::write(&file, "correct horse\nnot this\n").expect("written");
        assert_eq!(
            *passphrase(Some(&file), true).expect("read"),
            "correct horse"
        );
        assert_eq!(
            passphrase(Some(&dir.path().join("q")), true)
                .expect_err("none")
                .code,
            2
        );
    }
}
