//! Entity tags as S3 makes them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// MD5 of a plain upload's bytes; of the parts' MD5s, with their count, for a multipart one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ETag {
    /// The digest.
    pub md5: [u8; 16],
    /// Number of parts of a multipart upload; 0 for a plain one.
    pub parts: u32,
}

/// Not 32 hex digits with an optional `-count`, bare or quoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed ETag")]
pub struct ETagParseError;

impl fmt::Display for ETag {
    /// Without quotes: `9e107d9d372bb6826bd81d3542a419d6` or `…-12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.md5.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        if self.parts > 0 {
            write!(f, "-{}", self.parts)
        } else {
            Ok(())
        }
    }
}

impl FromStr for ETag {
    type Err = ETagParseError;
    /// Accepts quotes, as clients send both forms.
    fn from_str(text: &str) -> Result<Self, ETagParseError> {
        let bare = text
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text);
        let (digest, parts) = match bare.split_once('-') {
            Some((digest, count)) => (digest, count.parse().map_err(|_error| ETagParseError)?),
            None => (bare, 0),
        };
        let md5 = digest
            .parse::<crate::DataId>()
            .map_err(|crate::IdParseError| ETagParseError)?
            .0;
        Ok(Self { md5, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip_quoted_or_not() {
        for tag in [
            ETag {
                md5: [7; 16],
                parts: 0,
            },
            ETag {
                md5: [255; 16],
                parts: 10_000,
            },
        ] {
            assert_eq!(tag.to_string().parse(), Ok(tag));
            assert_eq!(format!("\"{tag}\"").parse(), Ok(tag));
        }
        for bad in ["", "\"", "abc", "00-", "*"] {
            assert_eq!(bad.parse::<ETag>(), Err(ETagParseError), "{bad}");
        }
    }
}
