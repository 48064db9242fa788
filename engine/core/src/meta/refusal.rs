//! Why a command changed nothing.

use serde::{Deserialize, Serialize};

/// Why a command changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The bucket is gone or its configuration moved: look it up again.
    #[error("bucket is gone or its configuration changed")]
    StaleBucket,
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Has versions.
    #[error("bucket is not empty")]
    BucketNotEmpty,
    /// Name taken.
    #[error("bucket name is taken")]
    BucketExists {
        /// By the asker.
        owned: bool,
    },
    /// Another step on this bucket is under way.
    #[error("bucket is being created or deleted")]
    BucketBusy,
    /// No such key.
    #[error("no such key")]
    NoSuchKey,
    /// No such version.
    #[error("no such version")]
    NoSuchVersion,
    /// No such upload.
    #[error("no such upload")]
    NoSuchUpload,
    /// A condition did not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// What was read has changed: read and decide again.
    #[error("changed since it was read")]
    Changed,
    /// An id was born before the watermark or is in use already, or a command before D: begin anew.
    /// Says nothing of whether the same command was applied earlier, so the one refusal on which a
    /// writer must not delete its shards: the orphan look-up judges them.
    #[error("id is too old")]
    TooOld,
    /// The boot was fenced.
    #[error("boot is fenced")]
    Fenced,
    /// No such account.
    #[error("no such account")]
    NoSuchAccount,
    /// No such access key.
    #[error("no such access key")]
    NoSuchAccessKey,
    /// The access key belongs to another account.
    #[error("access key is taken")]
    AccessKeyExists,
    /// Bootstrap of another cluster.
    #[error("already part of another cluster")]
    OtherCluster,
    /// Not bootstrapped yet, or command for another kind of partition.
    #[error("not for this partition")]
    WrongPartition,
    /// A new version would share bytes with the one it is made from: copy the bytes instead.
    #[error("bytes cannot be shared by two versions")]
    NeedsCopy,
    /// The e-mail address belongs to another account.
    #[error("e-mail address is taken")]
    EmailTaken,
    /// The layout cannot be changed so.
    #[error("{0}")]
    Layout(crate::placement::LayoutRefusal),
}
