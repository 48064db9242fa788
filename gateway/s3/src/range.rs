//! Byte ranges of reads and of part copies.

use s3s::dto::Range as Asked;
use s3s::{S3Error, S3Result, s3_error};
use std::ops::Range;

/// What a range asks for of an object of `size` bytes; none: it asks for nothing that is there.
pub(crate) fn resolve(asked: Asked, size: u64) -> Option<Range<u64>> {
    match asked {
        Asked::Int { first, last } => {
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            (first < end).then_some(first..end)
        }
        Asked::Suffix { length } => {
            (length > 0 && size > 0).then(|| size.saturating_sub(length)..size)
        }
    }
}

/// 416, with the size as HTTP wants it.
pub(crate) fn unsatisfiable(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = format!("bytes */{size}").parse() {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// `bytes FIRST-LAST/SIZE`.
pub(crate) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!(
        "bytes {}-{}/{size}",
        range.start,
        range.end.saturating_sub(1)
    )
}

/// `x-amz-copy-source-range`: `bytes=FIRST-LAST` and nothing else, within the source.
pub(crate) fn copy_range(text: &str, size: u64) -> S3Result<Range<u64>> {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return None;
        }
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    let Some((first, last)) = parse() else {
        return Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and \
             last are the zero-based offsets of the first and last bytes to copy"
        ));
    };
    if last >= size {
        return Err(s3_error!(
            InvalidRange,
            "Range specified is not valid for source object of size: {size}"
        ));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_documented() {
        for (text, size, expected) in [
            ("bytes=0-0", 10, Some(0..1)),
            ("bytes=0-9", 10, Some(0..10)),
            ("bytes=0-99", 10, Some(0..10)),
            ("bytes=9-", 10, Some(9..10)),
            ("bytes=10-", 10, None),
            ("bytes=10-20", 10, None),
            ("bytes=-1", 10, Some(9..10)),
            ("bytes=-10", 10, Some(0..10)),
            ("bytes=-11", 10, Some(0..10)),
            ("bytes=-0", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=-1", 0, None),
            ("bytes=0-9223372036854775807", 10, Some(0..10)),
        ] {
            let asked = Asked::parse(text).expect("well-formed");
            assert_eq!(resolve(asked, size), expected, "{text} of {size}");
        }
        assert_eq!(content_range(&(2..5), 10), "bytes 2-4/10");
        let error = unsatisfiable(10);
        assert_eq!(error.status_code().map(|s| s.as_u16()), Some(416));
        assert!(
            error
                .headers()
                .is_some_and(|h| h["content-range"] == "bytes */10")
        );
    }

    #[test]
    fn copy_ranges_are_strict() {
        assert_eq!(copy_range("bytes=0-4", 5).ok(), Some(0..5));
        assert_eq!(copy_range("bytes=4-4", 5).ok(), Some(4..5));
        for (bad, code) in [
            ("0-2", "InvalidArgument"),
            ("bytes=0", "InvalidArgument"),
            ("bytes=hello-world", "InvalidArgument"),
            ("bytes=0-bar", "InvalidArgument"),
            ("bytes=hello-", "InvalidArgument"),
            ("bytes=0-2,3-5", "InvalidArgument"),
            ("bytes=-2", "InvalidArgument"),
            ("bytes=2-", "InvalidArgument"),
            ("bytes=3-2", "InvalidArgument"),
            ("bytes=+1-2", "InvalidArgument"),
            ("bytes=0-5", "InvalidRange"),
            ("bytes=0-21", "InvalidRange"),
        ] {
            assert_eq!(
                copy_range(bad, 5).expect_err(bad).code().as_str(),
                code,
                "{bad}"
            );
        }
    }
}
