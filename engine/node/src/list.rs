//! Listings: the partition answers them whole; one partition holds a bucket today.

use crate::EngineError;
use crate::api::Bucket;
use crate::engine::Engine;
use engine_core::meta::{ListPage, ListQuery, PartsPage, Query, Reply, UploadsPage, VersionsPage};
use engine_types::{ObjectKey, UploadId, VersionId};

impl Engine {
    /// Current versions.
    pub async fn list(&self, bucket: &Bucket, page: ListQuery) -> Result<ListPage, EngineError> {
        let query = Query::List(bucket.reference, page);
        match self.inner.ask(bucket.reference.partition, query).await? {
            Reply::List(page) => Ok(page),
            _ => Err(EngineError::unexpected("List")),
        }
    }

    /// All versions.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        page: ListQuery,
        version_after: Option<VersionId>,
    ) -> Result<VersionsPage, EngineError> {
        let query = Query::ListVersions {
            bucket: bucket.reference,
            page,
            version_after,
        };
        match self.inner.ask(bucket.reference.partition, query).await? {
            Reply::Versions(page) => Ok(page),
            _ => Err(EngineError::unexpected("ListVersions")),
        }
    }

    /// Parts of an upload.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<PartsPage, EngineError> {
        let query = Query::ListParts {
            bucket: bucket.reference,
            key: key.clone(),
            upload,
            after,
            limit,
        };
        match self.inner.ask(bucket.reference.partition, query).await? {
            Reply::Parts(page) => Ok(*page),
            _ => Err(EngineError::unexpected("ListParts")),
        }
    }

    /// Open uploads.
    pub async fn list_uploads(
        &self,
        bucket: &Bucket,
        page: ListQuery,
        upload_after: Option<UploadId>,
    ) -> Result<UploadsPage, EngineError> {
        let query = Query::ListUploads {
            bucket: bucket.reference,
            page,
            upload_after,
        };
        match self.inner.ask(bucket.reference.partition, query).await? {
            Reply::Uploads(page) => Ok(page),
            _ => Err(EngineError::unexpected("ListUploads")),
        }
    }
}
