//! Who pays for what: the values that cross ports. The rules are in `engine-tenancy`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// An account, by the number control gave it; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AccountId(pub u64);

/// An access key, by the number control gave it (never its string); never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeyId(pub u64);

/// Whom stored bytes are counted against: the bucket owner's account always, and the writer's key
/// where it belongs to that account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ChargedTo {
    /// The bucket owner's account.
    pub account: AccountId,
    /// The writer's key, if of that account; none for role sessions, anonymous and other accounts.
    pub key: Option<KeyId>,
}

/// A number of bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    /// With a binary unit and one decimal: `1.5 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let step = (self.0.ilog2() / 10).min(6);
        let tenths = (u128::from(self.0) * 10) >> (10 * step);
        let unit = UNITS
            .get(usize::try_from(step).unwrap_or(1) - 1)
            .copied()
            .unwrap_or("EiB");
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// The class an object is stored in; `STANDARD` unless the request names another known one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorageClass(Arc<str>);

/// Not a name a storage class may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed storage class")]
pub struct StorageClassError;

impl StorageClass {
    /// Longest name, bytes.
    pub const NAME_BYTES_MAX: usize = 32;

    /// The default class.
    pub fn standard() -> Self {
        Self("STANDARD".into())
    }
    /// 1-32 of `A-Z 0-9 _`.
    pub fn parse(name: &str) -> Result<Self, StorageClassError> {
        let fits = (1..=Self::NAME_BYTES_MAX).contains(&name.len());
        if fits
            && name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            Ok(Self(name.into()))
        } else {
            Err(StorageClassError)
        }
    }
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for StorageClass {
    fn default() -> Self {
        Self::standard()
    }
}

impl TryFrom<String> for StorageClass {
    type Error = StorageClassError;
    fn try_from(name: String) -> Result<Self, StorageClassError> {
        Self::parse(&name)
    }
}

impl From<StorageClass> for String {
    fn from(class: StorageClass) -> Self {
        class.0.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (8 << 20, "8.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn storage_class_names_at_the_limit_and_one_past_it() {
        assert!(StorageClass::parse(&"A".repeat(StorageClass::NAME_BYTES_MAX)).is_ok());
        assert_eq!(
            StorageClass::parse(&"A".repeat(StorageClass::NAME_BYTES_MAX + 1)),
            Err(StorageClassError)
        );
        assert_eq!(StorageClass::parse("standard"), Err(StorageClassError));
    }
}
