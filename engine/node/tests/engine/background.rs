//! Background work: watermark, collection, unfinished buckets, shutdown.

use crate::support::{Cluster, bytes, collect, key, quick};
use engine_core::meta::{Query, Reply};
use engine_core::ports::Metadata;
use engine_node::EngineOptions;
use engine_sim::Fault;
use engine_types::{BirthId, PartitionId, Stamp};
use std::time::{Duration, Instant};

pub(crate) fn busy() -> EngineOptions {
    let soon = Duration::from_millis(10);
    EngineOptions {
        background: true,
        gc_grace: Duration::ZERO,
        gc_period: soon,
        report_period: soon,
        settle_period: soon,
        ..quick()
    }
}

/// What the collector asks each partition for.
fn dead() -> Query {
    Query::Dead {
        after: None,
        before: Stamp(u64::MAX),
        limit: 10,
    }
}

async fn watermark(cluster: &Cluster, partition: PartitionId) -> Stamp {
    match cluster
        .metadata
        .read(partition, Query::Clock)
        .await
        .unwrap()
    {
        Reply::Clock { watermark, .. } => watermark,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_is_freed_once_no_reader_holds_it() {
    let cluster = Cluster::with(6, busy()).await;
    let old = bytes(100_000, 1);
    cluster.put("k", &old).await.unwrap();
    let reader = cluster.found("k").await;
    cluster.put("k", &bytes(100_000, 2)).await.unwrap();
    cluster.metadata.advance(120_000);
    cluster.round_of(&dead()).await;
    assert_eq!(cluster.shards(), 12, "the reader's pin holds it");
    let read = cluster
        .engine
        .read(reader, 0..u64::MAX, None)
        .await
        .unwrap();
    assert_eq!(collect(read).await.unwrap(), old);
    cluster
        .until("the replaced object is freed", |c| c.shards() == 6)
        .await;
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_or_nobodys_goes_when_somebody_asks() {
    let seldom = EngineOptions {
        gc_period: Duration::from_hours(1),
        orphan_period: Duration::from_hours(1),
        proposal_patience: Duration::ZERO,
        ..busy()
    };
    let cluster = Cluster::with(6, seldom).await;
    cluster.put("k", &bytes(100_000, 1)).await.unwrap();
    cluster.put("k", &bytes(100_000, 2)).await.unwrap();
    cluster.metadata.inject([Fault::Lost]);
    cluster.put("k", &bytes(100_000, 3)).await.unwrap_err();
    assert_eq!(
        cluster.shards(),
        18,
        "one replaced, one whose commit was never heard of"
    );
    cluster.metadata.advance(120_000);
    let watermark_past = async |c: &Cluster| {
        let partition = c.bucket.reference.partition;
        c.metadata.advance(10);
        watermark(c, partition).await > c.metadata.stamp(partition).await.unwrap().minus_ms(90_000)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !watermark_past(&cluster).await {
        assert!(Instant::now() < deadline, "the watermark stands still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cluster.shards(), 18, "nobody has asked");
    cluster.engine.start_clean_up();
    cluster.until("freed", |c| c.shards() == 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_wait_for_a_drive_that_is_out() {
    let cluster = Cluster::with(6, busy()).await;
    cluster.put("k", &bytes(100_000, 1)).await.unwrap();
    cluster.drives[0].store.fail("gone");
    let at = key("k");
    let condition = engine_core::meta::Condition::default();
    cluster
        .engine
        .delete(&cluster.bucket, &at, None, condition, crate::objects::by())
        .await
        .unwrap();
    cluster.metadata.advance(10);
    cluster
        .until("freed where it can be", |c| c.shards() == 1)
        .await;
    let dead = dead();
    let partition = cluster.bucket.reference.partition;
    let Reply::Dead(rows) = cluster
        .metadata
        .read(partition, dead.clone())
        .await
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(
        rows.len(),
        1,
        "the row stays until the last drive acknowledges"
    );
    cluster.drives[0].store.reopen();
    cluster.until("freed everywhere", |c| c.shards() == 0).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let Reply::Dead(rows) = cluster
            .metadata
            .read(partition, dead.clone())
            .await
            .unwrap()
        else {
            panic!()
        };
        if rows.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_rises_and_waits_for_open_writes() {
    let cluster = Cluster::with(6, busy()).await;
    let partition = cluster.bucket.reference.partition;
    let (put, go) = crate::support::held_put(&cluster, "slow", &bytes(50_000, 1)).await;
    // A body is read under a birth that is open already.
    let born = cluster.metadata.stamp(partition).await.unwrap();
    cluster.metadata.advance(3_600_000);
    // Asked for before the watermark is moved.
    cluster.round_of(&Query::Boots).await;
    assert!(
        watermark(&cluster, partition).await <= born,
        "held by the open write"
    );
    go.send(()).unwrap();
    put.await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while watermark(&cluster, partition).await <= born {
        assert!(Instant::now() < deadline, "it rises once the write is over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_shard_is_written_when_its_drive_is_back() {
    let options = EngineOptions {
        repair_period: Duration::from_millis(10),
        probe_period: Duration::from_millis(10),
        ..busy()
    };
    let cluster = Cluster::with(6, options).await;
    cluster.drives[5].store.fail("gone");
    let sent = bytes(300_000, 1);
    cluster.put("k", &sent).await.unwrap();
    assert_eq!(cluster.shards(), 5);
    cluster.drives[5].store.reopen();
    cluster
        .until("the sixth shard", |c| c.drives[5].store.tokens().len() == 1)
        .await;
    // Now the two others may go.
    cluster.drives[0].store.fail("gone");
    cluster.drives[1].store.fail("gone");
    assert!(cluster.all("k").await.unwrap() == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_reader_met_is_mended() {
    let options = EngineOptions {
        repair_period: Duration::from_millis(10),
        ..busy()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(300_000, 1);
    cluster.put("k", &sent).await.unwrap();
    let stale: Vec<_> = [0, 1, 2, 3]
        .map(|n| cluster.drives[n].store.tokens()[0])
        .into();
    // One at a time; each is made anew before the next is damaged: more than m in all.
    for (n, token) in stale.iter().enumerate() {
        assert!(cluster.drives[n].store.damage(*token, 10));
        let _read = cluster.all("k").await.unwrap();
        let reads_all = |c: &Cluster| !c.drives[n].store.tokens().contains(token);
        // Found and let go at once: it would pin the old copy.
        let found = cluster.found("k").await.found;
        let index = match &found.body {
            Some(engine_core::meta::BodyStart::Part(part)) => {
                let is_stale = |slot: &Option<engine_core::meta::Slot>| {
                    slot.is_some_and(|slot| slot.token == *token)
                };
                part.stripes[0].slots.iter().position(is_stale)
            }
            _ => None,
        };
        if index.is_some_and(|index| index >= 4) {
            // A reader does not meet damaged parity; scrub will.
            assert!(cluster.drives[n].store.damage(*token, 10), "mended by hand");
            continue;
        }
        cluster.metadata.advance(10);
        cluster
            .until("the damaged copy is replaced and freed", reads_all)
            .await;
    }
    assert!(cluster.all("k").await.unwrap() == sent);
    cluster.until("six copies again", |c| c.shards() == 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_once_the_watermark_has_passed_them() {
    use engine_core::erasure::Codec;
    use engine_core::format::{ShardHeader, ShardOwner, block_checksums};
    use engine_core::ports::ShardStore;
    let options = EngineOptions {
        orphan_period: Duration::from_millis(10),
        ..busy()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(300_000, 1);
    cluster.put("k", &sent).await.unwrap();
    let partition = cluster.bucket.reference.partition;
    let born = cluster.metadata.stamp(partition).await.unwrap();
    let payload = bytes::Bytes::from(bytes(64, 2));
    let header = ShardHeader {
        codec: Codec::Cauchy,
        drive: cluster.drives[0].row.uuid,
        segment: 0,
        offset: 0,
        partition,
        owner: ShardOwner::Object {
            bucket: cluster.bucket.row.id,
            key: key("k"),
        },
        data: engine_types::DataId::born(born, [1; 10]),
        part: 1,
        stripe: 0,
        k: 1,
        m: 0,
        index: 0,
        token: engine_types::CopyToken::born(born, [1; 10]),
        stripe_length: 64,
        payload_length: 64,
        block_crcs: block_checksums(&payload),
    };
    cluster.drives[0]
        .store
        .append(header, payload)
        .await
        .unwrap();
    // Asked for before copies are judged.
    cluster.round_of(&Query::Clock).await;
    assert_eq!(cluster.shards(), 7, "it may still be committed");
    cluster.metadata.advance(120_000);
    cluster
        .until("the orphan is freed", |c| c.shards() == 6)
        .await;
    cluster.round_of(&Query::Clock).await;
    assert_eq!(cluster.shards(), 6, "what is referenced stays");
    assert!(cluster.all("k").await.unwrap() == sent);
}
