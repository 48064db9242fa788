//! What is applied but not in the tables yet.
//!
//! Tables are a cache of snapshot and log, never synced: what is written to them later is lost no
//! sooner. So changes gather in memory and go to the tables many entries at once. Rows that nearly
//! every command changes (clock, counters, `applied`) are then written once a batch, and read by the
//! next command where they are cheapest. Every reader sees tables and what is ahead of them as one
//! ([`View`]). Snapshots and comparisons want the tables themselves: for them all is written first.
//!
//! One writer: [`ReplicaCore::add`], [`ReplicaCore::write_out`] and [`ReplicaCore::written`] run on the
//! apply thread only.

use super::ReplicaCore;
use crate::applied::Applied;
use crate::fjall_rows::{Table, TableView};
use crate::rows::{Changes, Overlay, Row, Rows, RowsError};
use std::ops::Bound;
use std::sync::Arc;

/// Entries ahead of one replica's tables at most.
pub const AHEAD_ENTRIES_MAX: usize = 128;
/// Bytes of their commands at most, near enough. A node holds some 45 replicas.
pub const AHEAD_BYTES_MAX: usize = 256 << 10;

/// What a batch of entries weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

impl Weight {
    fn is_full(self) -> bool {
        self.entries >= AHEAD_ENTRIES_MAX || self.bytes >= AHEAD_BYTES_MAX
    }
}

/// A replica's rows: tables, and the changes that are ahead of them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) table: Table,
    /// Shared with readers: a reader's copy never changes under it.
    changes: Arc<Changes>,
    weight: Weight,
    /// What tables and changes hold together.
    pub(super) applied: Applied,
}

impl Held {
    pub(super) fn new(table: Table, applied: Applied) -> Self {
        Self {
            table,
            changes: Arc::default(),
            weight: Weight::default(),
            applied,
        }
    }
}

/// A replica's rows at one moment.
#[derive(Debug)]
pub struct View {
    tables: TableView,
    changes: Arc<Changes>,
    index: u64,
}

impl View {
    /// Index of the last entry it shows; 0 if none.
    pub fn index(&self) -> u64 {
        self.index
    }

    fn rows(&self) -> Overlay<'_> {
        Overlay {
            below: &self.tables,
            changes: &self.changes,
        }
    }
}

impl Rows for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.rows().get(key)
    }

    fn scan<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: &[u8],
    ) -> Box<dyn Iterator<Item = Result<Row, RowsError>> + 'a> {
        self.rows().into_scan(from, to)
    }
}

impl ReplicaCore {
    /// The rows at this moment.
    pub fn view(&self) -> View {
        let held = self.held.read();
        let changes = Arc::clone(&held.changes);
        #[cfg(sabotage)]
        let changes = if engine_types::sabotage("read-behind-apply") {
            Arc::default()
        } else {
            changes
        };
        View {
            tables: held.table.view(),
            changes,
            index: held.applied.index(),
        }
    }

    /// Adds a batch's changes, and writes out where that is due.
    pub(super) fn add(
        &self,
        batch: Changes,
        applied: Applied,
        weight: Weight,
    ) -> Result<(), RowsError> {
        // Somebody reads the changes there are: they stay as they are, and the next begin anew.
        // Where a reader comes in between, they are copied.
        if Arc::strong_count(&self.held.read().changes) > 1 {
            self.write_out()?;
        }
        let full = {
            let mut held = self.held.write();
            Arc::make_mut(&mut held.changes).0.extend(batch.0);
            held.weight.entries += weight.entries;
            held.weight.bytes += weight.bytes;
            held.applied = applied;
            held.weight.is_full()
        };
        if full { self.write_out() } else { Ok(()) }
    }

    /// Writes what is ahead to the tables: one batch, `applied` in it.
    pub(super) fn write_out(&self) -> Result<(), RowsError> {
        let (table, changes, applied) = {
            let held = self.held.read();
            if held.weight == Weight::default() {
                return Ok(());
            }
            let changes = Arc::clone(&held.changes);
            (held.table.clone(), changes, held.applied.encode())
        };
        // A view of this moment has these rows twice, which reads the same.
        table.write(&changes, &applied)?;
        let mut held = self.held.write();
        held.changes = Arc::default();
        held.weight = Weight::default();
        Ok(())
    }

    /// The tables with all that is applied in them, and what that is.
    pub(super) fn written(&self) -> Result<(TableView, Applied), RowsError> {
        self.write_out()?;
        let held = self.held.read();
        Ok((held.table.view(), held.applied.clone()))
    }

    /// Writes out before a clean stop, so that the next start rolls less forward.
    pub async fn settle(self: &Arc<Self>) -> Result<(), RowsError> {
        let core = Arc::clone(self);
        self.parts.lane.run(move || core.write_out()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ahead_is_bounded_by_entries_and_by_bytes() {
        for (entries, bytes, full) in [
            (AHEAD_ENTRIES_MAX - 1, AHEAD_BYTES_MAX - 1, false),
            (AHEAD_ENTRIES_MAX, 0, true),
            (AHEAD_ENTRIES_MAX + 1, 0, true),
            (1, AHEAD_BYTES_MAX, true),
            (1, AHEAD_BYTES_MAX + 1, true),
        ] {
            assert_eq!(
                Weight { entries, bytes }.is_full(),
                full,
                "{entries} {bytes}"
            );
        }
    }
}
