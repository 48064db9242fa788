//! A replica's tables as they were right after one entry: what comparing replicas needs, because at
//! any moment each has applied a different prefix of the log.

use super::ReplicaCore;
use crate::fjall_rows::{OWN_TAG, TableView};
use crate::rows::{Rows, RowsError};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Somebody waits for the tables after the entry `at`.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) at: u64,
    pub(super) taken: oneshot::Sender<TableView>,
}

impl ReplicaCore {
    /// Asks for the tables as they will be after entry `at`; none if it was passed already. A later
    /// call replaces an earlier one. The receiver never hears where a snapshot skips the entry.
    pub async fn probe(
        self: &Arc<Self>,
        at: u64,
    ) -> Result<Option<oneshot::Receiver<TableView>>, RowsError> {
        let core = Arc::clone(self);
        // On the apply thread: between two batches, so none can pass `at` unseen.
        let arm = move || {
            let applied = core.applied_index();
            if applied > at {
                return Ok(None);
            }
            let (taken, receiver) = oneshot::channel();
            if applied == at {
                let (tables, _) = core.written()?;
                drop(taken.send(tables));
            } else {
                *core.probe.lock() = Some(Probe { at, taken });
            }
            Ok(Some(receiver))
        };
        self.parts.lane.run(arm).await
    }

    /// The index at which a batch must be cut.
    pub(super) fn probe_at(&self) -> Option<u64> {
        self.probe.lock().as_ref().map(|probe| probe.at)
    }

    /// Called after each batch, on the apply thread.
    pub(super) fn probed(&self) -> Result<(), RowsError> {
        let applied = self.applied_index();
        // A snapshot may have gone past it: then nobody is told.
        let due = self.probe.lock().take_if(|probe| probe.at <= applied);
        if let Some(probe) = due.filter(|probe| probe.at == applied) {
            let (tables, _) = self.written()?;
            // Whoever asked may have given up.
            drop(probe.taken.send(tables));
        }
        Ok(())
    }
}

/// Digest over every row of the state, in order. Reads all; blocking.
pub fn digest_of(rows: &dyn Rows) -> Result<u64, RowsError> {
    let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    for row in rows.scan(Bound::Included(&[OWN_TAG + 1]), &[u8::MAX]) {
        let (key, value) = row?;
        super::sums::sum_row(&mut sum, &key, Some(&value));
    }
    Ok(sum.finalize())
}
