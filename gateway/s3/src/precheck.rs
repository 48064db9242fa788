//! What a request's head alone decides, before anything is looked up or read: its form.
//!
//! s3s answers some malformed heads with another code than AWS, and some not at all; those are
//! caught here. Nothing here grants anything: what passes is still to be authenticated.

use crate::error::custom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version, header};
use s3s::{S3Error, S3Result, s3_error};

/// Largest header section, bytes (S3: 8 KiB).
pub(crate) const HEADER_BYTES_MAX: usize = 8 << 10;
/// Largest user metadata, names without prefix and values, bytes (S3: 2 KiB).
pub(crate) const USER_METADATA_BYTES_MAX: usize = 2 << 10;

/// What the front knows of a request's target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// PutObject or UploadPart: a body of bytes.
    Bytes,
    /// A browser's form.
    Form,
    /// Anything else: at most a document.
    Document,
}

/// Sub-resources whose PUT carries a document or nothing, on a key.
const KEY_DOCUMENTS: [&str; 8] = [
    "acl",
    "tagging",
    "retention",
    "legal-hold",
    "encryption",
    "torrent",
    "annotation",
    "renameObject",
];

/// Which of the three a request is. `key`: its path has one.
pub(crate) fn target(head: &Parts, key: bool) -> Target {
    let query = head.uri.query().unwrap_or_default();
    let names = |name: &str| query_keys(query).any(|k| k == name);
    let copies = head.headers.contains_key("x-amz-copy-source");
    if head.method == Method::PUT && key && !copies && !KEY_DOCUMENTS.iter().any(|d| names(d)) {
        return Target::Bytes;
    }
    let content = head
        .headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |v| v.as_bytes());
    let form = content
        .get(..19)
        .is_some_and(|c| c.eq_ignore_ascii_case(b"multipart/form-data"));
    if head.method == Method::POST && form {
        Target::Form
    } else {
        Target::Document
    }
}

fn query_keys(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter_map(|pair| pair.split('=').next())
}

/// Every check. `length`: the body's, where it is known without reading.
pub(crate) fn check(head: &Parts, target: Target, length: Option<u64>) -> S3Result<()> {
    check_method(&head.method)?;
    check_sizes(&head.headers)?;
    check_authorization(head)?;
    check_payload_hash(&head.headers)?;
    check_length(head, target, length)?;
    check_md5(&head.headers)
}

fn check_method(method: &Method) -> S3Result<()> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::PUT
        | Method::POST
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => Err(s3_error!(
            MethodNotAllowed,
            "The specified method is not allowed against this resource."
        )),
    }
}

fn check_sizes(headers: &HeaderMap) -> S3Result<()> {
    let all: usize = headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 4)
        .sum();
    if all > HEADER_BYTES_MAX {
        return Err(s3_error!(
            RequestHeaderSectionTooLarge,
            "Your request header section exceeds the maximum allowed size."
        ));
    }
    let user: usize = headers
        .iter()
        .filter_map(|(n, v)| Some(n.as_str().strip_prefix("x-amz-meta-")?.len() + v.len()))
        .sum();
    if user > USER_METADATA_BYTES_MAX {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    Ok(())
}

fn malformed(what: &str) -> S3Error {
    s3_error!(
        AuthorizationHeaderMalformed,
        "The authorization header is malformed; {what}"
    )
}

fn check_authorization(head: &Parts) -> S3Result<()> {
    let query = head.uri.query().unwrap_or_default();
    let in_query = |name: &str| query_keys(query).any(|k| k == name);
    let presigned = in_query("X-Amz-Algorithm") || in_query("X-Amz-Signature");
    if !presigned && in_query("Signature") && in_query("AWSAccessKeyId") {
        return Err(version_two());
    }
    let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    if value.is_empty() {
        return Ok(());
    }
    if values.next().is_some() || presigned {
        return Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified"
        ));
    }
    let Ok(value) = value.to_str() else {
        return Err(malformed("it is not ASCII."));
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    match scheme {
        "AWS4-HMAC-SHA256" => check_v4(rest)?,
        "AWS" => return Err(version_two()),
        _ => return Err(s3_error!(InvalidArgument, "Unsupported Authorization Type")),
    }
    if head.headers.contains_key("x-amz-date") {
        Ok(())
    } else {
        Err(s3_error!(
            AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header"
        ))
    }
}

fn version_two() -> S3Error {
    s3_error!(
        InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    )
}

/// `Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=64 hex`.
fn check_v4(rest: &str) -> S3Result<()> {
    let mut seen = (None, None, None);
    for field in rest.split(',') {
        let Some((name, value)) = field.trim().split_once('=') else {
            return Err(malformed(
                "it must consist of name=value pairs separated by commas.",
            ));
        };
        match name {
            "Credential" => seen.0 = Some(value),
            "SignedHeaders" => seen.1 = Some(value),
            "Signature" => seen.2 = Some(value),
            _ => return Err(malformed("it holds an unknown name.")),
        }
    }
    let (Some(credential), Some(signed), Some(signature)) = seen else {
        return Err(malformed(
            "Credential, SignedHeaders and Signature are required.",
        ));
    };
    check_scope(credential)?;
    if signed.is_empty() {
        return Err(malformed("SignedHeaders is empty."));
    }
    if signature.is_empty() {
        return Err(malformed("Signature is empty."));
    }
    Ok(())
}

fn check_scope(credential: &str) -> S3Result<()> {
    let mut parts = credential.rsplitn(5, '/');
    let (terminal, _service, _region, date, key) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    );
    let Some(key) = key else {
        return Err(malformed(
            "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ));
    };
    if terminal != Some("aws4_request") {
        return Err(malformed(
            "incorrect terminal. This endpoint uses \"aws4_request\".",
        ));
    }
    if !date.is_some_and(|d| d.len() == 8 && d.bytes().all(|b| b.is_ascii_digit())) {
        return Err(malformed(
            "incorrect date format. This date in the credential must be in the format \"yyyyMMdd\".",
        ));
    }
    if key.is_empty() {
        Err(malformed("the access key is empty."))
    } else {
        Ok(())
    }
}

/// The service a signature is for, as its scope says; nothing where there is no well-formed header.
pub(crate) fn scope_service(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let from = value.find("Credential=")? + "Credential=".len();
    let credential = value.get(from..)?.split(',').next()?;
    credential.trim().rsplit('/').nth(1)
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

fn check_payload_hash(headers: &HeaderMap) -> S3Result<()> {
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

fn check_length(head: &Parts, target: Target, length: Option<u64>) -> S3Result<()> {
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
    if streaming && target != Target::Bytes && head.method != Method::POST {
        return Err(s3_error!(
            InvalidRequest,
            "This operation does not take a streaming payload"
        ));
    }
    let known = if streaming { decoded } else { length };
    let Some(known) = known else {
        let needed = streaming || target != Target::Document || head.version < Version::HTTP_11;
        let missing = s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        );
        return if needed { Err(missing) } else { Ok(()) };
    };
    match target {
        Target::Bytes if known > engine_node::PART_BYTES_MAX => Err(s3_error!(
            EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size"
        )),
        Target::Document if known > crate::request::DOCUMENT_BYTES_MAX as u64 => Err(custom(
            "MaxMessageLengthExceeded",
            StatusCode::BAD_REQUEST,
            "Your request was too big.",
        )),
        _ => Ok(()),
    }
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
    use super::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("request").into_parts().0
    }

    fn code(head: &Parts, key: bool, length: Option<u64>) -> String {
        match check(head, target(head, key), length) {
            Ok(()) => "ok".into(),
            Err(error) => error.code().as_str().into(),
        }
    }

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, \
                        SignedHeaders=host;x-amz-date, Signature=00";

    #[test]
    fn authorization_headers_get_awss_codes() {
        for (value, expected) in [
            (GOOD, "ok"),
            ("", "ok"),
            ("AWS AK:sig", "InvalidRequest"),
            ("Bearer x", "InvalidArgument"),
            ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
            (
                "AWS4-HMAC-SHA256 Credential=AK, SignedHeaders=host, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=AK/2026/r/s3/aws4_request, SignedHeaders=a, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=AK/20260101/r/s3/aws5, SignedHeaders=a, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=/20260101/r/s3/aws4_request, SignedHeaders=a, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=AK/20260101/r/s3/aws4_request, SignedHeaders=, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
        ] {
            let head = head(
                "GET",
                "/b/k",
                &[("authorization", value), ("x-amz-date", "x")],
            );
            assert_eq!(code(&head, true, Some(0)), expected, "{value}");
        }
        assert_eq!(
            code(
                &head("GET", "/b/k", &[("authorization", GOOD)]),
                true,
                Some(0)
            ),
            "AccessDenied"
        );
        let both = head("GET", "/b/k?X-Amz-Algorithm=x", &[("authorization", GOOD)]);
        assert_eq!(code(&both, true, Some(0)), "InvalidArgument");
        let two = head("GET", "/b/k?AWSAccessKeyId=a&Signature=b&Expires=1", &[]);
        assert_eq!(code(&two, true, Some(0)), "InvalidRequest");
    }

    #[test]
    fn the_scope_names_the_service() {
        let of = |value: &str| {
            let head = head("GET", "/", &[("authorization", value)]);
            scope_service(&head.headers).map(str::to_owned)
        };
        assert_eq!(of(GOOD).as_deref(), Some("s3"));
        assert_eq!(
            of("AWS4-HMAC-SHA256 Credential=AK/1//iam/aws4_request, x").as_deref(),
            Some("iam")
        );
        assert_eq!(of("AWS4-HMAC-SHA256 Credential=AK"), None);
    }

    #[test]
    fn sizes_at_the_limit_and_one_past_it() {
        for (extra, expected) in [(0, "ok"), (1, "MetadataTooLarge")] {
            let value = "v".repeat(USER_METADATA_BYTES_MAX - 1 + extra);
            assert_eq!(
                code(
                    &head("PUT", "/b/k", &[("x-amz-meta-k", &value)]),
                    true,
                    Some(0)
                ),
                expected
            );
        }
        for (extra, expected) in [(0, "ok"), (1, "RequestHeaderSectionTooLarge")] {
            let value = "v".repeat(HEADER_BYTES_MAX - "x".len() - 4 + extra);
            assert_eq!(
                code(&head("PUT", "/b/k", &[("x", &value)]), true, Some(0)),
                expected
            );
        }
        for (extra, expected) in [(0, "ok"), (1, "EntityTooLarge")] {
            let length = engine_node::PART_BYTES_MAX + extra;
            assert_eq!(
                code(&head("PUT", "/b/k", &[]), true, Some(length)),
                expected
            );
        }
        for (extra, expected) in [(0, "ok"), (1, "MaxMessageLengthExceeded")] {
            let length = crate::request::DOCUMENT_BYTES_MAX as u64 + extra;
            assert_eq!(
                code(&head("POST", "/b?delete", &[]), false, Some(length)),
                expected
            );
        }
    }

    const STREAMING: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");

    fn put(uri: &str, headers: &[(&str, &str)], length: Option<u64>) -> String {
        let key = uri
            .split('?')
            .next()
            .is_some_and(|path| path.matches('/').count() > 1);
        code(&head("PUT", uri, headers), key, length)
    }

    #[test]
    fn lengths() {
        let decoded = |length| [STREAMING, ("x-amz-decoded-content-length", length)];
        assert_eq!(put("/b/k", &[], None), "MissingContentLength");
        assert_eq!(put("/b", &[], None), "ok");
        assert_eq!(put("/b/k", &[STREAMING], Some(9)), "MissingContentLength");
        assert_eq!(put("/b/k", &decoded("3"), None), "ok");
        assert_eq!(put("/b/k", &decoded("-3"), None), "InvalidArgument");
        assert_eq!(put("/b/k?tagging", &[STREAMING], Some(9)), "InvalidRequest");
    }

    #[test]
    fn digests_and_methods() {
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
        let patch = head("PATCH", "/b/k", &[]);
        assert_eq!(code(&patch, true, Some(0)), "MethodNotAllowed");
    }
}
