//! Where access control and default configuration reach into the handlers: each decision that a
//! handler needs and does not take itself.

use crate::acl::{Acl, AclRequest, check_public, for_new_object, requested};
use crate::documents::{
    EncryptionDocument, Ownership, PublicAccessBlock, document, ownership, public_access_block,
    to_row,
};
use crate::error::custom;
use crate::gateway::{Gateway, RequestContext};
use crate::identity::Identity;
use engine_core::meta::BucketDocument;
use engine_node::{Bucket, Engine};
use engine_types::AccountId;
use http::StatusCode;
use s3s::{S3Result, s3_error};

/// Canned ACL and grants as a request asked for them, from headers or form fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AclAsked {
    pub(crate) canned: Option<String>,
    pub(crate) full_control: Option<String>,
    pub(crate) read: Option<String>,
    pub(crate) read_acp: Option<String>,
    pub(crate) write: Option<String>,
    pub(crate) write_acp: Option<String>,
}

/// Fills an [`AclAsked`] from a DTO of s3s.
macro_rules! acl_asked {
    (@write $input:expr) => { None };
    (@write $input:expr, $write:ident) => { $input.$write.clone() };
    ($input:expr $(, $write:ident)?) => {
        $crate::seams::AclAsked {
            canned: $input.acl.as_ref().map(|acl| acl.as_str().to_owned()),
            full_control: $input.grant_full_control.clone(),
            read: $input.grant_read.clone(),
            read_acp: $input.grant_read_acp.clone(),
            write_acp: $input.grant_write_acp.clone(),
            write: $crate::seams::acl_asked!(@write $input $(, $write)?),
        }
    };
}
pub(crate) use acl_asked;

/// Owner and ACL of a new object version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewObjectAcl {
    pub(crate) owner: AccountId,
    /// Empty: private.
    pub(crate) acl: Vec<u8>,
}

/// Owner and ACL of an object about to be written.
pub(crate) async fn acl_for_new_object(
    engine: &Engine,
    bucket: &Bucket,
    who: &Identity,
    asked: &AclAsked,
) -> S3Result<NewObjectAcl> {
    let rules = (ownership(&bucket.row)?, public_access_block(&bucket.row)?);
    let (owner, acl) = for_new_object(engine, bucket, who, &asked.into(), rules).await?;
    Ok(NewObjectAcl {
        owner,
        acl: acl.to_row(owner),
    })
}

/// Documents a new bucket of `owner` is born with, beside its location. `asked_ownership`:
/// `x-amz-object-ownership`.
pub(crate) async fn documents_for_new_bucket(
    gateway: &Gateway,
    owner: AccountId,
    asked: &AclAsked,
    asked_ownership: Option<&str>,
) -> S3Result<Vec<(BucketDocument, Vec<u8>)>> {
    let default = Ownership::from(gateway.options.default_object_ownership);
    let ownership = match asked_ownership {
        None => default,
        Some(text) => Ownership::parse(text).ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "Invalid x-amz-object-ownership header: {text}"
            )
        })?,
    };
    let request = AclRequest::from(asked);
    let acl = requested(&gateway.engine, &request, owner, owner).await?;
    let acl = acl.unwrap_or_else(|| Acl::private(owner));
    let mut documents = Vec::new();
    if ownership == Ownership::BucketOwnerEnforced && acl != Acl::private(owner) {
        return Err(acl_with_owner_enforced());
    }
    if gateway.options.block_public_access_default {
        check_public(&acl, PublicAccessBlock::ALL).map_err(|_denied| {
            custom(
                "InvalidBucketAclWithBlockPublicAccessError",
                StatusCode::BAD_REQUEST,
                "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
            )
        })?;
        documents.push((
            BucketDocument::PublicAccessBlock,
            to_row(&PublicAccessBlock::ALL),
        ));
    }
    // A bucket without controls is an ObjectWriter's: nothing need be kept to say so.
    if asked_ownership.is_some() || ownership != Ownership::ObjectWriter {
        documents.push((BucketDocument::Ownership, to_row(&ownership)));
    }
    let row = acl.to_row(owner);
    if !row.is_empty() {
        documents.push((BucketDocument::Acl, row));
    }
    Ok(documents)
}

/// A bucket whose owner owns everything cannot have a list of its own, in either order.
pub(crate) fn acl_with_owner_enforced() -> s3s::S3Error {
    s3_error!(
        InvalidBucketAclWithObjectOwnership,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
    )
}

/// What a bucket encrypts with where the request says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DefaultEncryption {
    /// `AES256` or `aws:kms`.
    pub(crate) algorithm: String,
    pub(crate) kms_key: Option<String>,
    pub(crate) bucket_key: bool,
}

/// The bucket's default encryption, if it was configured.
pub(crate) fn default_encryption(bucket: &Bucket) -> S3Result<Option<DefaultEncryption>> {
    let kept = document::<EncryptionDocument>(&bucket.row, BucketDocument::Encryption)?;
    Ok(kept.map(|kept| DefaultEncryption {
        algorithm: kept.algorithm,
        kms_key: kept.kms_key,
        bucket_key: kept.bucket_key.unwrap_or(false),
    }))
}

/// May the request delete this key of a DeleteObjects? (The access check judged only the bucket.)
///
/// # Errors
/// `AccessDenied`, for the key's own line of the answer.
pub(crate) fn check_delete(cx: &RequestContext, key: &str, version: Option<&str>) -> S3Result<()> {
    #[cfg(sabotage)]
    if engine_types::sabotage("skip-delete-many-check") {
        return Ok(());
    }
    cx.admitted()?.judge().may_delete(key, version)
}
