//! A stripe of which more is damaged than can be borne.

use crate::scrub::{SOON, busy, slots};
use crate::support::{Cluster, bytes};
use engine_node::EngineError;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stripe_does_not_keep_others_from_being_mended() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 1);
    cluster.put("lost", &sent).await.unwrap();
    cluster.put("hurt", &sent).await.unwrap();
    for slot in slots(&cluster, "lost").await.into_iter().take(3) {
        assert!(cluster.store(slot).damage(slot.token, 1000));
    }
    let lost = cluster.all("lost").await;
    assert!(matches!(lost, Err(EngineError::DataLost(_))), "{lost:?}");
    let hurt = slots(&cluster, "hurt").await[1];
    assert!(cluster.store(hurt).damage(hurt.token, 1000));
    assert!(cluster.all("hurt").await.unwrap() == sent);
    // The lost one's repair goes on all the while, and reports its other shards each time.
    let deadline = Instant::now() + Duration::from_secs(20);
    while slots(&cluster, "hurt").await.contains(&hurt) {
        assert!(Instant::now() < deadline, "it is made anew");
        tokio::time::sleep(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_beside_drives_that_are_out_is_no_loss() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 2);
    cluster.put("k", &sent).await.unwrap();
    let all = slots(&cluster, "k").await;
    assert!(cluster.store(all[2]).falsify(all[2].token, 70_000));
    for slot in &all[4..] {
        cluster.store(*slot).fail("gone");
    }
    let read = cluster.all("k").await;
    assert!(matches!(read, Err(EngineError::Unavailable(_))), "{read:?}");
    for slot in &all[4..] {
        cluster.store(*slot).reopen();
    }
}
