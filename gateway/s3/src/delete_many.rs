//! DeleteObjects: up to 1,000 keys, each with its own outcome.

use crate::checksum::check_document;
use crate::conditions;
use crate::error::malformed_xml;
use crate::gateway::{Gateway, RequestContext, object_key, version_id};
use crate::seams::check_delete;
use crate::xml;
use engine_core::meta::Condition;
use engine_node::Bucket;
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// Most keys of one request.
pub(crate) const KEYS_MAX: usize = 1000;
/// Deletions of one request under way at once.
const AT_ONCE: usize = 16;

/// At least one key, at most [`KEYS_MAX`].
fn check_count(keys: usize) -> S3Result<()> {
    if (1..=KEYS_MAX).contains(&keys) {
        Ok(())
    } else {
        Err(malformed_xml())
    }
}

/// One key's deletion, as S3 reports it.
async fn delete_key(
    gateway: &Gateway,
    cx: &RequestContext,
    bucket: &Bucket,
    entry: &ObjectIdentifier,
) -> S3Result<DeletedObject> {
    if entry.size.is_some() || entry.last_modified_time.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Only ETag is built for conditional deletes"
        ));
    }
    let (key, version) = (
        object_key(&entry.key)?,
        version_id(entry.version_id.as_deref())?,
    );
    check_delete(cx, &entry.key, entry.version_id.as_deref())?;
    let condition = match &entry.e_tag {
        None => Condition::default(),
        Some(tag) if tag.value() == "*" => conditions::write(Some(&ETagCondition::Any), None),
        Some(tag) => conditions::write(Some(&ETagCondition::ETag(tag.clone())), None),
    };
    let deleted = gateway
        .delete_one(cx, bucket.clone(), &key, version, condition)
        .await?;
    let named = deleted.version.map(|v| v.to_string());
    Ok(DeletedObject {
        delete_marker: deleted.marker.then_some(true),
        delete_marker_version_id: named.filter(|_| deleted.marker),
        key: Some(entry.key.clone()),
        version_id: entry.version_id.clone(),
    })
}

fn reported(entry: &ObjectIdentifier, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(entry.key.clone()),
        message: error.message().map(str::to_owned),
        version_id: entry.version_id.clone(),
    }
}

/// DeleteObjects.
pub(crate) async fn delete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    check_document(&cx.state, &request.headers, true)?;
    let input = request.input;
    let entries = input.delete.objects;
    check_count(entries.len())?;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let (gateway, cx, bucket) = (gateway.clone(), &cx, &bucket);
    let outcomes: Vec<_> = futures::stream::iter(entries)
        .map(|entry| {
            let gateway = gateway.clone();
            async move {
                let outcome = delete_key(&gateway, cx, bucket, &entry).await;
                (entry, outcome)
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (entry, outcome) in outcomes {
        match outcome {
            Ok(done) => deleted.push(done),
            Err(error) => errors.push(reported(&entry, &error)),
        }
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let output = DeleteObjectsOutput {
        deleted: (!quiet && !deleted.is_empty()).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        request_charged: None,
    };
    xml::answer(&cx.state, &output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_at_the_limits_and_one_past_them() {
        for (keys, good) in [
            (0, false),
            (1, true),
            (KEYS_MAX, true),
            (KEYS_MAX + 1, false),
        ] {
            assert_eq!(check_count(keys).is_ok(), good, "{keys}");
        }
    }
}
