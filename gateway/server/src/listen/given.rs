//! What h2 holds of an answer because its client's window is shut, and the end of a stream of which
//! nothing is taken.
//!
//! h2 takes a piece before it knows whether the client has room, and then waits for ever. The socket
//! does not show it: it is empty, and the connection's other streams go on. So each piece says when a
//! part of it was written and when it is gone, and beside each stream's task stands a clock. A handler
//! that has given nothing yet is no stall, nor is a client that takes a little now and then.

use super::stall::WRITE_STALL_MAX;
use bytes::{Buf, Bytes};
use bytes_utils::SegmentedBuf;
use parking_lot::Mutex;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

tokio::task_local! {
    static GIVEN: Arc<Given>;
}

/// What one h2 stream has given and not got rid of.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<Pieces>);

#[derive(Debug, Default)]
struct Pieces {
    held: usize,
    /// When the first of them came, or anything was last written of any.
    since: Option<Instant>,
    end: Option<Waker>,
}

impl Given {
    /// Of the h2 stream whose task asks; HTTP/1 has none.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        GIVEN.try_with(Arc::clone).ok()
    }

    /// Nothing is held.
    pub(super) fn is_taken(&self) -> bool {
        self.0.lock().held == 0
    }

    /// Ready once nothing is held.
    pub(super) fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        let mut pieces = self.0.lock();
        if pieces.held == 0 {
            return Poll::Ready(());
        }
        pieces.end = Some(cx.waker().clone());
        Poll::Pending
    }

    fn piece(&self) {
        let mut pieces = self.0.lock();
        if pieces.held == 0 {
            pieces.since = Some(Instant::now());
        }
        pieces.held += 1;
    }

    fn wrote(&self) {
        self.0.lock().since = Some(Instant::now());
    }

    fn gone(&self) {
        let mut pieces = self.0.lock();
        pieces.held -= 1;
        if pieces.held == 0 {
            pieces.since = None;
            let end = pieces.end.take();
            drop(pieces);
            if let Some(end) = end {
                end.wake();
            }
        }
    }

    /// Ends once something is held of which nothing was taken for [`WRITE_STALL_MAX`].
    async fn stalled(&self) {
        let mut look = Instant::now() + WRITE_STALL_MAX;
        loop {
            tokio::time::sleep_until(look).await;
            let now = Instant::now();
            let since = self.0.lock().since;
            // Nothing held now: what comes later has its time from then.
            look = since.unwrap_or(now) + WRITE_STALL_MAX;
            if look <= now {
                return;
            }
        }
    }
}

/// A piece of an answer on its way through hyper: one frame of its body, or several.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: SegmentedBuf<Bytes>,
    given: Option<Arc<Given>>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes, given: Option<&Arc<Given>>) -> Self {
        let given = given.cloned();
        if let Some(given) = &given {
            given.piece();
        }
        let mut piece = Self {
            bytes: SegmentedBuf::new(),
            given,
        };
        piece.push(bytes);
        piece
    }

    /// Goes on with `bytes`.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.bytes.push(bytes);
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(into)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(given) = &self.given {
            given.wrote();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(given) = &self.given {
            given.gone();
        }
    }
}

/// Runs the streams of h2 connections, each with its clock; HTTP/1 needs none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let given = Arc::<Given>::default();
        let clock = Arc::clone(&given);
        tokio::spawn(GIVEN.scope(given, async move {
            tokio::select! {
                _answered = stream => {}
                // To drop a stream is to reset it; the connection goes on.
                () = clock.stalled() => tracing::debug!("stream cut: nothing was taken of its answer"),
            }
        }));
    }
}
