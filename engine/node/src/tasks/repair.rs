//! Puts missing and damaged shards back: those queued in a commit, and those that readers report.
//!
//! The new copy is durable first; then one compare-and-set names it and buries the old one. Where
//! the stripe's map moved meanwhile the new copy is freed and nothing is lost.

use crate::EngineError;
use crate::damage::Damage;
use crate::engine::Inner;
use crate::proposals::Outcome;
use crate::stripe_read::{Failures, StripeAt};
use crate::stripe_write::{PartIdentity, RECORD_SLACK, Shard, StripeShape};
use crate::worker::{Progress, Worker};
use crate::written::Written;
use async_trait::async_trait;
use engine_core::erasure::Codec;
use engine_core::format::block_checksums;
use engine_core::meta::{Change, Query, Refusal, Reply, Slot, Stripe};
use engine_core::placement::PlacementKey;
use engine_core::stripes::shard_length;
use engine_types::{BirthId, BucketId, CopyToken, DataId, DriveId, ObjectKey, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Stripes looked at in one tick of one partition, and reports taken.
const STRIPES_PER_TICK: u32 = 64;

type Cursor = (BucketId, ObjectKey, DataId, u32);

#[derive(Debug, Default)]
pub(crate) struct Repairer {
    reports: Option<mpsc::Receiver<Damage>>,
    /// Where each partition's next tick goes on: stripes that cannot be repaired yet must not
    /// block others.
    after: BTreeMap<PartitionId, Cursor>,
}

#[async_trait]
impl Worker for Repairer {
    fn name(&self) -> &'static str {
        "repair"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.repair_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        if self.reports.is_none() {
            self.reports = inner.damage.take();
        }
        let mut progress = self.reported(inner).await?;
        let mut failed = None;
        for partition in inner.metadata.partitions() {
            match self.queued(inner, partition).await {
                Ok(Progress::More) => progress = Progress::More,
                Ok(Progress::Done) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(progress), Err)
    }
}

impl Repairer {
    async fn reported(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let Some(reports) = &mut self.reports else {
            return Ok(Progress::Done);
        };
        for _ in 0..STRIPES_PER_TICK {
            let Ok(damage) = reports.try_recv() else {
                return Ok(Progress::Done);
            };
            let Damage {
                partition,
                bucket,
                key,
                data,
                stripe,
                index,
                drive,
                ..
            } = damage;
            let at = StripeAt {
                partition,
                bucket,
                key,
                data,
                stripe,
            };
            repair(inner, &at, Some((index, drive))).await?;
        }
        Ok(Progress::More)
    }

    async fn queued(
        &mut self,
        inner: &Arc<Inner>,
        partition: PartitionId,
    ) -> Result<Progress, EngineError> {
        if partition == PartitionId::CONTROL {
            return Ok(Progress::Done);
        }
        let query = Query::Repairs {
            after: self.after.remove(&partition),
            limit: STRIPES_PER_TICK,
        };
        let Reply::Repairs(rows) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("Repairs"));
        };
        let full = rows.len() >= STRIPES_PER_TICK as usize;
        for (bucket, key, data, stripe) in rows {
            if inner.life.is_cancelled() {
                return Ok(Progress::Done);
            }
            let at = StripeAt {
                partition,
                bucket,
                key: key.clone(),
                data,
                stripe,
            };
            repair(inner, &at, None).await?;
            self.after.insert(partition, (bucket, key, data, stripe));
        }
        if full {
            return Ok(Progress::More);
        }
        self.after.remove(&partition);
        Ok(Progress::Done)
    }
}

/// Repairs one stripe as far as the drives allow. `bad`: a shard that did not read, and where.
async fn repair(
    inner: &Arc<Inner>,
    at: &StripeAt,
    bad: Option<(u8, DriveId)>,
) -> Result<(), EngineError> {
    let query = Query::Part {
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        first: at.stripe,
    };
    let Reply::Part(found) = inner.ask(at.partition, query).await? else {
        return Err(EngineError::unexpected("Part"));
    };
    let Some(from) = found.and_then(|part| part.stripes.into_iter().next()) else {
        return Ok(());
    };
    let Some(codec) = Codec::from_id(from.codec) else {
        return Ok(());
    };
    let missing = missing(inner, &from, bad).await;
    let targets = targets(inner, at, &from, &missing);
    if targets.is_empty() {
        return Ok(());
    }
    let stamp = inner.metadata.stamp(at.partition).await?;
    let _birth = inner.births.open(at.partition, stamp);
    let written = Written::new(Arc::clone(inner));
    let mut to = from.clone();
    // The rebuild must not read what is to be replaced.
    let mut sound = from.clone();
    for index in &missing {
        sound.slots[usize::from(*index)] = None;
    }
    for (index, drive) in targets {
        let slot = Slot {
            drive,
            token: CopyToken::born(stamp, inner.entropy()),
        };
        written.add(slot);
        rewrite(inner, at, (&sound, codec), index, slot).await?;
        to.slots[usize::from(index)] = Some(slot);
    }
    commit(inner, at, (from, to), &written).await
}

/// Rebuilds one shard and writes it to its new place.
async fn rewrite(
    inner: &Inner,
    at: &StripeAt,
    (sound, codec): (&Stripe, Codec),
    index: u8,
    slot: Slot,
) -> Result<(), EngineError> {
    let Stripe { k, m, length, .. } = *sound;
    let whole = 0..shard_length(length, k);
    let rebuilt = inner
        .rebuild(at, sound, index, whole, Failures::default())
        .await;
    let payload = rebuilt.map_err(|failures| failures.error(at))?;
    let crcs = block_checksums(&payload);
    let shard = Shard {
        index,
        payload,
        crcs,
    };
    let shape = StripeShape {
        codec,
        index: at.stripe,
        k,
        m,
        length,
    };
    let part = PartIdentity {
        partition: at.partition,
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        number: 0,
    };
    let append = inner.append_shard(&part, shape, shard, slot).await;
    append.map_err(|error| EngineError::Unavailable(error.to_string()))
}

async fn commit(
    inner: &Arc<Inner>,
    at: &StripeAt,
    (from, to): (Stripe, Stripe),
    written: &Written,
) -> Result<(), EngineError> {
    let change = Change::MoveStripe {
        bucket: at.bucket,
        key: at.key.clone(),
        data: at.data,
        index: at.stripe,
        from: Box::new(from),
        to: Box::new(to),
    };
    written.disarm();
    match inner.propose(at.partition, change).await {
        Outcome::Applied(_) | Outcome::Refused(Refusal::TooOld) => Ok(()),
        Outcome::Refused(_) => {
            written.arm();
            Ok(())
        }
        Outcome::NotProposed(error) => {
            written.arm();
            Err(error)
        }
        Outcome::Unknown(error) => Err(error),
    }
}

/// Shards to be made anew: without a slot, on a drive that left the layout, or reported and still
/// unsound. A report may be old, so the copy is read again whole.
async fn missing(inner: &Inner, stripe: &Stripe, bad: Option<(u8, DriveId)>) -> Vec<u8> {
    let mut missing = Vec::new();
    for (index, slot) in (0..).zip(&stripe.slots) {
        let gone = match slot {
            None => true,
            Some(slot) if !inner.drives.in_layout(slot.drive) => true,
            Some(slot) if bad == Some((index, slot.drive)) => !sound(inner, slot).await,
            Some(_) => false,
        };
        if gone {
            missing.push(index);
        }
    }
    missing
}

/// Whether a copy reads whole. A drive that does not answer says nothing of its copies.
async fn sound(inner: &Inner, slot: &Slot) -> bool {
    use engine_core::ports::DriveError::{Corrupt, NotFound};
    let Some(drive) = inner
        .drives
        .get(slot.drive)
        .filter(|drive| drive.readable())
    else {
        return true;
    };
    let verified = inner
        .drives
        .run(&drive, "verify", drive.store.verify(slot.token))
        .await;
    !matches!(verified, Err(NotFound | Corrupt(_)))
}

/// A drive for as many of the missing shards as there are drives without a shard of this stripe. A
/// damaged copy's own drive counts as one: it holds nothing of use.
fn targets(inner: &Inner, at: &StripeAt, stripe: &Stripe, missing: &[u8]) -> Vec<(u8, DriveId)> {
    let room = u64::from(shard_length(stripe.length, stripe.k)) + RECORD_SLACK;
    let view = inner.drives.view(room);
    let good = (0..)
        .zip(&stripe.slots)
        .filter(|(index, _)| !missing.contains(index));
    let used: BTreeSet<DriveId> = good
        .filter_map(|(_, slot)| slot.map(|slot| slot.drive))
        .collect();
    let eligible = |drive: &engine_core::placement::LayoutDrive| {
        view.writable.contains(&drive.id) && !used.contains(&drive.id)
    };
    let key = PlacementKey::stripe(at.data, at.stripe);
    let free = view
        .layout
        .drives
        .iter()
        .filter(|drive| eligible(drive))
        .count();
    let count = missing.len().min(free);
    let drives = view
        .layout
        .place(key, count, usize::from(stripe.m), eligible)
        .unwrap_or_default();
    missing.iter().copied().zip(drives).collect()
}
