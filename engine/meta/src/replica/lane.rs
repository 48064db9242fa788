//! A drive's apply thread.

use crate::rows::RowsError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Batches waiting for the thread; openraft's workers wait beyond it.
const QUEUE_MAX: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Runs what blocks on tables, in order, off tokio's workers. Ends when the last handle is dropped.
#[derive(Clone)]
pub struct Lane(Arc<mpsc::Sender<Job>>);

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

impl Lane {
    /// Starts the thread.
    pub fn start() -> std::io::Result<Self> {
        let (sender, mut queue) = mpsc::channel::<Job>(QUEUE_MAX);
        std::thread::Builder::new()
            .name("meta-apply".into())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job();
                }
            })?;
        Ok(Self(Arc::new(sender)))
    }

    /// Runs `work` on the thread and waits for its result. Work that panics has failed: the thread is
    /// the drive's, and one replica's entry must not end it for the others. Whoever gets the error
    /// makes his tables anew, so nothing that was left half done is gone on with.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RowsError> + Send + 'static,
    ) -> Result<T, RowsError> {
        let (sender, answer) = oneshot::channel();
        let guarded = move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            done.unwrap_or_else(|_told| Err(RowsError("work on the tables panicked".into())))
        };
        let job: Job = Box::new(move || drop(sender.send(guarded())));
        self.0
            .send(job)
            .await
            .map_err(|_closed| RowsError("apply thread ended".into()))?;
        answer
            .await
            .map_err(|_closed| RowsError("apply thread ended".into()))?
    }
}
