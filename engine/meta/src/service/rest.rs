//! Gives room back where replicas have come to rest.
//!
//! While commands come, it comes back by itself: a snapshot falls due by the bytes applied, the log
//! goes below the older of two, and compactions find the rows that were deleted. Where nothing comes
//! any more nothing of this happens, and what was just deleted (small objects that were packed, say)
//! keeps its bytes three times over: in the log, in the older snapshot, in the tables' value files.
//! So a replica to which hardly anything was applied for [`MetaOptions::rest_after`]
//!
//! - is snapshotted while its log, and what its older snapshot holds more than the newest, come to
//!   half of what its tables take: twice, because the log goes below the older of two only;
//! - has its tables compacted, once, where they take much more than their rows did in the snapshot.
//!
//! Both cost a writing of the tables, and there is a bound to both in one rest: bytes that cannot be
//! given back are not tried for again before the replica was written to. One compaction at a time on a
//! node. Turned down: snapshots due sooner in any case, which would cost every writer for the sake of
//! those who stop.
//!
//! [`MetaOptions::rest_after`]: super::MetaOptions::rest_after

use super::Inner;
use super::drives::Host;
use super::host::Running;
use super::supervise::told;
use crate::blocking::blocking;
use crate::fjall_rows::Table;
use crate::replica::Replica;
use crate::rows::RowsError;
use engine_types::{DriveId, GroupId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Reports and ticks apply some kilobytes a minute.
const REST_BYTES_MAX: u64 = 64 << 10;
/// Snapshots taken in one rest: a second lets the log go below the first.
const SNAPSHOTS_A_REST: u32 = 2;
/// Tables may take so many times what their rows take, and so much more, before they are compacted.
const TABLES_FACTOR: u64 = 2;
const TABLES_SLACK_BYTES: u64 = 4 << 20;
/// What is in memory is written out in this time, or the tables are compacted another time.
const SEALED_WITHIN: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(50);

/// One replica's rest.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// When it was looked at last, monotonic, and the bytes applied since the last snapshot then.
    at: Duration,
    applied: u64,
    snapshots: u32,
    compacted: bool,
}

impl Rest {
    /// Whether hardly anything was applied since the last look; none: it is too soon to say.
    fn look(&mut self, now: Duration, applied: u64, after: Duration) -> Option<bool> {
        if now.saturating_sub(self.at) < after {
            return None;
        }
        // Less than before: it was snapshotted in between.
        let more = applied.checked_sub(self.applied).unwrap_or(applied);
        let rests = more <= REST_BYTES_MAX;
        (self.at, self.applied) = (now, applied);
        if !rests {
            (self.snapshots, self.compacted) = (0, false);
        }
        Some(rests)
    }

    /// Takes a snapshot's turn, where what log and older snapshot hold is worth it.
    fn wants_snapshot(&mut self, held: u64, tables: u64, least: u64) -> bool {
        let wants = held >= least.max(tables / 2) && self.snapshots < SNAPSHOTS_A_REST;
        self.snapshots += u32::from(wants);
        wants
    }

    /// Takes the compaction's turn, where tables take much more than their rows; `rows` is 0 where
    /// that is not known.
    fn wants_compaction(&mut self, tables: u64, rows: u64) -> bool {
        let much = rows.saturating_mul(TABLES_FACTOR) + TABLES_SLACK_BYTES;
        let wants = rows > 0 && tables > much && !self.compacted;
        self.compacted |= wants;
        wants
    }
}

/// All replicas of a node.
#[derive(Debug, Default)]
pub(super) struct Resting {
    replicas: parking_lot::Mutex<BTreeMap<(DriveId, GroupId), Rest>>,
    compacting: Arc<tokio::sync::Mutex<()>>,
}

impl Inner {
    /// Looks at every replica; what is to be done goes on behind.
    pub(super) async fn give_back(&self) {
        let replicas: Vec<Replica> = {
            let hosts = self.hosts.read();
            let running = hosts.values().filter_map(Host::running);
            let replicas =
                |of: &Arc<Running>| of.replicas.read().values().cloned().collect::<Vec<_>>();
            running.flat_map(replicas).collect()
        };
        for replica in replicas {
            if self.rests_with_log(&replica) {
                told(replica.node.trigger().snapshot().await);
            }
        }
    }

    /// Whether the replica is to be snapshotted; its tables are compacted from here.
    fn rests_with_log(&self, replica: &Replica) -> bool {
        let core = &replica.core;
        let drive = core.parts.files.drive();
        let (now, after) = (self.clock.monotonic(), self.options.rest_after);
        let applied = core.since_snapshot.load(Ordering::Relaxed);
        let mut resting = self.resting.replicas.lock();
        let rest = resting.entry((drive, core.group)).or_default();
        if rest.look(now, applied, after) != Some(true) {
            return false;
        }
        let tables = core.table_bytes();
        let rows = core.rows_bytes.load(Ordering::Relaxed);
        if rest.wants_compaction(tables, rows) {
            match Arc::clone(&self.resting.compacting).try_lock_owned() {
                Ok(turn) => {
                    let (table, group) = (core.table(), core.group);
                    tokio::spawn(async move {
                        let _turn = turn;
                        compact(&table, drive, group).await;
                    });
                }
                // Another's turn; this one's comes at a later look.
                Err(_taken) => rest.compacted = false,
            }
        }
        let before = core.rows_bytes_before.load(Ordering::Relaxed);
        let held = core.log.live_bytes() + before.saturating_sub(rows);
        rest.wants_snapshot(held, tables, self.options.rest_log_bytes_min)
    }
}

async fn compact(table: &Table, drive: DriveId, group: GroupId) {
    let before = table.bytes();
    match compacted(table).await {
        Ok(()) => tracing::info!(%drive, %group, before, after = table.bytes(), "tables compacted"),
        // A drive that errs is told of by its log.
        Err(error) => tracing::warn!(%drive, %group, %error, "tables not compacted"),
    }
}

async fn compacted(table: &Table) -> Result<(), RowsError> {
    let on_table = |work: fn(&Table) -> Result<(), RowsError>| {
        let table = table.clone();
        blocking(move || work(&table))
    };
    on_table(Table::seal).await?;
    let begun = tokio::time::Instant::now();
    while table.sealing() {
        if begun.elapsed() >= SEALED_WITHIN {
            return Err(RowsError("what is in memory was not written out".into()));
        }
        tokio::time::sleep(GLANCE).await;
    }
    on_table(Table::compact).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_replica_rests_while_hardly_anything_is_applied() {
        let mut rest = Rest::default();
        assert_eq!(rest.look(MINUTE / 2, 0, MINUTE), None, "too soon");
        assert_eq!(rest.look(MINUTE, REST_BYTES_MAX, MINUTE), Some(true));
        let more = 2 * REST_BYTES_MAX;
        assert_eq!(
            rest.look(MINUTE * 2, more, MINUTE),
            Some(true),
            "at the limit"
        );
        let past = more + REST_BYTES_MAX + 1;
        assert_eq!(
            rest.look(MINUTE * 3, past, MINUTE),
            Some(false),
            "one past it"
        );
        assert_eq!(rest.look(MINUTE * 4, 5, MINUTE), Some(true), "snapshotted");
    }

    #[test]
    fn each_rest_costs_two_snapshots_and_one_compaction_at_most() {
        let mut rest = Rest::default();
        assert!(!rest.wants_snapshot(99, 0, 100) && !rest.wants_snapshot(100, 202, 100));
        for _ in 0..SNAPSHOTS_A_REST {
            assert!(rest.wants_snapshot(100, 200, 100));
        }
        assert!(!rest.wants_snapshot(100, 200, 100));
        let much = TABLES_SLACK_BYTES + TABLES_FACTOR * 10;
        assert!(!rest.wants_compaction(much, 10) && !rest.wants_compaction(much + 1, 0));
        assert!(rest.wants_compaction(much + 1, 10));
        assert!(!rest.wants_compaction(much + 1, 10));
        let written = REST_BYTES_MAX + 1;
        assert_eq!(rest.look(MINUTE, written, MINUTE), Some(false));
        assert!(rest.wants_snapshot(100, 200, 100) && rest.wants_compaction(much + 1, 10));
    }
}
