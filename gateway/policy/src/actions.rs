//! The S3 actions that exist, and what each applies to.
//!
//! From AWS's service authorization reference. Bucket policies are checked against it: an action
//! nobody can ask for, or one on a resource it does not apply to, is a mistake of the writer.

use std::sync::LazyLock;

use crate::pattern::Template;
use crate::request::Context;

/// The resource an action applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// `arn:aws:s3:::bucket`.
    Bucket,
    /// `arn:aws:s3:::bucket/key`.
    Object,
    /// The account, or what no bucket policy can speak of.
    Account,
}

const ON_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "BypassGovernanceRetention",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectTorrent",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionForReplication",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "InitiateReplication",
    "ListMultipartUploadParts",
    "ObjectOwnerOverrideToBucketOwner",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
    "ReplicateDelete",
    "ReplicateObject",
    "ReplicateTags",
    "RestoreObject",
    "UpdateObjectEncryption",
];

const ON_BUCKETS: &[&str] = &[
    "CreateBucket",
    "CreateBucketMetadataTableConfiguration",
    "DeleteBucket",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketPolicy",
    "DeleteBucketWebsite",
    "GetAccelerateConfiguration",
    "GetAnalyticsConfiguration",
    "GetBucketAbac",
    "GetBucketAcl",
    "GetBucketCORS",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetadataTableConfiguration",
    "GetBucketNotification",
    "GetBucketObjectLockConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketPublicAccessBlock",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetEncryptionConfiguration",
    "GetIntelligentTieringConfiguration",
    "GetInventoryConfiguration",
    "GetLifecycleConfiguration",
    "GetMetricsConfiguration",
    "GetReplicationConfiguration",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
    "ListTagsForResource",
    "PutAccelerateConfiguration",
    "PutAnalyticsConfiguration",
    "PutBucketAbac",
    "PutBucketAcl",
    "PutBucketCORS",
    "PutBucketLogging",
    "PutBucketNotification",
    "PutBucketObjectLockConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketPublicAccessBlock",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutEncryptionConfiguration",
    "PutIntelligentTieringConfiguration",
    "PutInventoryConfiguration",
    "PutLifecycleConfiguration",
    "PutMetricsConfiguration",
    "PutReplicationConfiguration",
    "TagResource",
    "UntagResource",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
];

const ON_ACCOUNTS: &[&str] = &[
    "CreateAccessPoint",
    "CreateJob",
    "DeleteAccessPoint",
    "DeleteAccessPointPolicy",
    "DescribeJob",
    "GetAccessPoint",
    "GetAccessPointPolicy",
    "GetAccessPointPolicyStatus",
    "GetAccountPublicAccessBlock",
    "ListAccessPoints",
    "ListAllMyBuckets",
    "ListJobs",
    "PutAccessPointPolicy",
    "PutAccountPublicAccessBlock",
    "UpdateJobPriority",
    "UpdateJobStatus",
];

fn table() -> impl Iterator<Item = (&'static str, Applies)> {
    let with = |names: &'static [&'static str], kind| names.iter().map(move |name| (*name, kind));
    with(ON_OBJECTS, Applies::Object)
        .chain(with(ON_BUCKETS, Applies::Bucket))
        .chain(with(ON_ACCOUNTS, Applies::Account))
}

/// What an action (`s3:GetObject`, any case) applies to; `None` if there is no such action.
pub fn applies_to(action: &str) -> Option<Applies> {
    let (service, name) = action.split_once(':')?;
    if !service.eq_ignore_ascii_case("s3") {
        return None;
    }
    table()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, applies)| applies)
}

/// `s3:getobject` and so on: a policy may hold thousands of patterns, each compared with all.
static LOWER: LazyLock<Vec<(String, Applies)>> = LazyLock::new(|| {
    table()
        .map(|(name, kind)| (format!("s3:{}", name.to_ascii_lowercase()), kind))
        .collect()
});

/// What the actions a pattern covers apply to; empty if it covers none.
pub(crate) fn covered(pattern: &Template) -> Vec<Applies> {
    let context = Context::default();
    let mut kinds = Vec::new();
    for (action, kind) in LOWER.iter() {
        if !kinds.contains(kind) && pattern.matches(action, &context) == Ok(true) {
            kinds.push(*kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions() {
        assert_eq!(applies_to("S3:getobject"), Some(Applies::Object));
        assert_eq!(applies_to("s3:ListBucket"), Some(Applies::Bucket));
        assert_eq!(applies_to("s3:ListAllMyBuckets"), Some(Applies::Account));
        assert_eq!(applies_to("s3:GetObjects"), None);
        assert_eq!(applies_to("iam:GetUser"), None);
        assert_eq!(applies_to("GetObject"), None);
        assert_eq!(covered(&Template::caseless("*")).len(), 3);
        assert_eq!(
            covered(&Template::caseless("s3:PutObject*")),
            [Applies::Object]
        );
        assert_eq!(covered(&Template::caseless("s3:Nothing*")), []);
    }

    #[test]
    fn each_action_is_listed_once() {
        let mut names: Vec<_> = table().map(|(name, _)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
