//! Shards to try a store with: every length at a border of the format, bytes that follow from a number.

use bytes::Bytes;
use engine_core::erasure::Codec;
use engine_core::format::{BLOCK_BYTES, ShardHeader, ShardOwner, block_checksums};
use engine_core::stripes::{STRIPE_BYTES_MAX, shard_length};
use engine_types::{
    BirthId, BucketId, CopyToken, DataId, DriveUuid, ObjectKey, PartitionId, Stamp,
};

/// A shard of `length` payload bytes (rounded up to 64), born at `birth`, told from others by
/// `number`; its bytes follow from both.
///
/// # Panics
/// Never, for lengths up to a stripe's.
pub fn shard(drive: DriveUuid, birth: u64, number: u64, length: u32) -> (ShardHeader, Bytes) {
    let payload_length = shard_length(length, 1);
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ birth | 1;
    let mut bytes = Vec::with_capacity(payload_length as usize);
    while bytes.len() < payload_length as usize {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(payload_length as usize);
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&number.to_be_bytes());
    let header = ShardHeader {
        codec: Codec::Cauchy,
        drive,
        segment: 0,
        offset: 0,
        partition: PartitionId(1),
        owner: ShardOwner::Object {
            bucket: BucketId(9),
            key: ObjectKey::parse("a/key").expect("a valid key"),
        },
        data: DataId::born(Stamp(birth), entropy),
        part: 1,
        stripe: 0,
        k: 1,
        m: 0,
        index: 0,
        token: CopyToken::born(Stamp(birth), entropy),
        stripe_length: length,
        payload_length,
        block_crcs: block_checksums(&bytes),
    };
    (header, bytes.into())
}

/// [`BLOCK_BYTES`] and [`STRIPE_BYTES_MAX`] as lengths.
pub(super) const BLOCK: u32 = 64 * 1024;
pub(super) const STRIPE: u32 = 8 * 1024 * 1024;
const _: () = assert!(BLOCK as usize == BLOCK_BYTES && STRIPE as usize == STRIPE_BYTES_MAX);

pub(super) fn small(number: u64) -> u32 {
    u32::try_from(number).expect("a small number")
}

/// Sizes around every border of the format.
pub(super) const LENGTHS: [u32; 8] = [
    64,
    3_000 - 3_000 % 64,
    4_096,
    BLOCK - 64,
    BLOCK,
    BLOCK + 64,
    1024 * 1024 + 64,
    STRIPE,
];
