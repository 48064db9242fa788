//! Time inside the state machine, and the order of versions that follows from it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Milliseconds since the Unix epoch as a partition's leader stamped them: they follow its
/// wall clock, and never go back. Never a gateway's clock.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Stamp(pub u64);

impl Stamp {
    /// This stamp less `ms`, not below zero.
    #[must_use]
    pub fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
    /// This stamp plus `ms`.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Where a version stands among all versions of its partition: the stamp of its commit and a count
/// of commits within that stamp. Apply order, hence total; newest is greatest.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Order {
    /// When it was applied.
    pub stamp: Stamp,
    /// The how-manieth at that stamp.
    pub seq: u32,
}

impl Order {
    /// 10 bytes that sort newest first: 6 of stamp, 4 of count, big-endian, inverted.
    pub fn newest_first(self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..6].copy_from_slice(&self.stamp.0.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&self.seq.to_be_bytes());
        bytes.map(|b| !b)
    }

    /// What [`Order::newest_first`] wrote.
    pub fn from_newest_first(bytes: [u8; 10]) -> Self {
        let bytes = bytes.map(|b| !b);
        let mut stamp = [0; 8];
        stamp[2..].copy_from_slice(&bytes[..6]);
        let mut seq = [0; 4];
        seq.copy_from_slice(&bytes[6..]);
        Self {
            stamp: Stamp(u64::from_be_bytes(stamp)),
            seq: u32::from_be_bytes(seq),
        }
    }
}

/// What S3 calls `versionId`: `null`, or 32 hex digits that hold the version's [`Order`] and six
/// bytes of its command's entropy (so that an id cannot be guessed from a time).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum VersionId {
    /// Written while the bucket was unversioned or suspended; a key has at most one.
    Null,
    /// Written while versioning was enabled.
    Id {
        /// Its place in apply order, which finds its row.
        order: Order,
        /// From the command's id.
        entropy: [u8; 6],
    },
}

/// Not a version id at all: S3 answers 400 `InvalidArgument`, not 404.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed version id")]
pub struct VersionIdParseError;

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Id { order, entropy } => {
                let newest = order.newest_first();
                newest
                    .iter()
                    .chain(entropy)
                    .try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

impl FromStr for VersionId {
    type Err = VersionIdParseError;
    fn from_str(text: &str) -> Result<Self, VersionIdParseError> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let bytes = text
            .parse::<crate::DataId>()
            .map_err(|crate::IdParseError| VersionIdParseError)?
            .0;
        let (mut order, mut entropy) = ([0; 10], [0; 6]);
        order.copy_from_slice(&bytes[..10]);
        entropy.copy_from_slice(&bytes[10..]);
        Ok(Self::Id {
            order: Order::from_newest_first(order),
            entropy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn newest_sorts_first_and_round_trips(a in 0..1u64 << 48, b in 0..1u64 << 48, s in any::<u32>(), t in any::<u32>()) {
            let (x, y) = (Order { stamp: Stamp(a), seq: s }, Order { stamp: Stamp(b), seq: t });
            prop_assert_eq!(x.cmp(&y), y.newest_first().cmp(&x.newest_first()));
            prop_assert_eq!(Order::from_newest_first(x.newest_first()), x);
            let id = VersionId::Id { order: x, entropy: [s.to_le_bytes()[0]; 6] };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn malformed_version_ids_are_refused() {
        for bad in [
            "",
            "NULL",
            "null ",
            "abc",
            "zz000000000000000000000000000000",
        ] {
            assert_eq!(bad.parse::<VersionId>(), Err(VersionIdParseError), "{bad}");
        }
    }
}
