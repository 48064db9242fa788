//! Drives and the witness that are slow to return: begun before the store is open and done after, and a
//! look at the witness that goes on when the process is to end.

use super::returns::{root, stop, up};
use super::support::{Server, put};
use super::witness::{directory, exchange, whole, witness};
use http::StatusCode;
use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use std::cell::OnceCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Puts a pipe in the place of a mark, which is returned: whoever reads it hangs, as on a disk that is
/// slow, until it is written there.
fn hold(directory: &Path) -> Vec<u8> {
    let at = directory.join("drive.json");
    let mark = std::fs::read(&at).expect("marked");
    std::fs::remove_file(&at).expect("removed");
    let made = Command::new("mkfifo").arg(&at).status();
    assert!(made.expect("ran").success());
    mark
}

/// The other end of the pipe, once the server reads a held mark: its return has begun.
fn begun(server: &mut Server, directory: &Path) -> File {
    let (at, end) = (directory.join("drive.json"), OnceCell::new());
    server.until("its mark is read", |_| {
        // Refused while nobody reads. No command that is run meanwhile may keep it open.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&at, flags, Mode::empty());
        opened.is_ok_and(|opened| end.set(opened).is_ok())
    });
    File::from(end.into_inner().expect("open"))
}

/// What hung reads the mark now.
fn give(mut pipe: File, mark: &[u8]) {
    pipe.write_all(mark).expect("given");
    // Its end is the mark's.
    drop(pipe);
}

fn waits_for_a_majority(server: &Server) -> bool {
    let answer = server.open("/health/ready").unwrap_or_default();
    answer.starts_with("HTTP/1.1 503") && answer.contains("majority")
}

fn waits_for_the_keyring(server: &Server) -> bool {
    let answer = server.open("/health/ready").unwrap_or_default();
    answer.starts_with("HTTP/1.1 503") && answer.contains("keyring was read whole on 1 of 3")
}

fn ready(server: &Server) -> bool {
    let answer = server.open("/health/ready").unwrap_or_default();
    answer.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drive_whose_return_outlasts_the_start_is_in_service_after_it() {
    let mut server = Server::start();
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    stop(&mut server);
    let aside = |n: usize| server.folder.path().join(format!("aside{n}"));
    let (two, three) = (aside(2), aside(3));
    std::fs::rename(server.drive(2), &two).expect("moved");
    std::fs::rename(server.drive(3), &three).expect("moved");
    let mark = hold(&three);

    server.spawn();
    server.until("told", waits_for_a_majority);
    let third = server.drive(3);
    std::fs::rename(&three, &third).expect("moved back");
    let pipe = begun(&mut server, &third);
    std::fs::rename(&two, server.drive(2)).expect("moved back");
    server.until("ready", ready);
    assert_eq!(up(&server), 2, "the third hangs");

    give(pipe, &mark);
    server.until("all up", |server| up(server) == 3);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept/one", 100_000).await, StatusCode::OK);
    let told = server.json(&["object", "explain", "s3://kept/one", "--verify"]);
    let shards = told.pointer("/parts/0/stripes/0/shards");
    let shards = shards.and_then(Value::as_array).expect("shards");
    assert!(
        shards.iter().any(|s| s["drive"].as_u64() == Some(3)),
        "{told}"
    );
}

#[test]
fn a_witness_whose_return_outlasts_the_start_holds_the_keys_after_it() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    stop(&mut server);
    let place = directory(&server);
    let drive = server.folder.path().join("aside2");
    let aside = server.folder.path().join("aside");
    std::fs::rename(server.drive(2), &drive).expect("moved");
    std::fs::rename(&place, &aside).expect("moved");
    let mark = hold(&aside);

    server.spawn();
    server.until("told", waits_for_a_majority);
    std::fs::rename(&aside, &place).expect("moved back");
    let pipe = begun(&mut server, &place);
    std::fs::rename(&drive, server.drive(2)).expect("moved back");
    server.until("ready", ready);
    server.json(&["keyring", "create", "meanwhile"]);
    let keys = |at: &Path| std::fs::read(at.join("keyring/keyring")).ok();
    let first = server.drive(1);
    assert_ne!(keys(&first), keys(&place), "the witness hangs");

    give(pipe, &mark);
    server.until("whole", whole);
    // While a copy is replaced there is none for a moment.
    server.until("it holds the keys", |_| {
        keys(&first).is_some_and(|newest| keys(&place) == Some(newest))
    });
}

/// Control has its majority without the drives that hold the newest keys.
#[test]
fn an_old_keyring_is_not_served_while_newer_keys_may_lie_elsewhere() {
    let mut server = Server::start();
    let aside = |n: usize| server.folder.path().join(format!("aside{n}"));
    let (one, two) = (aside(1), aside(2));
    std::fs::rename(server.drive(1), &one).expect("moved");
    server.until("it is out", |server| up(server) == 2);
    server.json(&["keyring", "create", "meanwhile"]);
    stop(&mut server);
    std::fs::rename(&one, server.drive(1)).expect("moved back");
    std::fs::rename(server.drive(2), &two).expect("moved");
    // Unreadable, as by a bad sector.
    let file = server.drive(3).join("keyring/keyring");
    let there = server.drive(3).join("there");
    std::fs::rename(&file, &there).expect("moved");
    std::fs::create_dir(&file).expect("made");

    server.spawn();
    server.until("told", waits_for_the_keyring);
    std::fs::rename(&two, server.drive(2)).expect("moved back");
    server.until("ready", ready);
    let keys = server.json(&["keyring", "list"]).to_string();
    assert!(keys.contains("meanwhile"), "{keys}");
}

/// The witness is away for a moment, and a look at it hangs when it is back; its mark is returned.
fn hang(server: &mut Server) -> (File, Vec<u8>) {
    let (place, other) = (directory(server), server.folder.path().join("other"));
    std::fs::create_dir(&other).expect("made");
    // Nothing that could be made a witness of.
    std::fs::write(other.join("drive.json"), "no mark").expect("written");
    exchange(&other, &place);
    server.until("it is out", |server| {
        witness(server).is_some_and(|witness| witness["state"] != "up")
    });
    let mark = hold(&other);
    exchange(&other, &place);
    (begun(server, &place), mark)
}

#[test]
fn the_end_waits_for_a_look_at_the_witness() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let (pipe, mark) = hang(&mut server);
    server.terminate();
    server.until("waiting", |server| server.log().contains("waited for"));
    assert!(!server.log().contains("witness in service"));
    give(pipe, &mark);
    assert_eq!(server.ended(), Some(0));
    let log = server.log();
    assert!(log.contains("witness in service"), "{log}");
    assert!(!log.contains("left behind"), "{log}");
}

#[test]
fn a_witness_that_hangs_is_left_behind_at_the_end() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let (pipe, _mark) = hang(&mut server);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let log = server.log();
    assert!(log.contains("left behind"), "{log}");
    drop(pipe);
}
