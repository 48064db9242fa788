//! Empties sparse segments: moves their live shards to the segment being written on the same drive,
//! one compare-and-set a shard; the old copies die in the same commit, are freed behind the pins of
//! readers, and the drive deletes the segment once nothing lives in it.
//!
//! Which segments are worth it. Holes are punched, so a sparse segment takes no more room than what
//! lives in it; what it costs is its file, a footer and lines in the log of frees as long as it
//! stands, and room broken into pieces. To empty at 50 % live would write a byte for each given back
//! already, so: below [`SPARSE_PERCENT`] of a full segment, and only where [`SPARSE_SEGMENTS_MIN`] of
//! them come together in one (else each restart, which ends a segment early, would move it). Where
//! the file system cannot punch, room itself is at stake: a segment of whose held bytes less than
//! [`HELD_PERCENT`] live is emptied whatever else there is. And one whose own header is damaged,
//! whatever lives in it.
//!
//! A crash between append and commit leaves an orphan; one behind the commit leaves a dead copy.

use super::scrub::give_way;
use super::stripe_map;
use crate::EngineError;
use crate::drives::{Drive, Service};
use crate::engine::Inner;
use crate::metrics::{EMPTIED_BYTES, EMPTIED_SHARDS};
use crate::stripe_read::StripeAt;
use crate::worker::{Progress, Worker};
use crate::written::Written;
use async_trait::async_trait;
use engine_core::format::ShardHeader;
use engine_core::meta::{Slot, Stripe, shard_place};
use engine_core::ports::{DriveError, SegmentUse, ShardEntry, StoredShard};
use engine_types::{BirthId, CopyToken, DriveId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A segment of which less lives is sparse, percent of a full one.
const SPARSE_PERCENT: u64 = 25;
/// Fewer sparse ones are left alone: so many fit into one.
const SPARSE_SEGMENTS_MIN: usize = 100 / 25;
/// A segment of whose held bytes less lives is emptied in any case, percent.
const HELD_PERCENT: u64 = 50;
/// … where it holds at least so much that is not live, bytes: less is on its way to being punched.
const HELD_BYTES_MIN: u64 = 4 << 20;
/// Shards moved in one tick of one drive.
const SHARDS_PER_TICK: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Emptier {
    /// The segment under way on each drive, and the offset to go on at.
    at: BTreeMap<DriveId, (u64, u64)>,
    /// Segments gone through in this round: what was left in them dies by itself, or later.
    done: BTreeMap<DriveId, u64>,
}

#[async_trait]
impl Worker for Emptier {
    fn name(&self) -> &'static str {
        "empty"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.empty_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let mut progress = Progress::Done;
        for drive in inner.drives.here() {
            // A full drive has no room for a second copy; a leaving one is emptied by others.
            if drive.service() == Service::Up
                && !inner.life.is_cancelled()
                && self.drive(inner, &drive).await?
            {
                progress = Progress::More;
            }
        }
        if progress == Progress::Done {
            self.done.clear();
        }
        Ok(progress)
    }
}

impl Emptier {
    /// Moves the next few shards of a drive; true: more follow.
    async fn drive(&mut self, inner: &Arc<Inner>, drive: &Drive) -> Result<bool, EngineError> {
        let id = drive.row.id;
        let Some((segment, offset)) = self
            .at
            .get(&id)
            .copied()
            .or_else(|| self.choose(inner, drive))
        else {
            return Ok(false);
        };
        self.at.insert(id, (segment, offset));
        let placed = drive.store.placed((segment, offset), SHARDS_PER_TICK);
        let Ok(entries) = inner.drives.run(drive, "empty", placed).await else {
            return Ok(false);
        };
        let last = entries.len() < SHARDS_PER_TICK || entries.iter().any(|e| e.segment != segment);
        for entry in entries.iter().filter(|entry| entry.segment == segment) {
            if inner.life.is_cancelled() {
                return Ok(false);
            }
            let begun = inner.clock.monotonic();
            if let Moved::Unable(why) = relocate(inner, drive, entry).await? {
                tracing::debug!(drive = %id, segment, why, "segment not emptied now");
                self.at.remove(&id);
                return Ok(false);
            }
            self.at.insert(id, (segment, entry.offset + 1));
            let took = inner.clock.monotonic().saturating_sub(begun);
            give_way(inner, false, took).await;
        }
        if last {
            tracing::info!(drive = %id, segment, "segment emptied: it goes once its readers are gone");
            self.at.remove(&id);
            self.done.insert(id, segment);
        }
        Ok(true)
    }

    /// The lowest segment that is to be emptied and was not gone through in this round.
    fn choose(&self, inner: &Inner, drive: &Drive) -> Option<(u64, u64)> {
        let id = drive.row.id;
        let uses = drive.store.segments();
        let asked = inner.scrub.board(|board| {
            let of = |(on, segment): &(DriveId, u64)| (*on == id).then_some(*segment);
            board.to_empty.iter().filter_map(of).collect::<Vec<_>>()
        });
        let done = self.done.get(&id).copied().unwrap_or(0);
        let mut chosen = chosen(&uses, &asked);
        chosen.retain(|segment| *segment > done);
        chosen.first().map(|segment| (*segment, 0))
    }
}

/// Segments worth emptying, ascending.
fn chosen(uses: &[SegmentUse], asked: &[u64]) -> Vec<u64> {
    let live = |of: &&SegmentUse| of.settled && of.records > 0;
    let sparse = |of: &SegmentUse| of.live < of.size / 100 * SPARSE_PERCENT;
    let holding = |of: &SegmentUse| {
        of.held.saturating_sub(of.live) >= HELD_BYTES_MIN && of.live < of.held / 100 * HELD_PERCENT
    };
    let together = uses.iter().filter(live).filter(|of| sparse(of)).count();
    let worth = |of: &&SegmentUse| {
        (sparse(of) && together >= SPARSE_SEGMENTS_MIN)
            || holding(of)
            || asked.contains(&of.segment)
    };
    let chosen = uses.iter().filter(live).filter(worth);
    chosen.map(|of| of.segment).collect()
}

enum Moved {
    /// The stripe names the new copy, or does not name the old one: that goes by itself.
    Done,
    /// Not now: no room, or the drive errs.
    Unable(String),
}

/// Moves one shard to the drive's newest segment.
async fn relocate(
    inner: &Arc<Inner>,
    drive: &Drive,
    entry: &ShardEntry,
) -> Result<Moved, EngineError> {
    let unable = |error: DriveError| Ok(Moved::Unable(error.to_string()));
    // The header alone first: what no stripe names is not read, it goes by itself.
    let header = match read(inner, drive, entry, 0).await {
        Ok(Some(shard)) => shard.header,
        Ok(None) => return Ok(Moved::Done),
        Err(error) => return unable(error),
    };
    let Some((at, from)) = stripe_of(inner, &header).await? else {
        return Ok(Moved::Done);
    };
    let old = Slot {
        drive: drive.row.id,
        token: entry.token,
    };
    let index = usize::from(header.index);
    if from.slots.get(index).copied().flatten() != Some(old) {
        return Ok(Moved::Done);
    }
    let StoredShard { header, payload } = match read(inner, drive, entry, u32::MAX).await {
        Ok(Some(shard)) => shard,
        Ok(None) => return Ok(Moved::Done),
        Err(error) => return unable(error),
    };
    let stamp = inner.metadata.stamp(at.partition).await?;
    let _birth = inner.births.open(at.partition, stamp);
    let new = Slot {
        drive: old.drive,
        token: CopyToken::born(stamp, inner.entropy()),
    };
    let written = Written::new(Arc::clone(inner));
    written.add(new);
    let bytes = payload.len() as u64;
    let header = ShardHeader {
        token: new.token,
        ..header
    };
    let append = drive.store.append(header, payload.freeze());
    if let Err(error) = inner.drives.run_write(drive, "empty", append).await {
        return unable(error);
    }
    #[cfg(sabotage)]
    if engine_types::sabotage("empty-free-first") {
        inner.free(&[old]).await;
    }
    let mut to = from.clone();
    to.slots[index] = Some(new);
    stripe_map::change(inner, &at, (from, to), &written).await?;
    metrics::counter!(EMPTIED_SHARDS).increment(1);
    metrics::counter!(EMPTIED_BYTES).increment(bytes);
    Ok(Moved::Done)
}

/// So many bytes of a shard; none: it was freed, or is damaged. That is the scrub's and the repair's:
/// a damaged copy is made anew elsewhere.
async fn read(
    inner: &Inner,
    drive: &Drive,
    entry: &ShardEntry,
    bytes: u32,
) -> Result<Option<StoredShard>, DriveError> {
    let read = drive.store.read(entry.token, 0..bytes);
    match inner.drives.run(drive, "empty", read).await {
        Ok(shard) => Ok(Some(shard)),
        Err(DriveError::NotFound | DriveError::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stripe a shard belongs to, if its part is still there.
async fn stripe_of(
    inner: &Inner,
    header: &ShardHeader,
) -> Result<Option<(StripeAt, Stripe)>, EngineError> {
    let (bucket, key) = shard_place(&header.owner);
    let at = StripeAt {
        partition: header.partition,
        bucket,
        key,
        data: header.data,
        stripe: header.stripe,
    };
    let stripe = stripe_map::current(inner, &at).await?;
    Ok(stripe.map(|stripe| (at, stripe)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 256 << 20;

    fn of(segment: u64, live: u64, held: u64) -> SegmentUse {
        SegmentUse {
            segment,
            live,
            records: 1,
            held,
            settled: true,
            size: SIZE,
        }
    }

    #[test]
    fn sparse_segments_go_once_enough_come_together() {
        let sparse = |n: u64| of(n, SIZE / 8, SIZE / 8 + 4096);
        let mut uses: Vec<SegmentUse> = (1..SPARSE_SEGMENTS_MIN as u64).map(sparse).collect();
        uses.push(of(90, SIZE / 3, SIZE / 3 + 4096));
        assert_eq!(chosen(&uses, &[]), [] as [u64; 0], "one short of it");
        uses.push(sparse(91));
        assert_eq!(chosen(&uses, &[]), [1, 2, 3, 91]);
        uses[0].settled = false;
        assert_eq!(chosen(&uses, &[]), [] as [u64; 0], "one is still written");
    }

    #[test]
    fn what_cannot_be_punched_or_is_damaged_goes_by_itself() {
        let held = SIZE / 10 * 7;
        let uses = [
            of(1, SIZE / 3, held),
            of(2, SIZE / 2, held),
            of(3, SIZE, SIZE),
        ];
        assert_eq!(chosen(&uses, &[]), [1]);
        assert_eq!(chosen(&uses, &[3, 9]), [1, 3]);
        let few = [
            of(1, 4096, 4096 + HELD_BYTES_MIN - 1),
            of(2, 4096, 4096 + HELD_BYTES_MIN),
        ];
        assert_eq!(chosen(&few, &[]), [2]);
    }
}
