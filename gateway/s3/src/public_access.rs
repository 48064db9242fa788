//! Public access block of a bucket.

use crate::checksum::check_document;
use crate::documents::{self, named, to_row};
use crate::error::custom;
use crate::gateway::{Gateway, RequestContext};
use engine_core::meta::BucketDocument;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

/// GetPublicAccessBlock.
pub(crate) async fn get(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let kept: Option<documents::PublicAccessBlock> = gateway
        .kept(
            &cx,
            named!(request.input),
            BucketDocument::PublicAccessBlock,
        )
        .await?;
    let kept = kept.ok_or_else(|| {
        custom(
            "NoSuchPublicAccessBlockConfiguration",
            StatusCode::NOT_FOUND,
            "The public access block configuration was not found",
        )
    })?;
    let public_access_block_configuration = Some(PublicAccessBlockConfiguration {
        block_public_acls: Some(kept.block_public_acls),
        ignore_public_acls: Some(kept.ignore_public_acls),
        block_public_policy: Some(kept.block_public_policy),
        restrict_public_buckets: Some(kept.restrict_public_buckets),
    });
    Ok(S3Response::new(GetPublicAccessBlockOutput {
        public_access_block_configuration,
    }))
}

/// PutPublicAccessBlock.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let asked = input.public_access_block_configuration;
    let block = documents::PublicAccessBlock {
        block_public_acls: asked.block_public_acls.unwrap_or(false),
        ignore_public_acls: asked.ignore_public_acls.unwrap_or(false),
        block_public_policy: asked.block_public_policy.unwrap_or(false),
        restrict_public_buckets: asked.restrict_public_buckets.unwrap_or(false),
    };
    let bucket = gateway.named(&cx, named!(input)).await?;
    let row = Some(to_row(&block));
    gateway
        .keep(&cx, bucket, BucketDocument::PublicAccessBlock, row)
        .await
}

/// DeletePublicAccessBlock.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    let bucket = gateway.named(&cx, named!(request.input)).await?;
    gateway
        .keep(&cx, bucket, BucketDocument::PublicAccessBlock, None)
        .await
}
