//! Walks the stripe maps and mends every stripe that has a shard on a drive that leaves, is gone or
//! was replaced, or that is striped weaker than the drives allow; those first that bear the fewest
//! losses. Last come those that lack nothing and should be on other drives: one has joined.
//!
//! A walk is a survey, which counts what is to be done by urgency, then one pass for each urgency,
//! most urgent first, then a survey again until nothing is left that the drives allow. Passes over
//! the maps instead of one ordered queue: memory stays the same whatever there is to do, and nothing
//! has to be kept over a restart, because what is to be done stands in the maps themselves.
//!
//! **A drive has left for good** ([`RebuildStatus::departed`]) when a survey finds no stripe that
//! names it, and began after every partition's watermark had passed the stamp at which this node
//! stopped to place shards on it: what was written before then is committed, and found, or never
//! will be. Only then may it be dropped from the layout and erased.
//! It is said of the layout that the survey went by from its beginning to its end, and holds for no
//! other: where the removal was called off and asked for again, shards have come in between. So that
//! no departure waits for ever, every change of the layout, whatever it is, brings a survey.
//!
//! [`RebuildStatus::departed`]: crate::RebuildStatus::departed

use super::leavers::Leavers;
use super::mend::{Mended, mend, plan, room};
use super::stripes::Stripes;
use crate::EngineError;
use crate::engine::Inner;
use crate::rebuild::{Amount, RebuildPhase};
use crate::stripe_read::StripeAt;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::meta::Stripe;
use engine_core::placement::{Fleet, Work};
use engine_core::stripes::shard_length;
use engine_types::DriveId;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Stripes mended at once: one reads while another writes.
const MENDS_AT_ONCE: usize = 2;
/// While requests run, mending rests so many times as long as it worked.
const REST_FACTOR: u32 = 3;
/// Longest rest after one stripe.
const REST_MAX: Duration = Duration::from_secs(1);
/// A walk in which stripes could not be mended for other reasons than the drives' state is done
/// again after this.
const RETRY_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Walker {
    phase: Phase,
    /// What the drives were like when the last walk began; none yet: walk now.
    seen: Option<Seen>,
    /// When the last walk ended.
    ended: Duration,
    /// The last walk left stripes that it could not mend: as drives stood, or by failures.
    blocked: bool,
    failed: bool,
    leavers: Leavers,
    /// Drives that were in service at some walk. Another has joined, and takes its share.
    met: BTreeSet<DriveId>,
}

/// What decides whether a walk is due.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    layout: u64,
    writable: BTreeSet<DriveId>,
    readable: BTreeSet<DriveId>,
    settled: BTreeSet<DriveId>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Survey {
        stripes: Stripes,
        tally: Tally,
        seen: Seen,
    },
    Mend {
        stripes: Stripes,
        /// Urgencies to come, the current one first.
        levels: Vec<i32>,
        seen: Seen,
        mended: u64,
    },
}

/// What a survey counts.
#[derive(Debug, Default)]
struct Tally {
    left: Amount,
    levels: BTreeSet<i32>,
    blocked: Amount,
    drives: BTreeMap<DriveId, Amount>,
}

impl Tally {
    fn judge(&mut self, fleet: &Fleet, at: &StripeAt, stripe: &Stripe) {
        let held = u64::from(shard_length(stripe.length, stripe.k));
        for slot in stripe.slots.iter().flatten() {
            if !fleet.keeps(slot.drive) {
                self.drives.entry(slot.drive).or_default().add(1, held);
            }
        }
        let plan = plan(fleet, at, stripe, None);
        self.levels.extend(plan.urgency());
        match plan.work {
            Work::None => {}
            Work::Blocked => {
                let shards = u64::from(plan.missing.max(1));
                self.blocked.add(shards, shards * held);
            }
            Work::Move(moves) | Work::Balance(moves) => {
                self.left.add(moves.len() as u64, moves.len() as u64 * held);
            }
            Work::Restripe { geometry, drives } => {
                let shard = u64::from(shard_length(stripe.length, geometry.k));
                self.left
                    .add(drives.len() as u64, drives.len() as u64 * shard);
            }
        }
    }
}

#[async_trait]
impl Worker for Walker {
    fn name(&self) -> &'static str {
        "rebuild"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.rebuild_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        match std::mem::take(&mut self.phase) {
            Phase::Idle => self.idle(inner).await,
            Phase::Survey {
                stripes,
                tally,
                seen,
            } => self.survey(inner, stripes, tally, seen).await,
            Phase::Mend {
                stripes,
                levels,
                seen,
                mended,
            } => self.mend(inner, stripes, levels, seen, mended).await,
        }
    }
}

impl Walker {
    async fn idle(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        inner.read_layout().await?;
        self.leavers.watch(inner).await;
        let seen = self.see(inner);
        inner.rebuild.retain_departed(&seen.settled, seen.layout);
        if !self.due(inner, &seen) {
            return Ok(Progress::Done);
        }
        inner.rebuild.clear_weak();
        self.met.extend(&seen.readable);
        self.begin(inner, seen);
        Ok(Progress::More)
    }

    fn see(&self, inner: &Inner) -> Seen {
        let fleet = inner.drives.fleet(room());
        let layout = fleet.layout.version;
        Seen {
            layout,
            writable: fleet.writable,
            readable: fleet.readable,
            settled: self.leavers.settled(layout),
        }
    }

    fn begin(&mut self, inner: &Inner, seen: Seen) {
        inner
            .rebuild
            .enter(RebuildPhase::Surveying, inner.clock.monotonic());
        self.phase = Phase::Survey {
            stripes: Stripes::new(inner),
            tally: Tally::default(),
            seen,
        };
    }

    fn due(&self, inner: &Inner, now: &Seen) -> bool {
        let asked = inner.rebuild.take_asked();
        let Some(last) = &self.seen else {
            return true;
        };
        let since = inner.clock.monotonic().saturating_sub(self.ended);
        let drives_changed = (&now.writable, &now.readable) != (&last.writable, &last.readable);
        let fleet_allows = || {
            let view = inner.drives.view(room());
            view.target()
                .is_some_and(|target| view.writable.len() >= target.shards())
        };
        asked
            || now.layout != last.layout
            || now.settled != last.settled
            || !now.readable.is_subset(&self.met)
            || (self.blocked && drives_changed)
            || (self.failed && since >= RETRY_AFTER)
            || (inner.rebuild.has_weak() && fleet_allows())
            || since >= inner.options.walk_period
    }

    async fn survey(
        &mut self,
        inner: &Arc<Inner>,
        mut stripes: Stripes,
        mut tally: Tally,
        seen: Seen,
    ) -> Result<Progress, EngineError> {
        self.seen = None;
        let page = stripes.page_of_those_that_answer(inner).await;
        let fleet = inner.drives.fleet(room());
        if fleet.layout.version != seen.layout {
            return Ok(Progress::More);
        }
        let Some(page) = page else {
            return Ok(self.surveyed(inner, &tally, seen, stripes.incomplete()));
        };
        for (at, stripe) in &page {
            tally.judge(&fleet, at, stripe);
        }
        inner
            .rebuild
            .found(tally.left, tally.blocked, &tally.drives);
        self.phase = Phase::Survey {
            stripes,
            tally,
            seen,
        };
        Ok(Progress::More)
    }

    /// `incomplete`: some partition was not counted. What it names is not known then, so no drive has
    /// departed, and the walk is made again soon.
    fn surveyed(&mut self, inner: &Inner, tally: &Tally, seen: Seen, incomplete: bool) -> Progress {
        inner
            .rebuild
            .found(tally.left, tally.blocked, &tally.drives);
        let named = |drive: &&DriveId| tally.drives.contains_key(drive);
        let departed: BTreeSet<DriveId> = seen
            .settled
            .iter()
            .filter(|drive| !incomplete && !named(drive))
            .copied()
            .collect();
        // Not only when the walk ends: it may have another drive to empty first.
        inner.rebuild.departed(departed, seen.layout);
        self.blocked = tally.blocked.stripes > 0;
        self.failed = incomplete;
        if tally.levels.is_empty() {
            self.end(inner, seen);
            return Progress::Done;
        }
        let left = tally.left;
        tracing::info!(
            stripes = left.stripes,
            bytes = left.bytes,
            "stripes are brought where they should be"
        );
        inner
            .rebuild
            .enter(RebuildPhase::Rebuilding, inner.clock.monotonic());
        self.phase = Phase::Mend {
            stripes: Stripes::new(inner),
            levels: tally.levels.iter().copied().collect(),
            seen,
            mended: 0,
        };
        Progress::More
    }

    fn end(&mut self, inner: &Inner, seen: Seen) {
        self.seen = Some(seen);
        self.ended = inner.clock.monotonic();
        inner.rebuild.ended();
    }

    async fn mend(
        &mut self,
        inner: &Arc<Inner>,
        mut stripes: Stripes,
        mut levels: Vec<i32>,
        seen: Seen,
        mut mended: u64,
    ) -> Result<Progress, EngineError> {
        self.seen = None;
        let page = stripes.page_of_those_that_answer(inner).await;
        let fleet = inner.drives.fleet(room());
        let Some(&level) = levels.first() else {
            return Ok(Progress::More);
        };
        // Another drive went, or one came: what is most urgent may have changed.
        if fleet.layout.version != seen.layout || fleet.readable != seen.readable {
            return Ok(Progress::More);
        }
        if let Some(page) = page {
            let wanted = page.into_iter().filter_map(|(at, stripe)| {
                let urgency = plan(&fleet, &at, &stripe, None).urgency();
                urgency
                    .is_some_and(|urgency| urgency <= level)
                    .then_some(at)
            });
            mended += self.mend_all(inner, wanted.collect()).await;
        } else {
            levels.remove(0);
            if levels.is_empty() && mended == 0 {
                self.blocked = true;
                self.end(inner, seen);
                return Ok(Progress::Done);
            }
            // At the end counted again: writes went on meanwhile.
            stripes = Stripes::new(inner);
        }
        if levels.is_empty() {
            let seen = self.see(inner);
            self.begin(inner, seen);
        } else {
            self.phase = Phase::Mend {
                stripes,
                levels,
                seen,
                mended,
            };
        }
        Ok(Progress::More)
    }

    /// Mends what the drives allow; how many.
    async fn mend_all(&mut self, inner: &Arc<Inner>, wanted: Vec<StripeAt>) -> u64 {
        let mends = wanted.into_iter().map(|at| async move {
            if inner.life.is_cancelled() {
                return Ok(Mended::Blocked);
            }
            let began = inner.clock.monotonic();
            let done = mend(inner, &at, None).await;
            rest(inner, inner.clock.monotonic().saturating_sub(began)).await;
            done
        });
        let mut mends = futures::stream::iter(mends).buffer_unordered(MENDS_AT_ONCE);
        let mut mended = 0;
        while let Some(done) = mends.next().await {
            match done {
                Ok(Mended::Done { shards, bytes, rid }) => {
                    mended += 1;
                    inner
                        .rebuild
                        .done(shards, bytes, &rid, inner.clock.monotonic());
                }
                Ok(Mended::Sound | Mended::Raced) => {}
                Ok(Mended::Blocked) => self.blocked = true,
                Err(error) => {
                    self.failed = true;
                    tracing::warn!(%error, "a stripe could not be brought where it should be");
                }
            }
        }
        mended
    }
}

/// Leaves the drives to requests, where some run.
async fn rest(inner: &Inner, worked: Duration) {
    let writes = inner.births.open_count() > inner.rebuild.mending();
    if (writes || inner.pins.any()) && !inner.life.is_cancelled() {
        tokio::time::sleep(rest_after(worked)).await;
    }
}

fn rest_after(worked: Duration) -> Duration {
    worked.saturating_mul(REST_FACTOR).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_with_the_work_up_to_the_longest() {
        let most = REST_MAX / REST_FACTOR;
        assert_eq!(rest_after(most), most * REST_FACTOR);
        assert!(rest_after(most) <= REST_MAX);
        assert_eq!(rest_after(most + Duration::from_millis(1)), REST_MAX);
        assert_eq!(rest_after(Duration::MAX), REST_MAX);
    }
}
