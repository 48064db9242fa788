//! Get and set access control lists of buckets and objects.

use crate::acl::{
    Acl, AclRequest, asks_nothing_new, check_public, from_policy, grants_dto, lists_are_off,
    owner_dto, requested,
};
use crate::checksum::check_document;
use crate::documents::{Ownership, named, ownership, public_access_block};
use crate::gateway::{Gateway, RequestContext, fresh, object_key, version_id};
use crate::seams::acl_asked;
use engine_core::meta::BucketDocument;
use engine_node::Bucket;
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
    let Some(acl) = new_list(gateway, &bucket, owner, &asked, input.access_control_policy).await?
    else {
        return Ok(S3Response::new(PutBucketAclOutput::default()));
    };
    let row = acl.to_row(owner);
    let row = (!row.is_empty()).then_some(row);
    gateway.keep(bucket, BucketDocument::Acl, row).await
}

/// The list a request sets; `None`: lists are off and it asks for what is the case.
async fn new_list(
    gateway: &Gateway,
    bucket: &Bucket,
    owner: AccountId,
    asked: &AclRequest,
    policy: Option<AccessControlPolicy>,
) -> S3Result<Option<Acl>> {
    let engine = &gateway.engine;
    let acl = match (asked.is_empty(), policy) {
        (true, None) => {
            return Err(s3_error!(
                MissingSecurityHeader,
                "Your request was missing a required header"
            ));
        }
        (false, Some(_)) => {
            return Err(s3_error!(
                UnexpectedContent,
                "This request does not support content"
            ));
        }
        (true, Some(policy)) => from_policy(engine, policy, owner).await?,
        (false, None) => requested(engine, asked, owner, bucket.row.owner)
            .await?
            .unwrap_or_default(),
    };
    if ownership(&bucket.row)? == Ownership::BucketOwnerEnforced {
        let same = acl == Acl::private(bucket.row.owner) && asks_nothing_new(asked);
        return if same { Ok(None) } else { Err(lists_are_off()) };
    }
    check_public(&acl, public_access_block(&bucket.row)?)?;
    Ok(Some(acl))
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
        .find(&mut bucket, &key, version, false)
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
    let row = gateway
        .find(&mut bucket, &key, version, false)
        .await?
        .found
        .row;
    let owner = row.attributes.owner;
    if asked.canned.as_deref() == Some("log-delivery-write") {
        return Err(s3_error!(
            InvalidArgument,
            "log-delivery-write is for buckets"
        ));
    }
    let Some(acl) = new_list(gateway, &bucket, owner, &asked, input.access_control_policy).await?
    else {
        return Ok(S3Response::new(PutObjectAclOutput::default()));
    };
    // The version that was looked at, lest the list of one owner land on the object of another.
    let (at, list) = (Some(row.version), acl.to_row(owner));
    fresh!(
        gateway,
        bucket,
        gateway
            .engine
            .set_acl(&bucket, &key, at, list.clone())
            .await
    )?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
