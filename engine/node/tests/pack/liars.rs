//! Shards of packs whose checksums hold over wrong bytes.

use crate::packing;
use crate::support::{Cluster, bytes};
use engine_core::meta::{PackQuery, Query, Stripe};
use engine_core::ports::Metadata;
use engine_node::EngineOptions;
use engine_types::{PackId, Stamp};
use std::time::{Duration, Instant};

const OBJECTS: u64 = 40;
/// Those that are kept: what is in the first data shard is theirs.
const KEPT: u64 = 12;

fn name(n: u64) -> String {
    format!("k{n:02}")
}

async fn reads_kept(cluster: &Cluster) {
    for n in 0..KEPT {
        let read = cluster.all(&name(n)).await;
        assert!(read.is_ok_and(|read| read == bytes(8_000, n)), "{n}");
    }
}

/// One pack, with a first shard that lies, of which most is deleted.
async fn lying(drives: u32) -> (Cluster, PackId) {
    let options = EngineOptions {
        pack_age: Duration::from_hours(1),
        ..packing()
    };
    let cluster = Cluster::with(drives, options).await;
    for n in 0..OBJECTS {
        cluster.put(&name(n), &bytes(8_000, n)).await.unwrap();
    }
    cluster.metadata.advance(3_600_000);
    cluster.pack_all().await;
    let packs = cluster.packs().await;
    let [(pack, _)] = &packs[..] else {
        panic!("{packs:?}")
    };
    let slot = stripe(&cluster).await.slots[0].unwrap();
    let drive = cluster.drives.iter().find(|d| d.row.id == slot.drive);
    for at in (0..60_000).step_by(1_000) {
        assert!(drive.unwrap().store.falsify(slot.token, at));
    }
    for n in KEPT..OBJECTS {
        cluster.remove(&name(n)).await;
    }
    (cluster, *pack)
}

async fn stripe(cluster: &Cluster) -> Stripe {
    let query = Query::ScanParts {
        after: None,
        limit: 100,
    };
    let partition = cluster.bucket.reference.partition;
    let engine_core::meta::Reply::ScannedParts(parts) =
        cluster.metadata.read(partition, query).await.unwrap()
    else {
        panic!()
    };
    let mut stripes = parts.into_iter().flat_map(|(_, _, part)| part.stripes);
    stripes.next().unwrap()
}

async fn until_repacked(cluster: &Cluster, old: PackId) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while cluster.packs().await.iter().any(|(id, _)| *id == old) {
        assert!(Instant::now() < deadline, "packed anew");
        cluster.metadata.advance(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_does_not_go_into_the_next_pack() {
    let (cluster, old) = lying(6).await;
    until_repacked(&cluster, old).await;
    reads_kept(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_whose_liar_cannot_be_told_stays_until_a_reader_tells() {
    let (cluster, old) = lying(3).await;
    let packs = Query::Packs(PackQuery::Unpacked {
        after: None,
        before: Stamp(0),
        limit: 1,
    });
    for _ in 0..3 {
        cluster.round_of(&packs).await;
    }
    let packs = cluster.packs().await;
    assert!(packs.iter().any(|(id, _)| *id == old), "2+1: {packs:?}");
    // They find out by themselves, and say so.
    reads_kept(&cluster).await;
    until_repacked(&cluster, old).await;
    reads_kept(&cluster).await;
}
