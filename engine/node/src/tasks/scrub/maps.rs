//! The walk over the stripe maps: every copy that a stripe names must be in its drive's index.

use super::only_one;
use crate::EngineError;
use crate::engine::Inner;
use crate::scrub::{Finding, FindingKind, FindingState, Open, Owner};
use crate::stripe_read::StripeAt;
use engine_core::meta::{PartFound, Place, Query, Reply, Stripe};
use engine_core::ports::DriveError;
use engine_types::{BucketId, CopyToken, DataId, DriveId, ObjectKey, PartitionId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Parts asked for at a time.
const PARTS_AT_ONCE: u32 = 32;
/// Pause between two walks for the sake of copies that do not tell whose they are, in periods of the
/// scrub.
const SEARCH_PERIODS: u32 = 60;

type Cursor = (BucketId, ObjectKey, DataId);

/// Where the walk is.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Partitions still to be walked, the one under way last; empty: none runs.
    partitions: Vec<PartitionId>,
    after: Option<Cursor>,
    /// Only copies on this drive.
    drive: Option<DriveId>,
    /// Monotonic, when it began last.
    began: Option<Duration>,
}

impl Walk {
    /// A walk asked for by hand is about these drives.
    pub(super) fn only(&mut self, drives: &BTreeSet<DriveId>, all: usize) {
        if !drives.is_empty() {
            self.drive = only_one(drives, all);
        }
    }

    /// One page, if it is time for one.
    pub(super) async fn step(&mut self, inner: &Inner) -> Result<(), EngineError> {
        let stopped = inner.scrub.board(|board| !board.maps.running);
        if stopped {
            self.partitions.clear();
        }
        if self.partitions.is_empty() {
            if !self.due(inner) {
                return Ok(());
            }
            self.begin(inner);
        }
        let Some(partition) = self.partitions.last().copied() else {
            self.end(inner);
            return Ok(());
        };
        let query = Query::ScanParts {
            after: self.after.clone(),
            limit: PARTS_AT_ONCE,
        };
        let Reply::ScannedParts(parts) = inner.ask(partition, query).await? else {
            return Err(EngineError::unexpected("ScanParts"));
        };
        let full = parts.len() >= PARTS_AT_ONCE as usize;
        for (bucket, key, part) in parts {
            if inner.life.is_cancelled() {
                return Ok(());
            }
            let cursor = (bucket, key.clone(), part.data);
            self.part(inner, partition, bucket, key, part).await?;
            self.after = Some(cursor);
        }
        if !full {
            self.after = None;
            self.partitions.pop();
            if self.partitions.is_empty() {
                self.end(inner);
            }
        }
        Ok(())
    }

    /// Whether to begin: asked for, for the first time in long, or because copies were found that do
    /// not tell whose they are. Not while a pass asked for by hand may find more of those.
    fn due(&self, inner: &Inner) -> bool {
        let (now, unix) = (inner.clock.monotonic(), inner.clock.unix_ms());
        let within = u64::try_from(inner.options.scrub_within.as_millis()).unwrap_or(u64::MAX);
        let rested = self.began.is_none_or(|began| {
            now.saturating_sub(began) >= inner.options.scrub_period * SEARCH_PERIODS
        });
        inner.scrub.board(|board| {
            if board.forced() {
                return false;
            }
            let unknown = |open: &Open| open.owner.is_none() && open.tries > 0;
            board.maps.requested
                || unix >= board.maps.ended.saturating_add(within)
                || (rested && board.open.values().any(unknown))
        })
    }

    fn begin(&mut self, inner: &Inner) {
        self.began = Some(inner.clock.monotonic());
        self.after = None;
        self.partitions = inner.metadata.partitions();
        self.partitions.retain(|p| *p != PartitionId::CONTROL);
        inner.scrub.board(|board| {
            (board.maps.requested, board.maps.running) = (false, true);
            board.maps.stripes = 0;
        });
    }

    fn end(&mut self, inner: &Inner) {
        let whole = self.drive.take().is_none();
        let now = inner.clock.unix_ms();
        inner.scrub.board(|board| {
            board.maps.running = false;
            if whole {
                board.maps.ended = now;
                board.drives.values_mut().for_each(|of| of.changed = true);
            }
            tracing::info!(
                stripes = board.maps.stripes,
                whole,
                "stripe maps held against the drives"
            );
        });
    }

    /// All stripes of a part, a chunk at a time.
    async fn part(
        &self,
        inner: &Inner,
        partition: PartitionId,
        bucket: BucketId,
        key: ObjectKey,
        part: PartFound,
    ) -> Result<(), EngineError> {
        let Place::Stripes(count) = part.row.place else {
            return Ok(());
        };
        let at = |stripe| StripeAt {
            partition,
            bucket,
            key: key.clone(),
            data: part.data,
            stripe,
        };
        let (mut first, mut stripes) = (0, part.stripes);
        loop {
            let chunk: Vec<(StripeAt, Stripe)> = (first..)
                .map(at)
                .zip(std::mem::take(&mut stripes))
                .collect();
            first += u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let empty = chunk.is_empty();
            self.chunk(inner, &chunk).await?;
            if first >= count || empty {
                return Ok(());
            }
            let query = Query::Part {
                bucket,
                key: key.clone(),
                data: part.data,
                first,
            };
            let Reply::Part(Some(found)) = inner.ask(partition, query).await? else {
                return Ok(());
            };
            stripes = found.stripes;
        }
    }

    async fn chunk(&self, inner: &Inner, chunk: &[(StripeAt, Stripe)]) -> Result<(), EngineError> {
        let mut tokens: BTreeMap<DriveId, Vec<CopyToken>> = BTreeMap::new();
        let slots = chunk.iter().flat_map(|(at, stripe)| {
            let indexed = (0..).zip(&stripe.slots);
            indexed.filter_map(move |(index, slot)| Some((at, index, (*slot)?)))
        });
        let slots: Vec<_> = slots
            .filter(|(_, _, slot)| self.drive.is_none_or(|only| only == slot.drive))
            .collect();
        for (_, _, slot) in &slots {
            tokens.entry(slot.drive).or_default().push(slot.token);
        }
        let mut absent: BTreeSet<(DriveId, CopyToken)> = BTreeSet::new();
        for (id, tokens) in tokens {
            let Some(drive) = inner.drives.get(id).filter(|drive| drive.readable()) else {
                continue;
            };
            let asked = drive.store.absent(&tokens);
            // A drive that errs says nothing of its copies.
            if let Ok(some) = inner.drives.run(&drive, "scrub", asked).await {
                absent.extend(some.into_iter().map(|token| (id, token)));
            }
        }
        #[cfg(sabotage)]
        if engine_types::sabotage("scrub-skip-maps") {
            absent.clear();
        }
        for (at, index, slot) in slots {
            let copy = (slot.drive, slot.token);
            let owner = || Owner {
                at: at.clone(),
                index,
            };
            if absent.contains(&copy) {
                missing(inner, owner(), copy).await?;
            } else {
                inner.scrub.board(|board| {
                    let open = board
                        .open
                        .get_mut(&copy)
                        .filter(|open| open.owner.is_none());
                    if let Some(open) = open {
                        open.owner = Some(owner());
                        open.due = Duration::ZERO;
                    }
                });
            }
        }
        let count = chunk.len() as u64;
        inner.scrub.board(|board| board.maps.stripes += count);
        Ok(())
    }
}

/// A copy that its drive does not hold; the map may have moved since it was read.
async fn missing(
    inner: &Inner,
    owner: Owner,
    (drive, token): (DriveId, CopyToken),
) -> Result<(), EngineError> {
    if super::open::named(inner, &owner, (drive, token))
        .await?
        .is_none()
    {
        return Ok(());
    }
    let object = super::open::object_name(inner, &owner.at).await;
    let shard = Some((owner.at.stripe, owner.index));
    inner.scrub.board(|board| {
        if board.open.contains_key(&(drive, token)) {
            return;
        }
        board.tell(Finding {
            found: inner.clock.unix_ms(),
            drive,
            place: None,
            token: Some(token),
            object: Some(object),
            shard,
            kind: FindingKind::Missing,
            state: FindingState::Queued,
            reason: DriveError::NotFound.to_string(),
        });
        let open = Open {
            place: None,
            owner: Some(owner),
            tries: 0,
            due: Duration::ZERO,
        };
        board.open.insert((drive, token), open);
    });
    Ok(())
}
