//! A replica's tables as they were right after one entry: what comparing replicas needs, because at
//! any moment each has applied a different prefix of the log.

use super::ReplicaCore;
use crate::fjall_rows::TableView;
use crate::rows::RowsError;
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
                let (view, _) = core.view()?;
                drop(taken.send(view));
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
    pub(super) fn probed(&self, view: impl FnOnce() -> TableView) {
        let applied = self.applied_index();
        let mut probe = self.probe.lock();
        match probe.as_ref().map(|probe| probe.at) {
            Some(at) if at == applied => {
                if let Some(probe) = probe.take() {
                    // Whoever asked may have given up.
                    drop(probe.taken.send(view()));
                }
            }
            // A snapshot went past it.
            Some(at) if at < applied => *probe = None,
            _ => {}
        }
    }
}

/// Digest over every row, in order. Reads all; blocking.
pub fn digest_of(view: &TableView) -> Result<u64, RowsError> {
    let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    for row in view.state_rows() {
        let (key, value) = row?;
        super::overlay::sum_row(&mut sum, &key, Some(&value));
    }
    Ok(sum.finalize())
}
