//! UploadPart, and what a part that is copied shares with it.

use super::{part_number, upload_id};
use crate::checksum::{self, Declared, checksum_values, set_checksum};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, fresh, object_key};
use crate::put_object::{sized, trailers};
use crate::sse::{customer_asked, set_sse};
use crate::translate::etag;
use engine_core::meta::UploadRow;
use engine_node::{Bucket, CustomerKey, DEFAULT_CHECKSUM, PartRequest, PutBody};
use engine_types::{ChecksumAlgorithm as Algorithm, ETag, ObjectKey, UploadId};
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

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
            cx,
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
    /// The algorithm stored with the part, the upload's or the default one, and what the part
    /// declares, where that is another: only an upload that named none bears it.
    pub(crate) fn algorithms(
        &self,
        declared: Option<Algorithm>,
    ) -> S3Result<(Algorithm, Option<Algorithm>)> {
        match (self.row.checksum.map(|(algorithm, _)| algorithm), declared) {
            (Some(wanted), Some(declared)) if wanted != declared => Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                checksum::name(wanted).to_ascii_lowercase(),
                checksum::name(declared).to_ascii_lowercase()
            )),
            (Some(wanted), _) => Ok((wanted, None)),
            (None, declared) => {
                let (stored, _) = DEFAULT_CHECKSUM;
                Ok((stored, declared.filter(|declared| *declared != stored)))
            }
        }
    }

    /// The request that stores a part.
    pub(crate) fn request<'a>(
        &self,
        cx: &'a RequestContext,
        (stored, declared): (Algorithm, Option<Algorithm>),
        body: PutBody,
    ) -> PartRequest<'a> {
        PartRequest {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            upload: self.upload,
            number: self.number,
            charged_to: cx.identity.charged_to(&self.bucket),
            stored_checksum: Some(stored),
            declared_checksum: declared,
            body,
            rejudge: cx.rejudge(),
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
    let place = gateway
        .part_place(&cx, bucket, which, &customer_asked!(input))
        .await?;
    let algorithms = place.algorithms(declared.algorithm())?;
    let body = PutBody {
        stream: body.boxed(),
        length,
        algorithms: [algorithms.0].into_iter().chain(algorithms.1).collect(),
        verify: declared.verify(trailers(&request)),
        customer_key: place.customer_key.clone(),
    };
    let put = place.request(&cx, algorithms, body);
    let part = gateway.engine.put_part(put).await.map_err(from_engine)?;
    let mut output = UploadPartOutput {
        e_tag: Some(etag(ETag {
            md5: part.md5,
            parts: 0,
        })),
        ..UploadPartOutput::default()
    };
    if let Some((algorithm, value)) = part.declared.as_ref().or(part.checksum.as_ref()) {
        set_checksum!(output, algorithm, checksum::value_text(value));
    }
    set_sse!(output, &place.row.attributes.encryption);
    Ok(S3Response::new(output))
}
