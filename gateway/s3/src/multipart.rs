//! Multipart uploads: create, parts, complete, abort.

use crate::attributes::{attributes_asked, refuse_object_lock};
use crate::checksum::{self, Declared, checksum_values, set_checksum, single};
use crate::conditions;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, fresh, object_key};
use crate::put_object::{Replay, sized, trailers};
use crate::sse::{customer_asked, set_sse, sse_asked};
use crate::translate::{etag, written_version};
use engine_core::meta::{Encryption, Refusal, UploadRow};
use engine_node::{
    Bucket, CompleteRequest, CustomerKey, EngineError, PART_BYTES_MAX, PARTS_MAX, PartRequest,
    PutBody,
};
use engine_types::{
    ChecksumAlgorithm as Algorithm, ChecksumType as Kind, ETag, ObjectKey, UploadId,
};
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
    let sse = gateway
        .sse_for_write(&cx, &bucket, &sse_asked!(input))
        .await?;
    let asked = attributes_asked!(input);
    let attributes = gateway
        .attributes(&cx, &bucket, &asked, sse.encryption.clone())
        .await?;
    let by = cx.identity.writer(&bucket);
    let name = gateway.owner(by).await?.display_name.unwrap_or_default();
    let upload = fresh!(
        gateway,
        bucket,
        gateway
            .engine
            .create_upload(
                &bucket,
                &key,
                attributes.clone(),
                (by, name.clone()),
                checksum,
                sse.customer_key.clone(),
            )
            .await
    )?;
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
    Ok(S3Response::new(output))
}

/// Where a part goes, and what its upload demands of it.
pub(crate) struct PartPlace {
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) upload: UploadId,
    pub(crate) number: u16,
    pub(crate) row: UploadRow,
    pub(crate) customer_key: Option<CustomerKey>,
}

impl Gateway {
    /// Finds the upload a part is for and checks the customer key against it.
    pub(crate) async fn part_place(
        &self,
        cx: &RequestContext,
        mut bucket: Bucket,
        (key, upload, number): (&str, &str, i32),
        customer: &crate::sse::CustomerAsked,
    ) -> S3Result<PartPlace> {
        let (key, upload, number) = (object_key(key)?, upload_id(upload)?, part_number(number)?);
        let row = fresh!(
            self,
            bucket,
            self.engine.upload(&bucket, &key, upload).await
        )?;
        let customer_key = self.sse_for_read(cx, &row.attributes.encryption, customer)?;
        Ok(PartPlace {
            bucket,
            key,
            upload,
            number,
            row,
            customer_key,
        })
    }
}

impl PartPlace {
    /// The algorithm stored with the part: the upload's; what the part declares must be the same.
    fn algorithm(&self, declared: Option<Algorithm>) -> S3Result<Option<Algorithm>> {
        match (self.row.checksum.map(|(algorithm, _)| algorithm), declared) {
            (Some(wanted), Some(declared)) if wanted != declared => Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                checksum::name(wanted).to_ascii_lowercase(),
                checksum::name(declared).to_ascii_lowercase()
            )),
            (wanted, declared) => Ok(wanted.or(declared)),
        }
    }

    /// The request that stores a part.
    pub(crate) fn request(
        &self,
        cx: &RequestContext,
        stored_checksum: Option<Algorithm>,
        body: PutBody,
    ) -> PartRequest {
        PartRequest {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            upload: self.upload,
            number: self.number,
            charged_to: cx.identity.charged_to(&self.bucket),
            stored_checksum,
            body,
        }
    }
}

/// UploadPart.
pub(crate) async fn upload_part(
    gateway: &Gateway,
    cx: RequestContext,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let body = request.input.body.take();
    let (body, length) = sized(body, request.input.content_length)?;
    let input = &request.input;
    let declared = Declared::of(
        &checksum_values!(input),
        input.content_md5.as_deref(),
        &request.headers,
    )?;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let which = (
        input.key.as_str(),
        input.upload_id.as_str(),
        input.part_number,
    );
    let mut place = gateway
        .part_place(&cx, bucket, which, &customer_asked!(input))
        .await?;
    let algorithm = place.algorithm(declared.algorithm())?;
    let trailers = trailers(&request);
    let mut replay = Replay::new(body, length);
    let gone = || from_engine(EngineError::Refused(Refusal::TooOld));
    let mut attempt = |place: &PartPlace| -> S3Result<PartRequest> {
        let body = PutBody {
            stream: replay.stream().ok_or_else(gone)?,
            length,
            algorithms: algorithm.into_iter().collect(),
            verify: declared.clone().verify(trailers.clone()),
            customer_key: place.customer_key.clone(),
        };
        Ok(place.request(&cx, algorithm, body))
    };
    let stored = match gateway.engine.put_part(attempt(&place)?).await {
        Err(EngineError::Refused(Refusal::StaleBucket)) => {
            place.bucket = gateway.refresh(&place.bucket).await?;
            gateway.engine.put_part(attempt(&place)?).await
        }
        other => other,
    };
    let part = stored.map_err(from_engine)?;
    let mut output = UploadPartOutput {
        e_tag: Some(etag(ETag {
            md5: part.md5,
            parts: 0,
        })),
        ..UploadPartOutput::default()
    };
    if let Some((algorithm, value)) = &part.checksum {
        set_checksum!(output, algorithm, checksum::value_text(value));
    }
    set_sse!(output, &place.row.attributes.encryption);
    Ok(S3Response::new(output))
}

/// One part as the engine takes it: number, tag, checksum.
type Chosen = (u16, Option<ETag>, Option<(Algorithm, Vec<u8>)>);

fn chosen(part: &CompletedPart) -> S3Result<Chosen> {
    let number = part_number(part.part_number.unwrap_or_default())?;
    let tag = match &part.e_tag {
        None => None,
        Some(tag) => match tag.value().parse() {
            Ok(tag) => Some(tag),
            Err(_not_ours) => return Err(from_engine(EngineError::InvalidPart(number))),
        },
    };
    Ok((number, tag, single(&checksum_values!(part))?))
}

/// The parts of a Complete: at least one, at most 10,000.
fn all_chosen(upload: Option<&CompletedMultipartUpload>) -> S3Result<Vec<Chosen>> {
    let parts = upload.and_then(|u| u.parts.as_deref()).unwrap_or_default();
    if parts.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
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

/// CompleteMultipartUpload.
pub(crate) async fn complete(
    gateway: &Gateway,
    cx: RequestContext,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let location = location(&request.headers, &cx, &request.uri);
    let input = request.input;
    let (key, upload) = (object_key(&input.key)?, upload_id(&input.upload_id)?);
    let parts = all_chosen(input.multipart_upload.as_ref())?;
    let kind = asked_kind(input.checksum_type.as_ref())?;
    let whole =
        single(&checksum_values!(input))?.map(|(algorithm, value)| (algorithm, kind, value));
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
        checksum: whole.clone(),
        size,
    };
    let row = fresh!(
        gateway,
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
fn location(headers: &http::HeaderMap, cx: &RequestContext, uri: &http::Uri) -> Option<String> {
    let scheme = if cx.state.secure { "https" } else { "http" };
    let host = headers.get(http::header::HOST)?.to_str().ok()?;
    Some(format!("{scheme}://{host}{}", uri.path()))
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

    fn part(number: i32, tag: Option<&str>) -> CompletedPart {
        CompletedPart {
            part_number: Some(number),
            e_tag: tag.map(|t| s3s::dto::ETag::Strong(t.to_owned())),
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
        assert_eq!(code(vec![part(1, Some(TAG)), part(2, None)]), None);
        for (parts, expected) in [
            (vec![], "MalformedXML"),
            (vec![part(0, Some(TAG))], "InvalidArgument"),
            (vec![part(1, Some("abc"))], "InvalidPart"),
            (
                (1..=10_001).map(|n| part(n % 10_000 + 1, None)).collect(),
                "InvalidArgument",
            ),
        ] {
            assert_eq!(code(parts).as_deref(), Some(expected));
        }
        assert!(all_chosen(None).is_err());
    }
}
