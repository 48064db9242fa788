//! A reader whose client takes nothing gives back what it holds, and reads it again later.
//!
//! A body's stream is not polled while its client takes nothing, so it cannot empty itself: it stands
//! on a [`ReadShelf`], which the [`Sweeper`] reaches too. A stream that nothing was taken from for
//! [`READ_IDLE`] is dropped whole, with all it has read and is reading, and opened anew where it
//! stopped once the client goes on. To close the connection instead was turned down: players and
//! tools that pause are common, and the socket's own limit ends those who never come back.

use crate::engine::{Engine, Inner};
use crate::worker::{Progress, Worker};
use crate::{BodyError, ByteStream, EngineError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// A reader whose client takes nothing for so long gives back what it holds.
pub(crate) const READ_IDLE: Duration = Duration::from_secs(5);
/// The sweeper looks so many times while a reader becomes idle.
const LOOKS: u32 = 5;
/// Readers without a place give their frames out in copies of this size: the connection of a client
/// that stops reading then keeps what its socket refused, and not the frame around it.
const COPY_BYTES: usize = 16 << 10;

/// Opens the same body again, that many bytes into what was asked for.
pub(crate) type Again =
    Box<dyn Fn(u64) -> BoxFuture<'static, Result<ByteStream, EngineError>> + Send + Sync>;

/// The readers that may be swept.
#[derive(Default)]
pub(crate) struct IdleReads(Mutex<Vec<Weak<ReadShelf>>>);

impl fmt::Debug for IdleReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleReads").finish_non_exhaustive()
    }
}

/// Where the sweeper finds a reader's stream.
pub(crate) struct ReadShelf(Mutex<Kept>);

struct Kept {
    /// None once swept.
    stream: Option<ByteStream>,
    /// Bytes handed out.
    at: u64,
    taken: Duration,
    /// Whom the next bytes wake, where they were asked for before they were there.
    awaited: Option<Waker>,
}

impl Kept {
    /// Takes the stream of a reader that nothing was taken from; none where the client waits for bytes,
    /// not the other way round. Bytes that came and nobody fetched are no longer awaited, and go with
    /// the stream: who was told of them still comes, and has them read again.
    fn sweep(&mut self) -> Option<ByteStream> {
        let stream = self.stream.as_mut()?;
        if let Some(waker) = &self.awaited {
            let next = stream.as_mut().poll_next(&mut Context::from_waker(waker));
            if next.is_pending() {
                return None;
            }
        }
        self.stream.take()
    }
}

/// `stream`, which `again` can open anew, swept while nothing is taken from it.
pub(crate) fn idling(inner: &Arc<Inner>, stream: ByteStream, again: Again) -> ByteStream {
    let kept = Kept {
        stream: Some(stream),
        at: 0,
        taken: inner.clock.monotonic(),
        awaited: None,
    };
    let shelf = Arc::new(ReadShelf(Mutex::new(kept)));
    inner.idle_reads.0.lock().push(Arc::downgrade(&shelf));
    Box::pin(Reader {
        inner: Arc::clone(inner),
        shelf,
        again,
        opening: None,
        ended: false,
    })
}

/// Copies of at most [`COPY_BYTES`] in place of `frames`.
pub(crate) fn copies(frames: &[Bytes]) -> Vec<Bytes> {
    let parts = frames.iter().flat_map(|frame| frame.chunks(COPY_BYTES));
    parts.map(Bytes::copy_from_slice).collect()
}

struct Reader {
    inner: Arc<Inner>,
    shelf: Arc<ReadShelf>,
    again: Again,
    opening: Option<BoxFuture<'static, Result<ByteStream, EngineError>>>,
    ended: bool,
}

impl Reader {
    /// The next bytes; none where the stream was swept.
    fn poll_kept(&self, cx: &mut Context<'_>) -> Option<Poll<Option<Result<Bytes, BodyError>>>> {
        let mut kept = self.shelf.0.lock();
        let polled = kept.stream.as_mut()?.as_mut().poll_next(cx);
        kept.awaited = polled.is_pending().then(|| cx.waker().clone());
        kept.taken = self.inner.clock.monotonic();
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => kept.at += bytes.len() as u64,
            Poll::Ready(None | Some(Err(_))) => kept.stream = None,
            Poll::Pending => {}
        }
        Some(polled)
    }
}

impl Stream for Reader {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(opening) = &mut self.opening {
                let opened = ready!(opening.as_mut().poll(cx));
                self.opening = None;
                match opened {
                    Ok(stream) => self.shelf.0.lock().stream = Some(stream),
                    Err(error) => {
                        self.ended = true;
                        return Poll::Ready(Some(Err(Box::new(error))));
                    }
                }
            }
            if let Some(polled) = self.poll_kept(cx) {
                self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
                return polled;
            }
            let at = self.shelf.0.lock().at;
            self.opening = Some((self.again)(at));
        }
    }
}

/// Empties the shelves of readers that nothing is taken from.
pub(crate) struct Sweeper;

#[async_trait]
impl Worker for Sweeper {
    fn name(&self) -> &'static str {
        "idle readers"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.read_idle / LOOKS
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let now = inner.clock.monotonic();
        let readers: Vec<_> = {
            let mut readers = inner.idle_reads.0.lock();
            readers.retain(|reader| reader.strong_count() > 0);
            readers.iter().filter_map(Weak::upgrade).collect()
        };
        for reader in readers {
            let mut kept = reader.0.lock();
            if now.saturating_sub(kept.taken) >= inner.options.read_idle {
                // Dropped after the lock: it ends tasks and gives back places.
                let swept = kept.sweep();
                drop(kept);
                drop(swept);
            }
        }
        Ok(Progress::Done)
    }
}

impl Engine {
    /// Bytes of the readers' share in use.
    pub fn read_ahead_bytes(&self) -> usize {
        self.inner.read_share.used()
    }
}
