//! Shards on one drive.

use crate::format::ShardHeader;
use async_trait::async_trait;
use bytes::Bytes;
use engine_types::{CopyToken, Stamp};
use std::fmt::Debug;
use std::ops::Range;

/// What a drive can answer wrong. Sorted by what the caller must do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriveError {
    /// No such shard: freed, punched or never written. Read the row afresh, once.
    #[error("shard not found")]
    NotFound,
    /// The bytes do not match their checksum. Read other shards, queue a repair.
    #[error("shard damaged: {0}")]
    Corrupt(String),
    /// No room for writes of this kind. Choose other drives.
    #[error("drive full")]
    Full,
    /// Mounted read-only, or set so.
    #[error("drive is read-only")]
    ReadOnly,
    /// The drive errs or is gone: out of service until it is opened again.
    #[error("drive failed: {0}")]
    Failed(String),
}

/// One shard as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    /// Names this copy.
    pub token: CopyToken,
    /// Segment file.
    pub segment: u64,
    /// Byte offset of the record in the segment.
    pub offset: u64,
    /// Bytes the record takes in the segment, padding included.
    pub length: u32,
}

/// A shard read back: its header, and the payload bytes asked for.
#[derive(Clone, Debug)]
pub struct StoredShard {
    /// As written, checksum verified.
    pub header: ShardHeader,
    /// The asked range of the payload, block checksums verified.
    pub payload: Bytes,
}

/// Room on a drive, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriveUsage {
    /// Size of the file system.
    pub capacity: u64,
    /// Free for shards: what the file system has left less the reserve.
    pub available: u64,
    /// Bytes of live shard records, headers and padding included.
    pub live: u64,
    /// Bytes allocated and written in segments.
    pub written: u64,
}

/// Shards of one drive, in segments. One record is written once, whole, and never changed.
#[async_trait]
pub trait ShardStore: Send + Sync + Debug {
    /// Appends one shard. Ok means the record is fdatasync'ed; an error or a dropped future leaves
    /// at most an orphan record. `payload` lengths are those of the header. Each token is written
    /// once.
    async fn append(&self, header: ShardHeader, payload: Bytes) -> Result<(), DriveError>;

    /// Reads `range` of the payload (clipped blocks are read whole and verified).
    async fn read(&self, token: CopyToken, range: Range<u32>) -> Result<StoredShard, DriveError>;

    /// Frees shards, durably: once Ok, a restart does not bring them back. Unknown tokens are freed
    /// already. Their blocks are given back to the file system in the background.
    async fn free(&self, tokens: &[CopyToken]) -> Result<(), DriveError>;

    /// Up to `limit` entries with token > `after`, in token order, born before `before`.
    async fn entries(
        &self,
        after: Option<CopyToken>,
        before: Stamp,
        limit: usize,
    ) -> Result<Vec<ShardEntry>, DriveError>;

    /// Reads the whole record of a shard and verifies header and payload (scrub).
    async fn verify(&self, token: CopyToken) -> Result<ShardHeader, DriveError>;

    /// Room, from memory; at most a second old.
    fn usage(&self) -> DriveUsage;

    /// Ends background work and syncs; later calls fail.
    async fn close(&self);
}
