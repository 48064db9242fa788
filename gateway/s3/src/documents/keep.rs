//! The shared way of the operations that read, write and delete one document of a bucket. What is
//! theirs alone, the shape in S3's XML and what may be written, stays with each.

use super::document;
use crate::gateway::{Gateway, RequestContext, fresh};
use engine_core::meta::BucketDocument;
use engine_node::Bucket;
use s3s::{S3Response, S3Result};
use serde::de::DeserializeOwned;

/// The bucket a request names, and whose it says it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) owner: Option<&'a str>,
}

/// Takes a [`Named`] from a DTO of s3s.
macro_rules! named {
    ($input:expr) => {
        $crate::documents::Named {
            bucket: &$input.bucket,
            owner: $input.expected_bucket_owner.as_deref(),
        }
    };
}
pub(crate) use named;

impl Gateway {
    /// The bucket named.
    pub(crate) async fn named(&self, cx: &RequestContext, of: Named<'_>) -> S3Result<Bucket> {
        self.bucket(cx, of.bucket, of.owner).await
    }

    /// Its document of this kind; none: not configured.
    pub(crate) async fn kept<T: DeserializeOwned>(
        &self,
        cx: &RequestContext,
        of: Named<'_>,
        kind: BucketDocument,
    ) -> S3Result<Option<T>> {
        let bucket = self.named(cx, of).await?;
        document(&bucket.row, kind)
    }

    /// Replaces or removes a document, and answers nothing but that it is done.
    pub(crate) async fn keep<O: Default>(
        &self,
        cx: &RequestContext,
        bucket: Bucket,
        kind: BucketDocument,
        row: Option<Vec<u8>>,
    ) -> S3Result<S3Response<O>> {
        self.keep_while(cx, bucket, kind, row, |_| Ok(())).await
    }

    /// The same, if the bucket's other documents let it: as they are at the commit.
    pub(crate) async fn keep_while<O: Default>(
        &self,
        cx: &RequestContext,
        mut bucket: Bucket,
        kind: BucketDocument,
        row: Option<Vec<u8>>,
        still: impl Fn(&Bucket) -> S3Result<()> + Send,
    ) -> S3Result<S3Response<O>> {
        fresh!(self, cx, bucket, {
            still(&bucket)?;
            self.engine.set_document(&bucket, kind, row.clone()).await
        })?;
        Ok(S3Response::new(O::default()))
    }
}
