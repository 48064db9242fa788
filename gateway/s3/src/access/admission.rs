//! What the access check hands on: who was let in, and the means to judge the request again.
//!
//! Between the check and a handler's own look, or a write's commit, everything may change: which object
//! stands under the key, the bucket's configuration. So what is served or changed is judged as the
//! handler found it, by the bucket it found it in. To hand the row that the check saw on to the handler
//! was turned down: of an upload that takes an hour it says nothing when the bytes are there.

use super::circumstances::request_tags;
use super::judge::{Judge, ObjectFacts};
use super::{Access, Asked, Stop, keeps_changing, object, source};
use engine_core::meta::VersionAttributes;
use engine_node::{Bucket, Lookup, RestsOn};
use s3s::S3Result;
use std::sync::Arc;

/// A request that was let in. See the file's head.
#[derive(Debug)]
pub(crate) struct Admission {
    access: Access,
    asked: Asked,
    judge: Judge,
}

impl Admission {
    pub(super) fn new(access: Access, asked: Asked, judge: Judge) -> Self {
        Self {
            access,
            asked,
            judge,
        }
    }

    /// Of the bucket as the check found it.
    pub(crate) fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Who asks, judged by the rules of `bucket`.
    pub(crate) fn judge_by(&self, bucket: &Bucket) -> S3Result<Judge> {
        if bucket.reference == self.judge.bucket.reference {
            return Ok(self.judge.clone());
        }
        let who = (
            self.judge.identity.clone(),
            Arc::clone(&self.judge.circumstances),
        );
        self.access.judge(bucket.clone(), &who)
    }

    /// Judges the whole request again by its bucket as it is now.
    ///
    /// # Errors
    /// The refusal; `OperationAborted` where the bucket has moved once more.
    pub(crate) async fn again(&self, bucket: &Bucket) -> S3Result<()> {
        #[cfg(sabotage)]
        if engine_types::sabotage("commit-unjudged") || engine_types::sabotage("skip-access-check")
        {
            return Ok(());
        }
        let judge = self.judge_by(bucket)?;
        match self.access.judged(&judge, &self.asked).await {
            Ok(()) => Ok(()),
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Stale) => Err(keeps_changing()),
        }
    }

    /// May the request have what the handler found in `bucket`, or hear that nothing is there?
    pub(crate) fn permits(&self, bucket: &Bucket, lookup: &Lookup) -> S3Result<()> {
        #[cfg(sabotage)]
        if engine_types::sabotage("serve-unjudged") || engine_types::sabotage("skip-access-check") {
            return Ok(());
        }
        object::permits(&self.judge_by(bucket)?, &self.asked, lookup)
    }

    /// The same for the source of a copy into `destination`.
    pub(crate) fn permits_source(
        &self,
        destination: &Bucket,
        from: &Bucket,
        lookup: &Lookup,
    ) -> S3Result<()> {
        #[cfg(sabotage)]
        if engine_types::sabotage("serve-unjudged") || engine_types::sabotage("skip-access-check") {
            return Ok(());
        }
        let (destination, judge) = (self.judge_by(destination)?, self.judge_by(from)?);
        source::permits(&judge, &destination, &self.asked, lookup)
    }

    /// May the request give these tags, which only its body tells, to the object found?
    pub(crate) fn permits_tags(
        &self,
        bucket: &Bucket,
        of: &VersionAttributes,
        tags: &[(String, String)],
    ) -> S3Result<()> {
        let judge = self.judge_by(bucket)?;
        let asks = judge.rules.compiled().is_some_and(|p| p.asks_request_tags);
        if !asks {
            return Ok(());
        }
        // A head that speaks of tags too says nothing of those that are set.
        let head = judge.circumstances.iter();
        let head = head.filter(|(name, _)| !name.starts_with("s3:RequestObjectTag"));
        let circumstances = head
            .cloned()
            .chain(request_tags(tags.iter().cloned()))
            .collect();
        let judge = Judge {
            circumstances: Arc::new(circumstances),
            ..judge
        };
        object::permits_found(&judge, &self.asked, ObjectFacts::of(of))
    }

    /// What of this object its judgement rests on beside which it is.
    pub(crate) fn rests_on(&self, bucket: &Bucket, of: &VersionAttributes) -> S3Result<RestsOn> {
        let judge = self.judge_by(bucket)?;
        Ok(RestsOn {
            acl: judge.rules.acls() && judge.identity.account() != Some(of.owner),
            tags: judge.rules.compiled().is_some_and(|p| p.asks_object_tags),
        })
    }
}
