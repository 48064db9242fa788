//! Object ownership controls.

use crate::acl::Acl;
use crate::checksum::check_document;
use crate::documents::{Ownership, named, to_row};
use crate::gateway::{Gateway, RequestContext};
use crate::seams::acl_with_owner_enforced;
use engine_core::meta::BucketDocument;
use engine_node::Bucket;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// GetBucketOwnershipControls.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let kept: Option<Ownership> = gateway
        .kept(&cx, named!(request.input), BucketDocument::Ownership)
        .await?;
    let kept = kept.ok_or_else(|| {
        s3_error!(
            OwnershipControlsNotFoundError,
            "The bucket ownership controls were not found"
        )
    })?;
    let object_ownership = ObjectOwnership::from(kept.as_str().to_owned());
    let rules = vec![OwnershipControlsRule { object_ownership }];
    let ownership_controls = Some(OwnershipControls { rules });
    Ok(S3Response::new(GetBucketOwnershipControlsOutput {
        ownership_controls,
    }))
}

/// PutBucketOwnershipControls.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let [rule] = input.ownership_controls.rules.as_slice() else {
        return Err(s3_error!(
            MalformedXML,
            "Exactly one ownership rule is allowed"
        ));
    };
    let ownership = Ownership::parse(rule.object_ownership.as_str())
        .ok_or_else(|| s3_error!(MalformedXML, "Unknown ObjectOwnership"))?;
    let bucket = gateway.named(&cx, named!(input)).await?;
    let fits = |bucket: &Bucket| {
        let kept = bucket.row.documents.get(&BucketDocument::Acl);
        let kept = kept.map_or(&[][..], Vec::as_slice);
        let private = Acl::from_row(kept, bucket.row.owner) == Acl::private(bucket.row.owner);
        if ownership == Ownership::BucketOwnerEnforced && !private {
            return Err(acl_with_owner_enforced());
        }
        Ok(())
    };
    let row = Some(to_row(&ownership));
    gateway
        .keep_while(&cx, bucket, BucketDocument::Ownership, row, fits)
        .await
}

/// DeleteBucketOwnershipControls.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    let bucket = gateway.named(&cx, named!(request.input)).await?;
    gateway
        .keep(&cx, bucket, BucketDocument::Ownership, None)
        .await
}
