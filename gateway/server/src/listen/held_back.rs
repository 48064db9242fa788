//! An answer's body that gives nothing while the socket is full, so that a client that stops reading
//! holds what the socket refused and nothing beside it. On h2 it does not end before all it gave was
//! written: until then its stream can still be cut (see [`Given`]).

use super::flow::Running;
use super::given::{Given, Piece};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// See above.
pub(crate) struct HeldBack<B> {
    body: B,
    running: Running,
    /// On h2.
    given: Option<Arc<Given>>,
    ended: bool,
}

impl<B> HeldBack<B> {
    /// In the task of the request that it answers.
    pub(super) fn new(body: B, running: Running) -> Self {
        Self {
            body,
            running,
            given: Given::of_this_stream(),
            ended: false,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for HeldBack<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let me = &mut *self;
        if !me.ended {
            ready!(me.running.flow().poll_open(cx));
            if let Some(frame) = ready!(Pin::new(&mut me.body).poll_frame(cx)) {
                let piece = |bytes| Piece::new(bytes, me.given.as_ref());
                return Poll::Ready(Some(frame.map(|frame| frame.map_data(piece))));
            }
            me.ended = true;
        }
        if let Some(given) = &me.given {
            ready!(given.poll_taken(cx));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.given.as_ref().is_none_or(|given| given.is_taken())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
