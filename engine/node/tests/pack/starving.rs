//! Sparse packs that get their turn whatever else there is.

use crate::packing;
use crate::support::{Cluster, bytes};
use engine_core::erasure::Codec;
use engine_core::format::{ShardHeader, block_checksums};
use engine_core::meta::{
    Answer, Change, Contents, NewPack, PACK_MEMBERS_MAX, PACKS, PackMember, PackQuery, PackReply,
    Place, Slot, Stripe, UnpackedRow, pack_data, pack_key, shard_owner,
};
use engine_core::ports::{Metadata, ShardStore};
use engine_node::EngineOptions;
use engine_types::{BirthId, CopyToken, DataId, DriveId, PackId, StorageClass};
use std::time::{Duration, Instant};

/// Sparse packs that are looked at at once.
const PER_TICK: usize = 256;

fn options() -> EngineOptions {
    EngineOptions {
        pack_age: Duration::from_hours(1),
        repair_period: Duration::from_hours(1),
        ..packing()
    }
}

/// A pack of one object that waits and a longer one that is gone: sparse from the beginning. Its one
/// shard is on the first drive, where there are bytes for it.
async fn sparse(
    cluster: &Cluster,
    (data, row): &(DataId, UnpackedRow),
    sealed: Option<&[u8]>,
) -> PackId {
    let member = PackMember {
        bucket: row.bucket,
        key: row.key.clone(),
        data: *data,
        offset: 0,
        length: row.length,
    };
    let gone = PackMember {
        data: DataId([9; 16]),
        offset: row.length,
        length: 2 * row.length,
        ..member.clone()
    };
    let mut stripe = sealed.unwrap_or_default().to_vec();
    stripe.resize(3 * row.length as usize, 0);
    stripe.extend(Contents::encode(&[member.clone(), gone.clone()]));
    let length = u32::try_from(stripe.len()).unwrap();
    stripe.resize(stripe.len().next_multiple_of(64), 0);
    let partition = cluster.bucket.reference.partition;
    let born = cluster.metadata.stamp(partition).await.unwrap();
    let (pack, token) = (PackId::born(born, [3; 10]), CopyToken::born(born, [3; 10]));
    let header = ShardHeader {
        codec: Codec::for_data_shards(1),
        drive: cluster.drives[0].row.uuid,
        segment: 0,
        offset: 0,
        partition,
        owner: shard_owner(partition, PACKS, &pack_key(pack), pack_data(pack)),
        data: pack_data(pack),
        part: 0,
        stripe: 0,
        k: 1,
        m: 0,
        index: 0,
        token,
        stripe_length: length,
        payload_length: u32::try_from(stripe.len()).unwrap(),
        block_crcs: block_checksums(&stripe),
    };
    if sealed.is_some() {
        let store = &cluster.drives[0].store;
        store.append(header, stripe.into()).await.unwrap();
    }
    let change = NewPack {
        pack,
        maker: partition,
        class: StorageClass::standard(),
        stripe: Stripe {
            codec: Codec::for_data_shards(1).id(),
            k: 1,
            m: 0,
            length,
            slots: vec![Some(Slot {
                drive: DriveId(1),
                token,
            })],
        },
        members: vec![(member, None), (gone, None)],
    };
    let answer = cluster.propose(Change::Pack(Box::new(change))).await;
    assert!(
        matches!(answer, Answer::Packed { packed: 1, .. }),
        "{answer:?}"
    );
    pack
}

/// Sealed bytes of an object that waits.
async fn sealed(cluster: &Cluster, (data, row): &(DataId, UnpackedRow)) -> Vec<u8> {
    let query = PackQuery::Inline(vec![(row.bucket, row.key.clone(), *data)]);
    let PackReply::Inline(bytes) = cluster.packs_query(query).await else {
        panic!()
    };
    bytes[0].as_ref().unwrap().to_vec()
}

async fn until_moved(cluster: &Cluster, name: &str, from: PackId) -> PackId {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match cluster.place(name).await {
            Place::Packed { pack, .. } if pack != from => return pack,
            place => assert!(Instant::now() < deadline, "{name}: {place:?}"),
        }
        cluster.metadata.advance(10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_cannot_be_read_do_not_keep_others_from_being_packed_anew() {
    let cluster = Cluster::with(6, options()).await;
    for n in 0..PER_TICK {
        cluster
            .put(&format!("a{n:03}"), &bytes(500, 1))
            .await
            .unwrap();
    }
    for waiting in cluster.unpacked().await {
        sparse(&cluster, &waiting, None).await;
    }
    let sent = bytes(500, 2);
    cluster.put("last", &sent).await.unwrap();
    let [waiting] = &cluster.unpacked().await[..] else {
        panic!("one waits")
    };
    let bytes = sealed(&cluster, waiting).await;
    let pack = sparse(&cluster, waiting, Some(&bytes)).await;
    until_moved(&cluster, "last", pack).await;
    assert!(cluster.all("last").await.unwrap() == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn sparse_packs_do_not_wait_for_the_end_of_a_backlog() {
    let cluster = Cluster::with(6, options()).await;
    let sent = bytes(500, 2);
    cluster.put("old", &sent).await.unwrap();
    let waiting = cluster.unpacked().await.remove(0);
    let bytes = sealed(&cluster, &waiting).await;
    for n in 0..PACK_MEMBERS_MAX + 100 {
        cluster.put(&format!("k{n:04}"), b"tiny").await.unwrap();
    }
    // So that the packer sees all of it at once.
    let partition = cluster.bucket.reference.partition;
    cluster.metadata.set_majority(partition, false);
    let pack = sparse(&cluster, &waiting, Some(&bytes)).await;
    cluster.metadata.advance(3_600_000);
    cluster.metadata.set_majority(partition, true);
    cluster.pack_all().await;
    let anew = until_moved(&cluster, "old", pack).await;
    let last = format!("k{:04}", PACK_MEMBERS_MAX + 99);
    let Place::Packed { pack: last, .. } = cluster.place(&last).await else {
        panic!()
    };
    assert!(anew < last, "packs are named by when they were begun");
    assert!(cluster.all("old").await.unwrap() == sent);
}
