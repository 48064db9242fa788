//! Two drives and the witness: either drive goes, the witness goes, an older one comes, a drive more
//! makes it needless.

use super::returns::{copy, get, root, stop, up};
use super::support::{Server, put};
use http::StatusCode;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Control and eight more.
const PARTITIONS: u64 = 9;

pub(crate) fn directory(server: &Server) -> PathBuf {
    server.folder.path().join("witness")
}

pub(crate) fn witness(server: &Server) -> Option<Value> {
    let output = server.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status.get("witness").cloned()
}

/// All voters stand: nothing depends on one place alone.
pub(crate) fn whole(server: &Server) -> bool {
    let output = server.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
    let full = |of: &Value| {
        let replicas = of["replicas"].as_array().map_or(0, Vec::len);
        of["voters"] == 3 && replicas == 3
    };
    status["witness"]["state"] == "up"
        && status["witness"]["replicas"] == PARTITIONS
        && partitions.iter().all(full)
}

fn identity(server: &Server) -> Option<String> {
    let mark = std::fs::read(directory(server).join("drive.json")).ok()?;
    let mark: Value = serde_json::from_slice(&mark).ok()?;
    let mark = &mark["mark"];
    assert_eq!(mark["drive"], 0);
    mark["drive_uuid"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn either_of_two_drives_may_be_lost_across_a_kill() {
    let mut server = Server::over(2);
    let made = std::fs::metadata(directory(&server)).expect("made");
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
    server.until("whole", whole);
    assert_eq!(up(&server), 2, "the witness is no drive");
    for lost in [1, 2] {
        let mut s3 = root(&server);
        let bucket = format!("/bucket{lost}");
        assert_eq!(put(&mut s3, &bucket, 0).await, StatusCode::OK);
        let objects = [
            (format!("{bucket}/small"), 100),
            (format!("{bucket}/large"), 100_000),
        ];
        for (path, bytes) in &objects {
            assert_eq!(put(&mut s3, path, *bytes).await, StatusCode::OK);
        }
        stop(&mut server);
        let aside = server.folder.path().join("aside");
        std::fs::rename(server.drive(lost), &aside).expect("moved");
        // A majority held the keys: the lost drive and the witness will do.
        let kept = server.drive(3 - lost).join("keyring");
        std::fs::remove_dir_all(&kept).expect("removed");
        server.launch();
        server.until("told", |server| {
            let answer = server.open("/health/ready").unwrap_or_default();
            answer.contains(&format!("d{lost}")) && !answer.contains("witness")
        });
        let mut s3 = root(&server);
        for (path, _) in &objects {
            assert_eq!(get(&mut s3, path).await, StatusCode::OK);
        }
        let more = format!("{bucket}/more");
        assert_eq!(put(&mut s3, &more, 100_000).await, StatusCode::OK);
        // Its directory was made by the start: an empty one is no drive.
        std::fs::remove_dir(server.drive(lost)).expect("empty");
        std::fs::rename(&aside, server.drive(lost)).expect("moved back");
        server.until("all up", |server| up(server) == 2 && whole(server));
        assert_eq!(get(&mut s3, &more).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lost_witness_is_made_anew_and_an_older_one_is_never_believed() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    let before = identity(&server).expect("marked");
    std::fs::remove_dir_all(directory(&server)).expect("removed");
    assert_eq!(put(&mut s3, "/kept/one", 100).await, StatusCode::OK);
    server.until("another stands", |server| {
        identity(server).is_some_and(|now| now != before) && whole(server)
    });

    stop(&mut server);
    let aside = server.folder.path().join("aside");
    copy(&directory(&server), &aside);
    server.launch();
    server.until("whole", whole);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept/two", 100).await, StatusCode::OK);
    stop(&mut server);
    std::fs::remove_dir_all(directory(&server)).expect("removed");
    std::fs::rename(&aside, directory(&server)).expect("put back");
    server.launch();
    assert!(server.log().contains("an older copy"), "{}", server.log());
    server.until("whole", whole);
    // What it was not there for it has now.
    stop(&mut server);
    let away = server.folder.path().join("away");
    std::fs::rename(server.drive(1), &away).expect("moved");
    server.launch();
    let mut s3 = root(&server);
    for path in ["/kept/one", "/kept/two"] {
        assert_eq!(get(&mut s3, path).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_third_drive_takes_the_witnesss_place_and_gives_it_back() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/kept/one", 100).await, StatusCode::OK);
    server.fails(&["drive", "remove", "1"], 1, "replace the drive");
    std::fs::create_dir_all(server.drive(3)).expect("made");
    let path = server.drive(3).display().to_string();
    server.json(&["drive", "add", &path]);
    server.until("its directory is gone", |server| {
        witness(server).is_none() && !directory(server).exists()
    });
    let status = server.json(&["status"]);
    let on = |of: &Value| {
        let replicas = of["replicas"].as_array().expect("replicas");
        let drives: Vec<u64> = replicas
            .iter()
            .filter_map(|r| r["drive"].as_u64())
            .collect();
        (of["voters"].as_u64(), drives)
    };
    for partition in status["partitions"].as_array().expect("partitions") {
        assert_eq!(on(partition), (Some(3), vec![1, 2, 3]), "{partition}");
    }
    assert_eq!(get(&mut s3, "/kept/one").await, StatusCode::OK);
    server.json(&["drive", "remove", "3"]);
    server.until("it is back", |server| {
        let output = server.run(&["status", "--output", "json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let partitions = status["partitions"].as_array().cloned().unwrap_or_default();
        let moved = |of: &Value| on(of) == (Some(3), vec![0, 1, 2]);
        !partitions.is_empty() && partitions.iter().all(moved)
    });
    assert_eq!(get(&mut s3, "/kept/one").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_takes_a_lost_witnesss_place_while_it_may_be_half_of_what_is_left() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/kept/one", 100).await, StatusCode::OK);
    let (drive, aside) = (
        server.folder.path().join("aside1"),
        server.folder.path().join("aside"),
    );
    std::fs::rename(server.drive(1), &drive).expect("moved");
    std::fs::rename(directory(&server), &aside).expect("moved");
    server.until("told", |server| {
        let answer = server.open("/health/ready").unwrap_or_default();
        answer.starts_with("HTTP/1.1 503") && answer.contains("put it back")
    });
    assert!(!directory(&server).exists(), "its place is free");
    std::fs::rename(&aside, directory(&server)).expect("put back");
    server.until("ready", |server| {
        let answer = server.open("/health/ready").unwrap_or_default();
        answer.starts_with("HTTP/1.1 200")
    });
    assert_eq!(get(&mut s3, "/kept/one").await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/kept/two", 100).await, StatusCode::OK);
}

/// What is at `one` is at `other` from now on, and the other way round; at no time is there nothing.
pub(crate) fn exchange(one: &Path, other: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchanged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_witness_whose_disk_hangs_holds_up_no_drive() {
    let mut server = Server::over(2);
    server.until("whole", whole);
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    // Who opens a pipe that nobody writes to hangs, as on a disk that does not answer.
    let hung = server.folder.path().join("hung");
    std::fs::create_dir(&hung).expect("made");
    let mark = hung.join("drive.json");
    let made = Command::new("mkfifo").arg(&mark).status();
    assert!(made.expect("ran").success());
    exchange(&hung, &directory(&server));
    server.until("it is out", |server| {
        witness(server).is_some_and(|witness| witness["state"] != "up")
    });
    assert_eq!(put(&mut s3, "/kept/one", 100).await, StatusCode::OK);
    let aside = server.folder.path().join("aside1");
    std::fs::rename(server.drive(1), &aside).expect("moved");
    server.until("the drive is missed", |server| {
        let answer = server.open("/health/ready").unwrap_or_default();
        answer.starts_with("HTTP/1.1 503") && answer.contains("d1")
    });
    std::fs::rename(&aside, server.drive(1)).expect("moved back");
    server.until("it is back", |server| up(server) == 2);
    assert_eq!(put(&mut s3, "/kept/two", 100).await, StatusCode::OK);
    assert_ne!(witness(&server).expect("told")["state"], "up");

    exchange(&hung, &directory(&server));
    // The pipe's other end: what hung reads nothing, and the next look finds the witness.
    std::fs::File::create(hung.join("drive.json")).expect("opened");
    server.until("whole again", whole);
    assert_eq!(get(&mut s3, "/kept/two").await, StatusCode::OK);
}
