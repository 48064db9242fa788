//! A document's body on its way to s3s, which reads it whole: small pieces joined, marks counted.
//!
//! Room is granted by a document's length, but what becomes of it in memory can be many times that: of
//! bytes that come one by one each would be kept as a piece, of XML that is all elements each becomes a
//! value. Both are bounded here, on the way, before anything is made of them; and a document does not
//! end before there is room for its values.

use crate::body::{BoxError, RequestBody};
use crate::held::{Held, Room, VALUES_BYTES_MAX, What};
use crate::request::RequestState;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use s3s::S3Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Shortest piece that is handed on, but for the last.
const PIECE_BYTES_MIN: usize = 4 << 10;
/// Most marks (`<` that no `/` follows: begins of elements, declarations, comments) of a
/// CompleteMultipartUpload: 10,000 parts with number, tag and five checksums have 80,002 …
pub(crate) const COMPLETE_MARKS_MAX: usize = 80_500;
/// … and of any other document: 1,000 keys to delete, with all that may be said of each, have 6,003.
pub(crate) const DOCUMENT_MARKS_MAX: usize = 10_000;
/// What a mark may become in memory, bytes: the largest value that is read, in a list that has just
/// been doubled.
const VALUE_BYTES: usize = 2 * 320;

// What is charged is what it may become.
const _: () = assert!(COMPLETE_MARKS_MAX * VALUE_BYTES <= VALUES_BYTES_MAX);
const _: () = assert!(DOCUMENT_MARKS_MAX <= COMPLETE_MARKS_MAX);

/// See the file's head.
pub(crate) struct DocumentBody {
    inner: RequestBody,
    state: Arc<RequestState>,
    held: Held,
    joined: BytesMut,
    marks: usize,
    marks_max: usize,
    /// The last byte was `<`.
    after_mark: bool,
    /// Room for what it becomes.
    asked: Option<BoxFuture<'static, S3Result<Room>>>,
    ended: bool,
}

impl DocumentBody {
    /// What passes is kept in `state`; of marks there may be `marks_max`.
    /// Room is `held`'s.
    pub(crate) fn new(
        inner: RequestBody,
        state: Arc<RequestState>,
        held: &Held,
        marks_max: usize,
    ) -> Self {
        state.keep_document();
        Self {
            inner: inner.held(held),
            state,
            held: held.clone(),
            joined: BytesMut::new(),
            marks: 0,
            marks_max,
            after_mark: false,
            asked: None,
            ended: false,
        }
    }

    /// Nothing more comes: ready once there is room for the values.
    fn end(&mut self) {
        self.ended = true;
        if self.marks > 0 {
            let (held, bytes) = (self.held.clone(), self.marks * VALUE_BYTES);
            self.asked = Some(Box::pin(
                async move { held.grant(What::Values, bytes).await },
            ));
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Some(asked) = &mut self.asked {
            let granted = ready!(asked.as_mut().poll(cx));
            self.asked = None;
            match granted {
                Ok(room) => self.state.hold(room),
                Err(error) => return Poll::Ready(Err(Box::new(self.inner.refuse_room(error)))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes a piece; what is to be handed on by now.
    fn take(&mut self, piece: Bytes) -> Result<Option<Bytes>, BoxError> {
        for byte in &piece {
            self.marks += usize::from(self.after_mark && *byte != b'/');
            self.after_mark = *byte == b'<';
        }
        if self.marks > self.marks_max {
            return Err(Box::new(self.inner.refuse_marks()));
        }
        if self.joined.is_empty() && piece.len() >= PIECE_BYTES_MIN {
            return Ok(Some(piece));
        }
        self.joined.extend_from_slice(&piece);
        let full = self.joined.len() >= PIECE_BYTES_MIN;
        Ok(full.then(|| self.joined.split().freeze()))
    }
}

impl Body for DocumentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let passed = loop {
            if this.ended {
                if let Err(error) = ready!(this.poll_room(cx)) {
                    break Err(error);
                }
                let rest = this.joined.split().freeze();
                break Ok(Some(rest).filter(|rest| !rest.is_empty()));
            }
            let taken = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                // HTTP's own trailers are not S3's.
                Some(Ok(frame)) => frame.into_data().map_or(Ok(None), |piece| this.take(piece)),
                Some(Err(error)) => Err(error),
                None => {
                    this.end();
                    Ok(None)
                }
            };
            if !matches!(taken, Ok(None)) {
                break taken;
            }
        };
        if let Ok(Some(piece)) = &passed {
            this.state.keep(piece);
        }
        if passed.is_err() {
            this.ended = true;
            this.joined.clear();
        }
        Poll::Ready(passed.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let at_its_end = self.marks == 0 && self.inner.is_end_stream();
        self.joined.is_empty() && self.asked.is_none() && (self.ended || at_its_end)
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, joined) = (self.inner.size_hint(), self.joined.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + joined);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + joined);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Leftover;
    use crate::request::testing;
    use http_body_util::{BodyExt as _, StreamBody};

    fn document(text: &str, step: usize, marks_max: usize) -> (DocumentBody, Leftover) {
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(step)
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let state = testing::state();
        let stream = StreamBody::new(futures::stream::iter(pieces));
        let (body, rest) = RequestBody::new(stream, Arc::clone(&state), false);
        let held = Held::default();
        (DocumentBody::new(body, state, &held, marks_max), rest)
    }

    #[tokio::test]
    async fn single_bytes_are_joined_and_none_is_lost() {
        let text = "0123456789".repeat(1_000);
        for (step, most) in [(1, 3), (1_000, 2), (4_096, 3), (10_000, 1)] {
            let (mut body, _rest) = document(&text, step, 0);
            let mut read = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.expect("piece").into_data().expect("data");
                assert!(!piece.is_empty());
                read.push(piece);
            }
            assert!(read.len() <= most, "{step}: {}", read.len());
            assert_eq!(read.concat(), text.as_bytes());
            assert_eq!(body.state.document(), Some(read));
            assert_eq!(body.state.received(), text.len() as u64);
            assert!(body.is_end_stream());
        }
    }

    #[tokio::test]
    async fn marks_pass_to_the_limit_and_not_past_it() {
        for most in [COMPLETE_MARKS_MAX, DOCUMENT_MARKS_MAX] {
            for (marks, step, passes) in [
                (most, 1, true),
                (most, 100_000, true),
                (most + 1, 1, false),
                (most + 1, 100_000, false),
            ] {
                let (body, rest) = document(&"<a></a>".repeat(marks), step, most);
                let read = body.collect().await;
                assert_eq!(read.is_ok(), passes, "{marks} in {step}");
                if let Err(error) = read {
                    let told = crate::error::from_body(error);
                    assert_eq!(told.code().as_str(), "MalformedXML");
                    let fault = rest.fault().map(crate::error::from_body);
                    assert!(fault.is_some_and(|fault| fault.code() == told.code()));
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_of_many_elements_waits_for_room_for_its_values() {
        for (text, waits) in [("a".repeat(9_000), false), ("<a></a>".repeat(2_000), true)] {
            let (mut body, rest) = document(&text, 4_000, COMPLETE_MARKS_MAX);
            let (state, held) = (Arc::clone(&body.state), body.held.clone());
            let all = held.grant(What::Values, VALUES_BYTES_MAX).await;
            let all = all.expect("all");
            let read = (&mut body).collect().await;
            assert_eq!(read.is_err(), waits);
            if let Err(error) = read {
                assert_eq!(crate::error::from_body(error).code().as_str(), "SlowDown");
                assert!(rest.fault().is_some() && body.is_end_stream());
            }
            drop(all);
            drop(
                held.grant(What::Values, VALUES_BYTES_MAX)
                    .await
                    .expect("all"),
            );

            let (body, _rest) = document(&text, 4_000, COMPLETE_MARKS_MAX);
            let (of_it, held) = (Arc::clone(&body.state), body.held.clone());
            body.collect().await.expect("read");
            let all = held.grant(What::Values, VALUES_BYTES_MAX).await;
            assert_eq!(all.is_err(), waits, "values keep their room");
            drop(all);
            let rest = VALUES_BYTES_MAX - 2_000 * VALUE_BYTES;
            held.grant(What::Values, rest).await.expect("and no more");
            of_it.let_go();
            held.grant(What::Values, VALUES_BYTES_MAX)
                .await
                .expect("given back");
            state.let_go();
        }
    }

    #[test]
    fn an_element_costs_no_more_than_it_is_charged() {
        let most = [
            size_of::<s3s::dto::CompletedPart>(),
            size_of::<s3s::dto::ObjectIdentifier>(),
            size_of::<s3s::dto::Grant>(),
            size_of::<s3s::dto::Tag>(),
            size_of::<s3s::dto::CORSRule>(),
        ];
        assert!(
            most.iter().all(|bytes| 2 * bytes <= VALUE_BYTES),
            "{most:?}"
        );
    }

    #[test]
    fn the_largest_honest_documents_pass() {
        use engine_node::PARTS_MAX;
        let part = 1 + 2 + 5;
        assert!(1 + 1 + usize::from(PARTS_MAX) * part <= COMPLETE_MARKS_MAX);
        let key = 1 + 5;
        let all = 1 + 1 + 1 + crate::delete_many::KEYS_MAX * key;
        assert!(all <= DOCUMENT_MARKS_MAX);
    }
}
