//! Replicas whose tables part from the others' are found and made anew.

use super::common::{FakeDrive, row_key, until};
use super::node::{CONTROL, drives, expect_all, expect_equal, formed, open, options, propose_many};
use engine_meta::fjall_rows::{TableOptions, Tables};
use engine_meta::replica::Identity;
use engine_meta::rows::Changes;
use engine_meta::service::MetaOptions;
use engine_types::{DriveId, GroupId};
use std::time::Duration;

/// Changes one row of a stopped replica's tables, as rot or a bug may.
fn change_a_row(drive: &FakeDrive) {
    let identity = Identity::read(drive, CONTROL)
        .expect("readable")
        .expect("one");
    let tables = Tables::open(drive, TableOptions::default()).expect("opens");
    let table = tables
        .generation(CONTROL, identity.generation)
        .expect("opens");
    let applied = table.view().applied().expect("readable").expect("some");
    let mut changes = Changes::default();
    changes.put(row_key("k7"), b"nobody wrote this".to_vec());
    table.write(&changes, &applied).expect("written");
    tables.flush().expect("flushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_differs_from_the_majority_is_made_anew() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    propose_many(&node, CONTROL, 0..60).await;
    let check = node.check_digests(CONTROL).await.expect("compared");
    assert!(check.decided && check.differing.is_empty(), "{check:?}");
    assert_eq!(check.digests.len(), 3);
    expect_equal(&node, CONTROL, 3).await;
    let id = node.status().replicas(CONTROL)[1].1.id;
    node.shutdown().await;
    drop(node);
    change_a_row(&drives[1]);

    // By itself, soon.
    let often = MetaOptions {
        digests_every: Duration::from_millis(500),
        ..options(3)
    };
    let node = open(&drives, often).await;
    until("made anew", Duration::from_secs(20), || {
        let status = node.status();
        let replicas = status.replicas(CONTROL);
        let two = replicas.iter().find(|(drive, _)| *drive == DriveId(2));
        replicas.len() == 3 && two.is_some_and(|(_, r)| r.id != id && r.voters.contains(&r.id))
    })
    .await;
    expect_all(&node, CONTROL, 0..60).await;
    expect_equal(&node, CONTROL, 3).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_compared_at_one_index_while_they_apply() {
    let drives = drives(3);
    let node = formed(&drives, options(3)).await;
    let writer = {
        let node = node.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                propose_many(&node, GroupId(1), round * 50..round * 50 + 50).await;
            }
        })
    };
    let mut compared = 0;
    while !writer.is_finished() || compared == 0 {
        let check = node.check_digests(GroupId(1)).await.expect("compared");
        assert!(check.decided && check.differing.is_empty(), "{check:?}");
        compared += 1;
    }
    writer.await.expect("written");
    let last = node.digest_checks();
    assert_eq!(last.len(), 1);
    assert!(last[0].index > 0 && last[0].voters == 3);
    node.shutdown().await;
}
