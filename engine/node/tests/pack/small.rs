//! As many as a pack may have, of next to no bytes.

use crate::support::Cluster;
use crate::{name, packing};
use engine_core::meta::{PackQuery, Place, Query};
use engine_node::EngineOptions;
use engine_types::Stamp;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_a_pack_may_have_are_packed_however_short_and_fewer_wait() {
    let options = EngineOptions {
        pack_age: Duration::from_mins(1),
        pack_bytes_min: 100_000,
        ..packing()
    };
    let cluster = Cluster::with(6, options).await;
    for n in 0..300 {
        cluster.put(&name(n), b"tiny").await.unwrap();
    }
    // The packer sees all of it at once.
    cluster.metadata.advance(61_000);
    cluster
        .until("a pack of the oldest", |c| c.shards() == 6)
        .await;
    let packs = Query::Packs(PackQuery::Unpacked {
        after: None,
        before: Stamp(0),
        limit: 1,
    });
    cluster.round_of(&packs).await;
    let waiting = cluster.unpacked().await;
    assert_eq!((waiting.len(), cluster.shards()), (300 - 256, 6));
    for n in [0, 255] {
        let place = cluster.place(&name(n)).await;
        assert!(matches!(place, Place::Packed { .. }), "{n}: {place:?}");
    }
    assert_eq!(cluster.place(&name(256)).await, Place::Inline);
    for n in [0, 255, 256, 299] {
        assert_eq!(cluster.all(&name(n)).await.unwrap(), b"tiny"[..]);
    }
}
