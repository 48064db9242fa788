//! Settings of a shard store.

use engine_core::format::{FOOTER_ENTRIES_MAX, RECORD_ALIGN};

/// Bytes of a segment.
pub const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// Smallest segment that is set: one record of the largest shard, header block and footer.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Largest one: its footer names every record, and holds so many.
pub const SEGMENT_BYTES_MAX: u64 = FOOTER_ENTRIES_MAX as u64 * RECORD_ALIGN as u64;
/// Bytes of the log of frees.
pub const FREES_BYTES: u64 = 64 * 1024 * 1024;
/// Part of a drive that shards leave to log, snapshots, compaction and deletes: percent.
pub const RESERVE_PERCENT: u64 = 2;
/// … and at least this many bytes.
pub const RESERVE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// How a drive's shard store is set. Plain data; the defaults are for real drives.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a segment. Larger ones mean fewer files; smaller ones give space back sooner.
    pub segment_bytes: u64,
    /// Percent of the drive kept for log, snapshots, compaction and deletes.
    pub reserve_percent: u64,
    /// … and at least this many bytes. A reserve that is too small lets a full drive wedge: its
    /// deletes need log space.
    pub reserve_bytes_min: u64,
    /// Appends and frees that may wait for the drive.
    pub queue: usize,
    /// Reads at once; each holds one of tokio's blocking threads.
    pub readers: usize,
    /// Bytes from which on the log of frees is halved, whatever that costs: an open reads all of it.
    /// It may grow on meanwhile.
    pub frees_bytes: u64,
    /// Bytes of the index's cache.
    pub index_cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            reserve_percent: RESERVE_PERCENT,
            reserve_bytes_min: RESERVE_BYTES_MIN,
            queue: 64,
            readers: 8,
            frees_bytes: FREES_BYTES,
            index_cache_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Options {
    /// Bytes of a drive of `capacity` that shards may not take.
    pub fn reserve(&self, capacity: u64) -> u64 {
        (capacity / 100)
            .saturating_mul(self.reserve_percent)
            .max(self.reserve_bytes_min)
    }
}
