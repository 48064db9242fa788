//! What a terminal is left as.

use crate::support::{BINARY, free_ports};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whoever asks for nothing but this is gone by then.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_interrupted_passphrase_leaves_the_terminal_as_it_was() {
    let folder = tempfile::tempdir().expect("tempdir");
    let at = folder.path().display().to_string();
    let [s3, admin] = free_ports();
    let config = format!(
        "listen = \"127.0.0.1:{s3}\"\nadmin_listen = \"127.0.0.1:{admin}\"\ndrives = [\"{at}/d1\"]\n\
         key_file = \"{at}/key\"\n",
    );
    std::fs::write(folder.path().join("c.toml"), config).expect("written");
    std::fs::write(folder.path().join("export"), "sealed").expect("written");
    // `script` gives it a terminal. The trap keeps the shell, not what it runs.
    let shell = format!(
        "trap : INT; {BINARY} keyring import {at}/export --offline --config {at}/c.toml; \
         echo ended $?; stty -a; echo told"
    );
    let mut script = Command::new("script")
        .args(["-q", "-c", &shell, "/dev/null"])
        .env_remove("DATAMESH_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let (tell, told) = std::sync::mpsc::sync_channel(1 << 10);
    let mut output = script.stdout.take().expect("output");
    std::thread::spawn(move || {
        let mut piece = [0; 512];
        while let Ok(length @ 1..) = output.read(&mut piece) {
            if tell.send(piece[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut text = String::new();
    let mut until = |what: &str| {
        while !text.contains(what) {
            let more = told.recv_timeout(PATIENCE);
            let more = more.unwrap_or_else(|_| panic!("no {what:?} in {text:?}"));
            text.push_str(&String::from_utf8_lossy(&more));
        }
        text.clone()
    };
    until("Passphrase: ");
    let mut keys = script.stdin.take().expect("input");
    keys.write_all(b"\x03").expect("Ctrl-C");
    let text = until("told");
    drop(keys);
    script.wait().expect("ended");
    assert!(text.contains("ended 130"), "{text}");
    assert!(
        text.contains(" echo ") && !text.contains("-echo "),
        "{text}"
    );
}
