//! PutObject, and POST forms through it.

use crate::attributes::{attributes_asked, refuse_object_lock};
use crate::checksum::{self, Declared, checksum_values, set_checksum};
use crate::chunked::Trailers;
use crate::conditions;
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key};
use crate::sse::{ForWrite, set_sse, sse_asked};
use crate::translate::{etag, written_version};
use bytes::Bytes;
use engine_core::meta::{Condition, Refusal, VersionAttributes, VersionRow};
use engine_node::{Bucket, ByteStream, DEFAULT_CHECKSUM, EngineError, PutBody, PutRequest};
use engine_types::ObjectKey;
use futures::StreamExt as _;
use s3s::dto::*;
use s3s::stream::ByteStream as _;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use std::sync::{Arc, Mutex, PoisonError};

/// A body up to this length, bytes, is kept while it is stored, so that it can be stored again where
/// the bucket's configuration moved meanwhile. A longer one is answered 503: the client sends again.
const REPLAY_BYTES_MAX: u64 = 1 << 20;

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

/// A body that can be read a second time, if it is short.
pub(crate) struct Replay {
    length: u64,
    kept: Arc<Mutex<Vec<Bytes>>>,
    source: Option<StreamingBlob>,
}

impl Replay {
    pub(crate) fn new(source: StreamingBlob, length: u64) -> Self {
        Self {
            length,
            kept: Arc::default(),
            source: Some(source),
        }
    }

    /// The body from its beginning; none: it is gone.
    pub(crate) fn stream(&mut self) -> Option<ByteStream> {
        match self.source.take() {
            Some(source) if self.length > REPLAY_BYTES_MAX => Some(source.boxed()),
            Some(source) => {
                let kept = Arc::clone(&self.kept);
                let keep = move |piece: &Result<Bytes, _>| {
                    if let Ok(piece) = piece {
                        kept.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(piece.clone());
                    }
                };
                Some(source.inspect(keep).boxed())
            }
            None => {
                let kept = self
                    .kept
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let whole = kept.iter().map(|piece| piece.len() as u64).sum::<u64>() == self.length;
                whole.then(|| futures::stream::iter(kept.into_iter().map(Ok)).boxed())
            }
        }
    }
}

/// One object to store, but for its body.
struct Put {
    key: ObjectKey,
    condition: Condition,
    attributes: VersionAttributes,
    sse: ForWrite,
    declared: Declared,
    trailers: Option<Trailers>,
}

impl Put {
    fn request(&self, bucket: &Bucket, stream: ByteStream, length: u64) -> PutRequest {
        let algorithm = self.declared.algorithm().unwrap_or(DEFAULT_CHECKSUM.0);
        PutRequest {
            bucket: bucket.clone(),
            key: self.key.clone(),
            condition: self.condition.clone(),
            attributes: self.attributes.clone(),
            stored_checksum: Some(algorithm),
            body: PutBody {
                stream,
                length,
                algorithms: vec![algorithm],
                verify: self.declared.clone().verify(self.trailers.clone()),
                customer_key: self.sse.customer_key.clone(),
            },
        }
    }

    async fn store(
        &self,
        gateway: &Gateway,
        bucket: Bucket,
        body: StreamingBlob,
        length: u64,
    ) -> S3Result<VersionRow> {
        let mut replay = Replay::new(body, length);
        let gone = || from_engine(EngineError::Refused(Refusal::TooOld));
        let stream = replay.stream().ok_or_else(gone)?;
        match gateway
            .engine
            .put(self.request(&bucket, stream, length))
            .await
        {
            Err(EngineError::Refused(Refusal::StaleBucket)) => {
                let bucket = gateway.refresh(&bucket).await?;
                let stream = replay.stream().ok_or_else(gone)?;
                gateway
                    .engine
                    .put(self.request(&bucket, stream, length))
                    .await
                    .map_err(from_engine)
            }
            other => other.map_err(from_engine),
        }
    }
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
    let sse = gateway
        .sse_for_write(&cx, &bucket, &sse_asked!(input))
        .await?;
    let asked = attributes_asked!(input);
    let attributes = gateway
        .attributes(&cx, &bucket, &asked, sse.encryption.clone())
        .await?;
    let values = checksum_values!(input);
    let put = Put {
        key,
        condition: conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        attributes,
        sse,
        declared: Declared::of(&values, input.content_md5.as_deref(), &request.headers)?,
        trailers: trailers(&request),
    };
    let row = put.store(gateway, bucket, body, length).await?;
    Ok(S3Response::new(answer(&row, &put.sse)))
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
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(stream: Option<ByteStream>) -> Option<Vec<u8>> {
        let pieces: Vec<_> = stream?.collect().await;
        Some(
            pieces
                .into_iter()
                .flat_map(|p| p.expect("piece").to_vec())
                .collect(),
        )
    }

    #[tokio::test]
    async fn a_short_body_replays_and_a_long_one_does_not() {
        for (length, replays) in [
            (3, true),
            (REPLAY_BYTES_MAX, true),
            (REPLAY_BYTES_MAX + 1, false),
        ] {
            let bytes = vec![7; usize::try_from(length).expect("fits")];
            let mut replay = Replay::new(StreamingBlob::from_bytes(bytes.clone().into()), length);
            assert_eq!(read(replay.stream()).await, Some(bytes.clone()));
            assert_eq!(
                read(replay.stream()).await,
                replays.then_some(bytes),
                "{length}"
            );
        }
    }

    #[tokio::test]
    async fn a_body_half_read_does_not_replay() {
        let source = futures::stream::iter([Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        let source = StreamingBlob::wrap(source.map(Ok::<_, std::io::Error>));
        let mut replay = Replay::new(source, 3);
        assert!(replay.stream().expect("first").next().await.is_some());
        assert!(replay.stream().is_none());
    }

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
