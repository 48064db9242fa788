//! Hashing, sealing and encoding beside the runtime's own threads, a bounded number at a time.

use crate::EngineError;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Gate to the blocking threads: more jobs than cores would only evict each other's caches.
#[derive(Clone, Debug)]
pub(crate) struct Compute(Arc<Semaphore>);

impl Compute {
    /// For as many jobs at once as there are cores, and one more that waits for memory.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(cores + 1)))
    }

    /// Runs `job` on a blocking thread. Dropping the future lets a started job end unheard.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let stopped =
            |error: &dyn std::fmt::Display| EngineError::Internal(format!("job: {error}"));
        let permit = Arc::clone(&self.0)
            .acquire_owned()
            .await
            .map_err(|error| stopped(&error))?;
        let job = move || {
            let done = job();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(job)
            .await
            .map_err(|error| stopped(&error))
    }
}
