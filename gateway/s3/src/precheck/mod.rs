//! What a request's head alone decides, before anything is looked up or read: its form.
//!
//! s3s answers some malformed heads with another code than AWS, and some not at all; those are
//! caught here. Nothing here grants anything: what passes is still to be authenticated.

mod authorization;
mod payload;
mod shape;

pub(crate) use authorization::{Signed, mend, scope_service, signed};
pub(crate) use shape::{Target, marks_max, target};

use crate::access::query;
use http::request::Parts;
use http::{HeaderMap, Version, header};
use s3s::{S3Error, S3Result, s3_error};

/// Largest header section, bytes (S3: 8 KiB).
pub(crate) const HEADER_BYTES_MAX: usize = 8 << 10;
/// Largest user metadata, names without prefix and values, bytes (S3: 2 KiB).
pub(crate) const USER_METADATA_BYTES_MAX: usize = 2 << 10;

/// What is known of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) target: Target,
    /// Host or path name a bucket.
    pub(crate) bucket: bool,
    /// The path names a key.
    pub(crate) key: bool,
    /// The body's length, where it is known without reading.
    pub(crate) length: Option<u64>,
    /// This endpoint's region.
    pub(crate) region: &'a str,
}

/// Query parameters, decoded, in order.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &http::Uri) -> Self {
        Self(query(uri))
    }
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
    /// The first of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| &**v)
    }
    /// The only one of that name.
    fn single(&self, name: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(n, _)| n == name);
        let (_, value) = all.next()?;
        all.next().is_none().then_some(value)
    }
}

/// Every check.
pub(crate) fn check(head: &Parts, known: &Known<'_>) -> S3Result<()> {
    let query = Query::of(&head.uri);
    shape::method(&head.method)?;
    check_sizes(&head.headers)?;
    check_host(head)?;
    authorization::check(head, &query, known.region)?;
    shape::check(head, &query, known)?;
    check_empty(&head.headers)?;
    payload::check(head, known)
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
    check_user_metadata(headers)
}

/// User metadata, of a request or of the PUT that a form became.
pub(crate) fn check_user_metadata(headers: &HeaderMap) -> S3Result<()> {
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

/// HTTP/1.1 asks for a Host (RFC 9112, 3.2); h2 has its authority in the target.
fn check_host(head: &Parts) -> S3Result<()> {
    if head.version == Version::HTTP_11 && !head.headers.contains_key(header::HOST) {
        return Err(s3_error!(
            InvalidRequest,
            "Missing required header for this request: Host"
        ));
    }
    Ok(())
}

/// Headers that mean nothing when empty, and S3's code for that. s3s takes every empty header for
/// none, and so would do what the client did not ask for.
const NEVER_EMPTY: &[(&str, Empty)] = &[
    ("x-amz-checksum-crc32", Empty::Request),
    ("x-amz-checksum-crc32c", Empty::Request),
    ("x-amz-checksum-crc64nvme", Empty::Request),
    ("x-amz-checksum-sha1", Empty::Request),
    ("x-amz-checksum-sha256", Empty::Request),
    ("x-amz-copy-source", Empty::Argument),
    ("x-amz-copy-source-range", Empty::Argument),
    ("x-amz-metadata-directive", Empty::Argument),
    ("x-amz-server-side-encryption", Empty::Argument),
    ("x-amz-storage-class", Empty::StorageClass),
    ("x-amz-tagging-directive", Empty::Argument),
];

/// Which code an empty header gets.
#[derive(Clone, Copy)]
enum Empty {
    Argument,
    Request,
    StorageClass,
}

impl Empty {
    fn refusal(self, name: &str) -> S3Error {
        match self {
            Self::Argument => s3_error!(InvalidArgument, "The header {name} is empty"),
            Self::Request => s3_error!(InvalidRequest, "Value for {name} header is invalid."),
            Self::StorageClass => s3_error!(
                InvalidStorageClass,
                "The storage class you specified is not valid"
            ),
        }
    }
}

fn check_empty(headers: &HeaderMap) -> S3Result<()> {
    for (name, empty) in NEVER_EMPTY {
        if headers
            .get_all(*name)
            .iter()
            .any(http::HeaderValue::is_empty)
        {
            return Err(empty.refusal(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with a Host, as all have.
    pub(super) fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        request = request.header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("request").into_parts().0
    }

    /// The code of `check`, or `ok`. The path says whether there is a bucket and a key.
    pub(super) fn code(head: &Parts, length: Option<u64>) -> String {
        let path = head.uri.path().trim_start_matches('/');
        let key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let known = Known {
            target: target(head, key),
            bucket: !path.is_empty(),
            key,
            length,
            region: "us-east-1",
        };
        match check(head, &known) {
            Ok(()) => "ok".into(),
            Err(error) => error.code().as_str().into(),
        }
    }

    pub(super) fn put(uri: &str, headers: &[(&str, &str)], length: Option<u64>) -> String {
        let length_said = length.map(|length| length.to_string());
        let said = match &length_said {
            Some(length) => ("content-length", length.as_str()),
            None => ("transfer-encoding", "chunked"),
        };
        code(&head("PUT", uri, &[headers, &[said]].concat()), length)
    }

    #[test]
    fn sizes_at_the_limit_and_one_past_it() {
        for (extra, expected) in [(0, "ok"), (1, "MetadataTooLarge")] {
            let value = "v".repeat(USER_METADATA_BYTES_MAX - 1 + extra);
            assert_eq!(put("/b/k", &[("x-amz-meta-k", &value)], Some(0)), expected);
        }
        for (extra, expected) in [(0, "ok"), (1, "RequestHeaderSectionTooLarge")] {
            let others = "hosth".len() + 4 + "x".len() + 4;
            let value = "v".repeat(HEADER_BYTES_MAX - others + extra);
            assert_eq!(
                code(&head("GET", "/b/k", &[("x", &value)]), Some(0)),
                expected
            );
        }
    }

    #[test]
    fn a_host_is_asked_for() {
        let mut bare = head("GET", "/b/k", &[]);
        bare.headers.clear();
        for (version, expected) in [
            (Version::HTTP_10, "ok"),
            (Version::HTTP_11, "InvalidRequest"),
            (Version::HTTP_2, "ok"),
        ] {
            bare.version = version;
            assert_eq!(code(&bare, Some(0)), expected, "{version:?}");
        }
    }

    #[test]
    fn what_may_not_be_empty() {
        for (name, empty) in NEVER_EMPTY {
            let expected = empty.refusal(name);
            let found = put("/b/k", &[(name, "")], Some(0));
            assert_eq!(found, expected.code().as_str(), "{name}");
            let again = put("/b/k", &[(name, "x"), (name, "")], Some(0));
            assert_eq!(again, expected.code().as_str(), "{name}");
        }
        assert_eq!(put("/b/k", &[("x-amz-meta-a", "")], Some(0)), "ok");
    }
}
