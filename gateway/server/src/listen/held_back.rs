//! An answer's body that gives nothing while the socket is full, so that a client that stops reading
//! holds what the socket refused and nothing beside it.

use super::stall::Flow;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// See above.
pub(crate) struct HeldBack<B> {
    body: B,
    flow: Arc<Flow>,
}

impl<B> HeldBack<B> {
    pub(crate) fn new(body: B, flow: Arc<Flow>) -> Self {
        Self { body, flow }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for HeldBack<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        ready!(self.flow.poll_open(cx));
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
