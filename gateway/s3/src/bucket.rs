//! Buckets: make, find, list, delete.

use crate::checksum::check_document;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext};
use crate::seams::{acl_asked, documents_for_new_bucket};
use crate::token;
use crate::translate::time;
use engine_core::meta::{BucketDocument, Refusal};
use engine_node::{EngineError, NewBucket};
use engine_types::{AccountId, BucketName};
use http::{HeaderMap, HeaderValue};
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// Most buckets a page of ListBuckets holds (S3: 10,000).
pub(crate) const BUCKETS_PAGE_MAX: u32 = 10_000;
/// The region whose buckets have no location constraint.
const CLASSIC_REGION: &str = "us-east-1";

fn signer(cx: &RequestContext) -> S3Result<AccountId> {
    cx.identity.account().ok_or_else(|| s3_error!(AccessDenied))
}

/// Buckets of a page, of which `max-buckets` asks for so many.
fn page_limit(asked: Option<i32>) -> S3Result<u32> {
    match asked.map(u32::try_from) {
        None => Ok(BUCKETS_PAGE_MAX),
        Some(Ok(limit @ 1..=BUCKETS_PAGE_MAX)) => Ok(limit),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "Argument max-buckets must be an integer between 1 and 10000"
        )),
    }
}

/// ListBuckets: the signer's own.
pub(crate) async fn list(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let (input, owner) = (request.input, signer(&cx)?);
    let limit = page_limit(input.max_buckets)?;
    let after = input
        .continuation_token
        .as_deref()
        .map(|t| token::decode(0, t))
        .transpose()?;
    let elsewhere = input
        .bucket_region
        .as_deref()
        .is_some_and(|r| r != gateway.options.region);
    let prefix = input.prefix.clone().unwrap_or_default();
    let (found, more) = if elsewhere {
        (Vec::new(), false)
    } else {
        let page = gateway
            .engine
            .list_buckets(owner, &prefix, after.as_deref(), limit)
            .await;
        page.map_err(from_engine)?
    };
    let last = found
        .last()
        .filter(|_| more)
        .map(|(name, _)| token::encode(0, name.as_str()));
    let buckets = found.into_iter().map(|(name, row)| Bucket {
        name: Some(name.to_string()),
        creation_date: Some(time(row.created)),
        bucket_region: Some(gateway.options.region.clone()),
        ..Bucket::default()
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: last,
        owner: Some(gateway.owner(owner).await?),
        prefix: input.prefix,
    }))
}

/// CreateBucket.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let (input, owner) = (request.input, signer(&cx)?);
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(s3_error!(NotImplemented, "Object lock is not built yet"));
    }
    let Ok(name) = BucketName::parse(&input.bucket) else {
        return Err(s3_error!(
            InvalidBucketName,
            "The specified bucket is not valid."
        ));
    };
    let configuration = input.create_bucket_configuration.as_ref();
    let beyond = configuration.is_some_and(|c| c.bucket.is_some() || c.location.is_some());
    if beyond
        || configuration
            .and_then(|c| c.tags.as_ref())
            .is_some_and(|t| !t.is_empty())
    {
        return Err(s3_error!(
            NotImplemented,
            "Only LocationConstraint is built"
        ));
    }
    let asked = configuration
        .and_then(|c| c.location_constraint.as_ref())
        .map(BucketLocationConstraint::as_str);
    let location = location_of(asked, &gateway.options.region)?;
    let acl = acl_asked!(input, grant_write);
    let ownership = input
        .object_ownership
        .as_ref()
        .map(s3s::dto::ObjectOwnership::as_str);
    let mut documents = documents_for_new_bucket(gateway, owner, &acl, ownership).await?;
    documents.push((BucketDocument::Location, location.into_bytes()));
    let made = gateway
        .engine
        .create_bucket(NewBucket {
            name,
            owner,
            documents,
        })
        .await;
    match made {
        Ok(_) => {}
        // As AWS does in its first region, where scripts rely on it; nothing is changed.
        Err(EngineError::Refused(Refusal::BucketExists { owned: true }))
            if gateway.options.region == CLASSIC_REGION => {}
        Err(error) => return Err(from_engine(error)),
    }
    Ok(S3Response::new(CreateBucketOutput {
        location: Some(format!("/{}", input.bucket)),
        bucket_arn: None,
    }))
}

/// The location a bucket gets: only the region we are has one to give.
fn location_of(asked: Option<&str>, region: &str) -> S3Result<String> {
    match asked {
        None | Some("") => Ok(region.to_owned()),
        Some(asked) if asked == region || (asked == "EU" && region == "eu-west-1") => {
            Ok(asked.to_owned())
        }
        Some(_) => Err(s3_error!(
            InvalidLocationConstraint,
            "The specified location-constraint is not valid"
        )),
    }
}

/// HeadBucket.
pub(crate) async fn head(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let input = request.input;
    gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let mut headers = HeaderMap::new();
    if let Ok(region) = HeaderValue::from_str(&gateway.options.region) {
        headers.insert("x-amz-bucket-region", region);
    }
    Ok(S3Response::with_headers(
        HeadBucketOutput::default(),
        headers,
    ))
}

/// DeleteBucket.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let input = request.input;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    crate::gateway::fresh!(
        gateway,
        &cx,
        bucket,
        gateway.engine.delete_bucket(&bucket).await
    )?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// GetBucketLocation.
pub(crate) async fn location(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let input = request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let stored = bucket.row.documents.get(&BucketDocument::Location);
    let stored = stored.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let location = stored.unwrap_or_else(|| gateway.options.region.clone());
    Ok(S3Response::new(GetBucketLocationOutput {
        location_constraint: (location != CLASSIC_REGION)
            .then(|| BucketLocationConstraint::from(location)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_buckets_is_at_most_so_long() {
        let most = i32::try_from(BUCKETS_PAGE_MAX).expect("fits");
        for (asked, due) in [
            (None, Some(BUCKETS_PAGE_MAX)),
            (Some(-1), None),
            (Some(0), None),
            (Some(1), Some(1)),
            (Some(most), Some(BUCKETS_PAGE_MAX)),
            (Some(most + 1), None),
        ] {
            assert_eq!(page_limit(asked).ok(), due, "{asked:?}");
        }
    }

    #[test]
    fn locations() {
        for (asked, region, expected) in [
            (None, "us-east-1", Some("us-east-1")),
            (Some(""), "here", Some("here")),
            (Some("here"), "here", Some("here")),
            (Some("EU"), "eu-west-1", Some("EU")),
            (Some("EU"), "here", None),
            (Some("eu-west-1"), "us-east-1", None),
        ] {
            assert_eq!(
                location_of(asked, region).ok().as_deref(),
                expected,
                "{asked:?}"
            );
        }
    }
}
