//! Multipart uploads, in the order of their life: create, parts, complete or abort. Lists of them:
//! `multipart_list`; parts from other objects: `part_copy`.

mod complete;
mod create;
mod part;

pub(crate) use complete::{all_chosen, complete};
pub(crate) use create::create;
pub(crate) use part::{PartPlace, upload_part};

use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, fresh, object_key};
use engine_core::meta::Refusal;
use engine_node::{EngineError, PART_BYTES_MAX, PARTS_MAX};
use engine_types::UploadId;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// An upload's id; malformed is as good as unknown.
pub(crate) fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse()
        .map_err(|_malformed| from_engine(EngineError::Refused(Refusal::NoSuchUpload)))
}

/// 1-10,000.
pub(crate) fn part_number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number @ 1..=PARTS_MAX) => Ok(number),
        _ => Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive"
        )),
    }
}

/// AbortMultipartUpload.
pub(crate) async fn abort(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    if input.if_match_initiated_time.is_some() {
        return Err(s3_error!(
            NotImplemented,
            "Conditional aborts are not built"
        ));
    }
    let (key, upload) = (object_key(&input.key)?, upload_id(&input.upload_id)?);
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    fresh!(
        gateway,
        &cx,
        bucket,
        gateway.engine.abort(&bucket, &key, upload).await
    )?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

const _: () = assert!(
    PART_BYTES_MAX <= i64::MAX as u64,
    "lengths are signed in S3's model"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_at_the_limits_and_one_past_them() {
        for (number, good) in [
            (0, false),
            (1, true),
            (10_000, true),
            (10_001, false),
            (-1, false),
        ] {
            assert_eq!(part_number(number).is_ok(), good, "{number}");
        }
    }
}
