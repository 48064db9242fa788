//! Drives that go and return: as they were, as older copies of themselves, late, or never; and voters
//! that follow the plan.

use super::common::{FakeDrive, put, until};
use super::node::{CONTROL, drives, expect_all, expect_equal, formed, open, options, propose_many};
use engine_core::ports::{DriveFiles, MetaError};
use engine_meta::service::{Known, MetaNode, MetaOptions, Plan};
use engine_types::{DriveId, GroupId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn ids(node: &MetaNode, group: GroupId) -> BTreeMap<DriveId, u64> {
    let status = node.status();
    let replicas = status.replicas(group);
    replicas.iter().map(|(drive, r)| (*drive, r.id)).collect()
}

/// Waits until the group's voters are exactly its running replicas, so many.
pub(crate) async fn settled(node: &MetaNode, group: GroupId, count: usize) {
    until("voters are the replicas that run", LONG, || {
        let running: BTreeSet<u64> = ids(node, group).into_values().collect();
        let status = node.status();
        running.len() == count
            && status
                .replicas(group)
                .iter()
                .all(|(_, r)| r.voters.iter().copied().collect::<BTreeSet<u64>>() == running)
    })
    .await;
}

/// Puts a drive back as soon as its old self is let go.
pub(crate) async fn back(node: &MetaNode, files: &Arc<FakeDrive>) {
    let deadline = Instant::now() + LONG;
    while let Err(error) = node
        .drive_back(Arc::clone(files) as Arc<dyn DriveFiles>)
        .await
    {
        assert!(Instant::now() < deadline, "not back: {error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn old_copy(node: &MetaNode, drive: u32) -> Option<String> {
    let drives = node.status().drives;
    let found = drives.into_iter().find(|d| d.drive == DriveId(drive));
    found.expect("known").old_copy
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_that_returns_within_one_run_is_made_anew() {
    let drives = drives(5);
    let node = formed(&drives, options(5)).await;
    propose_many(&node, CONTROL, 0..50).await;
    expect_equal(&node, CONTROL, 5).await;
    let backup = drives[0].after_cut(0, true);
    propose_many(&node, CONTROL, 50..80).await;
    expect_equal(&node, CONTROL, 5).await;
    let before = ids(&node, CONTROL);
    node.drive_out(DriveId(1), "pulled").await;
    propose_many(&node, CONTROL, 80..90).await;
    back(&node, &backup).await;
    let why = old_copy(&node, 1).expect("told");
    assert!(why.contains("was durable"), "{why}");
    settled(&node, CONTROL, 5).await;
    let after = ids(&node, CONTROL);
    assert_ne!(before[&DriveId(1)], after[&DriveId(1)], "a new id");
    propose_many(&node, CONTROL, 90..100).await;
    expect_all(&node, CONTROL, 0..100).await;
    expect_equal(&node, CONTROL, 5).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_lost_nothing_keeps_its_replicas() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..50).await;
    let before = ids(&node, CONTROL);
    for _ in 0..2 {
        node.drive_out(DriveId(1), "pulled").await;
        propose_many(&node, CONTROL, 50..60).await;
        back(&node, &drives[0]).await;
        assert_eq!(old_copy(&node, 1), None);
    }
    // The same after a power cut at the drive: what was not synced is gone, and was never promised.
    node.drive_out(DriveId(1), "power cut").await;
    until("let go", LONG, || node.log_ends().contains_key(&DriveId(1))).await;
    back(&node, &drives[0].after_cut(13, true)).await;
    assert_eq!(old_copy(&node, 1), None);
    assert_eq!(before, ids(&node, CONTROL));
    expect_equal(&node, CONTROL, 3).await;
    node.shutdown().await;
}

/// What siblings remember of each drive.
fn remembered(node: &MetaNode) -> BTreeMap<DriveId, Known> {
    let known = |log_end| Known {
        old_copy: false,
        log_end,
    };
    let ends = node.log_ends().into_iter();
    ends.map(|(drive, end)| (drive, known(end))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_durable_is_asked_for_at_the_next_start() {
    let mut drives = drives(3);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..30).await;
    let backup = drives[1].after_cut(0, true);
    propose_many(&node, CONTROL, 30..60).await;
    let before = ids(&node, CONTROL);
    node.shutdown().await;
    let known = remembered(&node);
    drop(node);
    drives[1] = backup;
    let node = open(
        &drives,
        MetaOptions {
            known,
            ..options(3)
        },
    )
    .await;
    assert!(old_copy(&node, 2).is_some());
    assert_eq!(old_copy(&node, 1), None);
    settled(&node, CONTROL, 3).await;
    assert_ne!(before[&DriveId(2)], ids(&node, CONTROL)[&DriveId(2)]);
    expect_all(&node, CONTROL, 0..60).await;
    expect_equal(&node, CONTROL, 3).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_of_old_copies_is_told_and_nothing_is_thrown_away() {
    let drives = drives(3);
    let fast = MetaOptions {
        deadline: Duration::from_secs(2),
        ..options(3)
    };
    let node = formed(&drives, fast.clone()).await;
    propose_many(&node, CONTROL, 0..20).await;
    let old: Vec<_> = drives.iter().map(|d| d.after_cut(0, true)).collect();
    propose_many(&node, CONTROL, 20..40).await;
    node.shutdown().await;
    let known = remembered(&node);
    drop(node);
    let mixed = [
        Arc::clone(&old[0]),
        Arc::clone(&old[1]),
        Arc::clone(&drives[2]),
    ];
    let node = open(&mixed, MetaOptions { known, ..fast }).await;
    let refused = node.propose(CONTROL, put("k", b"v")).await;
    let Err(MetaError::NoMajority(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        why.contains("1 of 3 voters") && why.contains("older copy"),
        "{why}"
    );
    assert!(old[0].names().contains(&"replicas/g0.disowned".to_owned()));
    assert!(old[0].names().iter().any(|name| name.starts_with("log/")));
    // The newest state of one of them returns: a majority that has forgotten nothing.
    node.drive_out(DriveId(1), "exchanged").await;
    back(&node, &drives[0]).await;
    expect_all(&node, CONTROL, 0..40).await;
    settled(&node, CONTROL, 3).await;
    expect_equal(&node, CONTROL, 3).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_missing_at_the_start_has_the_same_grace_and_is_used_when_it_returns() {
    let drives = drives(4);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..30).await;
    let (lost, _) = node.status().replicas(CONTROL)[0];
    node.shutdown().await;
    drop(node);
    let (away, here): (Vec<_>, Vec<_>) = drives.iter().cloned().partition(|d| d.drive() == lost);
    let grace = Duration::from_millis(2500);
    let soon = MetaOptions {
        replace_after: grace,
        ..options(3)
    };
    let began = Instant::now();
    let node = open(&here, soon).await;
    expect_all(&node, CONTROL, 0..30).await;
    settled(&node, CONTROL, 3).await;
    assert!(
        began.elapsed() >= grace,
        "replaced after {:?}",
        began.elapsed()
    );
    // Its replica was replaced: it is forgotten, and the drive is a candidate again.
    back(&node, &away[0]).await;
    until("the replaced replica is forgotten", LONG, || {
        let names = away[0].names();
        !names.iter().any(|name| name.starts_with("replicas/g0"))
    })
    .await;
    let next = here[0].drive();
    let plan = Plan {
        voters: 3,
        drives: Some(
            drives
                .iter()
                .map(|d| d.drive())
                .filter(|d| *d != next)
                .collect(),
        ),
    };
    node.replan(plan);
    until("the drive holds a voter again", LONG, || {
        ids(&node, CONTROL).contains_key(&lost)
    })
    .await;
    settled(&node, CONTROL, 3).await;
    expect_all(&node, CONTROL, 0..30).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_follow_the_plan() {
    let drives = drives(6);
    let node = formed(&drives[..3], options(3)).await;
    propose_many(&node, CONTROL, 0..30).await;
    for added in &drives[3..] {
        back(&node, added).await;
    }
    let all = |numbers: std::ops::RangeInclusive<u32>| Some(numbers.map(DriveId).collect());
    let plans = [(5, all(1..=6)), (5, all(2..=6)), (3, all(2..=4)), (1, None)];
    for (voters, drives) in plans {
        let plan = Plan { voters, drives };
        node.replan(plan.clone());
        until("voters on the planned drives alone", LONG, || {
            let on: BTreeSet<DriveId> = ids(&node, CONTROL).into_keys().collect();
            on.len() == voters
                && plan
                    .drives
                    .as_ref()
                    .is_none_or(|drives| on.is_subset(drives))
        })
        .await;
        settled(&node, CONTROL, voters).await;
        settled(&node, GroupId(2), voters).await;
    }
    expect_all(&node, CONTROL, 0..30).await;
    node.shutdown().await;
}
