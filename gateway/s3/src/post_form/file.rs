//! The file of a form: its length ahead of its bytes, and its end found.
//!
//! A form says how long it is as a whole, not how long its file is. Of a small rest all is read, and
//! fields after the file are passed over. Of a large one the length follows from the form ending right
//! after the file, as browsers and SDKs that send large files end it; a form that goes on is refused
//! before the last byte is handed on, so nothing of it is stored.

use super::multipart::malformed;
use super::search::find;
use super::{Pieces, broken};
use crate::body::BoxError;
use crate::error::{from_body, incomplete};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use s3s::S3Result;

/// Longest rest of a form that is read whole, bytes.
pub(crate) const REST_BUFFERED_MAX: u64 = 1 << 20;

/// The file and what follows it.
pub(super) struct File {
    delimiter: Vec<u8>,
    begun: Bytes,
    /// Bytes from the file's first to the form's last.
    left: u64,
    pieces: Pieces,
}

/// The file alone.
pub(super) struct MeasuredFile {
    pub(super) length: u64,
    pub(super) stream: BoxStream<'static, Result<Bytes, BoxError>>,
}

impl File {
    /// `begun`: what of `left` has come already.
    pub(super) fn new(boundary: &str, begun: Bytes, left: u64, pieces: Pieces) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            begun,
            left,
            pieces,
        }
    }

    /// Bytes that [`File::whole`] holds, of a rest that is short enough for it.
    pub(super) fn read_whole(&self) -> Option<usize> {
        let short = self.left <= REST_BUFFERED_MAX;
        short.then(|| usize::try_from(self.left).unwrap_or(usize::MAX))
    }

    /// As it comes, its length by the form ending right after it.
    pub(super) fn streamed(self) -> MeasuredFile {
        let tail = [self.delimiter.as_slice(), b"--\r\n"].concat();
        let length = self.left - tail.len() as u64;
        let watch = Watch::new(self.delimiter, tail, length);
        let begun = futures::stream::iter(
            Some(Ok(self.begun))
                .filter(|first| first.as_ref().is_ok_and(|piece: &Bytes| !piece.is_empty())),
        );
        let stream = watched(begun.chain(self.pieces).boxed(), watch);
        MeasuredFile { length, stream }
    }

    /// Read to its end, and what follows it passed over.
    pub(super) async fn whole(mut self) -> S3Result<MeasuredFile> {
        let mut rest = BytesMut::from(self.begun);
        while let Some(piece) = self.pieces.next().await {
            rest.extend_from_slice(&piece.map_err(from_body)?);
        }
        if (rest.len() as u64) < self.left {
            return Err(incomplete());
        }
        let end = find(&rest, &self.delimiter).ok_or_else(malformed)?;
        let after = end + self.delimiter.len();
        if !matches!(rest.get(after..after + 2), Some(b"--" | b"\r\n")) {
            return Err(malformed());
        }
        let file = rest.freeze().slice(..end);
        let length = file.len() as u64;
        Ok(MeasuredFile {
            length,
            stream: futures::stream::iter([Ok(file)]).boxed(),
        })
    }
}

/// Follows a file of known length as it passes. Pure.
#[derive(Debug)]
struct Watch {
    delimiter: Vec<u8>,
    tail: Vec<u8>,
    /// Of the file, not yet seen.
    left: u64,
    /// The last bytes seen, in which a delimiter may have begun.
    overlap: Vec<u8>,
    /// The file's last piece, held until the tail is known to be right.
    held: Option<Bytes>,
    after: Vec<u8>,
}

impl Watch {
    fn new(delimiter: Vec<u8>, tail: Vec<u8>, length: u64) -> Self {
        Self {
            delimiter,
            tail,
            left: length,
            overlap: Vec::new(),
            held: None,
            after: Vec::new(),
        }
    }

    /// A piece of the form: what of the file may be handed on.
    fn pass(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, BoxError> {
        let of_file = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        let file = piece.split_to(of_file);
        self.left -= of_file as u64;
        self.after.extend_from_slice(&piece);
        if self.after.len() > self.tail.len() || self.holds_delimiter(&file) {
            return Err(broken());
        }
        if self.left > 0 {
            return Ok(Some(file));
        }
        if !file.is_empty() {
            self.held = Some(file);
        }
        Ok(None)
    }

    /// Whether a delimiter ends in this piece: then the file ended earlier than the form says.
    fn holds_delimiter(&mut self, file: &[u8]) -> bool {
        let keep = self.delimiter.len() - 1;
        let seam = [
            self.overlap.as_slice(),
            file.get(..keep.min(file.len())).unwrap_or_default(),
        ]
        .concat();
        let found = find(&seam, &self.delimiter).is_some() || find(file, &self.delimiter).is_some();
        let mut last = std::mem::take(&mut self.overlap);
        last.extend_from_slice(
            file.get(file.len().saturating_sub(keep)..)
                .unwrap_or_default(),
        );
        let from = last.len().saturating_sub(keep);
        self.overlap = last.split_off(from);
        found
    }

    /// The form has ended: the last piece, if all was as it must be.
    fn end(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.left > 0 || self.after.len() < self.tail.len() {
            return Err(Box::new(incomplete()));
        }
        if self.after == self.tail {
            Ok(self.held.take())
        } else {
            Err(broken())
        }
    }
}

fn watched(
    pieces: BoxStream<'static, Result<Bytes, BoxError>>,
    watch: Watch,
) -> BoxStream<'static, Result<Bytes, BoxError>> {
    let state = Some((pieces, watch));
    futures::stream::unfold(state, |state| async move {
        let (mut pieces, mut watch) = state?;
        loop {
            let step = match pieces.next().await {
                Some(Ok(piece)) => watch.pass(piece),
                Some(Err(error)) => Err(error),
                None => return watch.end().transpose().map(|last| (last, None)),
            };
            match step {
                Ok(Some(piece)) => return Some((Ok(piece), Some((pieces, watch)))),
                Ok(None) => {}
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::RequestBody;
    use crate::request::testing;
    use http_body_util::{BodyExt as _, Empty};

    /// The file as it is handed on of a form in pieces of `step` bytes; `None`: refused.
    fn run(form: &[u8], step: usize) -> Option<Vec<u8>> {
        let delimiter = b"\r\n--B".to_vec();
        let tail = [delimiter.as_slice(), b"--\r\n"].concat();
        let length = (form.len() - tail.len()) as u64;
        let mut watch = Watch::new(delimiter, tail, length);
        let mut file = Vec::new();
        for piece in form.chunks(step) {
            if let Some(piece) = watch.pass(Bytes::copy_from_slice(piece)).ok()? {
                file.extend_from_slice(&piece);
                assert!(
                    (file.len() as u64) < length,
                    "the last byte came before the tail was known"
                );
            }
        }
        file.extend_from_slice(&watch.end().ok()?.unwrap_or_default());
        Some(file)
    }

    #[test]
    fn a_short_rest_is_read_whole_and_one_byte_more_is_streamed() {
        let file = |left: u64| {
            let (body, _rest) = RequestBody::new(Empty::new(), testing::state(), false);
            File::new("B", Bytes::new(), left, Box::pin(body.into_data_stream()))
        };
        let most = usize::try_from(REST_BUFFERED_MAX).expect("fits");
        assert_eq!(file(REST_BUFFERED_MAX).read_whole(), Some(most));
        assert_eq!(file(REST_BUFFERED_MAX + 1).read_whole(), None);
    }

    #[test]
    fn large_files_pass_whole_and_forms_that_go_on_are_refused() {
        let body = b"some\r\n--A body\r\n-".repeat(9);
        let with = |end: &[u8]| [body.as_slice(), end].concat();
        for step in [1, 2, 5, 16, 1000] {
            assert_eq!(
                run(&with(b"\r\n--B--\r\n"), step).as_deref(),
                Some(body.as_slice()),
                "{step}"
            );
            for wrong in [
                &b"\r\n--B\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nGo\r\n--B--\r\n"[..],
                b"\r\n--B--\r\nmore",
                b"\r\n--C--\r\n",
                b"",
            ] {
                assert_eq!(run(&with(wrong), step), None, "{step} {wrong:?}");
            }
        }
    }

    #[test]
    fn a_form_cut_short_is_refused() {
        let mut watch = Watch::new(b"\r\n--B".to_vec(), b"\r\n--B--\r\n".to_vec(), 4);
        assert!(watch.pass(Bytes::from_static(b"body\r\n--B")).is_ok());
        assert!(watch.end().is_err());
    }
}
