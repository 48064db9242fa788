//! Groups that lose their majority: refused at once and by name, alone, and back by themselves.

use super::common::{FakeDrive, put, until};
use super::node::{
    CONTROL, damage_log, drives, expect_all, expect_equal, formed, open, options, propose_many,
};
use engine_core::ports::{DriveFiles, MetaError};
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::{DriveId, GroupId};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);
/// Well below the ten seconds that a leader is otherwise looked for.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Waits until a group is known to be short.
pub(crate) async fn short(node: &MetaNode, group: GroupId) {
    until("known to be short", SOON, || {
        let short = node.without_majority();
        short.iter().any(|short| short.group == group)
    })
    .await;
}

/// What a proposal and a read of the group are refused with, each at once.
pub(crate) async fn refused(node: &MetaNode, group: GroupId) -> String {
    let began = Instant::now();
    let read = node.read(group, |_, _| ()).await;
    let proposed = node.propose(group, put("k", b"v")).await;
    assert!(began.elapsed() < AT_ONCE, "took {:?}", began.elapsed());
    assert!(matches!(&read, Err(MetaError::NoMajority(_))), "{read:?}");
    match proposed {
        Err(MetaError::NoMajority(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_acknowledged() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    node.drive_out(DriveId(1), "pulled").await;
    node.propose(CONTROL, put("two", b"ok"))
        .await
        .expect("two of three");
    node.drive_out(DriveId(2), "unplugged").await;
    // Not known yet when it is asked: within the patience, a glance and a pause.
    let began = Instant::now();
    let proposed = node.propose(CONTROL, put("one", b"no")).await;
    assert!(
        matches!(proposed, Err(MetaError::NoMajority(_))),
        "{proposed:?}"
    );
    assert!(began.elapsed() < 2 * AT_ONCE, "took {:?}", began.elapsed());
    let why = refused(&node, CONTROL).await;
    assert!(why.contains("1 of 3 voters"), "{why}");
    assert!(
        why.contains("drive 1: pulled") && why.contains("drive 2: unplugged"),
        "{why}"
    );
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_a_majority_holds_up_no_other_and_comes_back() {
    let drives = drives(6);
    let node = formed(&drives, options(5)).await;
    for group in [0, 1, 2] {
        propose_many(&node, GroupId(group), 0..20).await;
    }
    // Control's voters are on 1 to 5; the others keep three of five.
    for drive in [1, 2, 3] {
        node.drive_out(DriveId(drive), "pulled").await;
    }
    for group in [1, 2] {
        propose_many(&node, GroupId(group), 20..40).await;
        expect_all(&node, GroupId(group), 0..40).await;
    }
    short(&node, CONTROL).await;
    let named: Vec<_> = node.without_majority();
    assert_eq!(named.len(), 1, "{named:?}");
    assert_eq!((named[0].voters, named[0].running), (5, 2), "{named:?}");
    assert_eq!(named[0].missing.len(), 3, "{named:?}");
    refused(&node, CONTROL).await;
    until("no births", SOON, || node.stamp(CONTROL).is_err()).await;
    node.stamp(GroupId(1)).expect("others' go on");
    let back = drives.iter().find(|drive| drive.drive() == DriveId(2));
    let back: Arc<FakeDrive> = Arc::clone(back.expect("there"));
    comes_back(&node, back).await;
    propose_many(&node, CONTROL, 20..40).await;
    expect_all(&node, CONTROL, 0..40).await;
    assert_eq!(node.without_majority(), Vec::new());
    node.shutdown().await;
}

/// Puts a drive back once its old log writer is gone.
async fn comes_back(node: &MetaNode, drive: Arc<FakeDrive>) {
    let deadline = Instant::now() + SOON;
    while let Err(error) = node
        .drive_back(Arc::clone(&drive) as Arc<dyn DriveFiles>)
        .await
    {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

/// The drive of a group's leader.
fn leader(node: &MetaNode, group: GroupId) -> Option<u32> {
    let status = node.status();
    let replicas = status.replicas(group);
    let leader = replicas.iter().find(|(_, replica)| replica.leader);
    leader.map(|(drive, _)| drive.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_or_erased_for_a_group_without_a_majority() {
    let drives = drives(6);
    let options = MetaOptions {
        // Long enough that all three are out before the first is given up.
        replace_after: Duration::from_secs(2),
        tick_after: Duration::from_millis(100),
        ..options(5)
    };
    let node = formed(&drives, options).await;
    propose_many(&node, CONTROL, 0..20).await;
    // Its time begins with its first command.
    propose_many(&node, GroupId(1), 0..1).await;
    node.drive_out(DriveId(1), "pulled").await;
    // Its leader stays: it would be the one to make and to erase.
    let mut led = None;
    until("led from another drive", SOON, || {
        led = leader(&node, CONTROL).filter(|drive| *drive != 1);
        led.is_some()
    })
    .await;
    for drive in (2..=5).filter(|drive| Some(*drive) != led).take(2) {
        node.drive_out(DriveId(drive), "pulled").await;
    }
    short(&node, CONTROL).await;
    let standing = |drive: &Arc<FakeDrive>| drive.names().contains(&"replicas/g0".to_owned());
    // Each look at the groups ticks one that is idle: some of them after the drives were given up,
    // and each a chance to make replicas.
    let seen = node.stamp(GroupId(1)).expect("known");
    until("looks", SOON, || {
        let now = node.stamp(GroupId(1)).expect("known");
        now >= seen.plus_ms(4_500)
    })
    .await;
    let holding: Vec<bool> = drives.iter().map(standing).collect();
    assert_eq!(
        holding,
        [true, true, true, true, true, false],
        "drive 6 is free for a voter, and must not be given one"
    );
    // One returns, and with it the majority; now the two others move.
    comes_back(&node, Arc::clone(&drives[0])).await;
    until("moved", Duration::from_secs(20), || standing(&drives[5])).await;
    expect_all(&node, CONTROL, 0..20).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_opens_without_a_group_of_which_no_replica_is_whole() {
    // One voter a group: group 0 on drive 1, group 1 on drive 2.
    let drives = drives(2);
    let node = formed(&drives, options(1)).await;
    for group in [0, 1] {
        propose_many(&node, GroupId(group), 0..50).await;
    }
    node.shutdown().await;
    drop(node);
    damage_log(&drives[0]);
    let again = open(&drives, options(1)).await;
    expect_all(&again, GroupId(1), 0..50).await;
    short(&again, CONTROL).await;
    let why = refused(&again, CONTROL).await;
    assert!(
        why.contains("drive 1: ") && why.contains("Recovery"),
        "{why}"
    );
    propose_many(&again, GroupId(1), 50..60).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_three_of_six_serves_the_groups_that_can_be() {
    let before = drives(6);
    let node = formed(&before, options(5)).await;
    for group in [0, 1, 2] {
        propose_many(&node, GroupId(group), 0..20).await;
    }
    node.shutdown().await;
    drop(node);
    let again = open(&before[3..], options(5)).await;
    for group in [1, 2] {
        expect_all(&again, GroupId(group), 0..20).await;
    }
    short(&again, CONTROL).await;
    let why = refused(&again, CONTROL).await;
    assert!(why.contains("drive 3: not here"), "{why}");
    comes_back(&again, Arc::clone(&before[1])).await;
    expect_all(&again, CONTROL, 0..20).await;
    expect_equal(&again, CONTROL, 3).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_damaged_on_a_majority_in_different_records_are_mended() {
    let before = drives(3);
    let node = formed(&before, options(3)).await;
    for batch in 0..10 {
        propose_many(&node, CONTROL, batch * 5..batch * 5 + 5).await;
    }
    expect_equal(&node, CONTROL, 3).await;
    let status = node.status();
    let ids = |status: &engine_meta::service::NodeStatus| -> Vec<u64> {
        let replicas = status.replicas(CONTROL);
        replicas.iter().map(|(_, replica)| replica.id).collect()
    };
    node.shutdown().await;
    drop(node);
    for (drive, key) in [(0, "k10"), (1, "k33")] {
        let name = before[drive]
            .names()
            .into_iter()
            .find(|name| name.starts_with("log/"));
        before[drive].edit(&name.expect("a log"), |bytes| {
            let at = bytes
                .windows(key.len())
                .position(|found| found == key.as_bytes());
            bytes[at.expect("logged")] ^= 0x55;
        });
    }
    let again = open(&before, options(3)).await;
    expect_all(&again, CONTROL, 0..50).await;
    propose_many(&again, CONTROL, 50..60).await;
    expect_equal(&again, CONTROL, 3).await;
    assert_eq!(
        ids(&again.status()),
        ids(&status),
        "nobody had to be made anew"
    );
    again.shutdown().await;
}
