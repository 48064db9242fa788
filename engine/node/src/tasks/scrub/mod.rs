//! The scrub: reads every live shard of every drive once in a while, and holds the stripe maps
//! against the drives, so that damage is found while there is still something to repair it from.
//!
//! Two walks, because each finds what the other cannot. The walk over a drive's segments
//! ([`segments`]) reads records in the order they lie in; it finds flipped bits. The walk over the
//! stripe maps ([`maps`]) asks each drive whether it holds what the maps say; it finds shards that an
//! index lost, and whose a copy is whose own header no longer tells. What is found stays on the board
//! until no stripe names it any more ([`open`]); its repair is asked for by urgency.
//!
//! Pace: a rolling pass gets the bytes a second that bring it round in time; one asked for by hand has
//! no such bound. While the foreground reads or writes, each pauses after a shard as long as reading it
//! took and longer, so a busy drive, on which reads take longer, is left alone more. Memory: one
//! record a drive, one page of the maps.
//!
//! How far a drive is, and which copies wait, is kept on it, at least every [`SAVE_PERIODS`] and when
//! a pass ends: a restart reads again what came since.

mod maps;
mod open;
mod segments;

use crate::EngineError;
use crate::drives::Drive;
use crate::engine::Inner;
use crate::metrics::SCRUB_OPEN;
use crate::scrub::{DriveBoard, KEPT_FILE, Kept, KeptCopy, Open};
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::ports::DriveError;
use engine_types::DriveId;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A drive's progress is at most so old on the drive, in periods of the scrub.
const SAVE_PERIODS: u32 = 10;

#[derive(Debug, Default)]
pub(crate) struct Scrubber {
    maps: maps::Walk,
    /// The drives of the last tick; none before the first. What stands at a drive's path may be an
    /// older copy of it whenever it was put into service anew.
    seen: Option<BTreeMap<DriveId, Weak<Drive>>>,
}

#[async_trait]
impl Worker for Scrubber {
    fn name(&self) -> &'static str {
        "scrub"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.scrub_period
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        let drives = inner.drives.here();
        for drive in drives.iter().filter(|drive| drive.readable()) {
            meet(inner, drive).await;
        }
        self.notice_returns(inner, &drives);
        let begun = inner.scrub.board(|board| {
            let wanted = std::mem::take(&mut board.requested);
            for id in &wanted {
                if let Some(of) = board.drives.get_mut(id) {
                    begin(&mut of.kept, inner.clock.unix_ms(), true);
                    of.changed = true;
                }
            }
            wanted
        });
        self.maps.only(&begun, drives.len());
        let readable = drives.iter().filter(|drive| drive.readable());
        futures::future::join_all(readable.map(|drive| segments::step(inner, drive))).await;
        let maps = self.maps.step(inner).await;
        let settled = open::settle(inner).await;
        for drive in &drives {
            save(inner, drive).await;
        }
        let more = inner
            .scrub
            .board(|board| board.forced() || board.maps.running);
        maps.and(settled)?;
        Ok(if more { Progress::More } else { Progress::Done })
    }
}

impl Scrubber {
    /// A drive that comes (back) into service may lack what was written to it before: no reading of
    /// what it has tells that, the stripe maps do.
    fn notice_returns(&mut self, inner: &Inner, drives: &[Arc<Drive>]) {
        let now: BTreeMap<DriveId, Weak<Drive>> = drives
            .iter()
            .map(|drive| (drive.row.id, Arc::downgrade(drive)))
            .collect();
        let Some(before) = self.seen.replace(now) else {
            return;
        };
        let known = |drive: &&Arc<Drive>| {
            let seen = before.get(&drive.row.id);
            seen.is_some_and(|seen| seen.as_ptr() == Arc::as_ptr(drive))
        };
        for drive in drives.iter().filter(|drive| !known(drive)) {
            want_maps(inner, drive.row.id, "the drive came into service");
        }
    }
}

fn want_maps(inner: &Inner, drive: DriveId, why: &str) {
    #[cfg(sabotage)]
    if engine_types::sabotage("trust-returning-drives") {
        return;
    }
    tracing::info!(%drive, why, "the stripe maps will be held against the drives");
    inner.scrub.board(|board| board.maps.requested = true);
}

/// A pass begins.
fn begin(kept: &mut Kept, now: u64, forced: bool) {
    kept.pass += 1;
    kept.started = now;
    kept.forced = forced;
    kept.at = Some((0, 0));
    (kept.bytes, kept.shards, kept.damaged) = (0, 0, 0);
}

/// Reads what is kept of a drive that is new here. What cannot be read is begun anew.
async fn meet(inner: &Inner, drive: &Drive) {
    let id = drive.row.id;
    if inner.scrub.board(|board| board.drives.contains_key(&id)) {
        return;
    }
    let files = Arc::clone(&drive.files);
    let read = tokio::task::spawn_blocking(move || files.read(KEPT_FILE)).await;
    let (kept, why) = match read {
        Ok(Ok(bytes)) => match Kept::from_bytes(&bytes) {
            Some(kept) => (kept, "its last use did not end in order"),
            None => (Kept::default(), "what was kept of its scrub is damaged"),
        },
        Ok(Err(DriveError::NotFound)) => (Kept::default(), "no scrub of it is known"),
        // The drive errs: again at the next tick.
        Ok(Err(_)) | Err(_) => return,
    };
    if !kept.in_order {
        want_maps(inner, id, why);
    }
    inner.scrub.board(|board| {
        for copy in &kept.open {
            let open = Open::new(Some((copy.segment, copy.offset)), None);
            board.open.insert((id, copy.token), open);
        }
        board.maps.ended = board.maps.ended.max(kept.maps_ended);
        let segments = kept.segments.iter().map(|of| (of.segment, *of)).collect();
        let of = DriveBoard {
            segments,
            kept,
            refilled: inner.clock.monotonic(),
            ..DriveBoard::default()
        };
        board.drives.insert(id, of);
    });
    // Before anything is found or asked for: from now on this use of the drive has not ended.
    keep(inner, drive, false).await;
}

/// Keeps a drive's progress on it, where enough has changed.
async fn save(inner: &Inner, drive: &Drive) {
    let now = inner.clock.monotonic();
    let every = inner.options.scrub_period * SAVE_PERIODS;
    let due = inner.scrub.board(|board| {
        let of = board.drives.get(&drive.row.id);
        of.is_some_and(|of| {
            of.changed && (of.kept.at.is_none() || now.saturating_sub(of.saved) >= every)
        })
    });
    if due {
        keep(inner, drive, false).await;
    }
}

/// The engine ends in order: nothing is written to its drives any more.
pub(crate) async fn end_in_order(inner: &Inner) {
    for drive in inner.drives.here().iter().filter(|drive| drive.readable()) {
        keep(inner, drive, true).await;
    }
}

/// Writes a drive's progress to it.
async fn keep(inner: &Inner, drive: &Drive, in_order: bool) {
    let id = drive.row.id;
    let bytes = inner.scrub.board(|board| {
        let waiting = board.open.len();
        metrics::gauge!(SCRUB_OPEN).set(f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)));
        let open = board.open.iter().filter(|((on, _), _)| *on == id);
        let open: Vec<KeptCopy> = open
            .filter_map(|((_, token), open)| {
                let (segment, offset) = open.place?;
                Some(KeptCopy {
                    token: *token,
                    segment,
                    offset,
                })
            })
            .collect();
        // What an index lost has no place to be kept by: the maps are walked again.
        let lost = board.open.values().any(|open| open.place.is_none());
        let maps_ended = if lost { 0 } else { board.maps.ended };
        // A walk that was asked for and has not ended is asked for again.
        let in_order = in_order && !board.maps.requested && !board.maps.running;
        let of = board.drives.get_mut(&id)?;
        (of.changed, of.saved) = (false, inner.clock.monotonic());
        of.kept.in_order = in_order;
        of.kept.maps_ended = maps_ended;
        of.kept.open = open;
        of.kept.segments = of.segments.values().copied().collect();
        Some(of.kept.to_bytes())
    });
    let Some(bytes) = bytes else { return };
    let files = Arc::clone(&drive.files);
    let written = tokio::task::spawn_blocking(move || files.write(KEPT_FILE, &bytes)).await;
    if let Ok(Err(error)) = written {
        tracing::debug!(drive = %id, %error, "progress of the scrub not kept");
    }
}

/// What is done while the foreground works: nothing, for a while. `took`: the last piece of work.
pub(super) async fn give_way(inner: &Inner, forced: bool, took: Duration) {
    /// Longest pause: a drive that hangs for a while does not stop the scrub for minutes.
    const PAUSE_MOST: Duration = Duration::from_secs(1);
    if !inner.pins.any() && !inner.births.any() {
        return;
    }
    let pause = if forced { took } else { took * 3 };
    let cancelled = inner.life.cancelled();
    tokio::select! {
        () = cancelled.cancelled() => {}
        () = tokio::time::sleep(pause.min(PAUSE_MOST)) => {}
    }
}

/// The one drive that was asked for, where there are others.
fn only_one(ids: &std::collections::BTreeSet<DriveId>, drives: usize) -> Option<DriveId> {
    ids.first()
        .copied()
        .filter(|_| ids.len() == 1 && drives > 1)
}
