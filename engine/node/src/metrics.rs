//! Counters and histograms of the engine, through the `metrics` facade. Names are API.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, histogram};
use std::time::Duration;

/// Objects and parts stored. Rate: writes a second.
pub const PUTS: &str = "datamesh_engine_puts_total";
/// Bodies begun to be read.
pub const GETS: &str = "datamesh_engine_gets_total";
/// Plaintext bytes committed.
pub const BYTES_IN: &str = "datamesh_engine_bytes_in_total";
/// Plaintext bytes handed to readers.
pub const BYTES_OUT: &str = "datamesh_engine_bytes_out_total";
/// From the first byte of a body to its commit, seconds.
pub const PUT_SECONDS: &str = "datamesh_engine_put_seconds";
/// Shard reads and writes that failed, by `op` and `error`. Any lasting rate: look at the drives.
pub const SHARD_ERRORS: &str = "datamesh_engine_shard_errors_total";
/// Pieces of stripes rebuilt from other shards for a reader.
pub const RECONSTRUCTIONS: &str = "datamesh_engine_reconstructions_total";
/// Damage reports dropped because the queue was full; scrub finds them again.
pub const DAMAGE_DROPPED: &str = "datamesh_engine_damage_dropped_total";
/// Stripes that were not written anew as they stood, because their shards contradict each other: one
/// has wrong bytes under sound checksums. Look for bad memory.
pub const STRIPES_CONTRADICTORY: &str = "datamesh_engine_stripes_contradictory_total";
/// Stripes committed with a shard queued for repair.
pub const STRIPES_QUEUED: &str = "datamesh_engine_stripes_queued_total";
/// Stripes encoded again because drives failed while they were written.
pub const STRIPES_REWRITTEN: &str = "datamesh_engine_stripes_rewritten_total";
/// Shards freed after their data died, or after a write failed.
pub const SHARDS_FREED: &str = "datamesh_engine_shards_freed_total";
/// Bytes of shards read by the scrub, by `drive`.
pub const SCRUB_BYTES: &str = "datamesh_scrub_bytes_total";
/// What the scrub found, by `drive` and `kind` (`damaged`, `missing`, `footer`, `segment_header`).
/// Look at the drive.
pub const SCRUB_FOUND: &str = "datamesh_scrub_found_total";
/// Damaged or missing shards that stripes no longer name: made anew, by `drive`.
pub const SCRUB_REPAIRED: &str = "datamesh_scrub_repaired_total";
/// Found by the scrub and not made anew yet. Above 0 for long: a human must look.
pub const SCRUB_OPEN: &str = "datamesh_scrub_open";
/// When a drive was last read whole, Unix seconds, by `drive`. Alert where it grows old.
pub const SCRUB_ENDED: &str = "datamesh_scrub_ended_seconds";
/// Shards moved out of sparse segments.
pub const EMPTIED_SHARDS: &str = "datamesh_emptied_shards_total";
/// Bytes of them.
pub const EMPTIED_BYTES: &str = "datamesh_emptied_bytes_total";
/// Packs of small objects written, those made of sparse ones included.
pub const PACKS_WRITTEN: &str = "datamesh_packs_written_total";
/// Small objects whose bytes went into a pack.
pub const PACKED: &str = "datamesh_packed_total";
/// … and those that were overwritten or deleted on the way there.
pub const PACK_LEFT_OUT: &str = "datamesh_pack_left_out_total";
/// Bytes of packs written, before erasure coding.
pub const PACK_BYTES: &str = "datamesh_pack_bytes_total";
/// Sparse packs whose rest went into another. Near the rate of packs written: objects die young.
pub const PACKS_REPACKED: &str = "datamesh_packs_repacked_total";
/// Drives by `state`.
pub const DRIVES: &str = "datamesh_engine_drives";

/// Describes every metric to the recorder. Once, at start.
pub fn describe() {
    describe_counter!(PUTS, "objects and parts stored");
    describe_counter!(GETS, "bodies begun to be read");
    describe_counter!(BYTES_IN, metrics::Unit::Bytes, "plaintext bytes committed");
    describe_counter!(
        BYTES_OUT,
        metrics::Unit::Bytes,
        "plaintext bytes handed to readers"
    );
    describe_histogram!(
        PUT_SECONDS,
        metrics::Unit::Seconds,
        "from a body's first byte to its commit"
    );
    describe_counter!(SHARD_ERRORS, "shard reads and writes that failed");
    describe_counter!(RECONSTRUCTIONS, "pieces rebuilt from other shards");
    describe_counter!(DAMAGE_DROPPED, "damage reports dropped");
    describe_counter!(
        STRIPES_CONTRADICTORY,
        "stripes whose shards contradict each other"
    );
    describe_counter!(STRIPES_QUEUED, "stripes committed with a shard queued");
    describe_counter!(STRIPES_REWRITTEN, "stripes encoded again during a write");
    describe_counter!(SHARDS_FREED, "shards freed");
    describe_counter!(SCRUB_BYTES, metrics::Unit::Bytes, "read by the scrub");
    describe_counter!(SCRUB_FOUND, "found by the scrub");
    describe_counter!(SCRUB_REPAIRED, "found by the scrub and made anew");
    describe_gauge!(SCRUB_OPEN, "found by the scrub and not made anew yet");
    describe_gauge!(
        SCRUB_ENDED,
        metrics::Unit::Seconds,
        "a drive was last read whole"
    );
    describe_counter!(EMPTIED_SHARDS, "shards moved out of sparse segments");
    describe_counter!(
        EMPTIED_BYTES,
        metrics::Unit::Bytes,
        "moved out of sparse segments"
    );
    describe_counter!(PACKS_WRITTEN, "packs of small objects written");
    describe_counter!(PACKED, "small objects packed");
    describe_counter!(
        PACK_LEFT_OUT,
        "small objects changed while they were packed"
    );
    describe_counter!(PACK_BYTES, metrics::Unit::Bytes, "bytes of packs written");
    describe_counter!(PACKS_REPACKED, "sparse packs packed anew");
    describe_gauge!(DRIVES, "drives by state");
}

pub(crate) fn stored(bytes: u64, took: Duration) {
    counter!(PUTS).increment(1);
    counter!(BYTES_IN).increment(bytes);
    histogram!(PUT_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn shard_error(op: &'static str, error: &engine_core::ports::DriveError) {
    use engine_core::ports::DriveError as E;
    let kind = match error {
        E::NotFound => "not_found",
        E::Corrupt(_) => "corrupt",
        E::Full => "full",
        E::ReadOnly => "read_only",
        E::Starved(_) => "starved",
        E::Failed(_) => "failed",
    };
    counter!(SHARD_ERRORS, "op" => op, "error" => kind).increment(1);
}
