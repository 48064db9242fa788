//! A body that nobody signed and whose hash was declared all the same. s3s holds the bodies of signed
//! requests to `x-amz-content-sha256` and passes over that of others; what is declared is compared.

use crate::body::BoxError;
use crate::error::sha256_mismatch;
use crate::precheck::Signed;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use ring::digest;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The hash to hold a body to here.
pub(crate) fn declared(headers: &HeaderMap, signed: Signed) -> Option<[u8; 32]> {
    if signed != Signed::No {
        return None;
    }
    let mut hash = [0; 32];
    let text = headers.get("x-amz-content-sha256")?.as_bytes();
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

/// Ends in an error where its bytes are others than declared.
pub(crate) struct HashedBody<B> {
    inner: B,
    declared: [u8; 32],
    /// None: it was compared.
    hash: Option<digest::Context>,
}

impl<B> HashedBody<B> {
    pub(crate) fn new(inner: B, declared: [u8; 32]) -> Self {
        Self {
            inner,
            declared,
            hash: Some(digest::Context::new(&digest::SHA256)),
        }
    }

    fn compare(&mut self) -> Result<(), BoxError> {
        let hash = self.hash.take().map(digest::Context::finish);
        match hash {
            Some(hash) if hash.as_ref() != self.declared => Err(Box::new(sha256_mismatch())),
            Some(_) | None => Ok(()),
        }
    }
}

impl<B> Body for HashedBody<B>
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
        let polled = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &polled {
            Some(Ok(frame)) => {
                if let (Some(hash), Some(piece)) = (this.hash.as_mut(), frame.data_ref()) {
                    hash.update(piece);
                }
            }
            Some(Err(_)) => this.hash = None,
            None => return Poll::Ready(this.compare().err().map(Err)),
        }
        Poll::Ready(polled)
    }

    /// Not before it was compared: who believes in an end does not ask for it.
    fn is_end_stream(&self) -> bool {
        self.hash.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_what_nobody_signed_is_hashed_here() {
        let upper = ABC.to_uppercase();
        for (value, signed, hashed) in [
            (ABC, Signed::No, true),
            (&*upper, Signed::No, true),
            (ABC, Signed::Header, false),
            (ABC, Signed::Query, false),
            ("UNSIGNED-PAYLOAD", Signed::No, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-content-sha256", value.parse().expect("value"));
            assert_eq!(declared(&headers, signed).is_some(), hashed, "{value}");
        }
        assert_eq!(declared(&HeaderMap::new(), Signed::No), None);
    }

    #[tokio::test]
    async fn other_bytes_than_declared_end_in_an_error() {
        for (pieces, hash, good) in [
            (&["a", "bc"][..], ABC, true),
            (&["abc"], ABC, true),
            (&[], EMPTY, true),
            (&["a", "bd"], ABC, false),
            (&["ab"], ABC, false),
            (&[], ABC, false),
        ] {
            let frames = pieces
                .iter()
                .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
            let inner = StreamBody::new(futures::stream::iter(frames));
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-content-sha256", hash.parse().expect("value"));
            let hash = declared(&headers, Signed::No).expect("hash");
            let body = HashedBody::new(inner, hash);
            assert!(!body.is_end_stream());
            match body.collect().await {
                Ok(read) => assert!(good, "{:?}", read.to_bytes()),
                Err(error) => {
                    assert!(!good, "{pieces:?}");
                    let told = crate::error::from_body(error);
                    assert_eq!(told.code().as_str(), "XAmzContentSHA256Mismatch");
                }
            }
        }
    }
}
