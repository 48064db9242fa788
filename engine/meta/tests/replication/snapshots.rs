//! What the purged log rests on.

use super::common::{FakeDrive, put, until};
use super::log::core_on;
use super::node::{CONTROL, drives, expect_all, formed, open, options, propose_many};
use engine_core::ports::DriveFiles;
use engine_meta::replica::ReplicaMachine;
use engine_meta::service::{MetaNode, MetaOptions};
use engine_meta::snapshot::{Applied, SnapshotFile, fetch, newest, write};
use engine_types::{GroupId, Stamp};
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const GROUP: GroupId = GroupId(2);
const SOON: Duration = Duration::from_secs(10);

fn written(drive: &Arc<FakeDrive>) -> SnapshotFile {
    let files: Arc<dyn DriveFiles> = Arc::clone(drive) as _;
    let applied = Applied {
        stamp: Stamp(5),
        ..Applied::default()
    };
    let rows = (0..100_u8).map(|n| Ok((vec![n], vec![n; 1000])));
    write(&files, GROUP, &applied, rows).expect("written")
}

/// What a power cut leaves of the newest.
fn after_cut(drive: &FakeDrive) -> Applied {
    let files: Arc<dyn DriveFiles> = drive.after_cut(0, false);
    let found = newest(&files, GROUP).expect("readable");
    found.expect("whole").applied
}

#[test]
fn a_snapshot_that_was_named_outlives_a_power_cut() {
    let drive = FakeDrive::new(1);
    let file = written(&drive);
    assert_eq!(after_cut(&drive), file.applied);
}

#[test]
fn a_snapshot_that_was_fetched_outlives_a_power_cut() {
    let (from, to) = (FakeDrive::new(1), FakeDrive::new(2));
    let file = written(&from);
    let files: Arc<dyn DriveFiles> = Arc::clone(&to) as _;
    fetch(&files, GROUP, &file).expect("fetched");
    assert_eq!(after_cut(&to), file.applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_left_of_a_snapshot_goes_at_the_next_open() {
    let drives = drives(1);
    let node = formed(&drives, options(1)).await;
    snapshot(&node).await;
    node.shutdown().await;
    let cut = format!("snapshots/g{CONTROL}/00000000000000000009-00000000000000000001.snap.tmp");
    drives[0]
        .open_log(&cut)
        .expect("made")
        .append(b"half")
        .expect("written");
    let node = open(&drives, options(1)).await;
    let left = drives[0]
        .list(&format!("snapshots/g{CONTROL}"))
        .expect("listed");
    assert!(left.iter().all(|name| is_snapshot(name)), "{left:?}");
    assert!(!left.is_empty(), "the finished one stays");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grew_by_its_least_is_written_out_and_not_before() {
    const LEAST: usize = 256 << 10;
    const VALUE: [u8; 16 << 10] = [7; 16 << 10];
    let drives = drives(1);
    let small = MetaOptions {
        snapshot_bytes_min: LEAST as u64,
        ..options(1)
    };
    let node = formed(&drives, small).await;
    let taken = || node.status().replicas(GROUP)[0].1.snapshot;
    let write = async |from: usize, to: usize| {
        for key in from..to {
            let put = put(&format!("k{key}"), &VALUE);
            node.propose(GROUP, put).await.expect("committed");
        }
    };
    // The rest of the last one is for what else an entry holds.
    let few = LEAST / VALUE.len() - 1;
    write(0, few).await;
    let before = taken();
    write(few, few + 2).await;
    until("a snapshot by itself", SOON, || taken() > before).await;
    assert_eq!(before, None, "too early");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_a_node_are_written_one_at_a_time() {
    let drives = drives(1);
    let node = formed(&drives, options(1)).await;
    let groups = [GroupId(0), GroupId(1), GroupId(2)];
    for group in groups {
        propose_many(&node, group, 0..10).await;
    }
    // Long enough for another to begin beside it.
    drives[0].slow_syncs(100);
    for group in groups {
        node.snapshot(group).await;
    }
    let begun = || {
        let names = drives[0].names();
        names
            .iter()
            .filter(|name| name.ends_with(".snap.tmp"))
            .count()
    };
    let mut most = 0;
    until("all three", SOON, || {
        most = most.max(begun());
        let taken = |group| node.status().replicas(group)[0].1.snapshot.is_some();
        groups.into_iter().all(taken)
    })
    .await;
    assert_eq!(most, 1);
    drives[0].slow_syncs(0);
    node.shutdown().await;
}

/// What lies in its place by then is another's.
#[tokio::test]
async fn a_replica_that_ended_while_it_waited_writes_no_snapshot() {
    let drive = FakeDrive::new(1);
    let core = core_on(&drive);
    let mut machine = ReplicaMachine::new(Arc::clone(&core));
    let turn = core.parts.turns.take(&core.ended).await.expect("free");
    let mut builder = machine.get_snapshot_builder().await;
    let waiting = tokio::spawn(async move { builder.build_snapshot().await.is_ok() });
    core.ended.store(true, Ordering::Release);
    drop(turn);
    assert!(!waiting.await.expect("ran"));
    assert!(!drive.names().iter().any(|name| is_snapshot(name)));
}

/// Whether a file's name is a whole snapshot's.
pub(crate) fn is_snapshot(name: &str) -> bool {
    std::path::Path::new(name)
        .extension()
        .is_some_and(|end| end == "snap")
}

/// Snapshots control on a lone drive; the index up to which it reaches.
async fn snapshot(node: &MetaNode) -> u64 {
    node.snapshot(CONTROL).await;
    let due = node.applied(CONTROL);
    until("snapshot", SOON, || {
        node.status().replicas(CONTROL)[0].1.snapshot >= Some(due)
    })
    .await;
    due
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_newest_snapshot_falls_back_to_the_older() {
    let before = drives(1);
    let node = formed(&before, options(1)).await;
    propose_many(&node, CONTROL, 0..50).await;
    let older = snapshot(&node).await;
    propose_many(&node, CONTROL, 50..100).await;
    snapshot(&node).await;
    until("purged", SOON, || {
        node.status().replicas(CONTROL)[0].1.purged >= Some(older)
    })
    .await;
    // Syncs the purge with it.
    propose_many(&node, CONTROL, 100..101).await;
    let after = before[0].after_cut(0, false);
    let newest = after
        .names()
        .into_iter()
        .rfind(|name| name.starts_with("snapshots/g0/"))
        .expect("one");
    after.edit(&newest, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let again = open(&[after], options(1)).await;
    expect_all(&again, CONTROL, 0..101).await;
    again.shutdown().await;
    node.shutdown().await;
}
