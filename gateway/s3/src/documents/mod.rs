//! Bucket configuration as this crate keeps it in the bucket's row: typed documents, each behind the
//! version byte of [`engine_core::meta::encode`] (**format**: fields are only appended).

mod keep;
mod rules;

pub(crate) use keep::{Named, named};
pub(crate) use rules::{BucketRules, PolicyState, RulesCache};

use crate::options::ObjectOwnership;
use engine_core::meta::{BucketDocument, BucketRow, decode, encode};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Who owns objects written by others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Ownership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

impl Ownership {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::BucketOwnerEnforced,
            Self::BucketOwnerPreferred,
            Self::ObjectWriter,
        ]
        .into_iter()
        .find(|o| o.as_str() == text)
    }
}

impl From<ObjectOwnership> for Ownership {
    fn from(option: ObjectOwnership) -> Self {
        match option {
            ObjectOwnership::BucketOwnerEnforced => Self::BucketOwnerEnforced,
            ObjectOwnership::BucketOwnerPreferred => Self::BucketOwnerPreferred,
            ObjectOwnership::ObjectWriter => Self::ObjectWriter,
        }
    }
}

/// The four switches of a public access block; absent: all off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "S3 has four independent switches"
)]
pub(crate) struct PublicAccessBlock {
    pub(crate) block_public_acls: bool,
    pub(crate) ignore_public_acls: bool,
    pub(crate) block_public_policy: bool,
    pub(crate) restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// What AWS gives every new bucket.
    pub(crate) const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// A bucket policy as it was put.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PolicyDocument {
    /// Byte for byte as sent.
    pub(crate) text: String,
    /// Put with `x-amz-confirm-remove-self-bucket-access`: root may not repair it.
    pub(crate) lockout_confirmed: bool,
}

/// One CORS rule.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CorsRule {
    pub(crate) id: Option<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) origins: Vec<String>,
    pub(crate) headers: Option<Vec<String>>,
    pub(crate) expose: Option<Vec<String>>,
    pub(crate) max_age: Option<i32>,
}

/// Default encryption.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EncryptionDocument {
    /// `AES256` or `aws:kms`.
    pub(crate) algorithm: String,
    pub(crate) kms_key: Option<String>,
    /// As sent; none: not said.
    pub(crate) bucket_key: Option<bool>,
}

/// A document of a bucket; `None`: not configured.
///
/// # Errors
/// `InternalError` for bytes this build cannot read: nothing may be granted on a guess.
pub(crate) fn document<T: DeserializeOwned>(
    row: &BucketRow,
    kind: BucketDocument,
) -> S3Result<Option<T>> {
    let Some(bytes) = row.documents.get(&kind) else {
        return Ok(None);
    };
    decode(bytes).map(Some).map_err(|error| {
        tracing::error!(%error, bucket = %row.name, ?kind, "unreadable bucket document");
        s3_error!(InternalError, "The bucket's configuration cannot be read.")
    })
}

/// As kept in the row.
pub(crate) fn to_row<T: Serialize>(document: &T) -> Vec<u8> {
    encode(document)
}

/// Ownership in force: without controls a bucket is as buckets were before there were any.
pub(crate) fn ownership(row: &BucketRow) -> S3Result<Ownership> {
    Ok(document(row, BucketDocument::Ownership)?.unwrap_or(Ownership::ObjectWriter))
}

/// Public access block in force.
pub(crate) fn public_access_block(row: &BucketRow) -> S3Result<PublicAccessBlock> {
    Ok(document(row, BucketDocument::PublicAccessBlock)?.unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use engine_core::meta::{BucketRef, Versioning};
    use engine_node::Bucket;
    use engine_types::{AccountId, BucketId, BucketName, PartitionId, Stamp};
    use std::sync::Arc;

    /// A bucket `bucket` of `owner` with these documents.
    pub(crate) fn bucket(owner: AccountId, documents: &[(BucketDocument, Vec<u8>)]) -> Bucket {
        let row = BucketRow {
            id: BucketId(7),
            name: BucketName::parse("bucket").expect("name"),
            owner,
            created: Stamp::default(),
            epoch: 1,
            versioning: Versioning::Unversioned,
            documents: documents.iter().cloned().collect(),
            closed: false,
        };
        let reference = BucketRef {
            id: row.id,
            partition: PartitionId(1),
            epoch: 1,
        };
        Bucket {
            row: Arc::new(row),
            reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_types::AccountId;

    #[test]
    fn documents_come_back_and_unreadable_ones_are_errors() {
        let owner = AccountId(1);
        let block = PublicAccessBlock {
            ignore_public_acls: true,
            ..PublicAccessBlock::default()
        };
        let kept = testing::bucket(
            owner,
            &[
                (BucketDocument::PublicAccessBlock, to_row(&block)),
                (BucketDocument::Ownership, vec![1, 99]),
            ],
        );
        assert_eq!(public_access_block(&kept.row).ok(), Some(block));
        assert!(ownership(&kept.row).is_err());
        let bare = testing::bucket(owner, &[]);
        assert_eq!(ownership(&bare.row).ok(), Some(Ownership::ObjectWriter));
        assert_eq!(
            public_access_block(&bare.row).ok(),
            Some(PublicAccessBlock::default())
        );
    }

    #[test]
    fn ownership_names() {
        for (option, name) in [
            (ObjectOwnership::BucketOwnerEnforced, "BucketOwnerEnforced"),
            (
                ObjectOwnership::BucketOwnerPreferred,
                "BucketOwnerPreferred",
            ),
            (ObjectOwnership::ObjectWriter, "ObjectWriter"),
        ] {
            assert_eq!(Ownership::from(option).as_str(), name);
            assert_eq!(Ownership::parse(name), Some(option.into()));
        }
        assert_eq!(Ownership::parse("objectwriter"), None);
    }
}
