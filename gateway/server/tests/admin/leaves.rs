//! A dead drive's place is taken by a new one.

use super::support::{Server, put, text};
use http::StatusCode;
use serde_json::Value;

fn drive(server: &Server, id: u64) -> Option<Value> {
    let drives = server.json(&["drive", "list"]);
    let drives = drives.as_array().expect("list");
    drives
        .iter()
        .find(|d| d["id"].as_u64() == Some(id))
        .cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_drive_is_replaced_at_its_own_path() {
    let mut server = Server::start();
    let root = std::fs::read(server.folder.path().join("credentials.json")).expect("credentials");
    let root: Value = serde_json::from_slice(&root).expect("JSON");
    let mut s3 = server.s3(text(&root, "/access_key"), text(&root, "/secret_key"));
    assert_eq!(put(&mut s3, "/held", 0).await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/held/object", 100_000).await, StatusCode::OK);
    let path = server.drive(2);
    std::fs::remove_dir_all(&path).expect("gone");
    server.until("out", |server| {
        drive(server, 2).is_some_and(|d| d["state"] == "out")
    });
    std::fs::create_dir_all(&path).expect("made");
    let path = path.display().to_string();
    let new = server.json(&["drive", "replace", "2", &path]);
    assert_eq!(new["drive"]["id"].as_u64(), Some(4), "{new}");
    assert_eq!(text(&new, "/drive/path"), path);
    let old = drive(&server, 2).expect("until nothing names it");
    assert_eq!(old["layout"], "gone", "{old}");
    server.until("rebuilt", |server| {
        let told = server.json(&["object", "explain", "s3://held/object", "--verify"]);
        let shards = told.pointer("/parts/0/stripes/0/shards");
        let shards = shards.and_then(Value::as_array).expect("shards");
        let on_new = shards.iter().any(|s| s["drive"].as_u64() == Some(4));
        on_new && shards.iter().all(|s| s["state"] == "verified")
    });
    server.fails(&["drive", "replace", "2", &path], 1, "given up already");
    let ready = server.open("/health/ready").expect("answer");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("\"missing\":[]"),
        "{ready}"
    );
    assert!(server.run(&["repair", "start", "--wait"]).status.success());
}
