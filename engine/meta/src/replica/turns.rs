//! Snapshots of a node are written one at a time.
//!
//! Groups fill evenly, so those of all replicas fall due together: five copies of every group at once
//! took the drives and the cores from the clients for seconds (4 KiB PUTs fell to a fifth). Those that
//! wait cost some more log, which their own snapshots purge.

use super::ReplicaError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Snapshots written at once.
const AT_ONCE: usize = 1;

/// The turns that the replicas of a node share.
#[derive(Clone, Debug)]
pub struct SnapshotTurns(Arc<Semaphore>);

impl Default for SnapshotTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl SnapshotTurns {
    /// Waits for a turn; an error where the replica has `ended` meanwhile, because what lies in its
    /// place then is another's.
    pub async fn take(&self, ended: &AtomicBool) -> Result<OwnedSemaphorePermit, ReplicaError> {
        let turn = Arc::clone(&self.0).acquire_owned().await;
        match turn {
            Ok(turn) if !ended.load(Ordering::Acquire) => Ok(turn),
            _ => Err(ReplicaError::Raft("the replica has ended".into())),
        }
    }
}
