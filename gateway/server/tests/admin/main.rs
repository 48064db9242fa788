//! The real binary over temporary drives: what operators do from the command line.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail as tests do"
)]

mod keyring;
mod late;
mod leaves;
mod returns;
mod shutdown;
mod support;
mod terminal;
mod witness;

use http::StatusCode;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use support::{Server, TENANT, command, free_ports, put, text, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn status_keys_and_objects() {
    let server = Server::start();
    // What is being made the first time is neither an outage nor the end of an earlier use.
    for alarm in ["partition out of service", "did not end in order"] {
        assert!(!server.log().contains(alarm), "{}", server.log());
    }
    let status = server.json(&["status"]);
    assert_eq!(text(&status, "/readiness/state"), "ready");
    assert_eq!(text(&status, "/geometry"), "2+1");
    let drives = status["drives"].as_array().expect("drives");
    assert!(
        drives.len() == 3
            && drives
                .iter()
                .all(|d| d["state"] == "up" && d["capacity_bytes"] != 0),
        "{status}"
    );
    let partitions = status["partitions"].as_array().expect("partitions");
    assert_eq!(partitions.len(), 9);
    assert!(
        partitions
            .iter()
            .all(|p| p["leader"].is_u64() && p["voters"] == 3),
        "{status}"
    );

    let made = server.json(&["key", "create", "--description", "for a test"]);
    let (access, secret) = (
        text(&made, "/key/access_key").to_owned(),
        text(&made, "/secret_key").to_owned(),
    );
    let listed = server.run(&["key", "list", "--output", "json"]);
    assert!(told(&listed).contains(&access) && !told(&listed).contains(&secret));
    let mut s3 = server.s3(&access, &secret);
    assert_eq!(put(&mut s3, "/photos", 0).await, StatusCode::OK);
    assert_eq!(
        put(&mut s3, "/photos/a%20b/large", 100_000).await,
        StatusCode::OK
    );
    assert_eq!(put(&mut s3, "/photos/small", 10).await, StatusCode::OK);

    let large = server.json(&["object", "explain", "s3://photos/a b/large", "--verify"]);
    assert_eq!(
        (
            large["size_bytes"].as_u64(),
            large["losses_tolerated"].as_i64()
        ),
        (Some(100_000), Some(1))
    );
    let shards = large
        .pointer("/parts/0/stripes/0/shards")
        .and_then(Value::as_array)
        .expect("shards");
    assert!(
        shards.len() == 3 && shards.iter().all(|s| s["state"] == "verified"),
        "{large}"
    );
    let small = server.json(&["object", "explain", "s3://photos/small"]);
    assert_eq!(text(&small, "/parts/0/place"), "inline");
    server.fails(&["object", "explain", "s3://photos/none"], 1, "NotFound");

    server.json(&["key", "disable", &access]);
    let deadline = Instant::now() + Duration::from_secs(2);
    while put(&mut s3, "/photos/late", 10).await != StatusCode::FORBIDDEN {
        assert!(
            Instant::now() < deadline,
            "a disabled key signs for longer than 2 s"
        );
    }
    server.json(&["key", "enable", &access]);
    assert!(server.run(&["key", "delete", &access]).status.success());
    server.fails(&["key", "delete", &access], 1, "NotFound");
    let root = std::fs::read(server.folder.path().join("credentials.json")).expect("credentials");
    let root: Value = serde_json::from_slice(&root).expect("JSON");
    server.fails(&["key", "disable", text(&root, "/access_key")], 1, "OwnKey");
}

#[test]
fn the_keyring_is_kept_exported_and_destroyed() {
    let server = Server::start();
    let made = server.json(&["keyring", "create", "photos"]);
    assert_eq!(
        (text(&made, "/owner"), text(&made, "/state")),
        ("name photos", "current")
    );
    server.fails(&["keyring", "create", "photos"], 1, "KeyExists");
    server.fails(&["keyring", "rotate", "--name", "none"], 1, "NotFound");
    server.json(&["keyring", "rotate", "--name", "photos"]);
    let versions = server.json(&["keyring", "list"]);
    let photos = versions
        .as_array()
        .expect("list")
        .iter()
        .filter(|v| v["owner"] == "name photos")
        .count();
    assert_eq!(photos, 2);
    let (secret, wrong) = (
        server.folder.path().join("pass"),
        server.folder.path().join("wrong"),
    );
    std::fs::write(&secret, "correct horse battery\n").expect("written");
    std::fs::write(&wrong, "another phrase entirely\n").expect("written");
    let file = server.folder.path().join("export");
    let [file, secret, wrong] = [&file, &secret, &wrong].map(|p| p.display().to_string());
    assert!(
        server
            .run(&["keyring", "export", &file, "--passphrase-file", &secret])
            .status
            .success()
    );
    assert_eq!(
        std::fs::metadata(&file)
            .expect("there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    server.fails(
        &["keyring", "export", &file, "--passphrase-file", &secret],
        2,
        "exists",
    );
    server.fails(
        &["keyring", "export", "/dev/null/x"],
        2,
        "--passphrase-file",
    );
    server.fails(
        &["keyring", "import", &file, "--passphrase-file", &wrong],
        1,
        "WrongPassphrase",
    );
    let imported = server.json(&["keyring", "import", &file, "--passphrase-file", &secret]);
    assert_eq!(imported["new"], 0);
    server.fails(&["keyring", "destroy", "--name", "photos"], 2, "--yes");
    assert_eq!(
        server.json(&["keyring", "destroy", "--name", "photos", "--yes"])["everywhere"],
        true
    );
    let imported = server.json(&["keyring", "import", &file, "--passphrase-file", &secret]);
    assert_eq!(imported["new"], 0, "what was destroyed stays so");
}

#[test]
fn only_root_is_answered_and_what_is_not_built_says_so() {
    let server = Server::start();
    for open in ["/health/live", "/health/ready", "/metrics"] {
        assert!(
            server
                .open(open)
                .expect("answer")
                .starts_with("HTTP/1.1 200"),
            "{open}"
        );
    }
    let metrics = server.open("/metrics").expect("answer");
    let documented = include_str!("../../../../docs/METRICS.md");
    for name in metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        assert!(
            documented.contains(&format!("`{name}`")),
            "{name} is not in docs/METRICS.md"
        );
    }
    for name in [
        "datamesh_drive_state",
        "datamesh_raft_applied_index",
        "datamesh_process_resident_bytes",
    ] {
        assert!(metrics.contains(name), "{name}");
    }
    for path in ["/v1/status", "/v1/nothing"] {
        let answer = server.open(path).expect("answer");
        assert!(
            answer.starts_with("HTTP/1.1 401") && answer.contains("MissingAuthentication"),
            "{answer}"
        );
    }
    let admin = format!("http://127.0.0.1:{}", server.admin);
    let tenant = |region: &str| {
        let mut asked = command(&["status", "--admin", &admin, "--region", region]);
        let output = asked
            .env("AWS_ACCESS_KEY_ID", TENANT.0)
            .env("AWS_SECRET_ACCESS_KEY", TENANT.1)
            .output();
        let output = output.expect("ran");
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        told(&output)
    };
    assert!(tenant("eu-test-1").contains("NotRoot"));
    assert!(tenant("us-east-1").contains("WrongScope"));
    server.fails(&["drive", "remove", "9"], 1, "NotFound");
    server.fails(&["drive", "replace", "9", "/nowhere"], 1, "NotFound");
    server.fails(&["drive", "replace", "1", "/nowhere"], 1, "DriveRefused");
    for words in [&["gc"][..], &["gc", "start", "--wait"], &["repair"]] {
        assert!(server.run(words).status.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_drive_is_added_and_stays_across_a_restart() {
    let mut server = Server::start();
    let full = server.folder.path().join("full");
    std::fs::create_dir_all(full.join("something")).expect("made");
    server.fails(
        &["drive", "add", &full.display().to_string()],
        1,
        "not empty",
    );
    let path = server.drive(4);
    std::fs::create_dir_all(&path).expect("made");
    let added = server.json(&["drive", "add", &path.display().to_string()]);
    assert_eq!(
        (added["drive"]["id"].as_u64(), text(&added, "/drive/state")),
        (Some(4), "up")
    );
    assert!(added["notes"].to_string().contains("settings"), "{added}");
    server.fails(
        &["drive", "add", &path.display().to_string()],
        1,
        "DriveRefused",
    );
    let root = std::fs::read(server.folder.path().join("credentials.json")).expect("credentials");
    let root: Value = serde_json::from_slice(&root).expect("JSON");
    let mut s3 = server.s3(text(&root, "/access_key"), text(&root, "/secret_key"));
    assert_eq!(put(&mut s3, "/wide", 0).await, StatusCode::OK);
    assert_eq!(put(&mut s3, "/wide/object", 100_000).await, StatusCode::OK);
    let object = server.json(&["object", "explain", "s3://wide/object"]);
    let shards = object
        .pointer("/parts/0/stripes/0/shards")
        .and_then(Value::as_array)
        .expect("shards");
    assert_eq!(shards.len(), 4, "2+2 over four drives");

    let mut child = server.child.take().expect("running");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    server.drives = 4;
    server.launch();
    let drives = server.json(&["drive", "list"]);
    let drives = drives.as_array().expect("list");
    assert!(
        drives.len() == 4 && drives.iter().all(|d| d["state"] == "up"),
        "{drives:?}"
    );
    let object = server.json(&["object", "explain", "s3://wide/object", "--verify"]);
    assert_eq!(
        object["losses_tolerated"].as_i64().map(|n| n >= 1),
        Some(true),
        "{object}"
    );
}

#[test]
fn a_second_process_on_the_same_drives_ends() {
    let server = Server::start();
    let [s3, admin] = free_ports();
    let config = server.configure(s3, admin);
    let output = command(&["serve", "--config", &config])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(
        told(&output).contains("no drive can be used"),
        "{}",
        told(&output)
    );
    assert!(
        server
            .open("/health/ready")
            .expect("answer")
            .starts_with("HTTP/1.1 200")
    );
}

#[test]
fn an_account_that_the_store_refuses_is_named() {
    let server = Server::unstarted(1);
    let config = server.configure(server.s3, server.admin);
    let output = command(&["serve", "--config", &config])
        .env("DATAMESH_ROOT_ACCESS_KEY", TENANT.0)
        .env("DATAMESH_ROOT_SECRET_KEY", "a-secret-of-root")
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let told = told(&output);
    assert!(told.contains("datamesh: accounts.tenant: "), "{told}");
}

#[test]
fn variables_alone_say_where_the_server_is_and_its_keys() {
    let folder = tempfile::tempdir().expect("folder");
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, "no keys").expect("written");
    let status = |listener: &str, root: bool| {
        let mut asked = command(&["status"]);
        asked.env("DATAMESH_ADMIN_LISTEN", listener);
        asked.env("DATAMESH_CREDENTIALS_FILE", &keys);
        if root {
            asked.env("DATAMESH_ROOT_ACCESS_KEY", TENANT.0);
            asked.env("DATAMESH_ROOT_SECRET_KEY", TENANT.1);
        }
        let output = asked.output().expect("ran");
        (output.status.code(), told(&output))
    };
    let [port] = free_ports();
    for (listener, root, due, names) in [
        (
            format!("0.0.0.0:{port}"),
            true,
            1,
            format!("127.0.0.1:{port}"),
        ),
        ("9001".into(), true, 2, "DATAMESH_ADMIN_LISTEN".into()),
        ("0.0.0.0:1".into(), false, 2, "keys.json".into()),
    ] {
        let (code, said) = status(&listener, root);
        assert_eq!(code, Some(due), "{said}");
        assert!(said.contains(&names), "{said}");
    }
}

#[test]
fn wrong_settings_exit_2_and_no_server_exits_1() {
    let output = command(&["serve", "--drive", "/nowhere", "--set", "segment_bytes=1"])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("key_file"), "{}", told(&output));
    let proxies = [
        "--drive",
        "/nowhere",
        "--set",
        "key_file=/k",
        "--set",
        "trusted_proxies=x",
    ];
    for words in [&["config", "check"][..], &["serve"]] {
        let output = command(&[words, &proxies].concat()).output().expect("ran");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(
            told(&output).contains("trusted_proxies"),
            "{}",
            told(&output)
        );
    }
    let output = command(&["status", "--admin", "https://127.0.0.1:1"])
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(2));
    let [port] = free_ports();
    let admin = format!("127.0.0.1:{port}");
    let mut asked = command(&["status", "--admin", &admin]);
    let output = asked
        .env("DATAMESH_ROOT_ACCESS_KEY", "A")
        .env("DATAMESH_ROOT_SECRET_KEY", "B")
        .output()
        .expect("ran");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("is `datamesh serve` running?"),
        "{}",
        told(&output)
    );
}
