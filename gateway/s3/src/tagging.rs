//! Tags of objects and buckets.

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::checksum::check_document;
use crate::documents::{named, to_row};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key, version_id};
use crate::translate::{form_decode, read_version};
use engine_core::meta::{BucketDocument, Refusal};
use engine_node::{Bucket, EngineError};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

/// Most tags of an object.
pub(crate) const OBJECT_TAGS_MAX: usize = 10;
/// Most tags of a bucket.
pub(crate) const BUCKET_TAGS_MAX: usize = 50;
/// Longest tag key, characters.
pub(crate) const TAG_KEY_CHARS_MAX: usize = 128;
/// Longest tag value, characters.
pub(crate) const TAG_VALUE_CHARS_MAX: usize = 256;

type Tags = Vec<(String, String)>;

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidTag, message)
}

/// Checks tags; `most` of them. Tags are a set: kept and answered by key.
fn check(mut tags: Tags, most: usize) -> S3Result<Tags> {
    if tags.len() > most {
        let whose = if most == OBJECT_TAGS_MAX {
            "Object tags"
        } else {
            "Bucket tag count"
        };
        let message = format!("{whose} cannot be greater than {most}");
        return Err(crate::error::custom(
            "BadRequest",
            http::StatusCode::BAD_REQUEST,
            message,
        ));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return Err(invalid("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(invalid("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(invalid("System tags cannot be added/updated by requester"));
        }
        if tags.iter().take(index).any(|(earlier, _)| earlier == key) {
            return Err(invalid("Cannot provide multiple Tags with the same key"));
        }
    }
    tags.sort_unstable();
    Ok(tags)
}

/// The tags that `x-amz-tagging` spells, `a=1&b=2`, form-encoded; `None`: it spells none. What is judged
/// and what is kept are read by this.
pub(crate) fn header_pairs(text: &str) -> Option<Tags> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((form_decode(key)?, form_decode(value)?))
        })
        .collect()
}

/// `x-amz-tagging`.
pub(crate) fn parse_header(text: &str) -> S3Result<Tags> {
    let tags = header_pairs(text).ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query \
             parameters without tag name duplicates."
        )
    })?;
    check(tags, OBJECT_TAGS_MAX)
}

pub(crate) fn from_set(set: TagSet, most: usize) -> S3Result<Tags> {
    let tags = set
        .into_iter()
        .map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default()));
    check(tags.collect(), most)
}

fn to_set(tags: Tags) -> TagSet {
    tags.into_iter()
        .map(|(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        })
        .collect()
}

/// GetObjectTagging.
pub(crate) async fn get_object(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let (key, version) = (
        object_key(&input.key)?,
        version_id(input.version_id.as_deref())?,
    );
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let found = gateway.find(&cx, &mut bucket, &key, version, false).await?;
    let row = found.found.row;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: to_set(row.attributes.tags),
        version_id: read_version(&bucket, row.version),
    }))
}

/// Gives an object its tags: the version that was judged, or one judged again.
async fn replace(
    gateway: &Gateway,
    cx: &RequestContext,
    mut bucket: Bucket,
    (key, version): (&str, Option<&str>),
    tags: Tags,
) -> S3Result<Option<String>> {
    let (key, version) = (object_key(key)?, version_id(version)?);
    for _ in 0..REJUDGED_MAX {
        let found = gateway.find(cx, &mut bucket, &key, version, false).await?;
        let (admission, of) = (cx.admitted()?, &found.found.row.attributes);
        admission.permits_tags(&bucket, of, &tags)?;
        let rests_on = admission.rests_on(&bucket, of)?;
        match gateway
            .engine
            .set_tags(&found, rests_on, tags.clone())
            .await
        {
            Err(EngineError::Refused(Refusal::Changed | Refusal::StaleBucket)) => {}
            Err(error) => return Err(from_engine(error)),
            Ok(row) => return Ok(read_version(&bucket, row.version)),
        }
    }
    Err(keeps_changing())
}

/// PutObjectTagging.
pub(crate) async fn put_object(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let tags = from_set(input.tagging.tag_set, OBJECT_TAGS_MAX)?;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let which = (input.key.as_str(), input.version_id.as_deref());
    let version_id = replace(gateway, &cx, bucket, which, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// DeleteObjectTagging.
pub(crate) async fn delete_object(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let which = (input.key.as_str(), input.version_id.as_deref());
    let version_id = replace(gateway, &cx, bucket, which, Vec::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// GetBucketTagging.
pub(crate) async fn get_bucket(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let kept: Option<Tags> = gateway
        .kept(&cx, named!(request.input), BucketDocument::Tagging)
        .await?;
    let tags = kept.ok_or_else(|| s3_error!(NoSuchTagSet, "The TagSet does not exist"))?;
    Ok(S3Response::new(GetBucketTaggingOutput {
        tag_set: to_set(tags),
    }))
}

/// PutBucketTagging.
pub(crate) async fn put_bucket(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    check_document(&cx.state, &request.headers, false)?;
    let input = request.input;
    let tags = from_set(input.tagging.tag_set, BUCKET_TAGS_MAX)?;
    let bucket = gateway.named(&cx, named!(input)).await?;
    let row = Some(to_row(&tags));
    gateway
        .keep(&cx, bucket, BucketDocument::Tagging, row)
        .await
}

/// DeleteBucketTagging.
pub(crate) async fn delete_bucket(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let bucket = gateway.named(&cx, named!(request.input)).await?;
    gateway
        .keep(&cx, bucket, BucketDocument::Tagging, None)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(count: usize) -> Tags {
        (0..count)
            .map(|n| (format!("k{n}"), String::new()))
            .collect()
    }

    fn one(key: &str, value: &str) -> Tags {
        vec![(key.into(), value.into())]
    }

    #[test]
    fn limits_at_and_one_past() {
        let (key, value) = (
            "ü".repeat(TAG_KEY_CHARS_MAX),
            "ü".repeat(TAG_VALUE_CHARS_MAX),
        );
        for (tags, most, code) in [
            (tags(OBJECT_TAGS_MAX), OBJECT_TAGS_MAX, None),
            (
                tags(OBJECT_TAGS_MAX + 1),
                OBJECT_TAGS_MAX,
                Some("BadRequest"),
            ),
            (tags(BUCKET_TAGS_MAX), BUCKET_TAGS_MAX, None),
            (
                tags(BUCKET_TAGS_MAX + 1),
                BUCKET_TAGS_MAX,
                Some("BadRequest"),
            ),
            (one(&key, &value), OBJECT_TAGS_MAX, None),
            (
                one(&format!("{key}x"), ""),
                OBJECT_TAGS_MAX,
                Some("InvalidTag"),
            ),
            (
                one("k", &format!("{value}x")),
                OBJECT_TAGS_MAX,
                Some("InvalidTag"),
            ),
            (one("", "v"), OBJECT_TAGS_MAX, Some("InvalidTag")),
            (one("aws:x", "v"), OBJECT_TAGS_MAX, Some("InvalidTag")),
            (
                [one("k", "1"), one("k", "2")].concat(),
                OBJECT_TAGS_MAX,
                Some("InvalidTag"),
            ),
        ] {
            let verdict = check(tags, most);
            assert_eq!(
                verdict
                    .err()
                    .map(|e| e.code().as_str().to_owned())
                    .as_deref(),
                code
            );
        }
    }

    #[test]
    fn the_tagging_header() {
        for (text, expected) in [
            ("", Some(vec![])),
            ("a=1&b=2", Some([one("a", "1"), one("b", "2")].concat())),
            ("a", Some(one("a", ""))),
            ("a%2Bb=c+d", Some(one("a+b", "c d"))),
            ("a=b=c", Some(one("a", "b=c"))),
            ("a=%zz", None),
            ("a=1&a=2", None),
            ("=1", None),
        ] {
            assert_eq!(parse_header(text).ok(), expected, "{text}");
        }
    }
}
