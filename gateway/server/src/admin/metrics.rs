//! What `/metrics` shows beside what the engine and the S3 front count themselves: taken when it is
//! asked for. Names are API; docs/METRICS.md lists all.

use super::{Running, status};
use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use engine_node::Service;

/// Requests of the admin API, by `status`.
pub(super) const ADMIN_REQUESTS: &str = "datamesh_admin_requests_total";
const DRIVE_STATE: &str = "datamesh_drive_state";
const DRIVE_CAPACITY: &str = "datamesh_drive_capacity_bytes";
const DRIVE_AVAILABLE: &str = "datamesh_drive_available_bytes";
const DRIVE_LIVE: &str = "datamesh_drive_live_bytes";
const DRIVE_WRITTEN: &str = "datamesh_drive_written_bytes";
const WITNESS_UP: &str = "datamesh_witness_up";
const LOG_SYNCS: &str = "datamesh_drive_log_syncs_total";
const RAFT_APPLIED: &str = "datamesh_raft_applied_index";
const RAFT_LAG: &str = "datamesh_raft_lag_entries";
const RAFT_LOG_BYTES: &str = "datamesh_raft_log_bytes";
const RAFT_LEADER: &str = "datamesh_raft_leader";
const RAFT_TERM: &str = "datamesh_raft_term";
const RAFT_DIFFERING: &str = "datamesh_raft_differing_replicas";
const RAFT_UNDECIDED: &str = "datamesh_raft_digests_undecided";
const RESIDENT: &str = "datamesh_process_resident_bytes";
const HANDLES: &str = "datamesh_process_open_files";
const UPTIME: &str = "datamesh_process_uptime_seconds";
const BUILD: &str = "datamesh_build_info";

/// A drive is in one of these.
const STATES: [&str; 4] = ["up", "full", "read-only", "out"];

/// Describes every metric to the recorder. Once, at start.
pub(super) fn describe() {
    describe_counter!(ADMIN_REQUESTS, "requests of the admin API");
    describe_gauge!(DRIVE_STATE, "1 for the state the drive is in");
    describe_gauge!(
        DRIVE_CAPACITY,
        Unit::Bytes,
        "size of the drive's file system"
    );
    describe_gauge!(DRIVE_AVAILABLE, Unit::Bytes, "room for shards");
    describe_gauge!(DRIVE_LIVE, Unit::Bytes, "live shards");
    describe_gauge!(DRIVE_WRITTEN, Unit::Bytes, "written in segments");
    describe_gauge!(
        WITNESS_UP,
        "1 while the witness is in service, where the drives need one"
    );
    describe_counter!(LOG_SYNCS, "syncs of the drive's metadata log");
    describe_gauge!(RAFT_APPLIED, "last index applied");
    describe_gauge!(RAFT_LAG, "entries behind the leader's log");
    describe_gauge!(
        RAFT_LOG_BYTES,
        Unit::Bytes,
        "log not yet covered by snapshots"
    );
    describe_gauge!(RAFT_LEADER, "1 where the replica leads");
    describe_gauge!(RAFT_TERM, "raised by every election");
    describe_gauge!(
        RAFT_DIFFERING,
        "replicas whose tables differed from the majority's when last compared; made anew"
    );
    describe_gauge!(
        RAFT_UNDECIDED,
        "1 where no majority agreed on the tables when last compared"
    );
    describe_gauge!(RESIDENT, Unit::Bytes, "resident memory");
    describe_gauge!(HANDLES, "open file handles");
    describe_gauge!(UPTIME, Unit::Seconds, "since the process was ready");
    describe_gauge!(BUILD, "1, by version");
    describe_counter!(
        "datamesh_s3_requests_total",
        "requests that ended, by operation and status"
    );
    ::metrics::describe_histogram!(
        "datamesh_s3_request_seconds",
        Unit::Seconds,
        "from head to last byte"
    );
    describe_counter!(
        "datamesh_s3_received_bytes_total",
        Unit::Bytes,
        "request bodies"
    );
    describe_counter!(
        "datamesh_s3_sent_bytes_total",
        Unit::Bytes,
        "answers' bodies"
    );
}

/// Takes all gauges.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers")]
pub(super) fn refresh(running: Option<&Running>) {
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    if let Some(bytes) = resident_bytes() {
        gauge!(RESIDENT).set(bytes as f64);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        gauge!(HANDLES).set(entries.count() as f64);
    }
    let Some(running) = running else { return };
    gauge!(UPTIME).set(running.since.elapsed().as_secs_f64());
    for drive in running.engine.drives().status() {
        let id = drive.row.id.to_string();
        let (state, _) = status::named(&drive.service);
        for one in STATES {
            gauge!(DRIVE_STATE, "drive" => id.clone(), "state" => one)
                .set(f64::from(u8::from(one == state)));
        }
        if matches!(drive.service, Service::Out(_)) && drive.usage.capacity == 0 {
            continue;
        }
        let room = [
            (DRIVE_CAPACITY, drive.usage.capacity),
            (DRIVE_AVAILABLE, drive.usage.available),
            (DRIVE_LIVE, drive.usage.live),
            (DRIVE_WRITTEN, drive.usage.written),
        ];
        for (name, bytes) in room {
            gauge!(name, "drive" => id.clone()).set(bytes as f64);
        }
    }
    if let Some(witness) = status::witness(running) {
        gauge!(WITNESS_UP).set(f64::from(u8::from(witness.state == "up")));
    }
    for drive in running.metadata.node().status().drives {
        counter!(LOG_SYNCS, "drive" => drive.drive.to_string()).absolute(drive.syncs);
    }
    replicas(running);
    for check in running.metadata.node().digest_checks() {
        let partition = check.group.to_string();
        gauge!(RAFT_DIFFERING, "partition" => partition.clone()).set(check.differing.len() as f64);
        let undecided = check.voters > 0 && !check.decided;
        gauge!(RAFT_UNDECIDED, "partition" => partition).set(f64::from(u8::from(undecided)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers")]
fn replicas(running: &Running) {
    for partition in status::partitions(running) {
        let id = partition.id.to_string();
        gauge!(RAFT_TERM, "partition" => id.clone()).set(partition.term as f64);
        for replica in partition.replicas {
            let labels = [
                ("partition", id.clone()),
                ("drive", replica.drive.to_string()),
            ];
            gauge!(RAFT_APPLIED, &labels).set(replica.applied as f64);
            gauge!(RAFT_LAG, &labels).set(replica.lag as f64);
            gauge!(RAFT_LOG_BYTES, &labels).set(replica.log_bytes as f64);
            gauge!(RAFT_LEADER, &labels).set(f64::from(u8::from(replica.leader)));
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_memory() {
        assert!(resident_bytes().expect("proc") > 1 << 20);
    }
}
