//! Multipart uploads: create, parts, abort. Their end is in `complete`.

use crate::EngineError;
use crate::api::{Bucket, CustomerKey, PARTS_MAX, PartRequest};
use crate::engine::Engine;
use crate::metrics;
use crate::put::checksum_value;
use crate::store_part::{StoredPart, Target};
use engine_core::meta::{
    Answer, Change, CreateUpload, PutPart, Query, Refusal, Reply, UploadPartRow, UploadRow,
    VersionAttributes,
};
use engine_types::{AccountId, BirthId, ChecksumAlgorithm, ChecksumType, ObjectKey, UploadId};

impl Engine {
    /// Begins an upload. For SSE-C `customer_key` fills salt and HMAC.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is part of the request; the gateway names them"
    )]
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        mut attributes: VersionAttributes,
        initiator: (AccountId, String),
        checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
        customer_key: Option<CustomerKey>,
    ) -> Result<UploadId, EngineError> {
        let inner = &self.inner;
        inner.bind_customer_key(&mut attributes.encryption, customer_key.as_ref())?;
        // A key that cannot wrap is refused now, not with the first part.
        let encryption = &attributes.encryption;
        drop(
            inner
                .wrap(encryption, bucket.row.owner, customer_key.as_ref())
                .await?,
        );
        let partition = bucket.reference.partition;
        let stamp = inner.metadata.stamp(partition).await?;
        let upload = UploadId::born(stamp, inner.entropy());
        let (initiator, initiator_name) = initiator;
        let create = CreateUpload {
            bucket: bucket.reference,
            key: key.clone(),
            upload,
            attributes,
            initiator_name,
            initiator,
            checksum,
        };
        match inner
            .propose(partition, Change::CreateUpload(Box::new(create)))
            .await
            .answer()?
        {
            Answer::Done => Ok(upload),
            _ => Err(EngineError::unexpected("CreateUpload")),
        }
    }

    /// An open upload.
    pub async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRow, EngineError> {
        let query = Query::Upload {
            bucket: bucket.reference,
            key: key.clone(),
            upload,
        };
        match self.inner.ask(bucket.reference.partition, query).await? {
            Reply::Upload(row) => Ok(*row),
            _ => Err(EngineError::unexpected("Upload")),
        }
    }

    /// Stores a part; encryption follows the upload.
    pub async fn put_part(
        &self,
        mut request: PartRequest<'_>,
    ) -> Result<UploadPartRow, EngineError> {
        let inner = &self.inner;
        let started = inner.clock.monotonic();
        if !(1..=PARTS_MAX).contains(&request.number) {
            return Err(EngineError::InvalidPart(request.number));
        }
        let upload = match self
            .upload(&request.bucket, &request.key, request.upload)
            .await
        {
            Err(EngineError::Refused(Refusal::StaleBucket)) => {
                (request.bucket, ()) = inner.rejudged(&request.bucket, &request.rejudge).await?;
                self.upload(&request.bucket, &request.key, request.upload)
                    .await?
            }
            other => other?,
        };
        let encryption = &upload.attributes.encryption;
        let customer_key = request.body.customer_key.take();
        if !Self::customer_key_fits(encryption, customer_key.as_ref()) {
            return Err(EngineError::CustomerKey);
        }
        let tenant = request.bucket.row.owner;
        let wrap = inner
            .wrap(encryption, tenant, customer_key.as_ref())
            .await?;
        let to = Target {
            partition: request.bucket.reference.partition,
            bucket: request.bucket.row.id,
            key: request.key.clone(),
            number: u32::from(request.number),
        };
        let stored = inner.store_part(to, &wrap, request.body).await?;
        let StoredPart { part, digests, .. } = &stored;
        let value_of = |algorithm: ChecksumAlgorithm| -> Result<_, EngineError> {
            Ok((algorithm, checksum_value(digests, algorithm)?))
        };
        let put = PutPart {
            bucket: request.bucket.reference,
            key: request.key,
            upload: request.upload,
            number: request.number,
            part: part.clone(),
            checksum: request.stored_checksum.map(value_of).transpose()?,
            declared: request.declared_checksum.map(value_of).transpose()?,
            charged_to: request.charged_to,
        };
        let make = |bucket, _again: Option<()>| {
            Change::PutPart(Box::new(PutPart {
                bucket,
                ..put.clone()
            }))
        };
        match inner
            .commit(&request.bucket, &stored, &request.rejudge, make)
            .await?
        {
            Answer::Part(row) => {
                metrics::stored(row.size, inner.clock.monotonic().saturating_sub(started));
                Ok(row)
            }
            _ => Err(EngineError::unexpected("PutPart")),
        }
    }

    /// Aborts an upload.
    pub async fn abort(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), EngineError> {
        let change = Change::AbortUpload {
            bucket: bucket.reference,
            key: key.clone(),
            upload,
        };
        match self
            .inner
            .propose(bucket.reference.partition, change)
            .await
            .answer()?
        {
            Answer::Done => Ok(()),
            _ => Err(EngineError::unexpected("AbortUpload")),
        }
    }
}
