//! One contract for all background work: a tick does a bounded amount and says whether more waits.
//!
//! Only the pause between ticks may be cut by shutdown; a tick runs to its end, so it must be short
//! or look at [`Inner::life`] itself. A tick that fails is logged here, once, and tried again.

use crate::EngineError;
use crate::engine::Inner;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Pause between two ticks while more waits: leaves the drives to the foreground half of the time.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What a tick says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing more to do before the next period.
    Done,
    /// The bound of one tick was reached.
    More,
}

/// Some background work.
#[async_trait]
pub(crate) trait Worker: Send + 'static {
    /// For logs.
    fn name(&self) -> &'static str;
    /// Pause when nothing waits.
    fn period(&self, inner: &Inner) -> Duration;
    /// Cuts the pause short when somebody asks for the work; none: nobody can.
    fn asked(&self, _inner: &Inner) -> Option<Arc<Notify>> {
        None
    }
    /// Does a bounded amount.
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError>;
}

/// Runs a worker until shutdown.
pub(crate) fn start(inner: &Arc<Inner>, mut worker: impl Worker) {
    let cancelled = inner.life.cancelled();
    let owner = Arc::downgrade(inner);
    inner.life.spawn(async move {
        loop {
            // Weak, so that an engine dropped without shutdown ends its workers.
            let Some(inner) = owner.upgrade() else { return };
            let pause = match worker.tick(&inner).await {
                Ok(Progress::More) => BUSY_PAUSE,
                Ok(Progress::Done) => worker.period(&inner),
                Err(error) => {
                    tracing::warn!(worker = worker.name(), %error, "background work failed; will try again");
                    worker.period(&inner)
                }
            };
            let asked = worker.asked(&inner);
            drop(inner);
            let asked = async {
                match asked {
                    Some(asked) => asked.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = asked => {}
            }
        }
    });
}
