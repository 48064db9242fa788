//! Small conversions between the engine's values and S3's.

use engine_types::{Stamp, VersionId};
use s3s::dto;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// A partition's stamp as a time.
pub(crate) fn time(stamp: Stamp) -> dto::Timestamp {
    dto::Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(stamp.0))
}

/// The same as HTTP dates have it: whole seconds.
pub(crate) fn seconds(stamp: Stamp) -> dto::Timestamp {
    time(Stamp(stamp.0 / 1000 * 1000))
}

/// As the `ETag` header has it.
pub(crate) fn etag(tag: engine_types::ETag) -> dto::ETag {
    dto::ETag::Strong(tag.to_string())
}

/// Answered with a write: none where the bucket keeps no versions.
pub(crate) fn written_version(version: VersionId) -> Option<String> {
    match version {
        VersionId::Null => None,
        VersionId::Id { .. } => Some(version.to_string()),
    }
}

/// Answered with a read: `null` counts once versioning was ever enabled.
pub(crate) fn read_version(bucket: &engine_node::Bucket, version: VersionId) -> Option<String> {
    use engine_core::meta::Versioning;
    match (bucket.row.versioning, version) {
        (Versioning::Unversioned, VersionId::Null) => None,
        _ => Some(version.to_string()),
    }
}

/// `encoding-type=url`: all but letters, digits, `-_.~/` as %XX. Space is `%20`, which every client
/// reads back, where `+` needs a form decoder.
pub(crate) fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Percent decoding, a `+` being `plus`; a broken escape stays as it is, and it is said that one was.
fn unescape(text: &str, plus: u8) -> (Vec<u8>, bool) {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let (mut out, mut broken, mut at) = (Vec::with_capacity(text.len()), false, 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        broken |= byte == b'%' && escaped.is_none();
        at += if escaped.is_some() { 3 } else { 1 };
        out.push(escaped.unwrap_or(if byte == b'+' { plus } else { byte }));
    }
    (out, broken)
}

/// Form encoding, where `+` is a space; `None`: not UTF-8 or a broken escape.
pub(crate) fn form_decode(text: &str) -> Option<String> {
    let (bytes, broken) = unescape(text, b' ');
    String::from_utf8(bytes).ok().filter(|_| !broken)
}

/// The same as s3s reads a query: a broken escape stays, what is not UTF-8 is replaced.
pub(crate) fn query_decode(text: &str) -> String {
    String::from_utf8_lossy(&unescape(text, b' ').0).into_owned()
}

/// As s3s reads a path: `+` is itself, a broken escape stays; `None`: not UTF-8.
pub(crate) fn path_decode(text: &str) -> Option<String> {
    String::from_utf8(unescape(text, b'+').0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoding_both_ways() {
        for (plain, encoded) in [
            ("foo+1/bar", "foo%2B1/bar"),
            ("quux ab/", "quux%20ab/"),
            ("a~b_c-d.e", "a~b_c-d.e"),
            ("ü\u{1}", "%C3%BC%01"),
            ("", ""),
        ] {
            assert_eq!(url_encode(plain), encoded);
            assert_eq!(form_decode(encoded).as_deref(), Some(plain));
        }
        assert_eq!(form_decode("a+b").as_deref(), Some("a b"));
        for bad in ["%", "%2", "%zz", "%FF", "%+f"] {
            assert_eq!(form_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn queries_and_paths_bear_what_is_broken() {
        for (text, query, path) in [
            ("a%2", "a%2", Some("a%2")),
            ("%zz", "%zz", Some("%zz")),
            ("%+f", "% f", Some("%+f")),
            ("a+b", "a b", Some("a+b")),
            ("a%2Fb", "a/b", Some("a/b")),
            ("%C3%A9", "é", Some("é")),
            ("%ff", "\u{fffd}", None),
            ("", "", Some("")),
        ] {
            assert_eq!(query_decode(text), query, "{text}");
            assert_eq!(path_decode(text).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn http_dates_have_whole_seconds() {
        assert_eq!(
            seconds(Stamp(1_700_000_000_999)),
            time(Stamp(1_700_000_000_000))
        );
    }
}
