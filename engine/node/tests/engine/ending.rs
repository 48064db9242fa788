//! What a shutdown waits for.

use crate::background::busy;
use crate::scrub::slots;
use crate::support::{Cluster, bytes, collect, key};
use engine_core::meta::Query;
use engine_node::EngineOptions;
use engine_types::DataId;
use std::pin::pin;
use std::time::Duration;

const OBJECTS: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_the_repair_under_way_and_for_no_other() {
    let seldom = Duration::from_hours(1);
    let options = EngineOptions {
        repair_period: Duration::from_millis(10),
        rebuild_period: seldom,
        gc_period: seldom,
        scrub_period: seldom,
        ..busy()
    };
    let cluster = Cluster::with(6, options).await;
    // The walk at the start.
    cluster
        .until("that is over", |c| c.engine.rebuild_status().walks > 0)
        .await;
    let mut found = Vec::new();
    for n in 0..OBJECTS {
        let name = format!("k{n}");
        cluster.put(&name, &bytes(50_000, n)).await.unwrap();
        let first = slots(&cluster, &name).await[0];
        assert!(cluster.store(first).lose(first.token));
        found.push(cluster.found(&name).await);
    }
    let part = Query::Part {
        bucket: cluster.bucket.row.id,
        key: key("k"),
        data: DataId([0; 16]),
        first: 0,
    };
    cluster.metadata.hold(Some(&part));
    let before = cluster.metadata.asked(&part);
    for found in found {
        let read = cluster.engine.read(found, 0..u64::MAX, None).await.unwrap();
        assert_eq!(collect(read).await.unwrap().len(), 50_000);
    }
    cluster
        .until("the first repair looks at its stripe", |c| {
            c.metadata.asked(&part) > before
        })
        .await;
    let mut shutdown = pin!(cluster.engine.shutdown(Duration::from_mins(1)));
    assert!(futures::poll!(&mut shutdown).is_pending());
    cluster.metadata.hold(None);
    assert!(shutdown.await);
    assert_eq!(cluster.metadata.asked(&part), before + 1);
}
