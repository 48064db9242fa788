//! DeleteObject.

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::conditions;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key, version_id};
use engine_core::meta::{Condition, Refusal};
use engine_node::{Bucket, EngineError};
use engine_types::{ObjectKey, VersionId};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// What a deletion did.
pub(crate) struct Deleted {
    pub(crate) version: Option<VersionId>,
    pub(crate) marker: bool,
}

impl Gateway {
    /// Deletes one key or version. Without a condition what is not there is deleted already.
    pub(crate) async fn delete_one(
        &self,
        cx: &RequestContext,
        mut bucket: Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: Condition,
    ) -> S3Result<Deleted> {
        let by = (cx.identity.writer(&bucket), cx.identity.charged_to(&bucket));
        let free = condition == Condition::default();
        for _ in 0..REJUDGED_MAX {
            let deleted = self
                .engine
                .delete(&bucket, key, version, condition.clone(), by)
                .await;
            let (version, marker) = match deleted {
                Err(EngineError::Refused(Refusal::NoSuchKey | Refusal::NoSuchVersion)) if free => {
                    (version, false)
                }
                Err(EngineError::Refused(Refusal::StaleBucket)) => {
                    bucket = self.refresh(cx, &bucket).await?;
                    // Of a DeleteObjects that has judged no key.
                    let version = version.map(|version| version.to_string());
                    let judge = cx.admitted()?.judge_by(&bucket)?;
                    judge.may_delete(key.as_str(), version.as_deref())?;
                    continue;
                }
                other => other.map_err(from_engine)?,
            };
            return Ok(Deleted { version, marker });
        }
        Err(keeps_changing())
    }
}

/// DeleteObject.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Only If-Match is built for conditional deletes"
        ));
    }
    let (key, version) = (
        object_key(&input.key)?,
        version_id(input.version_id.as_deref())?,
    );
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let condition = conditions::write(input.if_match.as_ref(), None);
    let deleted = gateway
        .delete_one(&cx, bucket, &key, version, condition)
        .await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version.map(|v| v.to_string()),
        request_charged: None,
    }))
}
