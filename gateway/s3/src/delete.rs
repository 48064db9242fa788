//! DeleteObject.

use crate::conditions;
use crate::gateway::{Gateway, RequestContext, fresh, object_key, version_id};
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
        let deleted = fresh!(
            self,
            bucket,
            match self
                .engine
                .delete(&bucket, key, version, condition.clone(), by)
                .await
            {
                Err(EngineError::Refused(Refusal::NoSuchKey | Refusal::NoSuchVersion)) if free => {
                    Ok((version, false))
                }
                other => other,
            }
        );
        deleted.map(|(version, marker)| Deleted { version, marker })
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
