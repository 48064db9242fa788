//! Shards on one drive.

use super::ShardBytes;
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
    /// This process has no file handle or no memory for the call: it says nothing of the drive, and
    /// it passes. Choose other drives, or try again.
    #[error("out of file handles or memory: {0}")]
    Starved(String),
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
#[derive(Debug)]
pub struct StoredShard {
    /// As written, checksum verified.
    pub header: ShardHeader,
    /// The asked range of the payload, block checksums verified.
    pub payload: ShardBytes,
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

/// One segment of a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentUse {
    /// Its number; raised by each new one.
    pub segment: u64,
    /// Bytes of its live records.
    pub live: u64,
    /// Live records.
    pub records: u64,
    /// Bytes its file holds: header, live records, footer, and what was not given back.
    pub held: u64,
    /// Nothing more will be written to it.
    pub settled: bool,
    /// Bytes that a segment of this drive takes before the next is begun.
    pub size: u64,
}

/// What stands in a segment beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentCheck {
    /// The block it begins with is as it was written. Nothing but the word of what it is rests on it.
    pub header_sound: bool,
    /// What was found where the footer is.
    pub footer: FooterCheck,
}

/// A footer as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FooterCheck {
    /// It names every live record.
    Sound,
    /// It was damaged, or named too few: a new one was written behind it.
    Damaged,
    /// There was none (the process was killed while it wrote the segment): one was written.
    Written,
    /// Records are still being written.
    Open,
}

/// Where the bytes of a drive's segments are. At rest (nothing being written or given back)
/// [`SpaceAccount::unexplained`] is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceAccount {
    /// Segment files.
    pub segments: u64,
    /// Live records.
    pub records: u64,
    /// Bytes of live records.
    pub live: u64,
    /// Bytes of segments' headers.
    pub headers: u64,
    /// Bytes of sealed segments' footers.
    pub footers: u64,
    /// Bytes of freed records that wait to be given back.
    pub dead: u64,
    /// Bytes of blocks that were written and not given back, as the file system tells.
    pub written: u64,
    /// Bytes of blocks the files hold, preallocated ones and the file system's own included.
    pub allocated: u64,
}

impl SpaceAccount {
    /// Written bytes that nothing accounts for; negative: bytes that should be there and are not.
    pub fn unexplained(&self) -> i64 {
        let known = [self.live, self.headers, self.footers, self.dead];
        let known = known
            .iter()
            .fold(0u64, |sum, part| sum.saturating_add(*part));
        self.written
            .cast_signed()
            .saturating_sub(known.cast_signed())
    }
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

    /// Segments, ascending; from memory.
    fn segments(&self) -> Vec<SegmentUse>;

    /// Up to `limit` live shards in order of place, from (segment, offset) on: what lies together is
    /// read together.
    async fn placed(&self, from: (u64, u64), limit: usize) -> Result<Vec<ShardEntry>, DriveError>;

    /// Which of these are not live here. The index alone is asked, nothing is read of the shards.
    async fn absent(&self, tokens: &[CopyToken]) -> Result<Vec<CopyToken>, DriveError>;

    /// Checks what a segment says of itself, and writes a footer that is missing or damaged anew.
    /// `NotFound`: it is gone.
    async fn check_segment(&self, segment: u64) -> Result<SegmentCheck, DriveError>;

    /// Counts every byte of the segments; asks the file system, so not for often. What nothing
    /// accounts for is looked for and given back in the background.
    async fn account(&self) -> Result<SpaceAccount, DriveError>;

    /// Room, from memory; at most a second old.
    fn usage(&self) -> DriveUsage;

    /// Ends background work and syncs; later calls fail. False: the drive hangs, and what was begun on
    /// it goes on. It is then not to be let go of, nor opened again; ask again.
    async fn close(&self) -> bool;
}
