//! A pack whose members' rows name the wrong places.

use crate::support::{Cluster, bytes};
use engine_core::erasure::Codec;
use engine_core::format::{ShardHeader, block_checksums};
use engine_core::meta::{
    Answer, Change, Contents, NewPack, PACKS, PackMember, PackQuery, PackReply, Slot, Stripe,
    UnpackedRow, pack_data, pack_key, shard_owner,
};
use engine_core::ports::{Metadata, ShardStore};
use engine_node::EngineError;
use engine_types::{BirthId, CopyToken, DataId, DriveId, PackId, StorageClass};

/// What waits, two objects of one length, as members at each other's place; the bytes of a pack of them.
async fn swapped(cluster: &Cluster) -> (Vec<PackMember>, Vec<u8>) {
    let waiting = cluster.unpacked().await;
    let of = waiting
        .iter()
        .map(|(data, row)| (row.bucket, row.key.clone(), *data));
    let PackReply::Inline(sealed) = cluster.packs_query(PackQuery::Inline(of.collect())).await
    else {
        panic!()
    };
    let member = |(data, row): &(DataId, UnpackedRow), offset| PackMember {
        bucket: row.bucket,
        key: row.key.clone(),
        data: *data,
        offset,
        length: row.length,
    };
    let swapped = vec![member(&waiting[0], 516), member(&waiting[1], 0)];
    let mut stripe: Vec<u8> = sealed
        .iter()
        .flatten()
        .flat_map(|bytes| bytes.to_vec())
        .collect();
    stripe.extend(Contents::encode(&swapped));
    (swapped, stripe)
}

/// Makes a pack as a packer would, with one shard.
async fn pack(cluster: &Cluster, members: Vec<PackMember>, mut stripe: Vec<u8>) -> Answer {
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
    cluster.drives[0]
        .store
        .append(header, stripe.into())
        .await
        .unwrap();
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
        members: members.into_iter().map(|member| (member, None)).collect(),
    };
    cluster.propose(Change::Pack(Box::new(change))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_members_bytes_are_never_served() {
    let cluster = Cluster::new(6).await;
    let (one, two) = (bytes(500, 1), bytes(500, 2));
    cluster.put("one", &one).await.unwrap();
    cluster.put("two", &two).await.unwrap();
    let (members, stripe) = swapped(&cluster).await;
    let answer = pack(&cluster, members, stripe).await;
    assert_eq!(
        answer,
        Answer::Packed {
            packed: 2,
            left_out: 0
        }
    );
    for name in ["one", "two"] {
        let read = cluster.all(name).await;
        assert!(
            matches!(read, Err(EngineError::DataLost(_))),
            "{name}: {read:?}"
        );
    }
}
