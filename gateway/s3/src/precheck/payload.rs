//! The body as the head announces it: its hash, its length, its digest.

use super::{Known, Target};
use crate::error::message_too_long;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, Version, header};
use s3s::{S3Result, s3_error};

/// Every check.
pub(super) fn check(head: &Parts, known: &Known<'_>) -> S3Result<()> {
    check_hash(&head.headers)?;
    check_length(head, known)?;
    check_md5(&head.headers)
}

/// Values of `x-amz-content-sha256` beside 64 hex digits.
const PAYLOADS: [&str; 6] = [
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
];

fn check_hash(headers: &HeaderMap) -> S3Result<()> {
    let Some(value) = headers.get("x-amz-content-sha256") else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if hash || PAYLOADS.contains(&text) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidRequest,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid \
         sha256 value."
    ))
}

fn check_length(head: &Parts, known: &Known<'_>) -> S3Result<()> {
    let streaming = head
        .headers
        .get("x-amz-content-sha256")
        .is_some_and(|v| v.as_bytes().starts_with(b"STREAMING-"));
    let decoded = match head.headers.get("x-amz-decoded-content-length") {
        None => None,
        Some(value) => match value.to_str().ok().and_then(|v| v.parse::<u64>().ok()) {
            Some(length) => Some(length),
            None => {
                return Err(s3_error!(
                    InvalidArgument,
                    "Invalid x-amz-decoded-content-length"
                ));
            }
        },
    };
    let target = known.target;
    // S3 has chunks for bytes alone, and SDKs send the checksums of documents as headers.
    if streaming && target != Target::Bytes {
        return Err(s3_error!(
            InvalidRequest,
            "This operation does not take a streaming payload"
        ));
    }
    let length = known
        .length
        .filter(|_| says_length(head) || target != Target::Bytes);
    let length = if streaming { decoded } else { length };
    let Some(length) = length else {
        let needed = streaming || target != Target::Document || head.version < Version::HTTP_11;
        let missing = s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        );
        return if needed { Err(missing) } else { Ok(()) };
    };
    match target {
        Target::Bytes if length > engine_node::PART_BYTES_MAX => Err(s3_error!(
            EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size"
        )),
        Target::Document if length > crate::request::DOCUMENT_BYTES_MAX as u64 => {
            Err(message_too_long())
        }
        _ => Ok(()),
    }
}

/// A request of HTTP/1 that says nothing has no body for HTTP, and no length for S3. One of h2 ends
/// with its head instead.
fn says_length(head: &Parts) -> bool {
    head.version > Version::HTTP_11
        || head.headers.contains_key(header::CONTENT_LENGTH)
        || head.headers.contains_key(header::TRANSFER_ENCODING)
}

fn check_md5(headers: &HeaderMap) -> S3Result<()> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(());
    };
    match BASE64.decode(value.as_bytes()) {
        Ok(digest) if digest.len() == 16 => Ok(()),
        Ok(_) | Err(_) => Err(s3_error!(
            InvalidDigest,
            "The Content-MD5 you specified was invalid."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{code, head, put};
    use super::*;

    const STREAMING: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");

    #[test]
    fn lengths() {
        let decoded = |length| [STREAMING, ("x-amz-decoded-content-length", length)];
        assert_eq!(put("/b/k", &[], None), "MissingContentLength");
        assert_eq!(put("/b", &[], None), "ok");
        assert_eq!(put("/b/k", &[STREAMING], Some(9)), "MissingContentLength");
        assert_eq!(put("/b/k", &decoded("3"), None), "ok");
        assert_eq!(put("/b/k", &decoded("-3"), None), "InvalidArgument");
        assert_eq!(put("/b/k?tagging", &[STREAMING], Some(9)), "InvalidRequest");
        for uri in ["/b?delete", "/b/k?uploads", "/b/k?uploadId=x"] {
            let post = head("POST", uri, &decoded("3"));
            assert_eq!(code(&post, Some(9)), "InvalidRequest", "{uri}");
        }
    }

    #[test]
    fn a_put_says_its_length_and_hyper_does_not_say_it_for_it() {
        let mut unsaid = head("PUT", "/b/k", &[]);
        assert_eq!(code(&unsaid, Some(0)), "MissingContentLength");
        unsaid.version = Version::HTTP_2;
        assert_eq!(code(&unsaid, Some(0)), "ok");
        assert_eq!(code(&head("PUT", "/b", &[]), Some(0)), "ok");
    }

    #[test]
    fn sizes_at_the_limit_and_one_past_it() {
        for (extra, expected) in [(0, "ok"), (1, "EntityTooLarge")] {
            let length = engine_node::PART_BYTES_MAX + extra;
            assert_eq!(put("/b/k", &[], Some(length)), expected);
        }
        for (extra, expected) in [(0, "ok"), (1, "MaxMessageLengthExceeded")] {
            let length = crate::request::DOCUMENT_BYTES_MAX as u64 + extra;
            assert_eq!(
                code(&head("POST", "/b?delete", &[]), Some(length)),
                expected
            );
        }
    }

    #[test]
    fn digests() {
        for (name, value, expected) in [
            ("content-md5", "", "InvalidDigest"),
            ("content-md5", "YWJyYWNhZGFicmE=", "InvalidDigest"),
            ("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==", "ok"),
            ("x-amz-content-sha256", "abc", "InvalidRequest"),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "ok"),
        ] {
            assert_eq!(
                put("/b/k", &[(name, value)], Some(0)),
                expected,
                "{name}: {value}"
            );
        }
    }
}
