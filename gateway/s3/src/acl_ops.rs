//! Get and set access control lists of buckets and objects.

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::acl::{
    Acl, AclRequest, asks_nothing_new, check_public, from_policy, grants_dto, lists_are_off,
    owner_dto, requested,
};
use crate::checksum::check_document;
use crate::documents::{Ownership, named, ownership, public_access_block};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key, version_id};
use crate::seams::acl_asked;
use engine_core::meta::{BucketDocument, Refusal};
use engine_node::{Bucket, EngineError};
use engine_types::AccountId;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// GetBucketAcl.
pub(crate) async fn get_bucket(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let input = request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let owner = bucket.row.owner;
    let acl = bucket_acl(&bucket)?;
    Ok(S3Response::new(GetBucketAclOutput {
        owner: Some(owner_dto(&gateway.engine, owner).await?),
        grants: Some(grants_dto(&gateway.engine, &acl).await?),
    }))
}

/// The list in force: where lists are off, the owner's alone.
pub(crate) fn bucket_acl(bucket: &Bucket) -> S3Result<Acl> {
    let owner = bucket.row.owner;
    if ownership(&bucket.row)? == Ownership::BucketOwnerEnforced {
        return Ok(Acl::private(owner));
    }
    let kept = bucket.row.documents.get(&BucketDocument::Acl);
    Ok(Acl::from_row(kept.map_or(&[][..], Vec::as_slice), owner))
}

/// PutBucketAcl.
pub(crate) async fn put_bucket(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let asked = AclRequest::from(&acl_asked!(input, grant_write));
    let bucket = gateway.named(&cx, named!(input)).await?;
    let owner = bucket.row.owner;
    let acl = new_list(gateway, &bucket, owner, &asked, input.access_control_policy).await?;
    if !takes(&bucket, &acl, &asked)? {
        return Ok(S3Response::new(PutBucketAclOutput::default()));
    }
    let row = acl.to_row(owner);
    let row = (!row.is_empty()).then_some(row);
    let still = |bucket: &Bucket| takes(bucket, &acl, &asked).map(drop);
    gateway
        .keep_while(&cx, bucket, BucketDocument::Acl, row, still)
        .await
}

/// The list a request sets.
async fn new_list(
    gateway: &Gateway,
    bucket: &Bucket,
    owner: AccountId,
    asked: &AclRequest,
    policy: Option<AccessControlPolicy>,
) -> S3Result<Acl> {
    let engine = &gateway.engine;
    match (asked.is_empty(), policy) {
        (true, None) => Err(s3_error!(
            MissingSecurityHeader,
            "Your request was missing a required header"
        )),
        (false, Some(_)) => Err(s3_error!(
            UnexpectedContent,
            "This request does not support content"
        )),
        (true, Some(policy)) => from_policy(engine, policy, owner).await,
        (false, None) => {
            let acl = requested(engine, asked, owner, bucket.row.owner).await?;
            Ok(acl.unwrap_or_default())
        }
    }
}

/// Whether the bucket, as it is configured, takes such a list: `false`, lists are off and it asks for
/// what is the case.
fn takes(bucket: &Bucket, acl: &Acl, asked: &AclRequest) -> S3Result<bool> {
    if ownership(&bucket.row)? == Ownership::BucketOwnerEnforced {
        let same = *acl == Acl::private(bucket.row.owner) && asks_nothing_new(asked);
        return if same {
            Ok(false)
        } else {
            Err(lists_are_off())
        };
    }
    check_public(acl, public_access_block(&bucket.row)?)?;
    Ok(true)
}

/// GetObjectAcl.
pub(crate) async fn get_object(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = request.input;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let (key, version) = (
        object_key(&input.key)?,
        version_id(input.version_id.as_deref())?,
    );
    let row = gateway
        .find(&cx, &mut bucket, &key, version, false)
        .await?
        .found
        .row;
    let (owner, acl) = if ownership(&bucket.row)? == Ownership::BucketOwnerEnforced {
        (bucket.row.owner, Acl::private(bucket.row.owner))
    } else {
        let owner = row.attributes.owner;
        (owner, Acl::from_row(&row.attributes.acl, owner))
    };
    Ok(S3Response::new(GetObjectAclOutput {
        owner: Some(owner_dto(&gateway.engine, owner).await?),
        grants: Some(grants_dto(&gateway.engine, &acl).await?),
        request_charged: None,
    }))
}

/// PutObjectAcl.
pub(crate) async fn put_object(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let asked = AclRequest::from(&acl_asked!(input, grant_write));
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let (key, version) = (
        object_key(&input.key)?,
        version_id(input.version_id.as_deref())?,
    );
    // The list of one owner must not land on the object of another: what was judged is what is changed,
    // or else is judged again.
    for _ in 0..REJUDGED_MAX {
        let found = gateway.find(&cx, &mut bucket, &key, version, false).await?;
        if asked.canned.as_deref() == Some("log-delivery-write") {
            return Err(s3_error!(
                InvalidArgument,
                "log-delivery-write is for buckets"
            ));
        }
        let of = &found.found.row.attributes;
        let policy = input.access_control_policy.clone();
        let acl = new_list(gateway, &bucket, of.owner, &asked, policy).await?;
        if !takes(&bucket, &acl, &asked)? {
            return Ok(S3Response::new(PutObjectAclOutput::default()));
        }
        let (rests_on, list) = (cx.admitted()?.rests_on(&bucket, of)?, acl.to_row(of.owner));
        match gateway.engine.set_acl(&found, rests_on, list).await {
            Err(EngineError::Refused(Refusal::Changed | Refusal::StaleBucket)) => {}
            Err(error) => return Err(from_engine(error)),
            Ok(_row) => return Ok(S3Response::new(PutObjectAclOutput::default())),
        }
    }
    Err(keeps_changing())
}
