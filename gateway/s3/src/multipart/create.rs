//! CreateMultipartUpload.

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::attributes::{attributes_asked, refuse_object_lock};
use crate::checksum;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key};
use crate::sse::{context, set_sse, sse_asked};
use crate::xml;
use engine_core::meta::Refusal;
use engine_node::EngineError;
use engine_types::{ChecksumAlgorithm as Algorithm, ChecksumType as Kind};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// Algorithm and type of an upload's checksum, as S3 lets them go together.
fn checksum_of(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Option<(Algorithm, Kind)>> {
    let Some(algorithm) = algorithm else {
        return if kind.is_some() {
            Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            ))
        } else {
            Ok(None)
        };
    };
    let algorithm = checksum::parse_name(algorithm)?;
    let kind = match kind {
        None if algorithm == Algorithm::Crc64Nvme => Kind::FullObject,
        None | Some("COMPOSITE") => Kind::Composite,
        Some("FULL_OBJECT") => Kind::FullObject,
        Some(_) => {
            return Err(s3_error!(
                InvalidRequest,
                "Value for x-amz-checksum-type header is invalid."
            ));
        }
    };
    let together = match algorithm {
        Algorithm::Crc32 | Algorithm::Crc32c => true,
        Algorithm::Crc64Nvme => kind == Kind::FullObject,
        Algorithm::Sha1 | Algorithm::Sha256 => kind == Kind::Composite,
    };
    if together {
        return Ok(Some((algorithm, kind)));
    }
    Err(s3_error!(
        InvalidRequest,
        "The {} checksum type cannot be used with the {} checksum algorithm.",
        checksum::kind(kind).as_str(),
        checksum::name(algorithm).to_ascii_lowercase()
    ))
}

/// CreateMultipartUpload.
pub(crate) async fn create(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    refuse_object_lock!(input);
    let key = object_key(&input.key)?;
    let algorithm = input
        .checksum_algorithm
        .as_ref()
        .map(ChecksumAlgorithm::as_str);
    let checksum = checksum_of(
        algorithm,
        input.checksum_type.as_ref().map(ChecksumType::as_str),
    )?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let (sse_asked, asked) = (sse_asked!(input), attributes_asked!(input));
    let by = cx.identity.writer(&bucket);
    let name = gateway.owner(by).await?.display_name.unwrap_or_default();
    let mut begun = None;
    for _ in 0..REJUDGED_MAX {
        let sse = gateway.sse_for_write(&cx, &bucket, &sse_asked).await?;
        let attributes = gateway
            .attributes(&cx, &bucket, &asked, sse.encryption.clone())
            .await?;
        let initiator = (by, name.clone());
        let customer_key = sse.customer_key.clone();
        let created = gateway
            .engine
            .create_upload(&bucket, &key, attributes, initiator, checksum, customer_key)
            .await;
        match created {
            Err(EngineError::Refused(Refusal::StaleBucket)) => {
                bucket = gateway.refresh(&cx, &bucket).await?;
            }
            Err(error) => return Err(from_engine(error)),
            Ok(upload) => {
                begun = Some((upload, sse));
                break;
            }
        }
    }
    let (upload, sse) = begun.ok_or_else(keeps_changing)?;
    let mut output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.to_string()),
        ..CreateMultipartUploadOutput::default()
    };
    if let Some((algorithm, kind)) = checksum {
        output.checksum_algorithm = Some(ChecksumAlgorithm::from_static(checksum::name(algorithm)));
        output.checksum_type = Some(checksum::kind(kind));
    }
    set_sse!(output, &sse.encryption);
    output.ssekms_encryption_context = context(&sse.encryption);
    xml::write(&cx.state, &output)?;
    output.key = None;
    Ok(S3Response::new(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_types_that_go_together() {
        use Algorithm::{Crc32, Crc64Nvme, Sha256};
        for (algorithm, kind, expected) in [
            (None, None, Some(None)),
            (Some("CRC32"), None, Some(Some((Crc32, Kind::Composite)))),
            (
                Some("CRC32"),
                Some("FULL_OBJECT"),
                Some(Some((Crc32, Kind::FullObject))),
            ),
            (
                Some("CRC64NVME"),
                None,
                Some(Some((Crc64Nvme, Kind::FullObject))),
            ),
            (Some("CRC64NVME"), Some("COMPOSITE"), None),
            (Some("SHA256"), None, Some(Some((Sha256, Kind::Composite)))),
            (Some("SHA256"), Some("FULL_OBJECT"), None),
            (Some("MD4"), None, None),
            (Some("CRC32"), Some("HALF"), None),
            (None, Some("FULL_OBJECT"), None),
        ] {
            assert_eq!(
                checksum_of(algorithm, kind).ok(),
                expected,
                "{algorithm:?} {kind:?}"
            );
        }
    }
}
