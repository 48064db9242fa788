//! Ordered shutdown: cancel, then wait for every task that was started here.

use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owner of all background tasks of an engine.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    cancel: CancellationToken,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Lifecycle {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime,
        }
    }
    /// Fires when the engine shuts down.
    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
    /// Runs `task` to its end; shutdown waits for it. From any thread, also in a `Drop`.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_on(task, &self.runtime));
    }
    /// Cancels and waits. False: some task did not end within `patience`.
    pub(crate) async fn shut_down(&self, patience: Duration) -> bool {
        self.cancel.cancel();
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_ok()
    }
}
