//! Whole nodes: proposals and reads, restarts, cuts, lost drives, damage.

use super::common::{Counter, FakeDrive, RealClock, Toy, put, row_key, until};
use engine_core::ports::{DriveFiles, MetaError};
use engine_meta::log::{COPY_BYTES_MAX, LogOptions};
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::GroupId;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const CONTROL: GroupId = GroupId(0);

pub(crate) fn options(voters: usize) -> MetaOptions {
    MetaOptions {
        groups: (0..=2).map(GroupId).collect(),
        voters,
        replace_after: Duration::from_mins(10),
        ..MetaOptions::default()
    }
}

pub(crate) fn drives(count: u32) -> Vec<Arc<FakeDrive>> {
    (1..=count).map(FakeDrive::new).collect()
}

async fn try_open(drives: &[Arc<FakeDrive>], options: MetaOptions) -> Result<MetaNode, MetaError> {
    let files = drives
        .iter()
        .map(|drive| Arc::clone(drive) as Arc<dyn DriveFiles>)
        .collect();
    MetaNode::open(
        files,
        options,
        RealClock::new(),
        Arc::new(Counter::default()),
        Arc::new(Toy),
    )
    .await
}

pub(crate) async fn open(drives: &[Arc<FakeDrive>], options: MetaOptions) -> MetaNode {
    try_open(drives, options).await.expect("opens")
}

pub(crate) async fn formed(drives: &[Arc<FakeDrive>], options: MetaOptions) -> MetaNode {
    let node = open(drives, options).await;
    node.bootstrap().await.expect("formed");
    node
}

async fn get(node: &MetaNode, group: GroupId, key: &str) -> Option<Vec<u8>> {
    let key = row_key(key);
    let read = node
        .read(group, move |rows, _| rows.get(&key).expect("readable"))
        .await;
    read.expect("answered")
}

pub(crate) async fn propose_many(node: &MetaNode, group: GroupId, keys: std::ops::Range<u32>) {
    let proposals = keys.map(|key| {
        let node = node.clone();
        tokio::spawn(async move {
            node.propose(group, put(&format!("k{key}"), &key.to_le_bytes()))
                .await
        })
    });
    for proposal in proposals.collect::<Vec<_>>() {
        proposal.await.expect("ran").expect("committed");
    }
}

pub(crate) async fn expect_all(node: &MetaNode, group: GroupId, keys: std::ops::Range<u32>) {
    let missing = node.read(group, move |rows, _| {
        let absent = |key: &u32| {
            rows.get(&row_key(&format!("k{key}"))).expect("readable")
                != Some(key.to_le_bytes().to_vec())
        };
        keys.filter(absent).collect::<Vec<_>>()
    });
    assert_eq!(missing.await.expect("answered"), Vec::<u32>::new());
}

/// Waits until every replica of the group has applied the same and checks that their rows agree.
pub(crate) async fn expect_equal(node: &MetaNode, group: GroupId, replicas: usize) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let digests = node.table_digests(group).await.expect("readable");
        let status = node.status();
        let chain: Vec<_> = status
            .replicas(group)
            .iter()
            .map(|(_, r)| (r.applied, r.digest))
            .collect();
        let same = digests.windows(2).all(|pair| pair[0].1 == pair[1].1);
        if digests.len() == replicas && same {
            assert!(
                digests.windows(2).all(|pair| pair[0].2 == pair[1].2),
                "{digests:?}"
            );
            assert!(
                chain
                    .windows(2)
                    .all(|pair| pair[0] == pair[1] || pair[0].0 != pair[1].0),
                "{chain:?}"
            );
            return;
        }
        assert!(Instant::now() < deadline, "replicas differ: {digests:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_drive_proposes_reads_and_restarts() {
    let drives = drives(1);
    let node = formed(&drives, options(1)).await;
    node.propose(CONTROL, put("a", b"1"))
        .await
        .expect("committed");
    assert_eq!(get(&node, CONTROL, "a").await, Some(b"1".to_vec()));
    assert_eq!(get(&node, GroupId(1), "a").await, None, "groups are apart");
    let stamp = node.stamp(CONTROL).expect("known");
    assert!(stamp.0 > 1_600_000_000_000, "{stamp:?}");
    node.bootstrap().await.expect("idempotent");
    node.shutdown().await;
    assert!(matches!(
        node.propose(CONTROL, put("b", b"2")).await,
        Err(MetaError::Closed)
    ));
    drop(node);

    let node = open(&drives, options(1)).await;
    assert_eq!(get(&node, CONTROL, "a").await, Some(b"1".to_vec()));
    assert!(node.stamp(CONTROL).expect("known") >= stamp);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_voters_on_six_drives_agree() {
    let drives = drives(6);
    let node = formed(&drives, options(5)).await;
    for group in [0, 1, 2] {
        propose_many(&node, GroupId(group), 0..350).await;
    }
    for group in [0, 1, 2] {
        expect_all(&node, GroupId(group), 0..350).await;
        expect_equal(&node, GroupId(group), 5).await;
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_acknowledged() {
    for tables in [true, false] {
        let before = drives(3);
        let node = formed(&before, options(3)).await;
        propose_many(&node, CONTROL, 0..200).await;
        let after: Vec<_> = before
            .iter()
            .map(|drive| drive.after_cut(37, tables))
            .collect();
        let node_after = open(&after, options(3)).await;
        expect_all(&node_after, CONTROL, 0..200).await;
        propose_many(&node_after, CONTROL, 200..220).await;
        expect_equal(&node_after, CONTROL, 3).await;
        node_after.shutdown().await;
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_voter_survives_a_cut_without_its_tables() {
    let before = drives(1);
    let node = formed(&before, options(1)).await;
    propose_many(&node, CONTROL, 0..100).await;
    let after = vec![before[0].after_cut(0, false)];
    let again = open(&after, options(1)).await;
    expect_all(&again, CONTROL, 0..100).await;
    again.shutdown().await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_go_on_when_a_leaders_drive_fails() {
    let drives = drives(5);
    let node = formed(&drives, options(5)).await;
    propose_many(&node, CONTROL, 0..20).await;
    let leader = node.status().leader(CONTROL).expect("one leads");
    let failing = drives
        .iter()
        .find(|drive| drive.drive() == leader)
        .expect("there");
    failing.fail_syncs();
    let began = Instant::now();
    propose_many(&node, CONTROL, 20..40).await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2500), "took {took:?}");
    expect_all(&node, CONTROL, 0..40).await;
    until("drive is out", Duration::from_secs(5), || {
        node.status()
            .drives
            .iter()
            .any(|drive| drive.drive == leader && drive.out.is_some())
    })
    .await;
    // Back: it catches up.
    failing.mend();
    until("drive is back", Duration::from_secs(10), || {
        node.status().drives.iter().all(|drive| drive.out.is_none())
    })
    .await;
    expect_equal(&node, CONTROL, 5).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_drives_voters_move_to_another() {
    let drives = drives(4);
    let node = formed(
        &drives,
        MetaOptions {
            replace_after: Duration::ZERO,
            ..options(3)
        },
    )
    .await;
    propose_many(&node, CONTROL, 0..50).await;
    let (lost, _) = node.status().replicas(CONTROL)[0];
    drives
        .iter()
        .find(|drive| drive.drive() == lost)
        .expect("there")
        .fail("gone");
    until("replaced", Duration::from_secs(20), || {
        let status = node.status();
        let replicas = status.replicas(CONTROL);
        let ids: Vec<u64> = replicas.iter().map(|(_, r)| r.id).collect();
        replicas.len() == 3
            && replicas
                .iter()
                .all(|(_, r)| r.voters.iter().all(|voter| ids.contains(voter)))
    })
    .await;
    propose_many(&node, CONTROL, 50..60).await;
    expect_all(&node, CONTROL, 0..60).await;
    expect_equal(&node, CONTROL, 3).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_purge_the_log_and_a_restart_builds_on_them() {
    for (tables, copy_bytes_max) in [(true, COPY_BYTES_MAX), (false, 0)] {
        let before = drives(3);
        let options = MetaOptions {
            log: LogOptions {
                file_bytes_max: 32 << 10,
                files_max: 2,
                copy_bytes_max,
                ..LogOptions::default()
            },
            ..options(3)
        };
        let node = formed(&before, options.clone()).await;
        for round in 0..3 {
            propose_many(&node, CONTROL, round * 100..round * 100 + 100).await;
            expect_equal(&node, CONTROL, 3).await;
            node.snapshot(CONTROL).await;
            let due = node.applied(CONTROL);
            until("snapshots", Duration::from_secs(10), || {
                node.status()
                    .replicas(CONTROL)
                    .iter()
                    .all(|(_, r)| r.snapshot >= Some(due))
            })
            .await;
        }
        until("purged", Duration::from_secs(10), || {
            node.status()
                .replicas(CONTROL)
                .iter()
                .all(|(_, r)| r.purged > Some(100))
        })
        .await;
        propose_many(&node, CONTROL, 300..330).await;
        let cuts = before.iter().map(|drive| drive.after_cut(0, tables));
        let after: Vec<_> = cuts.collect();
        let again = open(&after, options).await;
        expect_all(&again, CONTROL, 0..330).await;
        expect_equal(&again, CONTROL, 3).await;
        again.shutdown().await;
        node.shutdown().await;
    }
}

/// Turns bits in the middle of a drive's only log file.
pub(crate) fn damage_log(drive: &FakeDrive) {
    let mut names = drive.names().into_iter();
    let name = names.find(|name| name.starts_with("log/"));
    drive.edit(&name.expect("a log"), |bytes| {
        let middle = bytes.len() / 2;
        // More than a record's padding, which no checksum covers.
        let hit = bytes[middle..middle + 16].iter_mut();
        hit.for_each(|byte| *byte ^= 0x55);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_a_damaged_log_is_made_anew() {
    let before = drives(3);
    let node = formed(&before, options(3)).await;
    // Batch after batch: each carries the mark that the one before was durable.
    for batch in 0..10 {
        propose_many(&node, CONTROL, batch * 5..batch * 5 + 5).await;
    }
    expect_equal(&node, CONTROL, 3).await;
    let after: Vec<_> = before
        .iter()
        .map(|drive| drive.after_cut(0, true))
        .collect();
    let old: Vec<u64> = node
        .status()
        .replicas(CONTROL)
        .iter()
        .map(|(_, r)| r.id)
        .collect();
    node.shutdown().await;
    damage_log(&after[0]);
    let again = open(&after, options(3)).await;
    expect_all(&again, CONTROL, 0..50).await;
    until("made anew", Duration::from_secs(20), || {
        let status = again.status();
        let replicas = status.replicas(CONTROL);
        let ids: Vec<u64> = replicas.iter().map(|(_, r)| r.id).collect();
        replicas.len() == 3
            && replicas
                .iter()
                .all(|(_, r)| r.voters.len() == 3 && r.voters.iter().all(|v| ids.contains(v)))
    })
    .await;
    let status = again.status();
    let new: Vec<u64> = status.replicas(CONTROL).iter().map(|(_, r)| r.id).collect();
    assert_eq!(
        new.iter().filter(|id| old.contains(id)).count(),
        2,
        "one has a new id: {old:?} {new:?}"
    );
    propose_many(&again, CONTROL, 50..60).await;
    expect_equal(&again, CONTROL, 3).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_groups_tick() {
    let drives = drives(1);
    let node = formed(
        &drives,
        MetaOptions {
            tick_after: Duration::from_millis(200),
            ..options(1)
        },
    )
    .await;
    let stamp = node.stamp(CONTROL).expect("known");
    until("a later stamp", Duration::from_secs(10), || {
        node.stamp(CONTROL).is_ok_and(|s| s > stamp)
    })
    .await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_refuse_to_open_are_rebuilt() {
    let before = drives(1);
    let node = formed(&before, options(1)).await;
    propose_many(&node, CONTROL, 0..50).await;
    node.snapshot(CONTROL).await;
    let due = node.applied(CONTROL);
    until("snapshot", Duration::from_secs(10), || {
        node.status().replicas(CONTROL)[0].1.snapshot >= Some(due)
    })
    .await;
    propose_many(&node, CONTROL, 50..80).await;
    let after = before[0].after_cut(0, true);
    for entry in std::fs::read_dir(after.table_directory()).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_file() {
            let mut bytes = std::fs::read(&path).expect("readable");
            let middle = bytes.len() / 2;
            bytes[..middle].fill(0xa5);
            std::fs::write(&path, bytes).expect("written");
        }
    }
    let again = open(&[after], options(1)).await;
    expect_all(&again, CONTROL, 0..80).await;
    again.shutdown().await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_table_directory_on_one_of_three_is_rebuilt_and_agrees() {
    let before = drives(3);
    let node = formed(&before, options(3)).await;
    propose_many(&node, CONTROL, 0..80).await;
    expect_equal(&node, CONTROL, 3).await;
    let after = [
        before[0].after_cut(0, false),
        before[1].after_cut(0, true),
        before[2].after_cut(0, true),
    ];
    node.shutdown().await;
    let again = open(&after, options(3)).await;
    expect_all(&again, CONTROL, 0..80).await;
    expect_equal(&again, CONTROL, 3).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_beyond_the_bound_are_told_to_slow_down() {
    let drives = drives(1);
    let node = formed(&drives, options(1)).await;
    let too_much = vec![0; engine_meta::service::INFLIGHT_BYTES_MAX + 1];
    assert!(matches!(
        node.propose(CONTROL, too_much).await,
        Err(MetaError::Overloaded)
    ));
    node.propose(CONTROL, put("a", b"1"))
        .await
        .expect("room again");
    node.shutdown().await;
}
