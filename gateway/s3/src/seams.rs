//! Where access control and default configuration reach into the handlers: each decision that a
//! handler needs and does not take itself.

use crate::identity::Identity;
use engine_core::meta::{BucketDocument, VersionRow};
use engine_node::{Bucket, Engine};
use engine_types::{AccountId, VersionId};
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
    ($input:expr $(, $write:ident)?) => {
        $crate::seams::AclAsked {
            canned: $input.acl.as_ref().map(|acl| acl.as_str().to_owned()),
            full_control: $input.grant_full_control.clone(),
            read: $input.grant_read.clone(),
            read_acp: $input.grant_read_acp.clone(),
            write_acp: $input.grant_write_acp.clone(),
            $($write: $input.grant_write.clone(),)?
            ..Default::default()
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
#[expect(clippy::unused_async, reason = "grants by e-mail need the engine")]
pub(crate) async fn acl_for_new_object(
    _engine: &Engine,
    bucket: &Bucket,
    who: &Identity,
    asked: &AclAsked,
) -> S3Result<NewObjectAcl> {
    let asks = AclAsked { canned: None, ..asked.clone() } != AclAsked::default();
    if asks || asked.canned.as_deref().is_some_and(|canned| canned != "private") {
        return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
    }
    Ok(NewObjectAcl { owner: who.writer(bucket), acl: Vec::new() })
}

/// Documents a new bucket is born with, beside its location.
#[expect(clippy::unused_async, reason = "grants by e-mail need the engine")]
pub(crate) async fn documents_for_new_bucket(
    _engine: &Engine,
    _who: &Identity,
    asked: &AclAsked,
    ownership: Option<&str>,
) -> S3Result<Vec<(BucketDocument, Vec<u8>)>> {
    let asks = AclAsked { canned: None, ..asked.clone() } != AclAsked::default();
    if asks || asked.canned.as_deref().is_some_and(|canned| canned != "private") {
        return Err(s3_error!(NotImplemented, "ACLs on CreateBucket are not built yet"));
    }
    if ownership.is_some_and(|ownership| ownership != "BucketOwnerEnforced") {
        return Err(s3_error!(NotImplemented, "Object ownership is not built yet"));
    }
    Ok(Vec::new())
}

/// What a bucket encrypts with where the request says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DefaultEncryption {
    /// `AES256` or `aws:kms`.
    pub(crate) algorithm: String,
    pub(crate) kms_key: Option<String>,
    pub(crate) bucket_key: bool,
}

/// The bucket's default encryption.
pub(crate) fn default_encryption(_bucket: &Bucket) -> S3Result<Option<DefaultEncryption>> {
    Ok(None)
}

/// May `who` read this version, as source of a copy? (The access check judged the destination.)
pub(crate) fn check_copy_source(who: &Identity, bucket: &Bucket, _row: &VersionRow) -> S3Result<()> {
    if who.account() == Some(bucket.row.owner) { Ok(()) } else { Err(s3_error!(AccessDenied)) }
}

/// May `who` delete this key of a DeleteObjects? (The access check judged the bucket.)
pub(crate) fn check_delete(
    _who: &Identity,
    _bucket: &Bucket,
    _key: &str,
    _version: Option<VersionId>,
) -> S3Result<()> {
    Ok(())
}
