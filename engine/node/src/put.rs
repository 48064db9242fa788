//! PUT of an object: store, then one commit.

use crate::EngineError;
use crate::api::{BodyDigests, Bucket, PutRequest};
use crate::engine::{Engine, Inner};
use crate::metrics;
use crate::proposals::Outcome;
use crate::rejudge::Rejudge;
use crate::store_part::{StoredPart, Target};
use engine_core::meta::{
    Answer, BucketRef, Change, PutVersion, Refusal, VersionAttributes, VersionRow,
};
use engine_types::{Checksum, ChecksumAlgorithm, ChecksumType, ETag};
use std::sync::Arc;

/// Times a commit is proposed because its bucket's configuration moved meanwhile.
const STALE_RETRIES_MAX: usize = 8;

impl Engine {
    /// Stores an object; the version committed. 200 may be answered once it returns.
    pub async fn put(&self, mut request: PutRequest<'_>) -> Result<VersionRow, EngineError> {
        let inner = &self.inner;
        let started = inner.clock.monotonic();
        let customer_key = request.body.customer_key.take();
        let encryption = &mut request.attributes.encryption;
        inner.bind_customer_key(encryption, customer_key.as_ref())?;
        let tenant = request.bucket.row.owner;
        let wrap = inner
            .wrap(encryption, tenant, customer_key.as_ref())
            .await?;
        let to = Target {
            partition: request.bucket.reference.partition,
            bucket: request.bucket.row.id,
            key: request.key.clone(),
            number: 1,
        };
        let stored = inner.store_part(to, &wrap, request.body).await?;
        let StoredPart { part, digests, .. } = &stored;
        let checksum = request
            .stored_checksum
            .map(|a| plain_checksum(digests, a))
            .transpose()?;
        let mut put = PutVersion {
            bucket: request.bucket.reference,
            key: request.key,
            condition: request.condition,
            attributes: request.attributes,
            etag: ETag {
                md5: digests.md5,
                parts: 0,
            },
            checksum,
            part: part.clone(),
        };
        let make = |bucket, judged: Option<VersionAttributes>| {
            put.bucket = bucket;
            if let Some(judged) = judged {
                let encryption = std::mem::take(&mut put.attributes.encryption);
                put.attributes = VersionAttributes {
                    encryption,
                    ..judged
                };
            }
            Change::PutVersion(Box::new(put.clone()))
        };
        let answer = inner
            .commit(&request.bucket, &stored, &request.rejudge, make)
            .await?;
        let Answer::Version(mut row) = answer else {
            return Err(EngineError::unexpected("PutVersion"));
        };
        let charged_to = row.attributes.charged_to;
        row.attributes = put.attributes;
        row.attributes.charged_to = charged_to;
        metrics::stored(row.size, inner.clock.monotonic().saturating_sub(started));
        Ok(*row)
    }
}

/// The value of `algorithm` as stored with a plain object or a part.
pub(crate) fn checksum_value(
    digests: &BodyDigests,
    algorithm: ChecksumAlgorithm,
) -> Result<Vec<u8>, EngineError> {
    let found = digests.checksums.iter().find(|(of, _)| *of == algorithm);
    let missing =
        || EngineError::Internal(format!("{algorithm:?} was not among the body's checksums"));
    found.map(|(_, value)| value.clone()).ok_or_else(missing)
}

fn plain_checksum(
    digests: &BodyDigests,
    algorithm: ChecksumAlgorithm,
) -> Result<Checksum, EngineError> {
    let value = checksum_value(digests, algorithm)?;
    Ok(Checksum {
        algorithm,
        kind: ChecksumType::FullObject,
        value,
        parts: 0,
    })
}

impl Inner {
    /// Commits what was stored. Where the bucket's configuration moved, the write is judged again and
    /// the change proposed under a new id: the first was definitely refused.
    pub(crate) async fn commit<T>(
        self: &Arc<Self>,
        bucket: &Bucket,
        stored: &StoredPart,
        rejudge: &Rejudge<'_, T>,
        mut change: impl FnMut(BucketRef, Option<T>) -> Change,
    ) -> Result<Answer, EngineError> {
        // Where it was destroyed while the body came, nobody could ever open what is said to be stored.
        let by = stored.part.key.version;
        #[cfg(sabotage)]
        let by = by.filter(|_| !engine_types::sabotage("commit-destroyed"));
        if let Some(version) = by
            && self.keyring.secret(version).is_none()
        {
            return Err(EngineError::KeyUnavailable(self.keyring.name(version)));
        }
        let (mut bucket, mut judged) = (bucket.clone(), None);
        for _ in 0..STALE_RETRIES_MAX {
            let reference = bucket.reference;
            // While the proposal is under way its outcome is unknown, also to a dropped future.
            stored.written.disarm();
            let proposed = change(reference, judged.take());
            match self.propose(reference.partition, proposed).await {
                Outcome::Applied(answer) => return Ok(answer),
                Outcome::Unknown(error) => {
                    #[cfg(sabotage)]
                    if engine_types::sabotage("free-unknown") {
                        stored.written.arm();
                    }
                    return Err(error);
                }
                // Says nothing of whether it was applied earlier: the orphan look-up judges.
                Outcome::Refused(Refusal::TooOld) => return Err(Refusal::TooOld.into()),
                Outcome::NotProposed(error) => {
                    stored.written.arm();
                    return Err(error);
                }
                Outcome::Refused(Refusal::StaleBucket) => {
                    stored.written.arm();
                    let (now, verdict) = self.rejudged(&bucket, rejudge).await?;
                    (bucket, judged) = (now, Some(verdict));
                }
                Outcome::Refused(refusal) => {
                    stored.written.arm();
                    return Err(refusal.into());
                }
            }
        }
        Err(Refusal::StaleBucket.into())
    }
}
