//! Waits for reads that their readers have given up: a drive that is only read from, and hangs, would
//! never be found silent else.

use super::Drive;
use crate::engine::Inner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One a drive: a second would learn nothing sooner.
struct Watch(Arc<Drive>);

impl Watch {
    /// None: there is one already.
    fn new(drive: Arc<Drive>) -> Option<Self> {
        let first = !drive.watched.swap(true, Ordering::AcqRel);
        first.then(|| Self(drive))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.watched.store(false, Ordering::Release);
    }
}

impl Inner {
    /// Lets a read end by itself. What it says of the drive is noted on its way.
    pub(crate) fn watch<T>(
        &self,
        drive: Arc<Drive>,
        asked: impl Future<Output = T> + Send + 'static,
    ) where
        T: Send + 'static,
    {
        let Some(watch) = Watch::new(drive) else {
            return;
        };
        let cancelled = self.life.cancelled();
        self.life.spawn(async move {
            tokio::select! {
                () = cancelled.cancelled() => {}
                _answer = asked => {}
            }
            drop(watch);
        });
    }
}
