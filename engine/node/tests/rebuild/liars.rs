//! Shards whose checksums hold over wrong bytes, in stripes that are written anew.

use crate::layout::{at_rest, busy, fill, leave, reads_all, stripes};
use crate::support::Cluster;
use engine_core::meta::Slot;

fn falsify(cluster: &Cluster, slot: Slot) {
    let drive = cluster.drives.iter().find(|d| d.row.id == slot.drive);
    let store = &drive.unwrap().store;
    // In the middle of a long one, behind what is read of it first.
    assert!(store.falsify(slot.token, 1_500_000) || store.falsify(slot.token, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_told_before_its_stripe_is_striped_anew() {
    let cluster = Cluster::with(6, busy()).await;
    let sent = fill(&cluster).await;
    at_rest(&cluster, 4, 2).await;
    for (n, stripe) in stripes(&cluster).await.iter().enumerate() {
        // Data and parity.
        falsify(&cluster, stripe.slots[n * 4 % 6].unwrap());
    }
    leave(&cluster, 1).await;
    at_rest(&cluster, 2, 2).await;
    reads_all(&cluster, &sent).await;
}
