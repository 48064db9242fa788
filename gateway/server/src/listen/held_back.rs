//! An answer's body that gives nothing while the socket is full, so that a client that stops reading
//! holds what the socket refused and nothing beside it. On h2 it does not end before all it gave was
//! written: until then its stream can still be cut (see [`Given`]).
//!
//! On HTTP/1 the frames that are at hand are given as one piece, since a write of several costs the
//! kernel and the client about half of what one write for each does (loopback, 64 KiB against 256; of a lone
//! reader's GET a tenth, of many readers' on one slow disk nothing). They are parts of what is in memory whole and counted there. Short frames are not: they are copies for
//! readers that have no share in memory (`engine_node`), and go one by one.

use super::flow::Running;
use super::given::{Given, Piece};
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes of a piece of several frames; one that would go over it begins the next.
pub(super) const PIECE_BYTES_MAX: usize = 256 << 10;
/// Frames shorter than this are not followed by another in the same piece.
const LONG_FRAME_BYTES: usize = 32 << 10;

/// See above.
pub(crate) struct HeldBack<B: Body> {
    body: B,
    /// What followed a piece and did not go with it.
    next: Option<Result<Frame<Bytes>, B::Error>>,
    running: Running,
    /// On h2.
    given: Option<Arc<Given>>,
    ended: bool,
}

// Nothing in it is pinned where it lies.
impl<B: Body + Unpin> Unpin for HeldBack<B> {}

impl<B: Body<Data = Bytes> + Unpin> HeldBack<B> {
    /// In the task of the request that it answers.
    pub(super) fn new(body: B, running: Running) -> Self {
        Self {
            body,
            next: None,
            running,
            given: Given::of_this_stream(),
            ended: false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.next.take() {
            Some(next) => Poll::Ready(Some(next)),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    /// `first`, and what is at hand behind it.
    fn piece(&mut self, first: Bytes, cx: &mut Context<'_>) -> Piece {
        let mut last = first.len();
        let mut piece = Piece::new(first, self.given.as_ref());
        let more = |held: usize, last: usize| {
            // As much again would fit: what does not is held beside the piece.
            last >= LONG_FRAME_BYTES && held + last <= PIECE_BYTES_MAX
        };
        while self.given.is_none() && more(piece.remaining(), last) {
            let frame = match self.poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(error)) => {
                    self.next = Some(error);
                    break;
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    break;
                }
                Poll::Pending => break,
            };
            match frame.into_data() {
                Ok(bytes) if piece.remaining() + bytes.len() <= PIECE_BYTES_MAX => {
                    last = bytes.len();
                    piece.push(bytes);
                }
                Ok(bytes) => {
                    self.next = Some(Ok(Frame::data(bytes)));
                    break;
                }
                Err(trailers) => {
                    self.next = Some(Ok(trailers));
                    break;
                }
            }
        }
        piece
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
            if let Some(frame) = ready!(me.poll_next(cx)) {
                let piece = |bytes| me.piece(bytes, cx);
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
        let ended = self.next.is_none() && (self.ended || self.body.is_end_stream());
        ended && self.given.as_ref().is_none_or(|given| given.is_taken())
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.next.as_ref().and_then(|next| next.as_ref().ok());
        let kept = kept.and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(hint.lower().saturating_add(kept));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::Flow;
    use super::*;
    use futures::StreamExt as _;
    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    const LONG: usize = LONG_FRAME_BYTES;

    /// What becomes of frames of these lengths; none: not at hand yet. In pieces, and all their bytes.
    async fn given(frames: &[Option<usize>]) -> Vec<usize> {
        let mut number = 0_u8;
        let frames = Vec::from(frames).into_iter().map(move |length| {
            number = number.wrapping_add(1);
            length.map(|length| Bytes::from(vec![number; length]))
        });
        let all: Vec<u8> = frames.clone().flatten().flatten().collect();
        let frames = stream::iter(frames).then(|bytes| async move {
            if bytes.is_none() {
                tokio::task::yield_now().await;
            }
            bytes
        });
        let frames = frames.filter_map(std::future::ready);
        let frames = frames.map(|bytes| Ok::<_, BrokenBody>(Frame::data(bytes)));
        let mut body = HeldBack::new(
            StreamBody::new(frames.boxed()),
            Arc::new(Flow::default()).begin(),
        );
        let (mut pieces, mut sent) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let mut piece = frame.expect("piece").into_data().expect("data");
            pieces.push(piece.remaining());
            let mut parts = [std::io::IoSlice::new(&[]); 64];
            let parts_of_it = piece.chunks_vectored(&mut parts);
            let listed: usize = parts[..parts_of_it].iter().map(|part| part.len()).sum();
            assert_eq!(listed, piece.remaining());
            sent.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        assert!(body.is_end_stream());
        assert!(sent == all);
        pieces
    }

    #[derive(Debug, PartialEq, Eq)]
    struct BrokenBody;

    #[tokio::test]
    async fn long_frames_at_hand_go_together_to_the_limit_and_not_past_it() {
        let most = PIECE_BYTES_MAX / LONG;
        assert_eq!(given(&vec![Some(LONG); most]).await, [PIECE_BYTES_MAX]);
        let one_more = vec![Some(LONG); most + 1];
        assert_eq!(given(&one_more).await, [PIECE_BYTES_MAX, LONG]);
        assert_eq!(
            given(&[Some(LONG), Some(LONG + 1), Some(7)]).await,
            [2 * LONG + 8]
        );
        let long = PIECE_BYTES_MAX - LONG + 1;
        assert_eq!(given(&[Some(LONG), Some(long)]).await, [LONG, long]);
    }

    #[tokio::test]
    async fn short_frames_and_what_is_not_at_hand_are_not_waited_for() {
        let short = LONG - 1;
        assert_eq!(
            given(&[Some(short), Some(LONG), Some(short)]).await,
            [short, LONG + short]
        );
        assert_eq!(given(&[Some(LONG), None, Some(LONG)]).await, [LONG, LONG]);
        assert_eq!(given(&[]).await, [0; 0]);
    }

    #[tokio::test]
    async fn an_error_comes_behind_what_came_before_it() {
        let frames = [Ok(Frame::data(Bytes::from(vec![1; LONG]))), Err(BrokenBody)];
        let body = StreamBody::new(stream::iter(frames));
        let mut body = HeldBack::new(body, Arc::new(Flow::default()).begin());
        let first = body.frame().await.expect("frame").expect("piece");
        assert_eq!(first.data_ref().map(Buf::remaining), Some(LONG));
        assert!(!body.is_end_stream());
        assert_eq!(
            body.frame().await.expect("frame").expect_err("error"),
            BrokenBody
        );
    }
}
