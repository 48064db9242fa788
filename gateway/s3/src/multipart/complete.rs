//! CompleteMultipartUpload.

use super::{part_number, upload_id};
use crate::checksum::{self, check_document_md5, checksum_values, set_checksum, single};
use crate::conditions;
use crate::error::{from_engine, malformed_xml};
use crate::gateway::{Gateway, RequestContext, fresh, object_key};
use crate::sse::customer_asked;
use crate::translate::{etag, written_version};
use crate::xml;
use engine_core::meta::Encryption;
use engine_node::{Bucket, ChecksumSaid, CompleteRequest, EngineError, NamedPart, PARTS_MAX};
use engine_types::ChecksumType as Kind;
use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// One part as the engine takes it.
fn chosen(part: &CompletedPart) -> S3Result<NamedPart> {
    let number = part_number(part.part_number.unwrap_or_default())?;
    let tag = part.e_tag.as_ref().ok_or_else(malformed_xml)?.value();
    let tag = tag
        .parse()
        .map_err(|_not_ours| from_engine(EngineError::InvalidPart(number)))?;
    Ok((number, Some(tag), single(&checksum_values!(part))?))
}

/// The parts of a Complete: at least one, at most 10,000.
pub(crate) fn all_chosen(upload: Option<&CompletedMultipartUpload>) -> S3Result<Vec<NamedPart>> {
    let parts = upload.and_then(|u| u.parts.as_deref()).unwrap_or_default();
    if parts.is_empty() {
        return Err(malformed_xml());
    }
    if parts.len() > usize::from(PARTS_MAX) {
        return Err(s3_error!(
            InvalidArgument,
            "You may list at most {PARTS_MAX} parts"
        ));
    }
    parts.iter().map(chosen).collect()
}

fn asked_kind(kind: Option<&ChecksumType>) -> S3Result<Option<Kind>> {
    match kind.map(ChecksumType::as_str) {
        None => Ok(None),
        Some("FULL_OBJECT") => Ok(Some(Kind::FullObject)),
        Some("COMPOSITE") => Ok(Some(Kind::Composite)),
        Some(_) => Err(s3_error!(
            InvalidRequest,
            "Value for x-amz-checksum-type header is invalid."
        )),
    }
}

/// What the request says of the object's checksum.
fn said(input: &CompleteMultipartUploadInput, headers: &HeaderMap) -> S3Result<ChecksumSaid> {
    let algorithm = headers.get("x-amz-checksum-algorithm").map(|named| {
        let named = named.to_str().unwrap_or_default();
        checksum::parse_name(named)
    });
    Ok(ChecksumSaid {
        algorithm: algorithm.transpose()?,
        kind: asked_kind(input.checksum_type.as_ref())?,
        value: single(&checksum_values!(input))?,
    })
}

/// CompleteMultipartUpload.
pub(crate) async fn complete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    check_document_md5(&cx.state, &request.headers)?;
    let location = location(&request.headers, &cx, &request.uri);
    let input = request.input;
    let (key, upload) = (object_key(&input.key)?, upload_id(&input.upload_id)?);
    let parts = all_chosen(input.multipart_upload.as_ref())?;
    let checksum = said(&input, &request.headers)?;
    let customer = customer_asked!(input).parse(gateway.carries_keys(&cx))?;
    let customer_key = customer.map(|(key, _md5)| key);
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let size = size.map_err(|_negative| from_engine(EngineError::SizeMismatch))?;
    let mut bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let condition = conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let complete = |bucket: &Bucket| CompleteRequest {
        bucket: bucket.clone(),
        key: key.clone(),
        upload,
        condition: condition.clone(),
        parts: parts.clone(),
        checksum: checksum.clone(),
        customer_key: customer_key.clone(),
        size,
    };
    let row = fresh!(
        gateway,
        &cx,
        bucket,
        gateway.engine.complete(complete(&bucket)).await
    )?;
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        e_tag: Some(etag(row.etag)),
        key: Some(input.key),
        location,
        version_id: written_version(row.version),
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some(checksum) = &row.checksum {
        set_checksum!(output, checksum.algorithm, checksum::text(checksum));
        output.checksum_type = Some(checksum::kind(checksum.kind));
    }
    set_managed_sse(&mut output, &row.attributes.encryption);
    xml::write(&cx.state, &output)?;
    output.key = None;
    Ok(S3Response::new(output))
}

/// Complete answers no customer key.
fn set_managed_sse(output: &mut CompleteMultipartUploadOutput, encryption: &Encryption) {
    match encryption {
        Encryption::Tenant | Encryption::Customer { .. } => {}
        Encryption::S3 => {
            output.server_side_encryption = Some(ServerSideEncryption::from_static(
                ServerSideEncryption::AES256,
            ));
        }
        Encryption::Kms {
            key_id, bucket_key, ..
        } => {
            output.server_side_encryption = Some(ServerSideEncryption::from_static(
                ServerSideEncryption::AWS_KMS,
            ));
            output.ssekms_key_id = Some(key_id.clone());
            output.bucket_key_enabled = bucket_key.then_some(true);
        }
    }
}

/// The object's URL as this client would write it.
fn location(headers: &HeaderMap, cx: &RequestContext, uri: &http::Uri) -> Option<String> {
    let scheme = if cx.state.secure { "https" } else { "http" };
    let host = headers.get(http::header::HOST)?.to_str().ok()?;
    Some(format!("{scheme}://{host}{}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i32, tag: Option<&str>) -> CompletedPart {
        CompletedPart {
            part_number: Some(number),
            e_tag: tag.map(|t| ETag::Strong(t.to_owned())),
            ..CompletedPart::default()
        }
    }

    fn code(parts: Vec<CompletedPart>) -> Option<String> {
        let upload = CompletedMultipartUpload { parts: Some(parts) };
        all_chosen(Some(&upload))
            .err()
            .map(|e| e.code().as_str().to_owned())
    }

    #[test]
    fn the_list_of_parts() {
        const TAG: &str = "9e107d9d372bb6826bd81d3542a419d6";
        assert_eq!(code(vec![part(1, Some(TAG)), part(2, Some(TAG))]), None);
        for (parts, expected) in [
            (vec![], "MalformedXML"),
            (vec![part(1, None)], "MalformedXML"),
            (vec![part(0, Some(TAG))], "InvalidArgument"),
            (vec![part(1, Some("abc"))], "InvalidPart"),
            (
                (1..=10_001)
                    .map(|n| part(n % 10_000 + 1, Some(TAG)))
                    .collect(),
                "InvalidArgument",
            ),
        ] {
            assert_eq!(code(parts).as_deref(), Some(expected));
        }
        assert!(all_chosen(None).is_err());
    }
}
