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

/// Percent decoding with `+` as space (form encoding); `None`: not UTF-8 or a broken escape.
pub(crate) fn form_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
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
        for bad in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(form_decode(bad), None, "{bad}");
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
