//! The shard record: a header, then the payload, padded to 4 KiB.
//!
//! The payload begins at [`ShardHeader::payload_offset`]: right behind the header for small
//! shards, so that they cost one block, and at 4,096 for large ones, so that the payload goes from
//! its aligned buffer to the drive uncopied.
//!
//! Version 1, offsets in bytes, all numbers big-endian:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `DMSHARD\n` |
//! | 8 | 2 | version |
//! | 10 | 4 | length of the header, CRC included |
//! | 14 | 4 | codec, k, m, shard index |
//! | 18 | 16 | drive uuid |
//! | 34 | 16 | segment, own offset |
//! | 50 | 4 | partition |
//! | 54 | 16 | data id |
//! | 70 | 8 | part, stripe |
//! | 78 | 16 | copy token |
//! | 94 | 8 | ciphertext bytes of the stripe, bytes of the payload |
//! | 102 | 1 | owner: 1 object, 2 pack |
//! | 103 | 10 + key | object: bucket id (8), length of the key (2), key |
//! | 103 | 20 | pack: maker partition (4), pack id (16) |
//! | then | 4 each | CRC32C of each 64 KiB of the payload |
//! | last | 4 | CRC32C of all before it |

use super::FormatError;
use super::cursor::{Kind, Reader, crc32c, round_up};
use crate::erasure::Codec;
use crate::stripes::{self, STRIPE_BYTES_MAX};
use engine_types::{
    BucketId, CopyToken, DataId, DriveUuid, OBJECT_KEY_BYTES_MAX, ObjectKey, PackId, PartitionId,
};

/// Bytes of payload under one CRC32C.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// Records begin and end at multiples of this.
pub const RECORD_ALIGN: usize = 4096;
/// Longest header, padding included.
pub const HEADER_BYTES_MAX: usize = RECORD_ALIGN;

/// Most blocks of one payload: k = 1 and a whole stripe.
pub(super) const BLOCKS_MAX: usize = STRIPE_BYTES_MAX.div_ceil(BLOCK_BYTES);
/// Fields of fixed length, the longer owner, frame and CRC: an upper bound, checked by a test.
pub(super) const FIXED_BYTES_MAX: usize = 160;
const _: () = assert!(
    FIXED_BYTES_MAX + OBJECT_KEY_BYTES_MAX + 4 * BLOCKS_MAX <= HEADER_BYTES_MAX,
    "the longest header fits the one block that is read for it"
);

const SHARD: Kind = Kind {
    what: "shard header",
    magic: *b"DMSHARD\n",
    version: 1,
    bytes_max: HEADER_BYTES_MAX,
};

/// Whose bytes a shard holds: where an orphan look-up asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardOwner {
    /// A part of an object version.
    Object {
        /// The bucket's life.
        bucket: BucketId,
        /// Its key.
        key: ObjectKey,
    },
    /// A pack of many small objects.
    Pack {
        /// The partition that made it, which alone answers for it.
        partition: PartitionId,
        /// The pack.
        pack: PackId,
    },
}

/// All that is known of a shard without the metadata. Numbers are checked by `encode` and `decode`:
/// 1 ≤ k, k + m ≤ 255, index < k + m, `payload_length` = shard length of (`stripe_length`, k), one
/// CRC per started [`BLOCK_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    /// How the stripe was encoded.
    pub codec: Codec,
    /// The drive it was written to; a record found elsewhere is not ours.
    pub drive: DriveUuid,
    /// The segment it was written to (filled in by the disk).
    pub segment: u64,
    /// Its own byte offset in the segment (filled in by the disk): stale blocks of a re-used place
    /// give themselves away.
    pub offset: u64,
    /// Partition that held the row when this was written. A hint: the map decides.
    pub partition: PartitionId,
    /// Whose bytes.
    pub owner: ShardOwner,
    /// The attempt at writing the part; a pack's own data id for packs.
    pub data: DataId,
    /// Part number; 0 for packs.
    pub part: u32,
    /// Stripe of the part, from 0.
    pub stripe: u32,
    /// Data shards of the stripe.
    pub k: u8,
    /// Parity shards of the stripe.
    pub m: u8,
    /// Which shard: data shards are 0..k, parity k..k+m.
    pub index: u8,
    /// Names this copy.
    pub token: CopyToken,
    /// Ciphertext bytes in the stripe, before padding.
    pub stripe_length: u32,
    /// Bytes of this shard.
    pub payload_length: u32,
    /// CRC32C of each [`BLOCK_BYTES`] of the payload; the last may be short.
    pub block_crcs: Vec<u32>,
}

/// CRC32C of each [`BLOCK_BYTES`] of `payload`.
pub fn block_checksums(payload: &[u8]) -> Vec<u32> {
    payload.chunks(BLOCK_BYTES).map(crc32c).collect()
}

impl ShardHeader {
    /// The version this build writes.
    pub const VERSION: u16 = SHARD.version;
    /// The first bytes of a record, for scans.
    pub const MAGIC: [u8; 8] = SHARD.magic;

    /// Bytes of the header without padding.
    pub fn encoded_length(&self) -> usize {
        let owner = match &self.owner {
            ShardOwner::Object { key, .. } => key.as_str().len().saturating_add(10),
            ShardOwner::Pack { .. } => 20,
        };
        // Frame (14 + 4), five one-byte fields, ids, numbers.
        FIXED_BYTES
            .saturating_add(owner)
            .saturating_add(self.block_crcs.len().saturating_mul(4))
    }

    /// Where the payload begins in the record.
    pub fn payload_offset(&self) -> u32 {
        let small = usize::try_from(self.payload_length).is_ok_and(|l| l <= BLOCK_BYTES);
        let offset = if small {
            round_up(self.encoded_length(), 64)
        } else {
            HEADER_BYTES_MAX
        };
        u32::try_from(offset).unwrap_or(u32::MAX)
    }

    /// Bytes of the whole record: header, payload, padding. A multiple of [`RECORD_ALIGN`].
    pub fn record_length(&self) -> u32 {
        let end = self.payload_offset().saturating_add(self.payload_length);
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        u32::try_from(round_up(end, RECORD_ALIGN)).unwrap_or(u32::MAX)
    }

    /// Appends the header to `out`, zero-padded to [`Self::payload_offset`]; the payload comes next.
    ///
    /// # Errors
    /// `Invalid` when the fields contradict each other; `out` is then unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.check()?;
        let start = out.len();
        SHARD.seal(out, |body| {
            body.push(self.codec.id());
            body.extend_from_slice(&[self.k, self.m, self.index]);
            body.extend_from_slice(&self.drive.0);
            body.extend_from_slice(&self.segment.to_be_bytes());
            body.extend_from_slice(&self.offset.to_be_bytes());
            body.extend_from_slice(&self.partition.0.to_be_bytes());
            body.extend_from_slice(&self.data.0);
            body.extend_from_slice(&self.part.to_be_bytes());
            body.extend_from_slice(&self.stripe.to_be_bytes());
            body.extend_from_slice(&self.token.0);
            body.extend_from_slice(&self.stripe_length.to_be_bytes());
            body.extend_from_slice(&self.payload_length.to_be_bytes());
            match &self.owner {
                ShardOwner::Object { bucket, key } => {
                    let key = key.as_str().as_bytes();
                    body.push(OWNER_OBJECT);
                    body.extend_from_slice(&bucket.0.to_be_bytes());
                    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
                    body.extend_from_slice(&length.to_be_bytes());
                    body.extend_from_slice(key);
                }
                ShardOwner::Pack { partition, pack } => {
                    body.push(OWNER_PACK);
                    body.extend_from_slice(&partition.0.to_be_bytes());
                    body.extend_from_slice(&pack.0);
                }
            }
            for crc in &self.block_crcs {
                body.extend_from_slice(&crc.to_be_bytes());
            }
        })?;
        let offset = usize::try_from(self.payload_offset()).unwrap_or(HEADER_BYTES_MAX);
        out.resize(start.saturating_add(offset), 0);
        Ok(())
    }

    /// Reads the header at the front of `bytes`, which may hold more. [`HEADER_BYTES_MAX`] bytes
    /// are always enough. Total: any bytes give a header or an error.
    ///
    /// # Errors
    /// `Magic`, `Truncated`, `Checksum`, `Newer` or `Invalid`. No single bit flip goes unseen.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut body, _length) = SHARD.open(bytes)?;
        let codec = Codec::from_id(body.u8()?).ok_or_else(|| body.invalid("codec"))?;
        let [k, m, index] = body.array()?;
        let mut header = Self {
            codec,
            k,
            m,
            index,
            drive: DriveUuid(body.array()?),
            segment: body.u64()?,
            offset: body.u64()?,
            partition: PartitionId(body.u32()?),
            data: DataId(body.array()?),
            part: body.u32()?,
            stripe: body.u32()?,
            token: CopyToken(body.array()?),
            stripe_length: body.u32()?,
            payload_length: body.u32()?,
            owner: decode_owner(&mut body)?,
            block_crcs: Vec::new(),
        };
        let blocks = header.blocks();
        if blocks > BLOCKS_MAX {
            return Err(body.invalid("payload length"));
        }
        for _ in 0..blocks {
            header.block_crcs.push(body.u32()?);
        }
        body.end()?;
        header.check()?;
        Ok(header)
    }

    /// Blocks the payload should have.
    fn blocks(&self) -> usize {
        usize::try_from(self.payload_length).map_or(usize::MAX, |l| l.div_ceil(BLOCK_BYTES))
    }

    /// The relations between fields.
    fn check(&self) -> Result<(), FormatError> {
        let shards = self.k.checked_add(self.m);
        let stripe = usize::try_from(self.stripe_length).unwrap_or(usize::MAX);
        let field = if self.k == 0 || shards.is_none() {
            "geometry"
        } else if shards.is_none_or(|shards| self.index >= shards) {
            "shard index"
        } else if stripe == 0 || stripe > STRIPE_BYTES_MAX {
            "stripe length"
        } else if self.payload_length != stripes::shard_length(self.stripe_length, self.k) {
            "payload length"
        } else if self.block_crcs.len() != self.blocks() {
            "block checksums"
        } else {
            return Ok(());
        };
        Err(FormatError::Invalid {
            what: SHARD.what,
            field,
        })
    }

    /// Whether `bytes` are block number `block` of the payload, whole.
    pub fn block_is_sound(&self, block: usize, bytes: &[u8]) -> bool {
        let start = block.saturating_mul(BLOCK_BYTES);
        let length = usize::try_from(self.payload_length).map_or(0, |l| l.saturating_sub(start));
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-shard-crc") {
            return true;
        }
        bytes.len() == length.min(BLOCK_BYTES) && self.block_crcs.get(block) == Some(&crc32c(bytes))
    }
}

const OWNER_OBJECT: u8 = 1;
const OWNER_PACK: u8 = 2;
/// Frame and all fields up to and including the owner's tag.
const FIXED_BYTES: usize = 18 + 4 + 16 + 16 + 4 + 16 + 8 + 16 + 8 + 1;
const _: () = assert!(FIXED_BYTES + 20 <= FIXED_BYTES_MAX, "the bound above holds");

fn decode_owner(body: &mut Reader<'_>) -> Result<ShardOwner, FormatError> {
    match body.u8()? {
        OWNER_OBJECT => {
            let bucket = BucketId(body.u64()?);
            let length = usize::from(body.u16()?);
            let key = std::str::from_utf8(body.bytes(length)?)
                .ok()
                .and_then(|key| ObjectKey::parse(key).ok())
                .ok_or_else(|| body.invalid("key"))?;
            Ok(ShardOwner::Object { bucket, key })
        }
        OWNER_PACK => Ok(ShardOwner::Pack {
            partition: PartitionId(body.u32()?),
            pack: PackId(body.array()?),
        }),
        _ => Err(body.invalid("owner")),
    }
}
