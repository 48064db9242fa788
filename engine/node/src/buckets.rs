//! Buckets: looked up by name and cached; made and deleted in idempotent steps over control and home.
//!
//! `CreateBucket` claims the name at control, makes the bucket at its home, marks the name live.
//! `DeleteBucket` runs backwards. A crash between the steps leaves a name creating or deleting, which
//! [`Inner::settle_bucket`] rolls forward. What the home has done decides: a bucket that its home never
//! made is released (its documents died with whoever sent them: made without, it would be open), and a
//! name stays with no bucket that its home has deleted, whatever state others left the name in. The cache is safe to be old: partitions refuse an epoch
//! that is not the present one.

use crate::EngineError;
use crate::api::{Bucket, NewBucket};
use crate::engine::{Engine, Inner};
use engine_core::meta::{
    Answer, BucketDocument, BucketNameRow, BucketRef, BucketRow, BucketState, Change,
    ControlChange, ControlQuery, ControlReply, ListQuery, Query, Refusal, Reply, Versioning,
};
use engine_types::{AccountId, BucketName};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A cached bucket older than this is read again: nothing but the age of configuration that no
/// partition judges (policy, CORS) on a node that did not make the change depends on it.
const BUCKET_FRESH: Duration = Duration::from_secs(1);

fn bucket_of(home: engine_types::PartitionId, row: BucketRow) -> Bucket {
    let reference = BucketRef {
        id: row.id,
        partition: home,
        epoch: row.epoch,
    };
    Bucket {
        row: Arc::new(row),
        reference,
    }
}

impl Inner {
    async fn name_row(&self, name: &str) -> Result<Option<BucketNameRow>, EngineError> {
        match self.ask_control(ControlQuery::Bucket(name.into())).await? {
            ControlReply::Bucket(row) => Ok(row),
            _ => Err(EngineError::unexpected("Bucket")),
        }
    }

    async fn home_row(&self, row: &BucketNameRow) -> Result<Option<BucketRow>, EngineError> {
        match self.ask(row.home, Query::Bucket(row.id)).await? {
            Reply::Bucket(row) => Ok(row.map(|row| *row)),
            _ => Err(EngineError::unexpected("Bucket")),
        }
    }

    /// A bucket as it is now, past the cache. One being deleted is there until its home closes it:
    /// it may turn out not to be empty.
    pub(crate) async fn look_up_bucket(&self, name: &str) -> Result<Bucket, EngineError> {
        let found = match self.name_row(name).await? {
            Some(row) if row.state != BucketState::Creating => {
                let home = self.home_row(&row).await?;
                if row.state == BucketState::Live && home.as_ref().is_none_or(|home| home.closed) {
                    self.deleted_behind(name, &row).await?;
                }
                home.filter(|home| !home.closed)
                    .map(|home| bucket_of(row.home, home))
            }
            _ => None,
        };
        if let Some(bucket) = found {
            self.buckets
                .put(name.into(), bucket.clone(), self.clock.monotonic());
            Ok(bucket)
        } else {
            self.buckets.remove(name);
            Err(Refusal::NoSuchBucket.into())
        }
    }

    /// A live name whose home deletes the bucket, or has: of two deletions one found it not empty and
    /// made the name live again, the other went on and did not come to its end.
    async fn deleted_behind(&self, name: &str, row: &BucketNameRow) -> Result<(), EngineError> {
        let Ok(name) = BucketName::parse(name) else {
            return Ok(());
        };
        let (id, deleting) = (row.id, true);
        let again = ControlChange::BucketDeleting { name, id, deleting };
        match self.propose_control(again).await {
            // In another state, or another life, by now: somebody else saw to it.
            Ok(_) | Err(EngineError::Refused(Refusal::NoSuchBucket | Refusal::BucketBusy)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The steps of `CreateBucket` behind the claim.
    async fn finish_creation(
        &self,
        name: &BucketName,
        row: &BucketNameRow,
        documents: BTreeMap<BucketDocument, Vec<u8>>,
    ) -> Result<Bucket, EngineError> {
        let new = BucketRow {
            id: row.id,
            name: name.clone(),
            owner: row.owner,
            created: row.created,
            epoch: 1,
            versioning: Versioning::Unversioned,
            documents,
            closed: false,
        };
        let create = Change::CreateBucket(Box::new(new));
        let Answer::Bucket(made) = self.propose(row.home, create).await.answer()? else {
            return Err(EngineError::unexpected("CreateBucket"));
        };
        match self.bucket_live(name, row).await {
            // So slow that the name was released meanwhile: nothing may stay at home under its id.
            Err(EngineError::Refused(Refusal::NoSuchBucket)) => {
                let undo = Change::DeleteBucket { id: row.id };
                self.propose(row.home, undo).await.answer()?;
                return Err(Refusal::BucketBusy.into());
            }
            other => other?,
        }
        let bucket = bucket_of(row.home, *made);
        self.buckets
            .put(name.as_str().into(), bucket.clone(), self.clock.monotonic());
        Ok(bucket)
    }

    async fn bucket_live(&self, name: &BucketName, row: &BucketNameRow) -> Result<(), EngineError> {
        let live = ControlChange::BucketLive {
            name: name.clone(),
            id: row.id,
        };
        self.propose_control(live).await.map(drop)
    }

    /// Frees a name that has no bucket at home.
    async fn release(&self, name: &BucketName, row: &BucketNameRow) -> Result<(), EngineError> {
        self.buckets.remove(name.as_str());
        let release = ControlChange::ReleaseBucket {
            name: name.clone(),
            id: row.id,
        };
        self.propose_control(release).await.map(drop)
    }

    /// The steps of `DeleteBucket` behind the first; a bucket that is not empty is live again.
    async fn finish_deletion(
        &self,
        name: &BucketName,
        row: &BucketNameRow,
    ) -> Result<(), EngineError> {
        loop {
            match self
                .propose(row.home, Change::DeleteBucket { id: row.id })
                .await
                .answer()
            {
                Ok(Answer::Done) => break,
                Ok(Answer::Bucket(_)) => {}
                Ok(_) => return Err(EngineError::unexpected("DeleteBucket")),
                Err(error @ EngineError::Refused(Refusal::BucketNotEmpty)) => {
                    let back = ControlChange::BucketDeleting {
                        name: name.clone(),
                        id: row.id,
                        deleting: false,
                    };
                    self.propose_control(back).await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.release(name, row).await
    }

    /// Ends a creation or deletion that somebody did not finish.
    pub(crate) async fn settle_bucket(
        &self,
        name: &BucketName,
        row: &BucketNameRow,
    ) -> Result<(), EngineError> {
        match row.state {
            BucketState::Live => Ok(()),
            BucketState::Creating => match self.home_row(row).await? {
                Some(_) => self.bucket_live(name, row).await,
                None => self.release(name, row).await,
            },
            BucketState::Deleting => match self.finish_deletion(name, row).await {
                Err(EngineError::Refused(Refusal::BucketNotEmpty)) => Ok(()),
                other => other,
            },
        }
    }

    async fn change_bucket(&self, bucket: &Bucket, change: Change) -> Result<(), EngineError> {
        let home = bucket.reference.partition;
        let Answer::Bucket(row) = self.propose(home, change).await.answer()? else {
            return Err(EngineError::unexpected("a change of a bucket"));
        };
        let name = row.name.as_str().into();
        self.buckets
            .put(name, bucket_of(home, *row), self.clock.monotonic());
        Ok(())
    }
}

impl Engine {
    /// A live bucket by name; `Refused(NoSuchBucket)` otherwise. Cached by epoch: callers that get
    /// `Refused(StaleBucket)` from any call look it up again with [`Engine::refresh_bucket`].
    pub async fn bucket(&self, name: &str) -> Result<Bucket, EngineError> {
        match self.inner.buckets.get(name) {
            Some((bucket, at))
                if self.inner.clock.monotonic().saturating_sub(at) < BUCKET_FRESH =>
            {
                Ok(bucket)
            }
            _ => self.inner.look_up_bucket(name).await,
        }
    }

    /// Looks a bucket up past the cache.
    pub async fn refresh_bucket(&self, name: &str) -> Result<Bucket, EngineError> {
        self.inner.look_up_bucket(name).await
    }

    /// Claims the name, makes the bucket at its home, marks it live. `Refused(BucketExists)` where
    /// the name is taken.
    pub async fn create_bucket(&self, new: NewBucket) -> Result<Bucket, EngineError> {
        let claim = ControlChange::ClaimBucket {
            name: new.name.clone(),
            owner: new.owner,
        };
        let Answer::Claimed(row) = self.inner.propose_control(claim).await? else {
            return Err(EngineError::unexpected("ClaimBucket"));
        };
        let documents = new.documents.into_iter().collect();
        self.inner.finish_creation(&new.name, &row, documents).await
    }

    /// Deletes an empty bucket; its open uploads die with it.
    pub async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), EngineError> {
        let name = &bucket.row.name;
        // Most refusals end here, without the name leaving the state Live.
        let one = ListQuery {
            limit: 1,
            ..ListQuery::default()
        };
        let listed = self.list_versions(bucket, one, None).await;
        if listed.is_ok_and(|page| !page.versions.is_empty()) {
            return Err(Refusal::BucketNotEmpty.into());
        }
        let id = bucket.row.id;
        let deleting = ControlChange::BucketDeleting {
            name: name.clone(),
            id,
            deleting: true,
        };
        let Answer::Claimed(row) = self.inner.propose_control(deleting).await? else {
            return Err(EngineError::unexpected("BucketDeleting"));
        };
        self.inner.finish_deletion(name, &row).await
    }

    /// Live buckets of an account by name; `true`: more follow.
    pub async fn list_buckets(
        &self,
        owner: AccountId,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<(BucketName, BucketNameRow)>, bool), EngineError> {
        let after = after.map(str::to_owned);
        let query = ControlQuery::Buckets {
            owner,
            prefix: prefix.into(),
            after,
            limit,
        };
        match self.inner.ask_control(query).await? {
            ControlReply::Buckets(rows, more) => Ok((rows, more)),
            _ => Err(EngineError::unexpected("Buckets")),
        }
    }

    /// Sets the versioning state. `Refused(StaleBucket)` where the configuration moved since `bucket`
    /// was looked up.
    pub async fn set_versioning(&self, bucket: &Bucket, to: Versioning) -> Result<(), EngineError> {
        let change = Change::SetVersioning {
            id: bucket.row.id,
            epoch: bucket.reference.epoch,
            versioning: to,
        };
        self.inner.change_bucket(bucket, change).await
    }

    /// Sets or removes one configuration document. `Refused(StaleBucket)` where the configuration moved
    /// since `bucket` was looked up.
    pub async fn set_document(
        &self,
        bucket: &Bucket,
        kind: BucketDocument,
        content: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        let content = content.map(ByteBuf::from);
        let change = Change::SetDocument {
            id: bucket.row.id,
            epoch: bucket.reference.epoch,
            kind,
            content,
        };
        self.inner.change_bucket(bucket, change).await
    }
}
