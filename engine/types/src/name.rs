//! Bucket names and object keys, checked once where they enter.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Shortest bucket name, bytes (S3: 3).
pub const BUCKET_NAME_BYTES_MIN: usize = 3;
/// Longest bucket name, bytes (S3: 63).
pub const BUCKET_NAME_BYTES_MAX: usize = 63;
/// Longest object key, bytes of UTF-8 (S3: 1,024).
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;

/// Why a name was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Not a DNS-compatible bucket name.
    #[error("not a valid bucket name")]
    Bucket,
    /// An empty key.
    #[error("empty object key")]
    EmptyKey,
    /// More than [`OBJECT_KEY_BYTES_MAX`].
    #[error("object key longer than {OBJECT_KEY_BYTES_MAX} bytes")]
    KeyTooLong,
}

/// A bucket's name by S3's general-purpose rules: 3-63 of `a-z 0-9 . -`, each label beginning and
/// ending with a letter or digit, not an IPv4 address, none of the reserved prefixes and suffixes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(Arc<str>);

impl BucketName {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        let length = (BUCKET_NAME_BYTES_MIN..=BUCKET_NAME_BYTES_MAX).contains(&name.len());
        let label = |l: &str| {
            !l.is_empty()
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let address = name.parse::<std::net::Ipv4Addr>().is_ok()
            || (name.split('.').count() == 4
                && name.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
        let reserved = ["xn--", "sthree-", "amzn-s3-demo-"]
            .iter()
            .any(|p| name.starts_with(p))
            || ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]
                .iter()
                .any(|s| name.ends_with(s));
        if length && name.split('.').all(label) && !address && !reserved {
            Ok(Self(name.into()))
        } else {
            Err(NameError::Bucket)
        }
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BucketName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's key: 1 to 1,024 bytes of UTF-8, kept byte for byte (no normalisation, no collation);
/// order is byte order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Checks `key`.
    pub fn parse(key: &str) -> Result<Self, NameError> {
        match key.len() {
            0 => Err(NameError::EmptyKey),
            1..=OBJECT_KEY_BYTES_MAX => Ok(Self(key.into())),
            _ => Err(NameError::KeyTooLong),
        }
    }
    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = NameError;
    fn try_from(key: String) -> Result<Self, NameError> {
        Self::parse(&key)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0.as_ref().into()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_by_the_documented_rules() {
        for good in [
            "abc",
            "a.b",
            "a-b.c1",
            "0ab",
            &"a".repeat(BUCKET_NAME_BYTES_MAX),
        ] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(BUCKET_NAME_BYTES_MAX + 1);
        for bad in [
            "",
            "ab",
            &long,
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            "a..b",
            "a.-b",
            "a-.b",
            ".ab",
            "ab.",
            "192.168.5.4",
            "999.1.1.1",
            "xn--abc",
            "sthree-abc",
            "abc-s3alias",
            "abc--x-s3",
            "a b c",
            "äbc",
        ] {
            assert_eq!(BucketName::parse(bad), Err(NameError::Bucket), "{bad}");
        }
    }

    #[test]
    fn keys_at_the_limit_and_one_past_it() {
        assert!(ObjectKey::parse(&"k".repeat(OBJECT_KEY_BYTES_MAX)).is_ok());
        assert_eq!(
            ObjectKey::parse(&"k".repeat(OBJECT_KEY_BYTES_MAX + 1)),
            Err(NameError::KeyTooLong)
        );
        assert_eq!(ObjectKey::parse(""), Err(NameError::EmptyKey));
    }
}
