//! Packs: one stripe of many small parts' sealed bytes, and what keeps count of them.
//!
//! To everything that looks after stripes a pack is a part like any other: its row and stripe map
//! stand in `parts` under the bucket [`PACKS`], with the pack's id as object key and as data id. So
//! repair, moving, re-striping, scrub, collection and the orphan look-up know no second path; only a
//! shard's header says "pack", so that a copy found alone tells who answers for it ([`shard_owner`],
//! [`shard_place`]). A map of its own beside the parts' was turned down: six workers would have to walk
//! two tables, and the one that forgot would lose data.
//!
//! The pack's stripe ends with a list of what was put into it ([`Contents`]). It finds the members
//! when a sparse pack is packed anew; one row a member in the tables was turned down, because tables
//! that grow with every small object are what packing is to avoid. The list may name members that
//! are long dead or elsewhere: only a part's own row says where its bytes are.

use super::{DecodeError, Stripe, decode, encode};
use crate::format::ShardOwner;
use crate::stripes::{FRAME_TAG, INLINE_BYTES_MAX, STRIPE_BYTES_MAX};
use engine_types::{
    BucketId, DataId, OBJECT_KEY_BYTES_MAX, ObjectKey, PackId, PartitionId, Stamp, StorageClass,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::ops::Range;

/// The bucket under which packs stand in `parts`, `dead` and `repairs` (**format**). Control numbers
/// buckets from 1; no range of it ever moves, since a pack's row stays with its maker.
pub const PACKS: BucketId = BucketId(0);
/// Most members of one pack: what one `Change::Pack` changes stays bounded.
pub const PACK_MEMBERS_MAX: usize = 2048;
/// Most bytes of a pack, its list included: one stripe.
pub const PACK_BYTES_MAX: usize = STRIPE_BYTES_MAX;
/// A pack of whose bytes fewer live is packed anew, percent.
pub const PACK_LIVE_PERCENT: u64 = 50;
/// Most rows that one page of [`PackQuery`] holds: unpacked rows, or packs.
pub const PACK_PAGE_MAX: u32 = 512;

/// Bytes at the end of a pack that find its list: length u32, CRC32C of the list u32, magic.
const FOOT_BYTES: usize = 16;
const FOOT_MAGIC: &[u8; 8] = b"DMPACK1\n";
/// Most that an entry takes in the list beside its key: ids and numbers at their longest.
const ENTRY_BYTES: usize = 64;

const _: () = assert!(
    PACK_MEMBERS_MAX * (INLINE_BYTES_MAX + FRAME_TAG) > PACK_BYTES_MAX,
    "large members fill a pack before their number does"
);
const _: () = assert!(
    INLINE_BYTES_MAX + FRAME_TAG + ENTRY_BYTES + OBJECT_KEY_BYTES_MAX + FOOT_BYTES + 16
        < PACK_BYTES_MAX,
    "any single member fits"
);

/// A pack's object key under [`PACKS`]: its id in hex.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: any id in hex is a key"
)]
pub fn pack_key(pack: PackId) -> ObjectKey {
    #[expect(clippy::expect_used, reason = "32 hex digits are a key")]
    ObjectKey::parse(&pack.to_string()).expect("an id is a key")
}

/// A pack's data id: its shards' headers and the placement of its stripe go by it.
pub const fn pack_data(pack: PackId) -> DataId {
    DataId(pack.0)
}

/// Whose bytes a shard of that part holds, as its header says it.
pub fn shard_owner(
    partition: PartitionId,
    bucket: BucketId,
    key: &ObjectKey,
    data: DataId,
) -> ShardOwner {
    if bucket == PACKS {
        return ShardOwner::Pack {
            partition,
            pack: PackId(data.0),
        };
    }
    ShardOwner::Object {
        bucket,
        key: key.clone(),
    }
}

/// Under which bucket and key the rows of a shard's part stand.
pub fn shard_place(owner: &ShardOwner) -> (BucketId, ObjectKey) {
    match owner {
        ShardOwner::Object { bucket, key } => (*bucket, key.clone()),
        ShardOwner::Pack { pack, .. } => (PACKS, pack_key(*pack)),
    }
}

/// A pack's count (table `packs`), in the partition that made it.
///
/// A partition that takes over a key range with packed parts keeps a row of the same pack with the
/// live bytes of its own parts; the maker names it in `owners` before the range flips and forgets it
/// when it lets go. Only the maker has the stripe map, and only it lets the pack die: when nothing of
/// its own lives in it and `owners` is empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackRow {
    /// Storage class of all members.
    pub class: StorageClass,
    /// Sealed bytes that were put into it; its list is not counted, else a pack of tiny objects with
    /// long keys were sparse from birth and packed anew for ever.
    pub bytes: u64,
    /// Sealed bytes of members whose rows here point into it.
    pub live: u64,
    /// Other partitions with rows that point into it, ascending.
    pub owners: Vec<PartitionId>,
    /// When it was made.
    pub made: Stamp,
}

impl PackRow {
    /// Less than [`PACK_LIVE_PERCENT`] of it lives.
    pub const fn is_sparse(&self) -> bool {
        self.live.saturating_mul(100) < self.bytes.saturating_mul(PACK_LIVE_PERCENT)
    }
}

/// A small part that waits to be packed (table `unpacked`, by data id and so by birth).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnpackedRow {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: ObjectKey,
    /// Storage class it was written with.
    pub class: StorageClass,
    /// Sealed bytes.
    pub length: u32,
}

/// One part in a pack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackMember {
    /// Its bucket.
    pub bucket: BucketId,
    /// Its key.
    pub key: ObjectKey,
    /// Its data id, under which its bytes are sealed.
    pub data: DataId,
    /// First byte in the pack.
    pub offset: u32,
    /// Sealed bytes.
    pub length: u32,
}

impl PackMember {
    /// Its bytes in the pack; none where it claims more than a pack holds.
    pub fn range(&self) -> Option<Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.length).ok()?)?;
        (end <= PACK_BYTES_MAX).then_some(start..end)
    }

    /// Most bytes it takes in a pack: its own, and its line in the list.
    pub fn room(&self) -> usize {
        let own = usize::try_from(self.length).unwrap_or(usize::MAX);
        own.saturating_add(ENTRY_BYTES)
            .saturating_add(self.key.as_str().len())
    }
}

/// A durable pack, to be named by its members' rows (`Change::Pack`).
///
/// Compare-and-set, member by member: one whose row no longer says that its bytes are where they
/// were read (`from`) is left out, and its bytes in the pack are dead from the start. Where none is
/// left the answer is `Changed` and nothing was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewPack {
    /// Its id; refused when born before the watermark.
    pub pack: PackId,
    /// The partition this is proposed to.
    pub maker: PartitionId,
    /// Class of all members.
    pub class: StorageClass,
    /// Its only stripe.
    pub stripe: Stripe,
    /// Its members, and where each one's bytes were read: none, from `inline`.
    pub members: Vec<(PackMember, Option<PackId>)>,
}

/// Reads about packs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PackQuery {
    /// Parts that wait to be packed, by data id, strictly after one, born before `before`.
    Unpacked {
        /// Cursor.
        after: Option<DataId>,
        /// Only those born before.
        before: Stamp,
        /// Most rows, ≤ [`PACK_PAGE_MAX`].
        limit: u32,
    },
    /// Sealed bytes of inline parts; none where it is no longer inline.
    Inline(Vec<(BucketId, ObjectKey, DataId)>),
    /// Packs by id, strictly after one.
    Packs {
        /// Cursor.
        after: Option<PackId>,
        /// Only sparse ones.
        sparse: bool,
        /// Most packs, ≤ [`PACK_PAGE_MAX`].
        limit: u32,
    },
    /// Which of these still have their bytes at that place of the pack.
    Within {
        /// The pack.
        pack: PackId,
        /// As its list names them.
        members: Vec<PackMember>,
    },
}

/// Answers to [`PackQuery`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PackReply {
    /// To `Unpacked`.
    Unpacked(Vec<(DataId, UnpackedRow)>),
    /// To `Inline`, in the order asked.
    Inline(Vec<Option<ByteBuf>>),
    /// To `Packs`.
    Packs(Vec<(PackId, PackRow)>),
    /// To `Within`, in the order asked.
    Within(Vec<bool>),
}

/// The list at the end of a pack, and its foot.
#[derive(Clone, Copy, Debug)]
pub struct Contents;

impl Contents {
    /// Most bytes of list and foot beside what [`PackMember::room`] counts.
    pub const ROOM: usize = FOOT_BYTES + 16;

    /// List and foot of a pack of these.
    pub fn encode(members: &[PackMember]) -> Vec<u8> {
        let mut bytes = encode(&members);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let crc = crate::format::crc32c(&bytes);
        bytes.extend(length.to_be_bytes());
        bytes.extend(crc.to_be_bytes());
        bytes.extend(FOOT_MAGIC);
        bytes
    }

    /// The members that a whole pack's list names. Total: any bytes give a list or an error.
    pub fn decode(pack: &[u8]) -> Result<Vec<PackMember>, DecodeError> {
        let bad = |what: &str| DecodeError::Malformed(format!("pack: {what}"));
        let (rest, foot) = pack
            .split_last_chunk::<FOOT_BYTES>()
            .ok_or_else(|| bad("too short"))?;
        let [l0, l1, l2, l3, c0, c1, c2, c3, magic @ ..] = foot;
        if magic != FOOT_MAGIC {
            return Err(bad("no foot"));
        }
        let length =
            usize::try_from(u32::from_be_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        let start = rest
            .len()
            .checked_sub(length)
            .ok_or_else(|| bad("length of the list"))?;
        let (_, list) = rest
            .split_at_checked(start)
            .ok_or_else(|| bad("length of the list"))?;
        if crate::format::crc32c(list) != u32::from_be_bytes([*c0, *c1, *c2, *c3]) {
            return Err(bad("checksum of the list"));
        }
        let members: Vec<PackMember> = decode(list)?;
        let inside = |member: &PackMember| member.range().is_some_and(|range| range.end <= start);
        if members.len() > PACK_MEMBERS_MAX || !members.iter().all(inside) {
            return Err(bad("members"));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(offset: u32, length: u32, key: &str) -> PackMember {
        let key = ObjectKey::parse(key).unwrap();
        PackMember {
            bucket: BucketId(u64::MAX),
            key,
            data: DataId([255; 16]),
            offset,
            length,
        }
    }

    fn pack_of(members: &[PackMember], filler: usize) -> Vec<u8> {
        [vec![7; filler], Contents::encode(members)].concat()
    }

    #[test]
    fn a_pack_is_a_part_of_its_own_bucket_and_back() {
        let pack = PackId([0xAB; 16]);
        let of = shard_owner(PartitionId(3), PACKS, &pack_key(pack), pack_data(pack));
        assert_eq!(
            of,
            ShardOwner::Pack {
                partition: PartitionId(3),
                pack
            }
        );
        assert_eq!(shard_place(&of), (PACKS, pack_key(pack)));
        let key = ObjectKey::parse("k").unwrap();
        let of = shard_owner(PartitionId(3), BucketId(1), &key, pack_data(pack));
        assert_eq!(shard_place(&of), (BucketId(1), key));
    }

    #[test]
    fn sparse_is_below_half() {
        let class = StorageClass::standard();
        let mut row = PackRow {
            class,
            bytes: 200,
            live: 100,
            owners: Vec::new(),
            made: Stamp(0),
        };
        assert!(!row.is_sparse());
        row.live = 99;
        assert!(row.is_sparse());
    }

    #[test]
    fn members_are_bounded_by_number_and_place() {
        let mut members = vec![member(0, 16, "k"); PACK_MEMBERS_MAX];
        assert_eq!(Contents::decode(&pack_of(&members, 16)).unwrap(), members);
        members.push(member(0, 16, "k"));
        assert!(Contents::decode(&pack_of(&members, 16)).is_err());
        assert!(
            Contents::decode(&pack_of(&[member(1, 16, "k")], 16)).is_err(),
            "into the list"
        );
        let end = u32::try_from(PACK_BYTES_MAX).unwrap();
        assert!(member(end - 16, 16, "k").range().is_some());
        assert!(member(end - 15, 16, "k").range().is_none());
        assert_eq!(PACK_MEMBERS_MAX % PACK_PAGE_MAX as usize, 0, "whole pages");
    }

    #[test]
    fn no_flipped_bit_of_list_or_foot_goes_unseen() {
        let members = vec![member(0, 16, "some/key"), member(16, 20, "k\0")];
        let pack = pack_of(&members, 36);
        for bit in 36 * 8..pack.len() * 8 {
            let mut bad = pack.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Contents::decode(&bad).is_err(), "bit {bit}");
        }
        for length in 36..pack.len() {
            assert!(Contents::decode(&pack[..length]).is_err());
        }
    }

    #[test]
    fn room_is_enough_for_the_longest_entry() {
        let one = member(u32::MAX, u32::MAX, &"k".repeat(OBJECT_KEY_BYTES_MAX));
        let list = Contents::encode(std::slice::from_ref(&one)).len();
        assert!(list <= one.room() - one.length as usize + Contents::ROOM);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), foot: bool) {
            let mut bytes = bytes;
            if foot {
                bytes.extend(FOOT_MAGIC);
            }
            drop(Contents::decode(&bytes));
        }
    }
}
