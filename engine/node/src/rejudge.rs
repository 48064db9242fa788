//! Writes whose bucket's configuration moves while their bytes come: judged again before they commit.

use crate::EngineError;
use crate::api::Bucket;
use crate::engine::Inner;
use crate::error::BodyError;
use engine_core::meta::Refusal;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

type Verdict<'a, T> = BoxFuture<'a, Result<T, BodyError>>;

/// Judges a write by its bucket as it is now, each time the configuration moved before the commit:
/// what is committed then, or the caller's own error, handed back in [`EngineError::Body`]. The engine
/// keeps configuration without reading it, so it cannot tell which change matters.
pub struct Rejudge<'a, T>(Box<dyn Fn(Bucket) -> Verdict<'a, T> + Send + Sync + 'a>);

impl<'a, T> Rejudge<'a, T> {
    /// Asks `judge`.
    pub fn new<F>(judge: impl Fn(Bucket) -> F + Send + Sync + 'a) -> Self
    where
        F: Future<Output = Result<T, BodyError>> + Send + 'a,
    {
        Self(Box::new(move |bucket| Box::pin(judge(bucket))))
    }
}

impl<T> fmt::Debug for Rejudge<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rejudge")
    }
}

impl Inner {
    /// The same life of a bucket as it is now, and the verdict on the write there.
    pub(crate) async fn rejudged<T>(
        self: &Arc<Self>,
        bucket: &Bucket,
        rejudge: &Rejudge<'_, T>,
    ) -> Result<(Bucket, T), EngineError> {
        let now = self.look_up_bucket(bucket.row.name.as_str()).await?;
        if now.row.id != bucket.row.id {
            return Err(Refusal::NoSuchBucket.into());
        }
        let judged = (rejudge.0)(now.clone()).await.map_err(EngineError::Body)?;
        Ok((now, judged))
    }
}
