//! Work that blocks, off tokio's workers.

use crate::log::LogError;
use crate::replica::ReplicaError;
use crate::rows::RowsError;
use engine_core::ports::MetaError;

/// The work panicked, or the runtime ended under it.
#[derive(Debug)]
pub(crate) struct Ended(String);

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Ended> + Send + 'static,
{
    joined(tokio::task::spawn_blocking(work)).await
}

/// Waits for a task's own outcome.
pub(crate) async fn joined<T, E: From<Ended>>(
    task: tokio::task::JoinHandle<Result<T, E>>,
) -> Result<T, E> {
    task.await.map_err(|error| Ended(error.to_string()))?
}

impl From<Ended> for ReplicaError {
    fn from(ended: Ended) -> Self {
        Self::Raft(ended.0)
    }
}

impl From<Ended> for RowsError {
    fn from(ended: Ended) -> Self {
        Self(ended.0)
    }
}

impl From<Ended> for LogError {
    fn from(ended: Ended) -> Self {
        Self::Failed(ended.0)
    }
}

impl From<Ended> for MetaError {
    fn from(ended: Ended) -> Self {
        Self::Unavailable(ended.0)
    }
}
