//! The walk over the stripe maps: every copy that a stripe names must be in its drive's index.

use super::super::orphans::watermarks;
use super::super::stripes::Stripes;
use super::{give_way, only_one};
use crate::EngineError;
use crate::engine::Inner;
use crate::scrub::{Board, Finding, FindingKind, FindingState, OPEN_MAX, Open, Owner, Search};
use crate::stripe_read::StripeAt;
use engine_core::meta::Stripe;
use engine_core::ports::DriveError;
use engine_types::{BirthId, CopyToken, DriveId, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pause between two walks for the sake of copies that do not tell whose they are, in periods of the
/// scrub.
const SEARCH_PERIODS: u32 = 60;

/// Where the walk is.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What is still to be walked; none: no walk runs.
    stripes: Option<Stripes>,
    /// Read and not held against the drives yet: what fails is done again.
    page: Option<Vec<(StripeAt, Stripe)>>,
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
            (self.stripes, self.page) = (None, None);
        }
        if self.stripes.is_none() {
            if !self.due(inner) {
                return Ok(());
            }
            let watermarks = watermarks(inner).await?;
            self.begin(inner, watermarks.into_values().min());
        }
        if inner.scrub.board(|board| held_back(board)) {
            return Ok(());
        }
        let begun = inner.clock.monotonic();
        if self.page.is_none()
            && let Some(stripes) = &mut self.stripes
        {
            self.page = stripes.page(inner).await?;
        }
        match &self.page {
            Some(page) => self.hold(inner, page).await?,
            None => self.end(inner),
        }
        self.page = None;
        let took = inner.clock.monotonic().saturating_sub(begun);
        give_way(inner, false, took).await;
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
            let unknown = |open: &Open| {
                open.owner.is_none() && open.tries > 0 && open.search != Search::InVain
            };
            board.maps.requested
                || unix >= board.maps.ended.saturating_add(within)
                || (rested && board.open.values().any(unknown))
        })
    }

    /// `settled`: no copy born before it will yet be named, so that one this walk does not find named
    /// never is.
    fn begin(&mut self, inner: &Inner, settled: Option<Stamp>) {
        self.began = Some(inner.clock.monotonic());
        self.stripes = Some(Stripes::new(inner));
        inner.scrub.board(|board| {
            (board.maps.requested, board.maps.running) = (false, true);
            board.maps.stripes = 0;
            for (token, open) in self.sought(board) {
                if settled.is_some_and(|settled| token.birth() < settled) {
                    open.search = Search::UnderWay;
                }
            }
        });
    }

    /// Copies whose owner this walk would find.
    fn sought<'a>(
        &self,
        board: &'a mut Board,
    ) -> impl Iterator<Item = (CopyToken, &'a mut Open)> + use<'a> {
        let only = self.drive;
        let all = board.open.iter_mut();
        all.filter(move |((drive, _), open)| {
            open.owner.is_none() && only.is_none_or(|only| only == *drive)
        })
        .map(|((_, token), open)| (*token, open))
    }

    fn end(&mut self, inner: &Inner) {
        let now = inner.clock.unix_ms();
        self.stripes = None;
        inner.scrub.board(|board| {
            board.maps.running = false;
            for (_, open) in self.sought(board) {
                if open.search == Search::UnderWay {
                    (open.search, open.due) = (Search::InVain, Duration::ZERO);
                }
            }
            let whole = self.drive.take().is_none();
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

    /// Asks each drive of a page's stripes whether it holds what they name.
    async fn hold(&self, inner: &Inner, page: &[(StripeAt, Stripe)]) -> Result<(), EngineError> {
        let mut tokens: BTreeMap<DriveId, Vec<CopyToken>> = BTreeMap::new();
        let slots = page.iter().flat_map(|(at, stripe)| {
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
        let count = page.len() as u64;
        inner.scrub.board(|board| board.maps.stripes += count);
        Ok(())
    }
}

/// Whether the walk waits: an older copy of a drive may lack all that was written for months, and the
/// board is bounded. Copies whose owner is sought do not count: the walk is what finds it.
fn held_back(board: &Board) -> bool {
    let owned = board.open.values().filter(|open| open.owner.is_some());
    owned.take(OPEN_MAX).count() >= OPEN_MAX
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
        let open = Open::new(None, Some(owner));
        board.open.insert((drive, token), open);
    });
    Ok(())
}
