//! Rows and commands of control (partition 0).

use engine_types::{AccountId, BucketId, BucketName as Name, KeyId, PartitionId, Stamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A version of a tenant's or a named key; its secret is in the sealed keyring files, never here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeyVersionId(pub u64);

/// An account: owns buckets, pays, has a tenant key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    /// Number.
    pub id: AccountId,
    /// Canonical id as ACLs and listings show it.
    pub canonical_id: String,
    /// Display name.
    pub name: String,
    /// For ACL grants by e-mail; may be empty.
    pub email: String,
    /// Root may use the admin listener.
    pub root: bool,
    /// When it was made.
    pub created: Stamp,
}

/// Whether a key may sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AccessKeyState {
    /// Yes.
    Active,
    /// Not now.
    Disabled,
}

/// An access key. The secret was sealed by the proposer before it entered the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AccessKeyRow {
    /// Number, never reused.
    pub id: KeyId,
    /// What clients send.
    pub access_key: String,
    /// Whose.
    pub account: AccountId,
    /// Secret sealed under the keyring's system key.
    pub sealed_secret: ByteBuf,
    /// State.
    pub state: AccessKeyState,
    /// When it was made.
    pub created: Stamp,
    /// A note.
    pub description: String,
}

/// How far `CreateBucket` or `DeleteBucket` has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BucketState {
    /// Name claimed, not yet at home.
    Creating,
    /// Usable.
    Live,
    /// Being taken apart.
    Deleting,
}

/// A claimed bucket name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BucketName {
    /// The bucket.
    pub id: BucketId,
    /// Its home.
    pub home: PartitionId,
    /// Its owner.
    pub owner: AccountId,
    /// How far.
    pub state: BucketState,
    /// When it was claimed.
    pub created: Stamp,
}

/// A named (KMS) key: its current version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KmsKeyRow {
    /// Name as clients give it.
    pub name: String,
    /// Wraps new data keys.
    pub current: KeyVersionId,
    /// When it was made.
    pub created: Stamp,
}

/// The one command that makes a cluster. Repeated with another cluster id it is refused; with the
/// same, it is done already.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Cluster id.
    pub cluster: engine_types::ClusterId,
    /// First layout: this node's drives.
    pub layout: crate::placement::Layout,
    /// Number of data partitions (8).
    pub partitions: u32,
    /// Root account's canonical id, name, e-mail.
    pub root: (String, String, String),
    /// Root's first access key and its sealed secret.
    pub root_key: (String, ByteBuf),
}

/// Commands of control.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ControlChange {
    /// First of all.
    Bootstrap(Box<Bootstrap>),
    /// Makes or updates (name, e-mail) an account by canonical id; answers `Account`.
    PutAccount {
        /// Canonical id.
        canonical_id: String,
        /// Display name.
        name: String,
        /// E-mail or empty.
        email: String,
    },
    /// Makes an access key, or updates secret and description of one with the same string and
    /// account; answers `AccessKey`.
    PutAccessKey {
        /// Whose.
        account: AccountId,
        /// String.
        access_key: String,
        /// Sealed.
        sealed_secret: ByteBuf,
        /// A note.
        description: String,
    },
    /// Enables or disables.
    SetAccessKey {
        /// Which.
        access_key: String,
        /// To what.
        state: AccessKeyState,
    },
    /// Deletes; its number stays used.
    DeleteAccessKey {
        /// Which.
        access_key: String,
    },
    /// Claims a name in state Creating; answers `Claimed`. A name in state Creating of the same
    /// owner answers its existing claim (a crash between the steps is rolled forward); Live of
    /// the same or another owner is refused with `BucketExists`.
    ClaimBucket {
        /// Name.
        name: Name,
        /// Owner.
        owner: AccountId,
    },
    /// Creating → Live.
    BucketLive {
        /// Name.
        name: Name,
        /// Which life of it.
        id: BucketId,
    },
    /// Live → Deleting; or back to Live where home answered that it is not empty.
    BucketDeleting {
        /// Name.
        name: Name,
        /// Which life of it.
        id: BucketId,
        /// Deleting, or back to Live.
        deleting: bool,
    },
    /// The name is free again.
    ReleaseBucket {
        /// Name.
        name: Name,
        /// Which life of it.
        id: BucketId,
    },
    /// Changes the layout, if its version is still this one; else `Changed`.
    ChangeLayout {
        /// As it was read.
        version: u64,
        /// What to change.
        change: Box<crate::placement::LayoutChange>,
    },
    /// Makes a named key or moves it to a new version.
    PutKmsKey {
        /// Name.
        name: String,
        /// Version, already durable in the keyring.
        current: KeyVersionId,
    },
    /// A number for a new drive, never given before; answers `Drive`. One that is not used for
    /// long (some tens of later ones) is void.
    AllotDrive,
    /// These key versions are destroyed: no import may bring them back, no drive may keep them.
    DestroyKeys(Vec<KeyVersionId>),
}
