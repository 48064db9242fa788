//! The witness: one more voter where the drives are fewer than the voters.

use super::common::{FakeDrive, until};
use super::majority::{refused, short};
use super::node::{CONTROL, drives, expect_all, formed, open, options, propose_many};
use super::returns::{LONG, back, ids, old_copy, settled};
use engine_core::placement::Voters;
use engine_meta::service::{MetaNode, Plan};
use engine_types::{DriveId, GroupId};
use std::collections::BTreeSet;
use std::sync::Arc;

const GROUPS: [GroupId; 3] = [CONTROL, GroupId(1), GroupId(2)];

fn witness() -> Arc<FakeDrive> {
    FakeDrive::new(DriveId::WITNESS.0)
}

/// So many drives, and the witness first where they need one.
fn homes(count: u32) -> Vec<Arc<FakeDrive>> {
    let needed = voters(count).witness;
    needed
        .then(witness)
        .into_iter()
        .chain(drives(count))
        .collect()
}

fn voters(drives: u32) -> Voters {
    Voters::for_drives(usize::try_from(drives).expect("small"))
}

fn plan(drives: u32) -> Plan {
    let voters = voters(drives);
    Plan {
        voters: voters.count,
        drives: Some(voters.homes((1..=drives).map(DriveId))),
    }
}

fn on(node: &MetaNode, group: GroupId) -> BTreeSet<DriveId> {
    ids(node, group).into_keys().collect()
}

async fn write(node: &MetaNode, keys: std::ops::Range<u32>) {
    for group in GROUPS {
        propose_many(node, group, keys.clone()).await;
    }
}

async fn holds(node: &MetaNode, keys: std::ops::Range<u32>) {
    for group in GROUPS {
        expect_all(node, group, keys.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn either_of_two_drives_may_be_lost_and_nothing_with_it() {
    for lost in [1, 2] {
        let homes = homes(2);
        let node = formed(&homes, options(3)).await;
        write(&node, 0..30).await;
        node.drive_out(DriveId(lost), "emptied").await;
        write(&node, 30..50).await;
        holds(&node, 0..50).await;
        node.shutdown().await;
        // It does not come back: a start has what is left.
        let left: Vec<_> = homes
            .into_iter()
            .filter(|home| engine_core::ports::DriveFiles::drive(&**home) != DriveId(lost))
            .collect();
        assert_eq!(left.len(), 2);
        let node = open(&left, options(3)).await;
        holds(&node, 0..50).await;
        write(&node, 50..60).await;
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_four_drives_and_the_witness_may_be_lost() {
    let homes = homes(4);
    let node = formed(&homes, options(5)).await;
    let (mut done, more) = (0, 10);
    for pair in [[1, 2], [3, 4], [2, 4], [0, 3]] {
        for lost in pair {
            node.drive_out(DriveId(lost), "pulled").await;
        }
        write(&node, done..done + more).await;
        done += more;
        holds(&node, 0..done).await;
        for lost in pair {
            let number = usize::try_from(lost).expect("small");
            back(&node, &homes[number]).await;
        }
        for group in GROUPS {
            settled(&node, group, 5).await;
        }
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_witness_is_made_anew_as_a_new_voter() {
    let homes = homes(2);
    let node = formed(&homes, options(3)).await;
    node.replan(plan(2));
    write(&node, 0..30).await;
    let before = ids(&node, CONTROL)[&DriveId::WITNESS];
    node.drive_out(DriveId::WITNESS, "its directory is gone")
        .await;
    write(&node, 30..50).await;
    until_gone(&node).await;
    back(&node, &witness()).await;
    for group in GROUPS {
        settled(&node, group, 3).await;
    }
    assert_eq!(old_copy(&node, 0), None, "nothing is known of a new one");
    assert_ne!(ids(&node, CONTROL)[&DriveId::WITNESS], before);
    // It holds what was acknowledged before it came.
    node.drive_out(DriveId(1), "pulled").await;
    holds(&node, 0..50).await;
    node.shutdown().await;
}

async fn until_gone(node: &MetaNode) {
    let deadline = std::time::Instant::now() + LONG;
    while !node.drive_gone(DriveId::WITNESS, "gone for good").await {
        assert!(std::time::Instant::now() < deadline, "not let go of");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_witness_has_no_vote_before_a_majority_gives_it_one() {
    let homes = homes(2);
    let node = formed(&homes, options(3)).await;
    node.drive_out(DriveId(2), "pulled").await;
    // On the first drive and the witness, and nowhere else.
    write(&node, 0..30).await;
    node.drive_out(DriveId(1), "pulled").await;
    until_gone(&node).await;
    back(&node, &homes[2]).await;
    back(&node, &witness()).await;
    short(&node, CONTROL).await;
    refused(&node, CONTROL).await;
    assert_eq!(on(&node, CONTROL), BTreeSet::from([DriveId(2)]));
    back(&node, &homes[1]).await;
    for group in GROUPS {
        settled(&node, group, 3).await;
    }
    holds(&node, 0..30).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_move_from_the_witness_to_a_new_drive_and_back() {
    for few in [2, 4] {
        let many = few + 1;
        let homes = homes(few);
        let node = formed(&homes, options(voters(few).count)).await;
        node.replan(plan(few));
        write(&node, 0..20).await;
        let new = FakeDrive::new(many);
        back(&node, &new).await;
        node.replan(plan(many));
        for group in GROUPS {
            until("voters on the drives alone", LONG, || {
                on(&node, group) == (1..=many).map(DriveId).collect()
            })
            .await;
            settled(&node, group, voters(many).count).await;
        }
        let left = |name: &String| name.starts_with("replicas/") || name.starts_with("snapshots/");
        until("nothing of the witness's", LONG, || {
            !homes[0].names().iter().any(left)
        })
        .await;
        until_gone(&node).await;
        // The drive leaves: a new witness takes its voters.
        back(&node, &witness()).await;
        node.replan(plan(few));
        for group in GROUPS {
            until("voters on the witness again", LONG, || {
                on(&node, group) == (0..=few).map(DriveId).collect()
            })
            .await;
            settled(&node, group, voters(few).count).await;
        }
        holds(&node, 0..20).await;
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_witness_leads_only_what_no_drive_can() {
    let homes = homes(2);
    let node = formed(&homes, options(3)).await;
    let leaders = |node: &MetaNode| GROUPS.map(|group| node.status().leader(group));
    let on_drives = |node: &MetaNode| {
        let leaders = leaders(node);
        leaders
            .iter()
            .all(|leader| leader.is_some_and(|drive| drive != DriveId::WITNESS))
    };
    until("drives lead", LONG, || on_drives(&node)).await;
    node.shutdown().await;
    let node = open(&homes, options(3)).await;
    until("drives lead again", LONG, || on_drives(&node)).await;
    // What the witness has to lead for want of others goes back to a drive.
    node.drive_out(DriveId(1), "pulled").await;
    write(&node, 0..10).await;
    back(&node, &homes[1]).await;
    until("drives lead once more", LONG, || on_drives(&node)).await;
    node.shutdown().await;
}
