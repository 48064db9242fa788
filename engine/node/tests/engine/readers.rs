//! Readers that stop, and go on.

use crate::support::{Cluster, bytes, quick};
use engine_core::stripes::STRIPE_PLAIN;
use engine_node::EngineOptions;
use futures::{FutureExt, StreamExt};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stand_still_give_back_what_they_hold_and_go_on() {
    let options = EngineOptions {
        read_idle: Duration::from_millis(50),
        background: true,
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    // More than the readers' share holds: some go on without a place.
    let sent = bytes(STRIPE_PLAIN + 300_000, 77);
    cluster.put("k", &sent).await.unwrap();
    let mut readers = Vec::new();
    for n in 0..150_u64 {
        let mut stream = cluster
            .engine
            .read(cluster.found("k").await, n..u64::MAX, None)
            .await
            .unwrap();
        let mut got = stream.next().await.unwrap().unwrap().to_vec();
        // Half of them take all that is at hand, ask for more, and do not come for it.
        while n % 2 == 1 && got.len() < STRIPE_PLAIN {
            let Some(next) = stream.next().now_or_never() else {
                break;
            };
            got.extend_from_slice(&next.unwrap().unwrap());
        }
        readers.push((usize::try_from(n).unwrap() + got.len(), got, stream));
    }
    let none_held = |c: &Cluster| c.engine.read_ahead_bytes() == 0;
    cluster.until("all is given back", none_held).await;
    for (n, (at, first, mut stream)) in readers.into_iter().enumerate() {
        let mut at = at;
        assert_eq!(first, sent[n..at]);
        while let Some(next) = stream.next().await {
            let next = next.unwrap();
            assert!(next == sent[at..at + next.len()], "{n} at {at}");
            at += next.len();
        }
        assert_eq!(at, sent.len());
    }
}

/// And no more: what is counted is what is in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_reader_has_three_pieces_read_while_one_is_handed_out() {
    const PIECE: usize = 1 << 20;
    let cluster = Cluster::with(6, quick()).await;
    let sent = bytes(2 * STRIPE_PLAIN, 78);
    cluster.put("k", &sent).await.unwrap();
    let found = cluster.found("k").await;
    let mut stream = cluster.engine.read(found, 0..u64::MAX, None).await.unwrap();
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    assert_eq!(cluster.engine.read_ahead_bytes(), 4 * PIECE);
    while let Some(next) = stream.next().await {
        got.extend_from_slice(&next.unwrap());
        assert!(cluster.engine.read_ahead_bytes() <= 5 * PIECE);
    }
    assert!(got == sent);
    drop(stream);
    assert_eq!(cluster.engine.read_ahead_bytes(), 0);
}
