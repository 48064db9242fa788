//! Drives that come back with less than they had: found without anybody's asking.

use crate::scrub::{busy, names, second};
use crate::support::{Cluster, bytes, open_drive};
use engine_node::Engine;
use engine_node::scrub::{FindingKind, FindingState};
use engine_types::CopyToken;
use std::time::{Duration, Instant};

/// The drive as it was before these were written.
fn forget(cluster: &Cluster, n: usize, tokens: &[CopyToken]) {
    for token in tokens {
        assert!(cluster.drives[n].store.lose(*token));
    }
}

async fn until(what: &str, cluster: &Cluster, engine: &Engine, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        let status = engine.scrub_status();
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "{what}: {status:?}"
        );
        cluster.metadata.advance(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_drive_that_returns_is_told_by_the_stripe_maps() {
    let cluster = Cluster::idle(busy()).await;
    let old = bytes(300_000, 1);
    cluster.put("old", &old).await.unwrap();
    let kept = cluster.drives[2].store.tokens();
    let new = bytes(300_000, 2);
    cluster.put("new", &new).await.unwrap();
    let lost: Vec<CopyToken> = cluster.drives[2].store.tokens();
    let lost: Vec<CopyToken> = lost.into_iter().filter(|t| !kept.contains(t)).collect();
    let (row, store, files) = open_drive(&cluster.drives[2]);
    cluster.engine.drives().remove(row.id);
    // Seen without it, by a worker that ticks.
    let walks = cluster.engine.scrub_status().maps_ended;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(cluster.engine.scrub_status().maps_ended, walks);
    forget(&cluster, 2, &lost);
    assert_eq!(cluster.shards(), 11);
    cluster.engine.drives().add(row, store, files);
    let engine = cluster.engine.clone();
    until("all shards again", &cluster, &engine, || {
        cluster.shards() == 12
    })
    .await;
    cluster.at_rest().await;
    let found = names(&cluster.engine.scrub_status().findings);
    let missing = (
        FindingKind::Missing,
        FindingState::Repaired,
        "first/new".to_owned(),
    );
    assert_eq!(found, [missing]);
    // Now any two others may go: what the old copy held was never the truth.
    for n in [0, 1] {
        cluster.drives[n].store.fail("gone");
    }
    assert!(cluster.all("new").await.unwrap() == new);
    assert!(cluster.all("old").await.unwrap() == old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_a_run_that_did_not_end_walks_the_maps_and_one_in_order_does_not() {
    let cluster = Cluster::idle(busy()).await;
    cluster.put("k", &bytes(300_000, 3)).await.unwrap();
    cluster.at_rest().await;
    let running: Vec<_> = cluster.drives.iter().map(|d| d.files.clone()).collect();
    let kept = |n: usize| {
        use engine_core::ports::DriveFiles;
        running[n].read("shards/scrub").unwrap()
    };
    let unfinished = kept(4);
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    let walked = cluster.engine.scrub_status().maps_ended;
    let lost = cluster.drives[4].store.tokens();
    forget(&cluster, 4, &lost);

    let engine = second(&cluster, busy()).await;
    until("it has met the drives", &cluster, &engine, || {
        engine.scrub_status().drives.len() == 6
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let status = engine.scrub_status();
    assert!(
        !status.maps_running && status.maps_ended == walked,
        "{status:?}"
    );
    assert_eq!(cluster.shards(), 5);
    assert!(engine.shutdown(Duration::from_secs(10)).await);

    // As the drive was while the first run went on.
    {
        use engine_core::ports::DriveFiles;
        running[4].write("shards/scrub", &unfinished).unwrap();
    }
    let engine = second(&cluster, busy()).await;
    until("made anew", &cluster, &engine, || cluster.shards() == 6).await;
    assert!(engine.shutdown(Duration::from_secs(10)).await);
}
