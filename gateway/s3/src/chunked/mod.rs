//! Bodies of `x-amz-content-sha256: STREAMING-…`: their framing held to S3's letter, in front of s3s.
//!
//! s3s decodes them and checks the signatures of chunks and trailers, but bears what AWS refuses: a
//! body that ends before its last chunk, small chunks before the last, trailers nobody announced or
//! that come twice, sizes with more than eight digits. And it decodes nothing that is not signed. So the
//! bytes pass [`framing`] on their way: what is signed goes on as it came, what is anonymous goes on
//! decoded. Decoding everything here was turned down: chunk signatures would have to be checked here,
//! too, with the secret key in hand.

mod body;
mod framing;
mod trailers;

pub(crate) use body::ChunkedBody;
pub(crate) use framing::{Framing, FramingError};
pub(crate) use trailers::Trailers;

use crate::checksum;
use crate::precheck::Signed;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use s3s::{S3Result, s3_error};

const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";

/// What a body is held to.
#[derive(Debug)]
pub(crate) struct Plan {
    framing: Framing,
    /// Bytes of the payload, where it is to be decoded here.
    decoded: Option<u64>,
    trailers: Trailers,
}

/// The plan of a request's body; none where it is not chunked, or s3s refuses it unread.
///
/// # Errors
/// `AccessDenied` for signed chunks of a request that is not signed; `InvalidRequest` where the
/// announced trailer is missing or is none.
pub(crate) fn plan(head: &Parts, signed: Signed) -> S3Result<Option<Plan>> {
    let kind = head.headers.get(CONTENT_SHA256).map(HeaderValue::as_bytes);
    let (signs, trails) = match kind {
        Some(b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => (true, false),
        Some(b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => (true, true),
        Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => (false, true),
        Some(kind) if kind.starts_with(b"STREAMING-") && signed == Signed::No => {
            return Err(unsigned_chunks());
        }
        _ => return Ok(None),
    };
    match signed {
        // s3s refuses these; nothing reads the body.
        Signed::Query => return Ok(None),
        Signed::No if signs => return Err(unsigned_chunks()),
        Signed::No | Signed::Header => {}
    }
    let announced = announced(&head.headers, trails)?;
    let length = head.headers.get(DECODED_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
    let length: u64 = length.ok_or_else(|| {
        s3_error!(
            MissingContentLength,
            "You must provide the x-amz-decoded-content-length HTTP header."
        )
    })?;
    Ok(Some(Plan {
        framing: Framing::new(signs, announced, length),
        decoded: (signed == Signed::No).then_some(length),
        trailers: Trailers::default(),
    }))
}

impl Plan {
    /// Leaves in the head what the decoded body is, and where its trailers will be.
    pub(crate) fn apply(&self, head: &mut Parts) {
        head.extensions.insert(self.trailers.clone());
        if let Some(length) = self.decoded {
            head.headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
}

/// The trailer's name, where there is to be one.
fn announced(headers: &HeaderMap, trails: bool) -> S3Result<Option<&'static str>> {
    let algorithm = checksum::announced(headers)?;
    match algorithm {
        Some(algorithm) if trails => Ok(Some(checksum::header(algorithm))),
        None if trails => Err(s3_error!(
            InvalidRequest,
            "Missing required header for this request: {TRAILER}"
        )),
        // Trailers may come with the -TRAILER kinds alone.
        Some(_) | None => Ok(None),
    }
}

fn unsigned_chunks() -> s3s::S3Error {
    s3_error!(
        AccessDenied,
        "Chunks cannot be signed where the request is not"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(kind: &str, signed: Signed, more: &[(&str, &str)]) -> Result<Option<bool>, String> {
        let mut request = http::Request::builder().header(CONTENT_SHA256, kind);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("request").into_parts();
        match plan(&head, signed) {
            Ok(plan) => Ok(plan.map(|plan| plan.decoded.is_some())),
            Err(error) => Err(error.code().as_str().into()),
        }
    }

    #[test]
    fn who_signed_and_what_is_announced_decide() {
        const CRC: (&str, &str) = (TRAILER, "x-amz-checksum-crc32");
        const LENGTH: (&str, &str) = (DECODED_LENGTH, "3");
        let signed = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        let ecdsa = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD";
        let denied = || Err("AccessDenied".to_owned());
        let invalid = || Err("InvalidRequest".to_owned());
        for (kind, who, more, expected) in [
            ("UNSIGNED-PAYLOAD", Signed::No, &[][..], Ok(None)),
            (signed, Signed::Header, &[LENGTH][..], Ok(Some(false))),
            (signed, Signed::Query, &[LENGTH], Ok(None)),
            (signed, Signed::No, &[LENGTH], denied()),
            (ecdsa, Signed::No, &[LENGTH], denied()),
            (ecdsa, Signed::Header, &[LENGTH], Ok(None)),
            (trailer, Signed::Header, &[LENGTH, CRC], Ok(Some(false))),
            (trailer, Signed::No, &[LENGTH, CRC], Ok(Some(true))),
            (trailer, Signed::No, &[LENGTH], invalid()),
            (trailer, Signed::No, &[LENGTH, (TRAILER, "x-a")], invalid()),
            (
                trailer,
                Signed::Header,
                &[LENGTH, CRC, (TRAILER, "x-amz-checksum-sha1")],
                invalid(),
            ),
            (
                trailer,
                Signed::Header,
                &[CRC],
                Err("MissingContentLength".to_owned()),
            ),
        ] {
            assert_eq!(
                planned(kind, who, more),
                expected,
                "{kind} {who:?} {more:?}"
            );
        }
    }
}
