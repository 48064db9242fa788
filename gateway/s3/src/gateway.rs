//! What handlers share: the engine, the options, and how a bucket is looked up and looked up again.

use crate::access::{Admission, Seen, denied};
use crate::error::from_engine;
use crate::identity::Identity;
use crate::options::FrontOptions;
use crate::repair::TextHeaders;
use crate::request::RequestState;
use engine_core::meta::BucketDocument;
use engine_node::{Bucket, Engine, Rejudge};
use engine_types::{AccountId, NameError, ObjectKey, VersionId};
use s3s::{S3Result, s3_error};
use std::sync::Arc;

/// Implements `s3s::S3` (in `service`).
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) engine: Engine,
    pub(crate) options: Arc<FrontOptions>,
}

/// What the front and the access check know of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) identity: Identity,
    pub(crate) state: Arc<RequestState>,
    admission: Option<Arc<Admission>>,
    /// System metadata beside what the DTO holds.
    pub(crate) text: TextHeaders,
    /// The version the check judged, where it looked at one that the answer is made of.
    pub(crate) seen: Option<Seen>,
}

impl RequestContext {
    /// Refuses a request that no access check has seen.
    pub(crate) fn of(extensions: &http::Extensions) -> S3Result<Self> {
        let (Some(identity), Some(state)) = (
            extensions.get::<Identity>(),
            extensions.get::<Arc<RequestState>>(),
        ) else {
            return Err(s3_error!(AccessDenied));
        };
        state.set_handled();
        let admission = extensions.get::<Arc<Admission>>().cloned();
        let seen = extensions.get::<Seen>().cloned();
        Ok(Self {
            seen,
            identity: identity.clone(),
            state: Arc::clone(state),
            admission,
            text: extensions.get::<TextHeaders>().cloned().unwrap_or_default(),
        })
    }

    /// How the request was let in, for what the handler finds.
    ///
    /// # Errors
    /// `AccessDenied` where no access check has seen it.
    pub(crate) fn admitted(&self) -> S3Result<&Arc<Admission>> {
        self.admission.as_ref().ok_or_else(denied)
    }

    /// Judges the request again where its bucket moves before its commit.
    pub(crate) fn rejudge(&self) -> Rejudge<'_, ()> {
        Rejudge::new(
            move |bucket: Bucket| async move { Ok(self.admitted()?.again(&bucket).await?) },
        )
    }
}

/// Calls the engine; where it says the bucket's configuration has moved, looks the bucket up again, has
/// the request judged by it, and calls once more. Too often is
/// [`s3s::S3ErrorCode::OperationAborted`].
macro_rules! fresh {
    ($gateway:expr, $cx:expr, $bucket:ident, $call:expr) => {{
        let mut left = $crate::access::REJUDGED_MAX;
        loop {
            match $call {
                Err(engine_node::EngineError::Refused(engine_core::meta::Refusal::StaleBucket))
                    if left > 0 =>
                {
                    left -= 1;
                    $bucket = $gateway.refresh($cx, &$bucket).await?;
                }
                other => break other.map_err($crate::error::from_engine),
            }
        }
    }};
}
pub(crate) use fresh;

/// Documents the access check judged by: where one has changed under a request, it is judged again.
const JUDGED: [BucketDocument; 4] = [
    BucketDocument::Acl,
    BucketDocument::Ownership,
    BucketDocument::PublicAccessBlock,
    BucketDocument::Policy,
];

impl Gateway {
    /// The bucket a request names: the one the access check judged, if it is that one.
    pub(crate) async fn bucket(
        &self,
        cx: &RequestContext,
        name: &str,
        expected_owner: Option<&str>,
    ) -> S3Result<Bucket> {
        let judged = cx.admission.as_ref().map(|a| &a.judge().bucket);
        let bucket = match judged {
            Some(judged) if judged.row.name.as_str() == name => judged.clone(),
            _ => self.engine.bucket(name).await.map_err(from_engine)?,
        };
        self.expect_owner(&bucket, expected_owner).await?;
        Ok(bucket)
    }

    /// `x-amz-expected-bucket-owner` and its source form: the owner's canonical id, or its number.
    pub(crate) async fn expect_owner(
        &self,
        bucket: &Bucket,
        expected: Option<&str>,
    ) -> S3Result<()> {
        #[cfg(sabotage)]
        let expected = expected.filter(|_| !engine_types::sabotage("skip-expected-owner"));
        let Some(expected) = expected else {
            return Ok(());
        };
        let owner = bucket.row.owner;
        let account = self.engine.account(owner).await.map_err(from_engine)?;
        let fits = account.is_some_and(|a| a.canonical_id == expected);
        if fits || expected.parse() == Ok(owner.0) {
            Ok(())
        } else {
            Err(s3_error!(AccessDenied))
        }
    }

    /// The bucket again, past the cache; only if it is still the same one, and lets the request in by
    /// the rules it has now.
    pub(crate) async fn refresh(&self, cx: &RequestContext, old: &Bucket) -> S3Result<Bucket> {
        let name = old.row.name.as_str();
        let new = self
            .engine
            .refresh_bucket(name)
            .await
            .map_err(from_engine)?;
        if new.row.id != old.row.id {
            return Err(s3_error!(NoSuchBucket));
        }
        let same =
            |kind: &BucketDocument| new.row.documents.get(kind) == old.row.documents.get(kind);
        if !JUDGED.iter().all(same) {
            cx.admitted()?.again(&new).await?;
        }
        Ok(new)
    }

    /// Owner as listings show it; an account that is gone keeps its number.
    pub(crate) async fn owner(&self, id: AccountId) -> S3Result<s3s::dto::Owner> {
        let account = self.engine.account(id).await.map_err(from_engine)?;
        Ok(match account {
            Some(row) => s3s::dto::Owner {
                id: Some(row.canonical_id),
                display_name: Some(row.name),
            },
            None => s3s::dto::Owner {
                id: Some(id.0.to_string()),
                display_name: None,
            },
        })
    }
}

/// An object key as the engine takes it.
pub(crate) fn object_key(key: &str) -> S3Result<ObjectKey> {
    ObjectKey::parse(key).map_err(|error| match error {
        NameError::KeyTooLong => s3_error!(KeyTooLongError, "Your key is too long"),
        NameError::EmptyKey | NameError::Bucket => {
            s3_error!(InvalidArgument, "Object key must not be empty")
        }
    })
}

/// `?versionId`: malformed is 400, well-formed and unknown is the engine's to say.
pub(crate) fn version_id(text: Option<&str>) -> S3Result<Option<VersionId>> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(version) => Ok(Some(version)),
        Err(_malformed) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

/// A number S3 models as signed and we as unsigned; what does not fit is nothing.
pub(crate) fn signed(value: u64) -> Option<i64> {
    i64::try_from(value).ok()
}
