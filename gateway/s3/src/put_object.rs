//! PutObject, and POST forms through it.

use crate::attributes::{attributes_asked, refuse_object_lock};
use crate::checksum::{self, Declared, checksum_values, set_checksum};
use crate::chunked::Trailers;
use crate::conditions;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key};
use crate::sse::{ForWrite, context, set_sse, sse_asked};
use crate::translate::{etag, written_version};
use bytes::Bytes;
use engine_core::meta::VersionRow;
use engine_node::{Bucket, DEFAULT_CHECKSUM, EngineError, PutBody, PutRequest, Rejudge};
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::stream::ByteStream as _;
use s3s::{S3Request, S3Response, S3Result, s3_error};

/// A request's body with its length: what s3s knows, else what the client says.
pub(crate) fn sized(
    body: Option<StreamingBlob>,
    announced: Option<i64>,
) -> S3Result<(StreamingBlob, u64)> {
    let body = body.unwrap_or_else(|| StreamingBlob::from_bytes(Bytes::new()));
    let known = body
        .remaining_length()
        .exact()
        .and_then(|n| u64::try_from(n).ok());
    let length = known.or_else(|| u64::try_from(announced?).ok());
    let missing = || {
        s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        )
    };
    let length = length.ok_or_else(missing)?;
    if length > engine_node::PART_BYTES_MAX {
        return Err(from_engine(EngineError::TooLarge));
    }
    Ok((body, length))
}

/// Trailers of a request, to be read once its body is.
pub(crate) fn trailers<T>(request: &S3Request<T>) -> Option<Trailers> {
    request.extensions.get::<Trailers>().cloned()
}

/// PutObject.
pub(crate) async fn put(
    gateway: &Gateway,
    cx: RequestContext,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    refuse_object_lock!(request.input);
    if request.input.write_offset_bytes.is_some() {
        return Err(s3_error!(NotImplemented, "Appending is not built"));
    }
    let body = request.input.body.take();
    let (body, length) = sized(body, request.input.content_length)?;
    let input = &request.input;
    let key = object_key(&input.key)?;
    let bucket = gateway
        .bucket(&cx, &input.bucket, input.expected_bucket_owner.as_deref())
        .await?;
    let sse_asked = sse_asked!(input);
    let sse = gateway.sse_for_write(&cx, &bucket, &sse_asked).await?;
    let asked = attributes_asked!(input);
    let attributes = gateway
        .attributes(&cx, &bucket, &asked, sse.encryption.clone())
        .await?;
    let values = checksum_values!(input);
    let declared = Declared::of(&values, input.content_md5.as_deref(), &request.headers)?;
    let algorithm = declared.algorithm().unwrap_or(DEFAULT_CHECKSUM.0);
    let (again, sealed) = ((&cx, &asked), (&sse_asked, &sse));
    let put = PutRequest {
        bucket,
        key,
        condition: conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        attributes,
        stored_checksum: Some(algorithm),
        body: PutBody {
            stream: body.boxed(),
            length,
            algorithms: vec![algorithm],
            verify: declared.verify(trailers(&request)),
            customer_key: sse.customer_key.clone(),
        },
        rejudge: Rejudge::new(move |bucket: Bucket| async move {
            let (cx, asked) = again;
            Ok(gateway.attributes_again(cx, &bucket, asked, sealed).await?)
        }),
    };
    let row = gateway.engine.put(put).await.map_err(from_engine)?;
    Ok(S3Response::new(answer(&row, &sse)))
}

fn answer(row: &VersionRow, sse: &ForWrite) -> PutObjectOutput {
    let mut output = PutObjectOutput {
        e_tag: Some(etag(row.etag)),
        version_id: written_version(row.version),
        ..PutObjectOutput::default()
    };
    if let Some(checksum) = &row.checksum {
        set_checksum!(output, checksum.algorithm, checksum::text(checksum));
        output.checksum_type = Some(checksum::kind(checksum.kind));
    }
    set_sse!(output, &sse.encryption);
    output.ssekms_encryption_context = context(&sse.encryption);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_limit_and_one_past_it() {
        let blob = || {
            Some(StreamingBlob::wrap(futures::stream::empty::<
                Result<Bytes, std::io::Error>,
            >()))
        };
        let most = i64::try_from(engine_node::PART_BYTES_MAX).expect("fits");
        assert!(sized(blob(), Some(most)).is_ok());
        for (announced, code) in [
            (Some(most + 1), "EntityTooLarge"),
            (None, "MissingContentLength"),
            (Some(-1), "MissingContentLength"),
        ] {
            assert_eq!(
                sized(blob(), announced)
                    .expect_err("refused")
                    .code()
                    .as_str(),
                code
            );
        }
    }
}
