//! Identifiers. Numbers come from control and are never reused; birth ids are made by a writer.

use crate::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A bucket's life. A deleted and re-created name gets a new id.
    BucketId(u64)
);
number_id!(
    /// One replicated, ordered slice of the metadata. 0 is control.
    PartitionId(u32)
);
number_id!(
    /// A raft group. Today every group is a partition's; the ids are kept apart because a split
    /// makes a new group for an old range.
    GroupId(u32)
);
number_id!(
    /// A drive's number in the layout, given by control and never reused.
    DriveId(u32)
);
number_id!(
    /// A node's number in the layout, given by control and never reused.
    NodeId(u32)
);
number_id!(
    /// One start of one node's process: its count, raised durably before it votes or writes.
    BootId(u64)
);

impl PartitionId {
    /// Partition 0: layout, accounts, access keys, bucket names, partition map.
    pub const CONTROL: Self = Self(0);
}

impl DriveId {
    /// The witness: where one more voter lies when the drives are fewer than the voters. It holds no
    /// shards and is in no layout. Control numbers drives from 1.
    pub const WITNESS: Self = Self(0);
}

/// An id text was not what [`fmt::Display`] of its type writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed id")]
pub struct IdParseError;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(text: &str) -> Result<Self, IdParseError> {
                parse_hex(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// The cluster a mark, a credentials file and a drive belong to.
    ClusterId
);
uuid_id!(
    /// What a drive's mark calls it; survives being moved to another path.
    DriveUuid
);

fn parse_hex(text: &str) -> Result<[u8; 16], IdParseError> {
    if text.len() != 32 || !text.is_ascii() {
        return Err(IdParseError);
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
            return Err(IdParseError);
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

/// 16 bytes that carry their birth: 6 bytes of [`Stamp`] (big-endian ms) and 10 of entropy, so that
/// ids sort by birth. The birth is the partition's stamp as the writer last saw it, never the
/// gateway's clock: the watermark's rules depend on it (docs/ARCHITECTURE.md, "Who may free what").
pub trait BirthId: Copy {
    /// From a stamp and fresh entropy.
    fn born(birth: Stamp, entropy: [u8; 10]) -> Self;
    /// The stamp it was born at.
    fn birth(&self) -> Stamp;
}

macro_rules! birth_id {
    ($(#[$doc:meta])* $name:ident) => {
        uuid_id!($(#[$doc])* $name);
        impl BirthId for $name {
            fn born(birth: Stamp, entropy: [u8; 10]) -> Self {
                let mut bytes = [0; 16];
                bytes[..6].copy_from_slice(&birth.0.to_be_bytes()[2..]);
                bytes[6..].copy_from_slice(&entropy);
                Self(bytes)
            }
            fn birth(&self) -> Stamp {
                let mut wide = [0; 8];
                wide[2..].copy_from_slice(&self.0[..6]);
                Stamp(u64::from_be_bytes(wide))
            }
        }
    };
}

birth_id!(
    /// One attempt to write one part. No other bytes are ever sealed under it.
    DataId
);
birth_id!(
    /// One copy of one shard on one drive, whoever wrote it: PUT, repair or rebalance.
    CopyToken
);
birth_id!(
    /// One command, through all its retries.
    CommandId
);
birth_id!(
    /// One multipart upload; what S3 calls `uploadId`.
    UploadId
);
birth_id!(
    /// One part made of many small objects' sealed bytes.
    PackId
);

/// The manifest of a completed upload is named by the upload.
pub type ManifestId = UploadId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn birth_id_carries_its_birth_and_sorts_by_it() {
        let old = DataId::born(Stamp(1_800_000_000_000), [255; 10]);
        let new = DataId::born(Stamp(1_800_000_000_001), [0; 10]);
        assert_eq!(old.birth(), Stamp(1_800_000_000_000));
        assert!(old < new);
    }

    #[test]
    fn text_round_trips_and_refuses_the_rest() {
        let id = UploadId::born(Stamp(77), [9; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "zz",
            "0x000000000000000000000000000000",
            &"0".repeat(31),
            &"0".repeat(33),
            &"é".repeat(16),
        ] {
            assert_eq!(bad.parse::<UploadId>(), Err(IdParseError), "{bad}");
        }
    }
}
