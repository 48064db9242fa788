//! A bucket as its home keeps it.

use engine_types::{AccountId, BucketId, BucketName, PartitionId, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether new versions replace or pile up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Versioning {
    /// Never enabled: one version a key, id `null`.
    #[default]
    Unversioned,
    /// Every write makes a version of its own.
    Enabled,
    /// Writes replace the `null` version; others stay.
    Suspended,
}

/// Kinds of configuration the engine keeps for the gateway without reading it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum BucketDocument {
    /// Access control list.
    Acl,
    /// Object ownership.
    Ownership,
    /// Public access block.
    PublicAccessBlock,
    /// Bucket policy.
    Policy,
    /// CORS rules.
    Cors,
    /// Default encryption.
    Encryption,
    /// Bucket tags.
    Tagging,
    /// Requested region.
    Location,
}

/// A bucket: configuration at its home.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketRow {
    /// Never reused.
    pub id: BucketId,
    /// Its name while it lives.
    pub name: BucketName,
    /// Who owns it and pays for what it stores.
    pub owner: AccountId,
    /// When it was made.
    pub created: Stamp,
    /// Raised by every change below; commands and queries carry it.
    pub epoch: u64,
    /// Versioning state.
    pub versioning: Versioning,
    /// Configuration documents in the gateway's own encoding.
    pub documents: BTreeMap<BucketDocument, Vec<u8>>,
    /// Being deleted: closed to writes.
    pub closed: bool,
}

/// What a request knows of its bucket; the partition refuses it with
/// [`super::Refusal::StaleBucket`] where the bucket is gone or its epoch has moved, so a gateway may
/// cache buckets and still never act on an old configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BucketRef {
    /// Which.
    pub id: BucketId,
    /// Where it lives.
    pub partition: PartitionId,
    /// As of this configuration.
    pub epoch: u64,
}
