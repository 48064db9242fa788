//! The source of any copy: found, allowed, its conditions judged, and open.

use crate::access::{REJUDGED_MAX, keeps_changing};
use crate::conditions::{Read, Verdict};
use crate::error::from_engine;
use crate::gateway::{Gateway, RequestContext, object_key, version_id};
use crate::sse::CustomerAsked;
use crate::translate::{read_version, seconds};
use engine_core::meta::{Refusal, VersionRow};
use engine_node::{Bucket, CustomerKey, EngineError, Found, Lookup};
use engine_types::{ObjectKey, VersionId};
use s3s::dto::CopySource;
use s3s::{S3Error, S3Result, s3_error};

/// Where a copy comes from, as the request says.
pub(crate) struct SourceAsked<'a> {
    pub(crate) source: &'a CopySource,
    pub(crate) read: Read,
    pub(crate) customer: CustomerAsked,
    pub(crate) expected_owner: Option<&'a str>,
}

/// Takes a [`SourceAsked`] from a DTO of s3s.
macro_rules! source_asked {
    ($input:expr) => {
        $crate::copy::SourceAsked {
            source: &$input.copy_source,
            read: $crate::conditions::Read {
                if_match: $input.copy_source_if_match.clone(),
                if_none_match: $input.copy_source_if_none_match.clone(),
                if_modified_since: $input.copy_source_if_modified_since.clone(),
                if_unmodified_since: $input.copy_source_if_unmodified_since.clone(),
            },
            customer: source_customer_asked!($input),
            expected_owner: $input.expected_source_bucket_owner.as_deref(),
        }
    };
}
pub(crate) use source_asked;

/// A copy's source, found, allowed and open.
pub(crate) struct Source {
    pub(crate) bucket: Bucket,
    pub(crate) found: Found,
    pub(crate) key: Option<CustomerKey>,
    /// The version the request named.
    pub(crate) asked: Option<VersionId>,
}

impl Source {
    pub(crate) fn row(&self) -> &VersionRow {
        &self.found.found.row
    }
    /// `x-amz-copy-source-version-id`.
    pub(crate) fn version(&self) -> Option<String> {
        read_version(&self.bucket, self.row().version)
    }
}

fn failed() -> S3Error {
    from_engine(EngineError::Refused(Refusal::PreconditionFailed))
}

impl Gateway {
    /// Finds the source of a copy into `destination`, judged as it was found, where its conditions hold.
    pub(crate) async fn source(
        &self,
        cx: &RequestContext,
        destination: &Bucket,
        asked: &SourceAsked<'_>,
    ) -> S3Result<Source> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id: version,
        } = asked.source
        else {
            return Err(s3_error!(NotImplemented, "Access points are not built"));
        };
        let (key, version) = (object_key(key)?, version_id(version.as_deref())?);
        let (bucket, lookup) = self.look_up_source(bucket, &key, version).await?;
        self.expect_owner(&bucket, asked.expected_owner).await?;
        cx.admitted()?
            .permits_source(destination, &bucket, &lookup)?;
        let found = match lookup {
            Lookup::Found(found) => *found,
            Lookup::Marker(..) if version.is_some() => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The source of a copy request may not specifically refer to a delete marker by version id."
                ));
            }
            Lookup::Marker(..) => {
                return Err(from_engine(EngineError::Refused(Refusal::NoSuchKey)));
            }
            Lookup::Missing(refusal) => return Err(from_engine(EngineError::Refused(refusal))),
        };
        let row = &found.found.row;
        let key = self.sse_for_read(cx, &row.attributes.encryption, &asked.customer)?;
        match asked
            .read
            .judge(&row.etag.to_string(), &seconds(row.order.stamp))
        {
            Verdict::Go => Ok(Source {
                bucket,
                found,
                key,
                asked: version,
            }),
            Verdict::NotModified | Verdict::Failed => Err(failed()),
        }
    }

    /// What stands there, and the bucket by whose configuration it was found.
    async fn look_up_source(
        &self,
        name: &str,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> S3Result<(Bucket, Lookup)> {
        let mut bucket = self.engine.bucket(name).await.map_err(from_engine)?;
        for _ in 0..REJUDGED_MAX {
            match self.engine.find(&bucket, key, version, true).await {
                Err(EngineError::Refused(Refusal::StaleBucket)) => {
                    let again = self.engine.refresh_bucket(name).await;
                    bucket = again.map_err(from_engine)?;
                }
                lookup => return Ok((bucket, lookup.map_err(from_engine)?)),
            }
        }
        Err(keeps_changing())
    }
}
