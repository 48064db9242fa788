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
/// Stripes committed with a shard queued for repair.
pub const STRIPES_QUEUED: &str = "datamesh_engine_stripes_queued_total";
/// Stripes encoded again because drives failed while they were written.
pub const STRIPES_REWRITTEN: &str = "datamesh_engine_stripes_rewritten_total";
/// Shards freed after their data died, or after a write failed.
pub const SHARDS_FREED: &str = "datamesh_engine_shards_freed_total";
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
    describe_counter!(STRIPES_QUEUED, "stripes committed with a shard queued");
    describe_counter!(STRIPES_REWRITTEN, "stripes encoded again during a write");
    describe_counter!(SHARDS_FREED, "shards freed");
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
        E::Failed(_) => "failed",
    };
    counter!(SHARD_ERRORS, "op" => op, "error" => kind).increment(1);
}
