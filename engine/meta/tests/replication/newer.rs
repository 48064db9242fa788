//! What a newer build wrote is refused by name, and never taken for damage.

use super::common::{FakeDrive, until};
use super::node::{CONTROL, drives, expect_all, formed, open, options, propose_many};
use super::snapshots::is_snapshot;
use engine_core::ports::DriveFiles;
use engine_meta::log::record::{HEADER_BYTES, VERSION, crc32c, salt_of};
use engine_meta::replica::Identity;
use engine_meta::snapshot::{SnapshotError, newest};
use std::sync::Arc;
use std::time::Duration;

/// Makes the last record of the drive's log a newer build's.
fn renew_last_record(drive: &FakeDrive) {
    let name = drive
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"));
    let salt = salt_of(drive.uuid());
    drive.edit(&name.expect("a log"), |bytes| {
        let length = |at: usize| {
            u32::from_le_bytes(bytes[at + 12..at + 16].try_into().expect("four")) as usize
        };
        let (mut at, mut last) = (0, 0);
        while at < bytes.len() {
            last = at;
            at += (HEADER_BYTES + length(at)).next_multiple_of(8);
        }
        let end = last + HEADER_BYTES + length(last);
        bytes[last + 45] = VERSION + 1;
        let crc = crc32c(&bytes[last + 8..end]) ^ salt;
        bytes[last + 4..last + 8].copy_from_slice(&crc.to_le_bytes());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_log_is_refused_by_name_and_left_as_it_is() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..20).await;
    node.shutdown().await;
    drop(node);
    renew_last_record(&drives[0]);
    let name = drives[0]
        .names()
        .into_iter()
        .find(|name| name.starts_with("log/"))
        .expect("a log");
    let before = drives[0].bytes(&name);
    let node = open(&drives, options(3)).await;
    let status = node.status();
    let why = status.drives[0].out.clone().expect("out");
    assert!(
        why.contains("newer DataMesh") && why.contains(&name),
        "{why}"
    );
    expect_all(&node, CONTROL, 0..20).await;
    assert_eq!(before, drives[0].bytes(&name), "nothing was cut");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_snapshot_is_refused_by_name_and_kept() {
    let drives = drives(1);
    let node = formed(&drives, options(1)).await;
    propose_many(&node, CONTROL, 0..20).await;
    node.snapshot(CONTROL).await;
    until("a snapshot", Duration::from_secs(10), || {
        node.status().replicas(CONTROL)[0].1.snapshot.is_some()
    })
    .await;
    node.shutdown().await;
    drop(node);
    let name = drives[0]
        .names()
        .into_iter()
        .find(|name| is_snapshot(name))
        .expect("one");
    drives[0].edit(&name, |bytes| {
        let length = u32::from_le_bytes(bytes[..4].try_into().expect("four")) as usize;
        // Length, sum, kind, magic, version.
        bytes[4 + 4 + 1 + 8] += 1;
        let crc = crc32c(&bytes[8..8 + length]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    });
    let files = Arc::clone(&drives[0]) as Arc<dyn DriveFiles>;
    let refused = newest(&files, CONTROL);
    assert!(
        matches!(&refused, Err(SnapshotError::Newer(which, _)) if *which == name),
        "{refused:?}"
    );
    assert!(
        drives[0].names().contains(&name),
        "not removed as damage is"
    );
}

/// Makes an identity a newer build's.
pub(crate) fn renew_identity(drive: &FakeDrive, name: &str) {
    drive.edit(name, |bytes| {
        bytes[0] += 1;
        let end = bytes.len() - 4;
        let crc = crc32c(&bytes[..end]);
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
    });
}

#[test]
fn a_newer_identity_is_refused_by_name() {
    let drive = FakeDrive::new(1);
    let identity = Identity {
        id: 7,
        generation: 1,
    };
    identity.write(drive.as_ref(), CONTROL).expect("written");
    renew_identity(&drive, "replicas/g0");
    let told = Identity::read(drive.as_ref(), CONTROL)
        .expect_err("refused")
        .to_string();
    assert!(told.contains("newer DataMesh"), "{told}");
}
