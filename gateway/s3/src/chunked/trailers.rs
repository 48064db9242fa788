//! Trailers behind the last chunk: `name:value` lines, and where a handler finds them.

use super::FramingError;
use std::sync::{Arc, OnceLock};

/// The signature of the trailers, a trailer itself.
const SIGNATURE: &str = "x-amz-trailer-signature";

/// A request's trailers, once its body was read to its end. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trailers(Arc<OnceLock<Vec<(String, String)>>>);

impl Trailers {
    /// The value of a trailer, by its lower-case name.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let mut entries = self.0.get()?.iter();
        entries
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    pub(super) fn set(&self, entries: Vec<(String, String)>) {
        // A body ends once; a second end would say the same.
        self.0.get_or_init(|| entries);
    }
}

/// Reads the trailer section: `announced` and nothing else, once; where chunks are signed, the
/// signature of the trailers beside it. Line ends may be doubled, as AWS's documents show them.
pub(super) fn parse(
    section: &[u8],
    signed: bool,
    announced: Option<&str>,
) -> Result<Vec<(String, String)>, FramingError> {
    let section = std::str::from_utf8(section).map_err(|_error| FramingError::Trailer)?;
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in section.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(FramingError::Trailer)?;
        let name = name.to_ascii_lowercase();
        let expected = Some(name.as_str()) == announced
            || (name == SIGNATURE && signed && announced.is_some());
        let twice = entries.iter().any(|(known, _)| *known == name);
        if !expected || twice || !value.is_ascii() {
            return Err(FramingError::Trailer);
        }
        let value = value.trim_matches(|c: char| c.is_ascii_whitespace());
        entries.push((name, value.to_owned()));
    }
    let announced_came = announced.is_none_or(|a| entries.iter().any(|(name, _)| name == a));
    if announced_came {
        Ok(entries)
    } else {
        Err(FramingError::Trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRC: &str = "x-amz-checksum-crc32";

    #[test]
    fn only_what_was_announced_and_once() {
        let one = |value: &str| Some(vec![(CRC.to_owned(), value.to_owned())]);
        for (section, signed, announced, expected) in [
            (
                "x-amz-checksum-crc32:AA==\r\n\r\n",
                false,
                Some(CRC),
                one("AA=="),
            ),
            (
                "X-Amz-Checksum-CRC32: AA== \r\n",
                false,
                Some(CRC),
                one("AA=="),
            ),
            (
                "x-amz-checksum-crc32:AA==\n\r\n\r\n",
                false,
                Some(CRC),
                one("AA=="),
            ),
            ("x-amz-checksum-crc32:AA==", false, Some(CRC), one("AA==")),
            ("\r\n", false, None, Some(vec![])),
            ("", true, None, Some(vec![])),
            ("", false, Some(CRC), None),
            ("x-amz-checksum-crc32\r\n\r\n", false, Some(CRC), None),
            ("hello world\r\n\r\n", false, Some(CRC), None),
            ("x-amz-checksum-crc32:ä\r\n\r\n", false, Some(CRC), None),
            ("x-amz-checksum-sha1:AA==\r\n\r\n", false, Some(CRC), None),
            (
                "x-amz-checksum-crc32:AA==\r\nx-amz-checksum-crc32:AA==\r\n\r\n",
                false,
                Some(CRC),
                None,
            ),
            (
                "x-amz-checksum-crc32:AA==\r\nx-amz-meta-a:1\r\n\r\n",
                false,
                Some(CRC),
                None,
            ),
            (
                "x-amz-checksum-crc32:AA==\r\nx-amz-trailer-signature:0\r\n\r\n",
                false,
                Some(CRC),
                None,
            ),
            ("x-amz-trailer-signature:0\r\n\r\n", true, None, None),
            ("x-amz-checksum-crc32:AA==\r\n\r\n", true, None, None),
        ] {
            let found = parse(section.as_bytes(), signed, announced).ok();
            assert_eq!(found, expected, "{section:?}");
        }
        let both = b"x-amz-checksum-crc32:AA==\r\nx-amz-trailer-signature:0\r\n\r\n";
        assert_eq!(parse(both, true, Some(CRC)).map(|e| e.len()).ok(), Some(2));
        assert!(parse(b"x-amz-checksum-crc32:\xff\xfe\r\n", false, Some(CRC)).is_err());
    }
}
