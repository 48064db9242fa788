//! What the collector costs: by the page, not by the row.

use crate::background::busy;
use crate::support::{Cluster, bytes, key};
use engine_core::meta::{Condition, Query, Reply};
use engine_core::ports::Metadata;
use engine_node::EngineOptions;
use engine_types::{DataId, PartitionId, Stamp};
use std::time::{Duration, Instant};

const ROWS: u64 = 2_000;

fn dead() -> Query {
    Query::Dead {
        after: None,
        before: Stamp(u64::MAX),
        limit: 10_000,
    }
}

fn part(cluster: &Cluster) -> Query {
    Query::Part {
        bucket: cluster.bucket.row.id,
        key: key("k"),
        data: DataId([0; 16]),
        first: 0,
    }
}

/// Dead rows of the bucket's partition.
async fn rows(cluster: &Cluster) -> usize {
    let partition = cluster.bucket.reference.partition;
    match cluster.metadata.read(partition, dead()).await.unwrap() {
        Reply::Dead(rows) => rows.len(),
        other => panic!("{other:?}"),
    }
}

async fn until_rows(cluster: &Cluster, left: usize) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let now = rows(cluster).await;
        if now == left {
            return;
        }
        assert!(Instant::now() < deadline, "{now} rows are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn remove(cluster: &Cluster, name: &str) {
    let by = crate::objects::by();
    let (bucket, at) = (&cluster.bucket, key(name));
    let deleted = cluster
        .engine
        .delete(bucket, &at, None, Condition::default(), by)
        .await;
    deleted.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_go_by_the_page_and_not_one_by_one() {
    let seldom = EngineOptions {
        gc_period: Duration::from_hours(1),
        report_period: Duration::from_hours(1),
        ..busy()
    };
    let cluster = Cluster::with(6, seldom).await;
    let body = bytes(20_000, 1);
    for _ in 0..=ROWS {
        cluster.put("k", &body).await.unwrap();
    }
    assert_eq!(rows(&cluster).await as u64, ROWS);
    let frees = |c: &Cluster| c.drives.iter().map(|d| d.store.frees()).collect::<Vec<_>>();
    let before = frees(&cluster);
    cluster.metadata.busiest();
    cluster.metadata.advance(10);
    cluster.engine.start_clean_up();
    until_rows(&cluster, 0).await;
    cluster
        .until("only the last is left", |c| c.shards() == 6)
        .await;
    for (before, after) in before.into_iter().zip(frees(&cluster)) {
        assert!(
            after - before <= ROWS / 100,
            "{} frees of a drive",
            after - before
        );
    }
    let busiest = cluster.metadata.busiest();
    assert!((32..=64).contains(&busiest), "{busiest} commits at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_wait_for_a_drive_that_is_out_are_looked_at_once() {
    const OUT: usize = 300;
    let cluster = Cluster::with(6, busy()).await;
    for n in 0..OUT {
        cluster
            .put(&format!("k{n}"), &bytes(20_000, 1))
            .await
            .unwrap();
    }
    cluster.put("young", &bytes(20_000, 1)).await.unwrap();
    cluster.drives[0].store.fail("gone");
    for n in 0..OUT {
        remove(&cluster, &format!("k{n}")).await;
    }
    cluster.metadata.advance(10);
    cluster
        .until("freed where they can be", |c| {
            c.shards() == OUT + 6 && c.drives[0].store.tokens().len() == OUT + 1
        })
        .await;
    // By then it has gone over them once more, with the drive known to be out.
    for _ in 0..4 {
        cluster.round_of(&dead()).await;
    }
    let looks = |c: &Cluster| (c.metadata.asked(&part(c)), c.drives[1].store.frees());
    let before = looks(&cluster);
    for _ in 0..4 {
        cluster.round_of(&dead()).await;
    }
    assert_eq!(looks(&cluster), before, "none is looked at in vain");
    // What dies meanwhile does not wait for them, nor they for it.
    remove(&cluster, "young").await;
    cluster.metadata.advance(10);
    cluster
        .until("the young one is freed as well", |c| c.shards() == OUT + 1)
        .await;
    assert_eq!(rows(&cluster).await, OUT + 1);
    cluster.drives[0].store.reopen();
    cluster.until("freed everywhere", |c| c.shards() == 0).await;
    until_rows(&cluster, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_majority_does_not_keep_the_others_rows() {
    let cluster = Cluster::with(6, busy()).await;
    cluster.put("k", &bytes(20_000, 1)).await.unwrap();
    let own = cluster.bucket.reference.partition;
    let other = |p: &PartitionId| *p != PartitionId::CONTROL && *p != own;
    for partition in cluster.metadata.partitions().into_iter().filter(other) {
        cluster.metadata.set_majority(partition, false);
    }
    remove(&cluster, "k").await;
    cluster.metadata.advance(10);
    cluster.until("freed", |c| c.shards() == 0).await;
    until_rows(&cluster, 0).await;
}
