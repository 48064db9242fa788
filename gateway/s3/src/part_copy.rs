//! UploadPartCopy.

use crate::checksum::{self, set_checksum};
use crate::copy::{Source, source_asked};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext};
use crate::multipart::PartPlace;
use crate::range::copy_range;
use crate::sse::{customer_asked, set_sse, source_customer_asked};
use crate::translate::{etag, time};
use engine_core::meta::UploadPartRow;
use engine_node::{EngineError, PART_BYTES_MAX, PutBody};
use engine_types::ETag;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

async fn store(
    gateway: &Gateway,
    cx: &RequestContext,
    place: &PartPlace,
    source: Source,
    asked: Option<&str>,
) -> S3Result<UploadPartRow> {
    let size = source.row().size;
    let range = asked.map_or(Ok(0..size), |text| copy_range(text, size))?;
    let length = range.end - range.start;
    if length > PART_BYTES_MAX {
        return Err(from_engine(EngineError::TooLarge));
    }
    let stream = gateway
        .engine
        .read(source.found, range, source.key)
        .await
        .map_err(from_engine)?;
    let algorithms = place.algorithms(None)?;
    let body = PutBody {
        stream,
        length,
        algorithms: vec![algorithms.0],
        verify: Box::new(|_| Ok(())),
        customer_key: place.customer_key.clone(),
    };
    let put = place.request(cx, algorithms, body);
    gateway.engine.put_part(put).await.map_err(from_engine)
}

/// UploadPartCopy.
pub(crate) async fn copy(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = &request.input;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let which = (
        input.key.as_str(),
        input.upload_id.as_str(),
        input.part_number,
    );
    let place = gateway
        .part_place(&cx, bucket, which, &customer_asked!(input))
        .await?;
    let (from, range) = (source_asked!(input), input.copy_source_range.as_deref());
    let source = gateway.source(&cx, &place.bucket, &from).await?;
    let version = source.version();
    let part = store(gateway, &cx, &place, source, range).await?;
    let mut result = CopyPartResult {
        e_tag: Some(etag(ETag {
            md5: part.md5,
            parts: 0,
        })),
        last_modified: Some(time(part.modified)),
        ..CopyPartResult::default()
    };
    if let Some((algorithm, value)) = &part.checksum {
        set_checksum!(result, algorithm, checksum::value_text(value));
    }
    let mut output = UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: version,
        ..UploadPartCopyOutput::default()
    };
    set_sse!(output, &place.row.attributes.encryption);
    Ok(S3Response::new(output))
}
