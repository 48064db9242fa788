//! Operation → what it takes: the one table. What is not in it is denied.
//!
//! Sources: "Actions, resources, and condition keys for Amazon S3" and "Mapping of ACL permissions
//! and access policy permissions" in the S3 User Guide.

use super::headers::PUT_ACL;
use super::rule::{On, Rule, bucket, owner, rule};
use crate::acl::Permission::{Read, ReadAcp, Write, WriteAcp};

/// Listing, which decides between 403 and 404 for what is not there.
pub(crate) const LIST: &str = "s3:ListBucket";

/// Every operation of s3s.
pub(crate) const TABLE: &[Rule] = &[
    // Objects.
    rule("GetObject", On::Object, &["s3:GetObject"])
        .versioned(&["s3:GetObjectVersion"])
        .or(Read),
    rule("HeadObject", On::Object, &["s3:GetObject"])
        .versioned(&["s3:GetObjectVersion"])
        .or(Read),
    rule(
        "GetObjectAttributes",
        On::Object,
        &["s3:GetObject", "s3:GetObjectAttributes"],
    )
    .versioned(&["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"]),
    rule("GetObjectAcl", On::Object, &["s3:GetObjectAcl"])
        .versioned(&["s3:GetObjectVersionAcl"])
        .or(ReadAcp),
    rule("PutObjectAcl", On::Object, &[PUT_ACL])
        .versioned(&["s3:PutObjectVersionAcl"])
        .or(WriteAcp),
    rule("GetObjectTagging", On::Object, &["s3:GetObjectTagging"])
        .versioned(&["s3:GetObjectVersionTagging"]),
    rule("PutObjectTagging", On::Object, &["s3:PutObjectTagging"])
        .versioned(&["s3:PutObjectVersionTagging"]),
    rule(
        "DeleteObjectTagging",
        On::Object,
        &["s3:DeleteObjectTagging"],
    )
    .versioned(&["s3:DeleteObjectVersionTagging"]),
    rule("GetObjectTorrent", On::Object, &["s3:GetObjectTorrent"])
        .versioned(&["s3:GetObjectVersionTorrent"])
        .or(Read),
    rule("GetObjectRetention", On::Object, &["s3:GetObjectRetention"]),
    rule("PutObjectRetention", On::Object, &["s3:PutObjectRetention"]),
    rule("GetObjectLegalHold", On::Object, &["s3:GetObjectLegalHold"]),
    rule("PutObjectLegalHold", On::Object, &["s3:PutObjectLegalHold"]),
    rule("RestoreObject", On::Object, &["s3:RestoreObject"]),
    rule("SelectObjectContent", On::Object, &["s3:GetObject"]),
    rule(
        "UpdateObjectEncryption",
        On::Object,
        &["s3:UpdateObjectEncryption"],
    ),
    rule("PutObject", On::Key, &["s3:PutObject"]).or(Write),
    // A form becomes a PutObject before s3s sees it; one that reaches s3s as a form is nobody's.
    rule("PostObject", On::Nobody, &[]),
    rule("CopyObject", On::Key, &["s3:PutObject"]).or(Write),
    rule("DeleteObject", On::Key, &["s3:DeleteObject"])
        .versioned(&["s3:DeleteObjectVersion"])
        .or(Write),
    rule("DeleteObjects", On::Keys, &["s3:DeleteObject"])
        .versioned(&["s3:DeleteObjectVersion"])
        .or(Write),
    // Uploads.
    rule("CreateMultipartUpload", On::Key, &["s3:PutObject"]).or(Write),
    rule("UploadPart", On::Key, &["s3:PutObject"]).or(Write),
    rule("UploadPartCopy", On::Key, &["s3:PutObject"]).or(Write),
    rule("CompleteMultipartUpload", On::Key, &["s3:PutObject"]).or(Write),
    rule(
        "AbortMultipartUpload",
        On::Upload,
        &["s3:AbortMultipartUpload"],
    ),
    rule("ListParts", On::Upload, &["s3:ListMultipartUploadParts"]),
    // Buckets.
    rule("ListBuckets", On::Account, &["s3:ListAllMyBuckets"]),
    rule("CreateBucket", On::Account, &["s3:CreateBucket"]),
    bucket("DeleteBucket", &["s3:DeleteBucket"]),
    bucket("HeadBucket", &[LIST]).or(Read),
    bucket("ListObjects", &[LIST]).or(Read),
    bucket("ListObjectsV2", &[LIST]).or(Read),
    bucket("ListObjectVersions", &["s3:ListBucketVersions"]).or(Read),
    bucket("ListMultipartUploads", &["s3:ListBucketMultipartUploads"]).or(Read),
    bucket("GetBucketLocation", &["s3:GetBucketLocation"]),
    bucket("GetBucketVersioning", &["s3:GetBucketVersioning"]),
    bucket("PutBucketVersioning", &["s3:PutBucketVersioning"]),
    bucket("GetBucketAcl", &["s3:GetBucketAcl"]).or(ReadAcp),
    bucket("PutBucketAcl", &["s3:PutBucketAcl"]).or(WriteAcp),
    bucket(
        "GetBucketOwnershipControls",
        &["s3:GetBucketOwnershipControls"],
    ),
    bucket(
        "PutBucketOwnershipControls",
        &["s3:PutBucketOwnershipControls"],
    ),
    bucket(
        "DeleteBucketOwnershipControls",
        &["s3:PutBucketOwnershipControls"],
    ),
    bucket("GetPublicAccessBlock", &["s3:GetBucketPublicAccessBlock"]),
    bucket("PutPublicAccessBlock", &["s3:PutBucketPublicAccessBlock"]),
    bucket(
        "DeletePublicAccessBlock",
        &["s3:PutBucketPublicAccessBlock"],
    ),
    bucket("GetBucketPolicy", &["s3:GetBucketPolicy"]),
    bucket("GetBucketPolicyStatus", &["s3:GetBucketPolicyStatus"]),
    bucket("PutBucketPolicy", &["s3:PutBucketPolicy"]),
    bucket("DeleteBucketPolicy", &["s3:DeleteBucketPolicy"]),
    bucket("GetBucketCors", &["s3:GetBucketCORS"]),
    bucket("PutBucketCors", &["s3:PutBucketCORS"]),
    bucket("DeleteBucketCors", &["s3:PutBucketCORS"]),
    bucket("GetBucketEncryption", &["s3:GetEncryptionConfiguration"]),
    bucket("PutBucketEncryption", &["s3:PutEncryptionConfiguration"]),
    bucket("DeleteBucketEncryption", &["s3:PutEncryptionConfiguration"]),
    bucket("GetBucketTagging", &["s3:GetBucketTagging"]),
    bucket("PutBucketTagging", &["s3:PutBucketTagging"]),
    bucket("DeleteBucketTagging", &["s3:PutBucketTagging"]),
    bucket("GetBucketAbac", &["s3:GetBucketAbac"]),
    bucket("PutBucketAbac", &["s3:PutBucketAbac"]),
    bucket(
        "GetBucketAccelerateConfiguration",
        &["s3:GetAccelerateConfiguration"],
    ),
    bucket(
        "PutBucketAccelerateConfiguration",
        &["s3:PutAccelerateConfiguration"],
    ),
    bucket(
        "GetBucketAnalyticsConfiguration",
        &["s3:GetAnalyticsConfiguration"],
    ),
    bucket(
        "ListBucketAnalyticsConfigurations",
        &["s3:GetAnalyticsConfiguration"],
    ),
    bucket(
        "PutBucketAnalyticsConfiguration",
        &["s3:PutAnalyticsConfiguration"],
    ),
    bucket(
        "DeleteBucketAnalyticsConfiguration",
        &["s3:PutAnalyticsConfiguration"],
    ),
    bucket(
        "GetBucketIntelligentTieringConfiguration",
        &["s3:GetIntelligentTieringConfiguration"],
    ),
    bucket(
        "ListBucketIntelligentTieringConfigurations",
        &["s3:GetIntelligentTieringConfiguration"],
    ),
    bucket(
        "PutBucketIntelligentTieringConfiguration",
        &["s3:PutIntelligentTieringConfiguration"],
    ),
    bucket(
        "DeleteBucketIntelligentTieringConfiguration",
        &["s3:PutIntelligentTieringConfiguration"],
    ),
    bucket(
        "GetBucketInventoryConfiguration",
        &["s3:GetInventoryConfiguration"],
    ),
    bucket(
        "ListBucketInventoryConfigurations",
        &["s3:GetInventoryConfiguration"],
    ),
    bucket(
        "PutBucketInventoryConfiguration",
        &["s3:PutInventoryConfiguration"],
    ),
    bucket(
        "DeleteBucketInventoryConfiguration",
        &["s3:PutInventoryConfiguration"],
    ),
    bucket(
        "GetBucketLifecycleConfiguration",
        &["s3:GetLifecycleConfiguration"],
    ),
    bucket(
        "PutBucketLifecycleConfiguration",
        &["s3:PutLifecycleConfiguration"],
    ),
    bucket("DeleteBucketLifecycle", &["s3:PutLifecycleConfiguration"]),
    bucket("GetBucketLogging", &["s3:GetBucketLogging"]),
    bucket("PutBucketLogging", &["s3:PutBucketLogging"]),
    bucket(
        "GetBucketMetricsConfiguration",
        &["s3:GetMetricsConfiguration"],
    ),
    bucket(
        "ListBucketMetricsConfigurations",
        &["s3:GetMetricsConfiguration"],
    ),
    bucket(
        "PutBucketMetricsConfiguration",
        &["s3:PutMetricsConfiguration"],
    ),
    bucket(
        "DeleteBucketMetricsConfiguration",
        &["s3:PutMetricsConfiguration"],
    ),
    bucket(
        "GetBucketNotificationConfiguration",
        &["s3:GetBucketNotification"],
    ),
    bucket(
        "PutBucketNotificationConfiguration",
        &["s3:PutBucketNotification"],
    ),
    bucket("GetBucketReplication", &["s3:GetReplicationConfiguration"]),
    bucket("PutBucketReplication", &["s3:PutReplicationConfiguration"]),
    bucket(
        "DeleteBucketReplication",
        &["s3:PutReplicationConfiguration"],
    ),
    bucket("GetBucketRequestPayment", &["s3:GetBucketRequestPayment"]),
    bucket("PutBucketRequestPayment", &["s3:PutBucketRequestPayment"]),
    bucket("GetBucketWebsite", &["s3:GetBucketWebsite"]),
    bucket("PutBucketWebsite", &["s3:PutBucketWebsite"]),
    bucket("DeleteBucketWebsite", &["s3:DeleteBucketWebsite"]),
    bucket(
        "GetObjectLockConfiguration",
        &["s3:GetBucketObjectLockConfiguration"],
    ),
    bucket(
        "PutObjectLockConfiguration",
        &["s3:PutBucketObjectLockConfiguration"],
    ),
    bucket(
        "GetBucketMetadataTableConfiguration",
        &["s3:GetBucketMetadataTableConfiguration"],
    ),
    bucket(
        "CreateBucketMetadataTableConfiguration",
        &["s3:CreateBucketMetadataTableConfiguration"],
    ),
    bucket(
        "DeleteBucketMetadataTableConfiguration",
        &["s3:DeleteBucketMetadataTableConfiguration"],
    ),
    bucket(
        "GetBucketMetadataConfiguration",
        &["s3:GetBucketMetadataTableConfiguration"],
    ),
    bucket(
        "CreateBucketMetadataConfiguration",
        &["s3:CreateBucketMetadataTableConfiguration"],
    ),
    bucket(
        "DeleteBucketMetadataConfiguration",
        &["s3:DeleteBucketMetadataTableConfiguration"],
    ),
    bucket(
        "UpdateBucketMetadataInventoryTableConfiguration",
        &["s3:UpdateBucketMetadataInventoryTableConfiguration"],
    ),
    bucket(
        "UpdateBucketMetadataJournalTableConfiguration",
        &["s3:UpdateBucketMetadataJournalTableConfiguration"],
    ),
    // Not of S3's general purpose buckets, or without a documented action.
    owner("UpdateBucketMetadataAnnotationTableConfiguration"),
    owner("DeleteObjectAnnotation"),
    owner("GetObjectAnnotation"),
    owner("ListObjectAnnotations"),
    owner("PutObjectAnnotation"),
    owner("CreateSession"),
    owner("ListDirectoryBuckets"),
    owner("ListenBucketNotification"),
    owner("RenameObject"),
    owner("WriteGetObjectResponse"),
];

/// The line of an operation; `None`: deny.
pub(crate) fn rule_of(operation: &str) -> Option<&'static Rule> {
    TABLE.iter().find(|rule| rule.operation == operation)
}

#[cfg(test)]
mod tests {
    use super::super::headers::{ASKED_BY_HEADER, WRITERS};
    use super::*;
    use gateway_policy::{Applies, applies_to};
    use std::collections::BTreeSet;
    use std::process::Command;

    /// `put_object_acl` → `PutObjectAcl`.
    fn camel(name: &str) -> String {
        let word = |w: &str| match w.split_at_checked(1) {
            Some((first, rest)) => first.to_uppercase() + rest,
            None => String::new(),
        };
        name.split('_').map(word).collect()
    }

    /// Where cargo keeps the source of the s3s this crate is built against.
    fn trait_source() -> String {
        let cargo = |words: &[&str]| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
            let output = cargo.output().expect("cargo runs");
            String::from_utf8(output.stdout).expect("text")
        };
        let about = cargo(&["-vV"]);
        let host = about.lines().find_map(|line| line.strip_prefix("host: "));
        // What other platforms need was never brought here.
        let fixed = [
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
        ];
        let metadata = cargo(&[&fixed[..], &[host.expect("a host")]].concat());
        let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("json");
        let packages = metadata["packages"].as_array().expect("packages");
        let s3s = packages.iter().find(|p| p["name"] == "s3s").expect("s3s");
        let manifest = s3s["manifest_path"].as_str().expect("path");
        let source = std::path::Path::new(manifest)
            .with_file_name("src")
            .join("s3_trait.rs");
        std::fs::read_to_string(source).expect("trait source")
    }

    #[test]
    fn every_operation_of_the_trait_has_exactly_one_line() {
        let source = trait_source();
        let name = |line: &str| {
            let rest = line.trim_start().strip_prefix("async fn ")?;
            Some(camel(rest.split('(').next()?))
        };
        let of_trait: BTreeSet<String> = source.lines().filter_map(name).collect();
        let of_table: BTreeSet<String> = TABLE.iter().map(|r| r.operation.to_owned()).collect();
        assert!(of_trait.len() > 100, "{}", of_trait.len());
        assert_eq!(of_table.len(), TABLE.len(), "an operation stands twice");
        let missing: Vec<_> = of_trait.symmetric_difference(&of_table).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(rule_of("NoSuchOperation").is_none());
    }

    #[test]
    fn every_action_exists_and_applies_to_what_the_operation_acts_on() {
        for rule in TABLE {
            for action in rule.actions.iter().chain(rule.versioned) {
                let wanted = match rule.on {
                    On::Key | On::Object | On::Upload | On::Keys => Applies::Object,
                    On::Bucket => Applies::Bucket,
                    On::Account if *action == "s3:CreateBucket" => Applies::Bucket,
                    On::Account => Applies::Account,
                    On::Owner | On::Nobody => panic!("{} needs no action", rule.operation),
                };
                assert_eq!(
                    applies_to(action),
                    Some(wanted),
                    "{} {action}",
                    rule.operation
                );
            }
            let bare = matches!(rule.on, On::Owner | On::Nobody);
            assert_eq!(rule.actions.is_empty(), bare, "{}", rule.operation);
        }
        for (_, action) in ASKED_BY_HEADER {
            assert_eq!(applies_to(action), Some(Applies::Object), "{action}");
        }
        for writer in WRITERS {
            assert_eq!(rule_of(writer).map(|r| r.on), Some(On::Key));
        }
    }
}
