//! Drives that are missing at the start, go while it runs, and return: as they were, or as older
//! copies of themselves.

use super::support::{Server, put, text, told};
use bench::client::{Client, Payload};
use http::{Method, StatusCode};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

pub(crate) fn root(server: &Server) -> Client {
    let read = std::fs::read(server.folder.path().join("credentials.json")).expect("credentials");
    let root: Value = serde_json::from_slice(&read).expect("JSON");
    server.s3(text(&root, "/access_key"), text(&root, "/secret_key"))
}

pub(crate) async fn get(client: &mut Client, path: &str) -> StatusCode {
    let answer = client.send(Method::GET, path, &[], Vec::new().into(), Payload::Signed);
    answer.await.expect("answered").status
}

pub(crate) fn stop(server: &mut Server) {
    let mut child = server.child.take().expect("running");
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

pub(crate) fn up(server: &Server) -> usize {
    let output = server.run(&["drive", "list", "--output", "json"]);
    let drives: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let all = drives.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|drive| drive["state"] == "up").count()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    // A file may go between listing and copying: the copy is one that a backup would take.
    let output = Command::new("cp").arg("-a").arg(from).arg(to).output();
    let output = output.expect("ran");
    assert!(to.join("drive.json").is_file(), "{}", told(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_start_without_a_majority_answers_503_and_goes_on_when_a_drive_is_back() {
    let mut server = Server::start();
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/kept/object", 100_000).await, StatusCode::OK);
    stop(&mut server);
    let aside = |n: usize| server.folder.path().join(format!("aside{n}"));
    let (two, three) = (aside(2), aside(3));
    std::fs::rename(server.drive(2), &two).expect("moved");
    std::fs::rename(server.drive(3), &three).expect("moved");

    server.spawn();
    server.until("told", |server| {
        let answer = server.open("/health/ready").unwrap_or_default();
        answer.starts_with("HTTP/1.1 503") && answer.contains("majority") && answer.contains("d3")
    });
    let mut s3 = root(&server);
    assert_eq!(
        get(&mut s3, "/kept/object").await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        put(&mut s3, "/kept/other", 10).await,
        StatusCode::SERVICE_UNAVAILABLE
    );

    std::fs::rename(&two, server.drive(2)).expect("moved back");
    server.until("ready", |server| {
        server
            .open("/health/ready")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    let mut s3 = root(&server);
    assert_eq!(get(&mut s3, "/kept/object").await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/kept/other", 100_000).await, StatusCode::OK);
    std::fs::rename(&three, server.drive(3)).expect("moved back");
    server.until("all up", |server| up(server) == 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_start_without_any_drive_waits_and_a_store_that_never_was_is_refused() {
    let mut server = Server::start();
    stop(&mut server);
    let aside = |n: usize| server.folder.path().join(format!("aside{n}"));
    let moved: Vec<_> = (1..=3).map(|n| (server.drive(n), aside(n))).collect();
    for (drive, aside) in &moved {
        std::fs::rename(drive, aside).expect("moved");
    }
    server.spawn();
    server.until("told", |server| {
        let answer = server.open("/health/ready").unwrap_or_default();
        answer.starts_with("HTTP/1.1 503") && answer.contains("no drive can be used")
    });
    for (drive, aside) in &moved {
        std::fs::rename(aside, drive).expect("moved back");
    }
    server.until("ready", |server| {
        server
            .open("/health/ready")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_older_copy_put_in_place_while_it_runs_is_never_believed() {
    let mut server = Server::start();
    let mut s3 = root(&server);
    assert_eq!(put(&mut s3, "/kept", 0).await, StatusCode::OK);
    let backup = server.folder.path().join("backup");
    copy(&server.drive(2), &backup);
    for n in 0..20 {
        assert_eq!(
            put(&mut s3, &format!("/kept/{n}"), 70_000).await,
            StatusCode::OK
        );
    }
    let away = server.folder.path().join("away");
    std::fs::rename(server.drive(2), &away).expect("moved");
    server.until("one is out", |server| up(server) == 2);
    assert_eq!(
        put(&mut s3, "/kept/meanwhile", 70_000).await,
        StatusCode::OK
    );
    std::fs::rename(&backup, server.drive(2)).expect("restored");
    server.until("all up", |server| up(server) == 3);
    assert!(
        server.log().contains("an older copy of the drive"),
        "{}",
        server.log()
    );
    for n in 0..20 {
        assert_eq!(get(&mut s3, &format!("/kept/{n}")).await, StatusCode::OK);
    }
    // Its voters are made anew, and the shards it lost are found and repaired.
    server.until("whole again", |server| {
        let output = server.run(&[
            "object",
            "explain",
            "s3://kept/7",
            "--verify",
            "--output",
            "json",
        ]);
        let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        object["losses_tolerated"].as_i64() == Some(1)
    });
}
