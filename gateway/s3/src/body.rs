//! A request's body between hyper and s3s: counted, timed, and still ours when an answer is ready
//! before it was read.
//!
//! s3s owns the request and drops it with its answer. The inner body therefore sits behind a shared
//! handle: after an early error the front drains what is left, a little, so that the client reads
//! the answer instead of a reset. A body that was never polled with `Expect: 100-continue` is
//! dropped unread: polling it would send the 100.

use crate::error::malformed_xml;
use crate::held::{Held, Pace, Room, What, late, no_room};
use crate::request::{DOCUMENT_BYTES_MAX, RequestState};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use s3s::{S3Error, S3Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Anything that went wrong with a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client that sends nothing for this long while we wait for it is cut off.
pub(crate) const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// After an early answer this much of the body is still read …
pub(crate) const DRAIN_BYTES_MAX: u64 = 1 << 20;
/// … for this long.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// The client stopped sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("nothing was sent for {}s", BODY_IDLE_MAX.as_secs())]
pub(crate) struct BodyTimeout;

/// The connection broke, or the framing did.
#[derive(Debug, thiserror::Error)]
#[error("body: {0}")]
pub(crate) struct BodyBroken(#[source] BoxError);

type Inner = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

struct Shared {
    body: Option<Inner>,
    polled: bool,
    fault: Option<Fault>,
}

/// Which way a body failed under us.
#[derive(Clone, Copy)]
enum Fault {
    Idle,
    Broken,
    NoRoom,
    Late,
    Marks,
}

/// A document's room in memory.
enum Hold {
    Asked(BoxFuture<'static, S3Result<Room>>),
    Given(Pace),
}

/// The body as s3s gets it.
pub(crate) struct RequestBody {
    shared: Arc<Mutex<Shared>>,
    state: Arc<RequestState>,
    idle: Option<Pin<Box<Sleep>>>,
    hold: Option<Hold>,
}

/// The front's hold on the same body.
pub(crate) struct Leftover {
    shared: Arc<Mutex<Shared>>,
    expects: bool,
}

impl RequestBody {
    pub(crate) fn new<B>(body: B, state: Arc<RequestState>, expects: bool) -> (Self, Leftover)
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body: Inner = Box::pin(http_body_util::BodyExt::map_err(body, Into::into));
        let shared = Arc::new(Mutex::new(Shared {
            body: Some(body),
            polled: false,
            fault: None,
        }));
        let leftover = Leftover {
            shared: Arc::clone(&shared),
            expects,
        };
        (
            Self {
                shared,
                state,
                idle: None,
                hold: None,
            },
            leftover,
        )
    }

    /// It is read whole: not before there is room, and at a pace. Nothing is asked before the first
    /// byte is wanted, that is before the sender is known.
    pub(crate) fn held(mut self, held: &Held) -> Self {
        let announced = self.size_hint().exact();
        let bytes = announced.and_then(|length| usize::try_from(length).ok());
        let bytes = bytes.unwrap_or(usize::MAX).min(DOCUMENT_BYTES_MAX);
        let held = held.clone();
        let asked = async move { held.grant(What::Whole, bytes).await };
        self.hold = (bytes > 0).then(|| Hold::Asked(Box::pin(asked)));
        self
    }

    /// Ready with an error where the document may not be read on; pending while it must wait.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<Option<S3Error>> {
        if let Some(Hold::Asked(asked)) = &mut self.hold {
            match ready!(asked.as_mut().poll(cx)) {
                Ok(room) => {
                    self.hold = Some(Hold::Given(room.pace()));
                    self.state.hold(room);
                }
                Err(error) => return Poll::Ready(Some(self.ended(Fault::NoRoom, error))),
            }
        }
        if let Some(Hold::Given(pace)) = &mut self.hold
            && pace.poll_late(cx).is_ready()
        {
            return Poll::Ready(Some(self.ended(Fault::Late, late())));
        }
        Poll::Ready(None)
    }

    /// The document has more elements than any that means something: it is not read on.
    pub(crate) fn refuse_marks(&mut self) -> S3Error {
        self.ended(Fault::Marks, malformed_xml())
    }

    /// There was no room for what it would become.
    pub(crate) fn refuse_room(&mut self, error: S3Error) -> S3Error {
        self.ended(Fault::NoRoom, error)
    }

    fn ended(&mut self, fault: Fault, error: S3Error) -> S3Error {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.fault = Some(fault);
        shared.body = None;
        drop(shared);
        self.hold = None;
        error
    }

    fn waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let idle = self
            .idle
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(BODY_IDLE_MAX)));
        match idle.as_mut().poll(cx) {
            Poll::Ready(()) => {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.fault = Some(Fault::Idle);
                shared.body = None;
                Poll::Ready(Some(Err(Box::new(BodyTimeout))))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(error) = ready!(this.poll_hold(cx)) {
            return Poll::Ready(Some(Err(Box::new(error))));
        }
        let polled = {
            let mut shared = this.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.polled = true;
            let Some(body) = shared.body.as_mut() else {
                return Poll::Ready(None);
            };
            let polled = body.as_mut().poll_frame(cx);
            if let Poll::Ready(Some(Err(_))) = polled {
                shared.fault = Some(Fault::Broken);
            }
            if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
                shared.body = None;
            }
            polled
        };
        match polled {
            Poll::Pending => this.waiting(cx),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(idle) = this.idle.as_mut() {
                    idle.as_mut().reset(Instant::now() + BODY_IDLE_MAX);
                }
                if let Some(piece) = frame.data_ref() {
                    this.state.took(piece);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Box::new(BodyBroken(error))))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared
            .body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Leftover {
    /// Somebody began to read it.
    pub(crate) fn polled(&self) -> bool {
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .polled
    }
    /// How it failed, if it did.
    pub(crate) fn fault(&self) -> Option<BoxError> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.fault.map(|fault| match fault {
            Fault::Idle => Box::new(BodyTimeout) as BoxError,
            Fault::Broken => Box::new(BodyBroken("connection broke".into())),
            Fault::NoRoom => Box::new(no_room()),
            Fault::Late => Box::new(late()),
            Fault::Marks => Box::new(malformed_xml()),
        })
    }

    /// Reads what is left, within the limits, beside the answer's way out; then lets go, upon which
    /// hyper closes the connection if the body is still not at its end.
    pub(crate) fn drain(self) {
        let (body, polled) = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            (shared.body.take(), shared.polled)
        };
        let Some(body) = body else { return };
        if body.is_end_stream() || (self.expects && !polled) {
            return;
        }
        tokio::spawn(tokio::time::timeout(DRAIN_TIME_MAX, discard(body)));
    }
}

async fn discard(mut body: Inner) {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut body).await {
        let bytes = frame.data_ref().map_or(0, |piece| piece.len() as u64);
        let Some(rest) = left.checked_sub(bytes) else {
            return;
        };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::state;
    use http_body_util::{BodyExt, StreamBody};

    #[tokio::test(start_paused = true)]
    async fn a_stalled_client_is_cut_off_and_a_slow_one_is_not() {
        let slow = StreamBody::new(futures::stream::unfold(0, |n| async move {
            tokio::time::sleep(BODY_IDLE_MAX.saturating_sub(Duration::from_secs(1))).await;
            (n < 3).then(|| {
                (
                    Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x"))),
                    n + 1,
                )
            })
        }));
        let (mut body, _rest) = RequestBody::new(slow, state(), false);
        for _ in 0..3 {
            assert!(body.frame().await.is_some_and(|f| f.is_ok()));
        }
        let stalled = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
        let (mut body, _rest) = RequestBody::new(stalled, state(), false);
        let asked = Instant::now();
        let error = body.frame().await.expect("frame").expect_err("cut off");
        assert!(error.is::<BodyTimeout>());
        let late = asked.elapsed().saturating_sub(BODY_IDLE_MAX);
        assert!(asked.elapsed() >= BODY_IDLE_MAX && late < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn leftovers_are_drained_to_the_limit_only() {
        let taken = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let endless = StreamBody::new(futures::stream::repeat_with(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, BoxError>(Frame::data(Bytes::from(vec![0; 64 << 10])))
        }));
        let (body, rest) = RequestBody::new(endless, state(), false);
        drop(body);
        rest.drain();
        tokio::time::sleep(DRAIN_TIME_MAX).await;
        assert_eq!(
            taken.load(std::sync::atomic::Ordering::SeqCst),
            DRAIN_BYTES_MAX / (64 << 10) + 1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn documents_wait_for_room_and_end_where_their_bytes_trickle() {
        let held = Held::default();
        let endless = || {
            let piece = || Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x")));
            let slow = futures::stream::unfold((), move |()| async move {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Some((piece(), ()))
            });
            let (body, rest) = RequestBody::new(StreamBody::new(slow), state(), false);
            (body.held(&held), rest)
        };
        let all = held.grant(What::Whole, 64 << 20).await.expect("all");
        let (mut body, rest) = endless();
        let refused = body.frame().await.expect("frame").expect_err("no room");
        let answer = crate::error::from_body(refused);
        assert_eq!(answer.code().as_str(), "SlowDown");
        assert!(rest.fault().is_some());
        drop(all);

        let (mut body, rest) = endless();
        let began = Instant::now();
        let ended = loop {
            if let Err(error) = body.frame().await.expect("frame") {
                break crate::error::from_body(error);
            }
        };
        assert_eq!(ended.code().as_str(), "RequestTimeout");
        assert_eq!(body.state.received(), began.elapsed().as_secs() / 10);
        let again = rest.fault().map(crate::error::from_body);
        assert!(again.is_some_and(|error| error.code() == ended.code()));
        let left = held.grant(What::Whole, 64 << 20);
        body.state.let_go();
        left.await.expect("given back");
    }

    #[tokio::test]
    async fn an_expected_body_that_nobody_read_stays_unread() {
        let forbidden = StreamBody::new(futures::stream::poll_fn(
            |_| -> Poll<Option<Result<Frame<Bytes>, BoxError>>> { panic!("polled") },
        ));
        let (body, rest) = RequestBody::new(forbidden, state(), true);
        drop(body);
        rest.drain();
        tokio::task::yield_now().await;
    }
}
