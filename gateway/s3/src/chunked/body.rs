//! A body that passes [`Framing`] as it flows: bytes go on once they are judged.

use super::{Framing, Plan, Trailers};
use crate::body::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// See the file's head. Holds no more than one piece of the body it wraps.
#[derive(Debug)]
pub(crate) struct ChunkedBody<B> {
    inner: B,
    /// None: it has ended, one way or the other.
    framing: Option<Framing>,
    trailers: Trailers,
    /// Payload still to come, where it is handed on decoded.
    decoded: Option<u64>,
    ready: VecDeque<Bytes>,
}

impl<B> ChunkedBody<B> {
    pub(crate) fn new(inner: B, plan: Plan) -> Self {
        Self {
            inner,
            framing: Some(plan.framing),
            trailers: plan.trailers,
            decoded: plan.decoded,
            ready: VecDeque::new(),
        }
    }

    /// Judges a piece; what of it goes on, in order, is in `ready` then.
    fn judge(&mut self, piece: Bytes) -> Result<(), BoxError> {
        let Some(framing) = self.framing.as_mut() else {
            return Ok(());
        };
        let mut payload = Vec::new();
        framing.take(&piece, |range| payload.push(range))?;
        match self.decoded.as_mut() {
            None => self.ready.push_back(piece),
            Some(left) => {
                for range in payload {
                    *left -= range.len() as u64;
                    self.ready.push_back(piece.slice(range));
                }
            }
        }
        Ok(())
    }

    /// The inner body has ended: was it whole?
    fn end(&mut self) -> Result<(), BoxError> {
        if let Some(framing) = self.framing.take() {
            #[cfg(sabotage)]
            if engine_types::sabotage("skip-chunk-end") {
                return Ok(());
            }
            self.trailers.set(framing.finish()?);
        }
        Ok(())
    }
}

impl<B> Body for ChunkedBody<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.framing.is_none() {
                return Poll::Ready(None);
            }
            let judged = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                // HTTP's own trailers are not S3's.
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |piece| this.judge(piece)),
                Some(Err(error)) => Err(error),
                None => this.end(),
            };
            if let Err(error) = judged {
                this.framing = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.framing.is_none() && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoded {
            Some(left) => {
                let ready: usize = self.ready.iter().map(Bytes::len).sum();
                SizeHint::with_exact(left + ready as u64)
            }
            None => self.inner.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunked::FramingError;
    use http_body_util::{BodyExt, StreamBody};

    const CRC: &str = "x-amz-checksum-crc32";

    fn wrapped(
        pieces: &'static [&'static str],
        decoded: Option<u64>,
    ) -> (
        ChunkedBody<impl Body<Data = Bytes, Error = BoxError> + Unpin>,
        Trailers,
    ) {
        let frames = pieces
            .iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        let trailers = Trailers::default();
        let plan = Plan {
            framing: Framing::new(false, Some(CRC), 5),
            decoded,
            trailers: trailers.clone(),
        };
        let inner = StreamBody::new(futures::stream::iter(frames));
        (ChunkedBody::new(inner, plan), trailers)
    }

    const PIECES: &[&str] = &[
        "5\r",
        "\nab",
        "cde\r\n0\r\n",
        "x-amz-checksum-crc32:AA==\r\n\r\n",
    ];

    #[tokio::test]
    async fn decoded_or_as_it_came_and_the_trailer_is_there_at_the_end() {
        for (decoded, expected) in [(Some(5), "abcde".to_owned()), (None, PIECES.concat())] {
            let (body, trailers) = wrapped(PIECES, decoded);
            assert_eq!(body.size_hint().exact(), decoded);
            assert_eq!(trailers.get(CRC), None);
            let read = body.collect().await.expect("whole").to_bytes();
            assert_eq!(read, expected.as_bytes());
            assert_eq!(trailers.get(CRC).as_deref(), Some("AA=="));
        }
    }

    #[tokio::test]
    async fn a_cut_body_ends_in_an_error_and_not_in_an_end() {
        for (pieces, fault) in [
            (&PIECES[..2], FramingError::Incomplete),
            (&PIECES[..3], FramingError::Trailer),
            (&[][..], FramingError::Incomplete),
            (&["xx\r\n"][..], FramingError::Malformed),
        ] {
            let (body, trailers) = wrapped(pieces, None);
            let error = body.collect().await.expect_err("cut");
            assert_eq!(error.downcast_ref(), Some(&fault));
            assert_eq!(trailers.get(CRC), None);
        }
    }
}
