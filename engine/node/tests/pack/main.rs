//! Small objects on their way into packs, in packs, and out of them. A program of its own, because
//! its thousands of objects take the machine's cores from tests that count on their time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: they stop where something is not as it must be"
)]

#[path = "../engine/support.rs"]
#[expect(dead_code, reason = "shared with the other program")]
mod support;

mod liars;
mod misplaced;
mod small;
mod starving;

use engine_core::meta::{
    Answer, BodyStart, Change, Command, Condition, PackQuery, PackReply, PackRow, Place, Query,
    Reply, UnpackedRow,
};
use engine_core::ports::Metadata;
use engine_node::EngineOptions;
use engine_sim::Fault;
use engine_types::{BirthId, ChargedTo, CommandId, DataId, PackId, Stamp};
use std::time::{Duration, Instant};
use support::{Cluster, ROOT, bytes, key, quick};

/// Packs at once whatever there is, and looks after everything all the time.
fn packing() -> EngineOptions {
    let soon = Duration::from_millis(10);
    EngineOptions {
        background: true,
        pack_age: Duration::ZERO,
        pack_period: soon,
        pack_bytes_min: 1,
        gc_grace: Duration::ZERO,
        gc_period: soon,
        report_period: soon,
        repair_period: soon,
        orphan_period: soon,
        probe_period: soon,
        ..quick()
    }
}

impl Cluster {
    async fn packs_query(&self, query: PackQuery) -> PackReply {
        let partition = self.bucket.reference.partition;
        match self
            .metadata
            .read(partition, Query::Packs(query))
            .await
            .unwrap()
        {
            Reply::Packs(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
    async fn packs(&self) -> Vec<(PackId, PackRow)> {
        match self
            .packs_query(PackQuery::Packs {
                after: None,
                sparse: false,
                limit: 512,
            })
            .await
        {
            PackReply::Packs(packs) => packs,
            other => panic!("{other:?}"),
        }
    }
    async fn unpacked(&self) -> Vec<(DataId, UnpackedRow)> {
        let before = Stamp(u64::MAX);
        match self
            .packs_query(PackQuery::Unpacked {
                after: None,
                before,
                limit: 512,
            })
            .await
        {
            PackReply::Unpacked(rows) => rows,
            other => panic!("{other:?}"),
        }
    }
    /// Time goes on, so that what is there is old enough; waits until nothing is inline.
    async fn pack_all(&self) {
        self.metadata.advance(10);
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.unpacked().await.is_empty() {
            assert!(Instant::now() < deadline, "nothing waits any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    async fn place(&self, name: &str) -> Place {
        match self.found(name).await.found.body {
            Some(BodyStart::Part(part)) => part.row.place,
            other => panic!("{other:?}"),
        }
    }
    async fn remove(&self, name: &str) {
        let by = (
            ROOT,
            ChargedTo {
                account: ROOT,
                key: None,
            },
        );
        let key = key(name);
        self.engine
            .delete(&self.bucket, &key, None, Condition::default(), by)
            .await
            .unwrap();
    }
    async fn counters(&self) -> Reply {
        let partition = self.bucket.reference.partition;
        self.metadata
            .read(partition, Query::Counters)
            .await
            .unwrap()
    }
    async fn dead(&self) -> usize {
        let query = Query::Dead {
            after: None,
            before: Stamp(u64::MAX),
            limit: 100,
        };
        match self
            .metadata
            .read(self.bucket.reference.partition, query)
            .await
            .unwrap()
        {
            Reply::Dead(rows) => rows.len(),
            other => panic!("{other:?}"),
        }
    }
    async fn propose(&self, change: Change) -> Answer {
        let partition = self.bucket.reference.partition;
        let birth = self.metadata.stamp(partition).await.unwrap();
        let id = CommandId::born(birth, [7; 10]);
        self.metadata
            .apply(partition, Command { id, change })
            .unwrap()
    }
}

/// Sizes from nothing to the largest that is inline.
fn size(n: usize) -> usize {
    match n % 8 {
        0 => n % 3,
        7 => 16_384 - n % 100,
        _ => n * 7 % 9_000,
    }
}
fn body(n: usize) -> Vec<u8> {
    bytes(size(n), n as u64)
}
fn name(n: usize) -> String {
    format!("dir/{n:05}")
}

async fn reads_all(cluster: &Cluster, objects: impl Iterator<Item = usize>) {
    for n in objects {
        let sent = body(n);
        assert!(cluster.all(&name(n)).await.unwrap() == sent, "object {n}");
        let (from, to) = (sent.len() / 3, sent.len() * 2 / 3);
        if from < to {
            let range = cluster.get(&name(n), from as u64..to as u64).await.unwrap();
            assert!(range == sent[from..to], "range of object {n}");
        }
    }
}

const OBJECTS: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn small_objects_are_packed_read_repacked_and_freed() {
    let cluster = Cluster::with(
        6,
        EngineOptions {
            pack_age: Duration::from_hours(1),
            ..packing()
        },
    )
    .await;
    for n in 0..OBJECTS {
        cluster.put(&name(n), &body(n)).await.unwrap();
    }
    assert_eq!(cluster.shards(), 0, "inline first");
    let counted = cluster.counters().await;
    cluster.metadata.advance(3_600_000);
    cluster.pack_all().await;
    let (packs, sealed) = (
        cluster.packs().await,
        (0..OBJECTS).map(|n| size(n) as u64 + 16).sum::<u64>(),
    );
    assert!((1..9).contains(&packs.len()), "{} packs", packs.len());
    assert_eq!(packs.iter().map(|(_, pack)| pack.live).sum::<u64>(), sealed);
    assert_eq!(cluster.shards(), packs.len() * 6);
    assert_eq!(cluster.counters().await, counted, "packing counts nothing");
    reads_all(&cluster, 0..OBJECTS).await;

    // Any two drives may go.
    cluster.drives[1].store.fail("gone");
    cluster.drives[4].store.fail("gone");
    reads_all(&cluster, (0..OBJECTS).step_by(7)).await;
    cluster.drives[1].store.reopen();
    cluster.drives[4].store.reopen();

    // Of what is left of sparse packs fewer are made.
    let kept = |n: &usize| n % 5 < 2;
    for n in (0..OBJECTS).filter(|n| !kept(n)) {
        cluster.remove(&name(n)).await;
    }
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let now = cluster.packs().await;
        let sparse = now.iter().any(|(_, pack)| pack.is_sparse());
        if !sparse
            && now
                .iter()
                .all(|(id, _)| packs.iter().all(|(old, _)| old != id))
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "sparse packs are packed anew: {now:?}"
        );
        cluster.metadata.advance(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    reads_all(&cluster, (0..OBJECTS).filter(kept)).await;

    for n in (0..OBJECTS).filter(kept) {
        cluster.remove(&name(n)).await;
    }
    cluster.metadata.advance(10);
    cluster
        .until("every shard is freed", |c| c.shards() == 0)
        .await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while !cluster.packs().await.is_empty() || cluster.dead().await > 0 {
        assert!(Instant::now() < deadline, "nothing is left of the packs");
        cluster.metadata.advance(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_small_bytes_wait_and_young_ones_too() {
    let options = EngineOptions {
        pack_age: Duration::from_mins(1),
        pack_bytes_min: 100_000,
        pack_wait: Duration::from_hours(1),
        ..packing()
    };
    let cluster = Cluster::with(6, options).await;
    for n in 0..7 {
        cluster.put(&name(n), &bytes(10_000, 1)).await.unwrap();
    }
    let packs = Query::Packs(PackQuery::Unpacked {
        after: None,
        before: Stamp(0),
        limit: 1,
    });
    cluster.metadata.advance(61_000);
    cluster.round_of(&packs).await;
    assert_eq!(cluster.shards(), 0, "70 KB are below the least");
    for n in 7..11 {
        cluster.put(&name(n), &bytes(10_000, 1)).await.unwrap();
    }
    cluster.round_of(&packs).await;
    assert_eq!(cluster.shards(), 0, "enough, but too young");
    cluster.metadata.advance(61_000);
    cluster.until("one pack of all", |c| c.shards() == 6).await;
    // Fewer than the least are packed once they have waited long, if they are worth a block each.
    for n in 20..27 {
        cluster.put(&name(n), &bytes(10_000, 1)).await.unwrap();
    }
    cluster.metadata.advance(3_700_000);
    cluster.until("a second pack", |c| c.shards() == 12).await;
    cluster.put("one", &bytes(10_000, 1)).await.unwrap();
    cluster.metadata.advance(3_700_000);
    cluster.round_of(&packs).await;
    assert_eq!(
        (cluster.shards(), cluster.place("one").await),
        (12, Place::Inline)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_shards_and_commit_leaves_orphans_only() {
    let options = EngineOptions {
        proposal_patience: Duration::from_millis(1),
        ..packing()
    };
    let cluster = Cluster::with(6, options).await;
    cluster.put("k", &body(7)).await.unwrap();
    // The packer never learns what came of its command, as after a crash: once it was not applied,
    // once it was.
    cluster.metadata.inject([Fault::Lost]);
    cluster.metadata.advance(10);
    cluster
        .until("written twice, committed once", |c| c.shards() == 12)
        .await;
    assert!(cluster.all("k").await.unwrap() == body(7));
    cluster.metadata.advance(120_000);
    cluster
        .until("the first attempt's copies are orphans", |c| {
            c.shards() == 6
        })
        .await;
    assert!(cluster.all("k").await.unwrap() == body(7));

    cluster.metadata.inject([Fault::AnswerLost]);
    cluster.put("l", &body(15)).await.ok();
    cluster.metadata.inject([Fault::AnswerLost]);
    cluster.put("m", &body(23)).await.ok();
    cluster.pack_all().await;
    cluster.metadata.advance(120_000);
    let packs = cluster.packs().await.len();
    cluster
        .until("the packs' copies and no others", |c| {
            c.shards() == packs * 6
        })
        .await;
    for (name, n) in [("k", 7), ("l", 15), ("m", 23)] {
        assert!(cluster.all(name).await.unwrap() == body(n), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_queued_repaired_and_read_while_damaged() {
    let cluster = Cluster::with(6, packing()).await;
    cluster.drives[5].store.fail("gone");
    for n in 0..50 {
        cluster.put(&name(n), &body(n)).await.unwrap();
    }
    cluster.pack_all().await;
    reads_all(&cluster, 0..50).await;
    cluster.drives[5].store.reopen();
    let whole = |c: &Cluster| c.drives.iter().all(|d| !d.store.tokens().is_empty());
    cluster.until("the sixth shard of each pack", whole).await;
    let packs = cluster.packs().await.len();
    cluster
        .until("of each pack", |c| c.shards() == packs * 6)
        .await;
    let stale = cluster.drives[0].store.tokens()[0];
    assert!(cluster.drives[0].store.damage(stale, 10));
    reads_all(&cluster, 0..50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_pack_that_dies_reads_on() {
    let cluster = Cluster::with(6, packing()).await;
    cluster.put("k", &body(7)).await.unwrap();
    cluster.pack_all().await;
    let reader = cluster.found("k").await;
    cluster.remove("k").await;
    cluster.metadata.advance(10);
    let dead = Query::Dead {
        after: None,
        before: Stamp(0),
        limit: 1,
    };
    cluster.round_of(&dead).await;
    assert_eq!(cluster.shards(), 6, "the reader's pin holds the pack");
    let stream = cluster
        .engine
        .read(reader, 0..u64::MAX, None)
        .await
        .unwrap();
    assert!(support::collect(stream).await.unwrap() == body(7));
    cluster.until("freed behind it", |c| c.shards() == 0).await;
}
