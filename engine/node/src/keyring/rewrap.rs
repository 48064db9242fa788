//! Background: data keys that a rotated key's older versions wrap are wrapped by its current one.
//!
//! A pass walks the parts of every partition, a bounded page a tick, and moves each part's wrapping
//! by a compare-and-set command; the data key, and so the sealed bytes, stay what they are. Passes go
//! on until one finds nothing to move. A write that took the old version before the rotation may
//! commit after that, so a pass is made again each day while there are retired versions, and after a
//! start. A queue of parts per version was turned down: the rows themselves say what is to be done.
//!
//! The same worker keeps what keyring and control say of destroyed keys in step, and mends copies.

use super::Keyring;
use crate::EngineError;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::{Answer, Change, KeyVersionId, PartFound, PartKey, Query, Refusal, Reply};
use engine_types::{BucketId, DataId, ObjectKey, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Parts looked at in one tick.
pub(crate) const REWRAP_PAGE_PARTS: u32 = 128;
/// Pause of the worker when nothing is to be moved.
const PERIOD: Duration = Duration::from_secs(10);

/// Where the work stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RewrapPhase {
    /// No pass since this start, or since the last rotation.
    #[default]
    Waiting,
    /// A pass is under way.
    Walking,
    /// The last pass found nothing that could be moved.
    Done,
}

/// Of one retired version, since this start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VersionProgress {
    /// Parts it no longer wraps.
    pub moved: u64,
    /// Parts found in the pass under way, or the last one, that could not be moved.
    pub left: u64,
}

/// What the worker has done since this start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RewrapStatus {
    /// Where it stands.
    pub phase: RewrapPhase,
    /// Parts looked at in the pass under way, or the last one.
    pub looked_at: u64,
    /// Each retired version that was met.
    pub versions: BTreeMap<KeyVersionId, VersionProgress>,
}

impl Keyring {
    /// How far the re-wrapping of retired versions is.
    pub fn rewrap_status(&self) -> RewrapStatus {
        self.rewrap.lock().clone()
    }

    fn retired_versions(&self) -> BTreeSet<KeyVersionId> {
        self.opened.read().retired.keys().copied().collect()
    }
}

type Cursor = Option<(BucketId, ObjectKey, DataId)>;

/// The worker.
#[derive(Debug, Default)]
pub(crate) struct Rewrapper {
    pass: Option<Pass>,
    /// Versions that were retired when the last pass began that moved nothing, and when it ended.
    settled: Option<(BTreeSet<KeyVersionId>, Duration)>,
}

#[derive(Debug)]
struct Pass {
    retired: BTreeSet<KeyVersionId>,
    partitions: Vec<PartitionId>,
    cursor: Cursor,
    moved: u64,
}

#[async_trait]
impl Worker for Rewrapper {
    fn name(&self) -> &'static str {
        "keyring"
    }
    fn period(&self, inner: &Inner) -> Duration {
        PERIOD.min(inner.options.walk_period)
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        if self.pass.is_none() {
            inner.settle_keyring().await?;
            if !self.due(inner) {
                return Ok(Progress::Done);
            }
            self.begin(inner);
        }
        // Put back only where it went well: after an error the pass begins anew.
        let Some(mut pass) = self.pass.take() else {
            return Ok(Progress::Done);
        };
        if pass.step(inner).await? {
            self.pass = Some(pass);
            return Ok(Progress::More);
        }
        if pass.moved > 0 {
            tracing::info!(
                parts = pass.moved,
                "data keys wrapped by their keys' current versions"
            );
            return Ok(Progress::More);
        }
        inner.keyring.rewrap.lock().phase = RewrapPhase::Done;
        self.settled = Some((pass.retired, inner.clock.monotonic()));
        Ok(Progress::Done)
    }
}

impl Rewrapper {
    fn due(&self, inner: &Inner) -> bool {
        let retired = inner.keyring.retired_versions();
        let Some((settled, ended)) = &self.settled else {
            return !retired.is_empty();
        };
        let since = inner.clock.monotonic().saturating_sub(*ended);
        !retired.is_empty() && (retired != *settled || since >= inner.options.walk_period)
    }

    fn begin(&mut self, inner: &Inner) {
        let partitions = inner.metadata.partitions().into_iter();
        let mut status = inner.keyring.rewrap.lock();
        status.phase = RewrapPhase::Walking;
        status.looked_at = 0;
        for version in status.versions.values_mut() {
            version.left = 0;
        }
        drop(status);
        self.pass = Some(Pass {
            retired: inner.keyring.retired_versions(),
            partitions: partitions.filter(|p| *p != PartitionId::CONTROL).collect(),
            cursor: None,
            moved: 0,
        });
    }
}

impl Pass {
    /// One page. False: that was the last.
    async fn step(&mut self, inner: &Arc<Inner>) -> Result<bool, EngineError> {
        let Some(partition) = self.partitions.last().copied() else {
            return Ok(false);
        };
        let query = Query::ScanParts {
            after: self.cursor.take(),
            limit: REWRAP_PAGE_PARTS,
        };
        let Reply::ScannedParts(page) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("ScanParts"));
        };
        inner.keyring.rewrap.lock().looked_at += page.len() as u64;
        match page.last() {
            Some((bucket, key, found)) => self.cursor = Some((*bucket, key.clone(), found.data)),
            None => drop(self.partitions.pop()),
        }
        for (bucket, key, found) in page {
            if inner.life.is_cancelled() {
                return Ok(true);
            }
            let Some(version) = found.row.key.version.filter(|v| self.retired.contains(v)) else {
                continue;
            };
            let moved = inner.rewrap(partition, (bucket, key), found).await?;
            let mut status = inner.keyring.rewrap.lock();
            let progress = status.versions.entry(version).or_default();
            if moved {
                progress.moved += 1;
                self.moved += 1;
            } else {
                progress.left += 1;
            }
        }
        Ok(true)
    }
}

impl Inner {
    /// Wraps one part's data key anew. False: it was not moved, now or ever; said in the log.
    async fn rewrap(
        &self,
        partition: PartitionId,
        (bucket, key): (BucketId, ObjectKey),
        found: PartFound,
    ) -> Result<bool, EngineError> {
        let PartFound { data, row, .. } = found;
        let to = match self.rewrapped(data, &row.key).await {
            Ok(Some(to)) => to,
            Ok(None) => return Ok(false),
            // Of this part alone: the walk goes on.
            Err(EngineError::Internal(what) | EngineError::KeyUnavailable(what)) => {
                tracing::error!(%data, what, "data key cannot be wrapped anew");
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let change = Change::Rewrap {
            bucket,
            key,
            data,
            from: Box::<PartKey>::new(row.key),
            to: Box::new(to),
        };
        match self.propose(partition, change).await.answer() {
            Ok(Answer::Done) => Ok(true),
            Ok(_) => Err(EngineError::unexpected("Rewrap")),
            // Deleted meanwhile, or moved by another walk.
            Err(EngineError::Refused(Refusal::Changed | Refusal::TooOld)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
