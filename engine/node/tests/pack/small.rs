//! What is too small for a pack.

use crate::support::{Cluster, bytes};
use crate::{name, packing};
use engine_core::meta::{PackQuery, Place, Query};
use engine_node::EngineOptions;
use engine_types::Stamp;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_a_pack_may_have_stay_inline_where_they_are_too_small() {
    let options = EngineOptions {
        pack_age: Duration::from_mins(1),
        pack_bytes_min: 100_000,
        ..packing()
    };
    let cluster = Cluster::with(6, options).await;
    for n in 0..300 {
        cluster.put(&name(n), b"tiny").await.unwrap();
    }
    for n in 300..340 {
        cluster.put(&name(n), &bytes(3_000, 1)).await.unwrap();
    }
    // The packer sees all of it at once.
    cluster.metadata.advance(61_000);
    cluster
        .until("a pack of the rest", |c| c.shards() == 6)
        .await;
    let packs = Query::Packs(PackQuery::Unpacked {
        after: None,
        before: Stamp(0),
        limit: 1,
    });
    cluster.round_of(&packs).await;
    let waiting = cluster.unpacked().await;
    assert_eq!((waiting.len(), cluster.shards()), (256, 6));
    assert_eq!(cluster.place(&name(0)).await, Place::Inline);
    for n in [256, 299, 300, 339] {
        let place = cluster.place(&name(n)).await;
        assert!(matches!(place, Place::Packed { .. }), "{n}: {place:?}");
    }
    for n in [0, 255, 256] {
        assert_eq!(cluster.all(&name(n)).await.unwrap(), b"tiny"[..]);
    }
    assert_eq!(cluster.all(&name(339)).await.unwrap(), bytes(3_000, 1));
}
