//! What one connection is doing: whether its socket takes bytes, and whether a request runs.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// See above.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The socket took nothing when it was last asked.
    full: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    requests: Mutex<Requests>,
}

#[derive(Debug, Default)]
struct Requests {
    running: usize,
    /// When the last one ended, or what it left was written; none: there was none.
    ended: Option<Instant>,
}

/// A request under way, answer included.
#[derive(Debug)]
pub(crate) struct Running(Arc<Flow>);

impl Running {
    /// Of the connection on which it runs.
    pub(super) fn flow(&self) -> &Flow {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut requests = self.0.requests.lock();
        requests.running -= 1;
        requests.ended = Some(Instant::now());
    }
}

impl Flow {
    /// Ready while the socket takes bytes.
    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.full.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        // Opened meanwhile, it wakes only those it found.
        if !self.full.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(super) fn shut(&self) {
        self.full.store(true, Ordering::Release);
    }

    pub(super) fn open(&self) {
        if self.full.swap(false, Ordering::AcqRel) {
            self.requests.lock().ended = Some(Instant::now());
            let waiting = std::mem::take(&mut *self.waiting.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// A request has come; it runs until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.requests.lock().running += 1;
        Running(Arc::clone(self))
    }

    /// Ends once no request has run for so long, and nothing has waited for the client to take it.
    pub(super) async fn quiet(&self, long: Duration) {
        let mut look = Instant::now() + long;
        loop {
            tokio::time::sleep_until(look).await;
            let now = Instant::now();
            let since = {
                let requests = self.requests.lock();
                let busy = requests.running > 0 || self.full.load(Ordering::Acquire);
                // Still busy, it cannot have been quiet for so long before this.
                if busy { Some(now) } else { requests.ended }
            };
            match since.map(|since| since + long) {
                Some(next) if next > now => look = next,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const TICK: Duration = Duration::from_millis(2);

    async fn ends_at(flow: &Flow, when: Instant) {
        let mut quiet = std::pin::pin!(flow.quiet(LONG));
        let before = tokio::time::timeout_at(when - TICK, &mut quiet).await;
        assert!(before.is_err(), "not yet");
        let then = tokio::time::timeout_at(when + TICK, &mut quiet).await;
        assert!(then.is_ok(), "too late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_so_long_after_its_last_request() {
        let flow = Arc::new(Flow::default());
        let begun = Instant::now();
        ends_at(&flow, begun + LONG).await;
        let (first, second) = (flow.begin(), flow.begin());
        drop(first);
        assert!(
            tokio::time::timeout(LONG * 3, flow.quiet(LONG))
                .await
                .is_err()
        );
        let quiet = tokio::spawn({
            let flow = Arc::clone(&flow);
            async move { ends_at(&flow, Instant::now() + LONG + LONG / 2).await }
        });
        tokio::time::sleep(LONG / 2).await;
        drop(second);
        quiet.await.expect("in time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_client_is_no_quiet() {
        let flow = Flow::default();
        flow.shut();
        assert!(
            tokio::time::timeout(LONG * 3, flow.quiet(LONG))
                .await
                .is_err()
        );
        flow.open();
        ends_at(&flow, Instant::now() + LONG).await;
    }
}
