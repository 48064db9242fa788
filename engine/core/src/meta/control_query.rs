//! Linearizable reads of control and their replies.

use super::{AccessKeyRow, AccountRow, BucketNameRow, KeyVersionId, KmsKeyRow};
use engine_types::AccountId;
use serde::{Deserialize, Serialize};

/// Reads of control.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ControlQuery {
    /// A bucket name.
    Bucket(String),
    /// Names of an account's buckets, live ones: with prefix, after a name, up to `limit`.
    Buckets {
        /// Owner.
        owner: AccountId,
        /// Prefix.
        prefix: String,
        /// Strictly after.
        after: Option<String>,
        /// Most names, 1-10,000.
        limit: u32,
    },
    /// Names that are being created or deleted (roll-forward worker).
    UnsettledBuckets,
    /// An access key and its account.
    AccessKey(String),
    /// All access keys.
    AccessKeys,
    /// By number.
    Account(AccountId),
    /// By canonical id.
    AccountByCanonicalId(String),
    /// By e-mail.
    AccountByEmail(String),
    /// All accounts.
    Accounts,
    /// The layout.
    Layout,
    /// A named key.
    KmsKey(String),
    /// All named keys.
    KmsKeys,
    /// Cluster id, if bootstrapped.
    Cluster,
    /// Key versions that were destroyed.
    DestroyedKeys,
}

/// Answers to [`ControlQuery`]; `None` inside: there is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ControlReply {
    /// To `Bucket`.
    Bucket(Option<BucketNameRow>),
    /// To `Buckets`, `UnsettledBuckets`; `bool`: more follow.
    Buckets(Vec<(engine_types::BucketName, BucketNameRow)>, bool),
    /// To `AccessKey`.
    AccessKey(Option<(AccessKeyRow, AccountRow)>),
    /// To `AccessKeys`.
    AccessKeys(Vec<AccessKeyRow>),
    /// To `Account…`.
    Account(Option<AccountRow>),
    /// To `Accounts`.
    Accounts(Vec<AccountRow>),
    /// To `Layout`.
    Layout(Option<crate::placement::Layout>),
    /// To `KmsKey`.
    KmsKey(Option<KmsKeyRow>),
    /// To `KmsKeys`.
    KmsKeys(Vec<KmsKeyRow>),
    /// To `Cluster`.
    Cluster(Option<engine_types::ClusterId>),
    /// To `DestroyedKeys`.
    DestroyedKeys(Vec<KeyVersionId>),
}
