//! Drives that do not open, or only in part, or never say; and replicas whose erasure was cut off.

use super::common::{FakeDrive, put, until};
use super::newer::renew_identity;
use super::node::{CONTROL, drives, expect_all, expect_equal, formed, open, options, propose_many};
use super::returns::{LONG, ids, settled};
use engine_core::ports::DriveFiles;
use engine_meta::log::{DriveLog, LogOptions};
use engine_meta::service::{MetaNode, MetaOptions, Plan};
use engine_types::{DriveId, GroupId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const GROUPS: [GroupId; 3] = [CONTROL, GroupId(1), GroupId(2)];

fn out(node: &MetaNode, drive: u32) -> Option<String> {
    let drives = node.status().drives;
    let found = drives.into_iter().find(|d| d.drive == DriveId(drive));
    found.expect("known").out
}

/// The last entry of each group that the drive would still have after a power cut.
fn lasts(drive: &FakeDrive) -> Vec<Option<u64>> {
    let log = DriveLog::open(drive.after_cut(0, false), LogOptions::default()).expect("opens");
    assert!(log.damaged().is_empty(), "{:?}", log.damaged());
    let last = |group: &GroupId| log.group(*group).bounds().1.map(|id| id.index());
    GROUPS.iter().map(last).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_of_which_one_replica_does_not_open_has_no_vote_and_writes_nothing() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    for group in GROUPS {
        propose_many(&node, group, 0..20).await;
    }
    node.shutdown().await;
    drop(node);
    let before = lasts(&drives[0]);
    renew_identity(&drives[0], "replicas/g1");
    let node = open(&drives, options(3)).await;
    for round in 0..60_u8 {
        for group in [CONTROL, GroupId(2)] {
            let proposed = node.propose(group, put("x", &[round; 100])).await;
            proposed.expect("the other two are a majority");
        }
    }
    // It was tried again in between.
    let why = out(&node, 1).expect("out of service");
    assert!(why.contains("newer DataMesh"), "{why}");
    assert_eq!(lasts(&drives[0]), before, "entries that nobody counts on");
    node.shutdown().await;
    assert_eq!(lasts(&drives[0]), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_identity_costs_its_group_alone_a_replica() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    for group in GROUPS {
        propose_many(&node, group, 0..20).await;
    }
    let before = GROUPS.map(|group| ids(&node, group));
    node.shutdown().await;
    drop(node);
    drives[0].edit("replicas/g1", |bytes| bytes[3] ^= 1);
    let node = open(&drives, options(3)).await;
    assert_eq!(out(&node, 1), None);
    for group in GROUPS {
        settled(&node, group, 3).await;
        expect_all(&node, group, 0..20).await;
        expect_equal(&node, group, 3).await;
    }
    let after = GROUPS.map(|group| ids(&node, group));
    assert_eq!((&before[0], &before[2]), (&after[0], &after[2]));
    assert_ne!(before[1][&DriveId(1)], after[1][&DriveId(1)], "made anew");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_never_opens_is_replaced_after_the_grace() {
    let drives = drives(4);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..20).await;
    assert!(ids(&node, CONTROL).contains_key(&DriveId(1)));
    node.shutdown().await;
    drop(node);
    renew_identity(&drives[0], "replicas/g0");
    let soon = MetaOptions {
        // Longer than between two attempts to open it.
        replace_after: Duration::from_secs(3),
        ..options(3)
    };
    let node = open(&drives, soon).await;
    settled(&node, CONTROL, 3).await;
    assert!(!ids(&node, CONTROL).contains_key(&DriveId(1)));
    expect_all(&node, CONTROL, 0..20).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_hangs_while_it_returns_holds_up_no_other() {
    let drives = drives(5);
    let node = formed(&drives, options(5)).await;
    propose_many(&node, CONTROL, 0..20).await;
    node.drive_out(DriveId(1), "pulled").await;
    until("let go", LONG, || node.log_ends().contains_key(&DriveId(1))).await;
    drives[0].hang(true);
    let (again, files) = (node.clone(), Arc::clone(&drives[0]));
    let back = tokio::spawn(async move {
        loop {
            let put_back = again.drive_back(Arc::clone(&files) as Arc<dyn DriveFiles>);
            // Until the old log writer is gone.
            if put_back.await.is_ok() || files.hanging() == 0 && again.status().drives.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    until("it hangs", LONG, || drives[0].hanging() > 0).await;
    let soon = Duration::from_secs(5);
    let taken_out = tokio::time::timeout(soon, node.drive_out(DriveId(2), "pulled as well"));
    taken_out.await.expect("at once");
    drives[2].fail_syncs();
    let written = tokio::spawn({
        let node = node.clone();
        async move { node.propose(CONTROL, put("k", b"v")).await }
    });
    until("out by itself", soon, || out(&node, 3).is_some()).await;
    let ended = tokio::time::timeout(Duration::from_secs(30), node.shutdown());
    ended.await.expect("a drive that hangs is left behind");
    // Two of five: it has no answer but an error.
    assert!(written.await.expect("ran").is_err());
    drives[0].hang(false);
    back.await.expect("ends with the node");
    // What was opened too late is let go again.
    assert!(lasts(&drives[0]).iter().all(Option::is_some));
}

/// A replica's name wherever it has one.
fn left(drive: &FakeDrive, group: u32) -> Vec<String> {
    let of = [format!("replicas/g{group}"), format!("snapshots/g{group}/")];
    let mut names = drive.names();
    names.retain(|name| of.iter().any(|of| name.starts_with(of)));
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_cut_off_is_gone_on_with() {
    for forgotten in [false, true] {
        let drives = drives(4);
        let node = formed(&drives, options(3)).await;
        let group = GroupId(1);
        propose_many(&node, group, 0..20).await;
        assert!(ids(&node, group).contains_key(&DriveId(2)));
        node.snapshot(group).await;
        until("snapshots", LONG, || {
            let status = node.status();
            let replicas = status.replicas(group);
            replicas.iter().all(|(_, r)| r.snapshot.is_some())
        })
        .await;
        drives[1].stick(Some("snapshots/g1"));
        let plan = Plan {
            voters: 3,
            drives: Some([1, 3, 4].map(DriveId).into()),
        };
        node.replan(plan.clone());
        until("cut off", LONG, || {
            let names = drives[1].names();
            let standing = names.contains(&"replicas/g1".to_owned());
            !standing && !ids(&node, group).contains_key(&DriveId(2))
        })
        .await;
        node.shutdown().await;
        drop(node);
        assert!(left(&drives[1], 1).iter().any(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|kind| kind == "snap")
        }));
        assert!(lasts(&drives[1])[1].is_some(), "its log as well");
        if forgotten {
            // As builds left it that did not put identities aside.
            drives[1].remove("replicas/g1.disowned").expect("removed");
        }
        drives[1].stick(None);
        let node = open(&drives, options(3)).await;
        node.replan(plan);
        until("all is gone", LONG, || left(&drives[1], 1).is_empty()).await;
        settled(&node, group, 3).await;
        expect_all(&node, group, 0..20).await;
        node.shutdown().await;
        assert_eq!(lasts(&drives[1])[1], None, "from the log too");
    }
}
