//! The walk over one drive's segments: every live record is read whole and compared.

use super::{begin, give_way};
use crate::drives::Drive;
use crate::engine::Inner;
use crate::metrics::{SCRUB_BYTES, SCRUB_ENDED};
use crate::scrub::{DriveBoard, Finding, FindingKind, FindingState, KeptSegment, OPEN_MAX, Open};
use engine_core::ports::{DriveError, FooterCheck, ShardEntry};
use engine_types::DriveId;
use std::time::Duration;

/// Records asked of the index at a time.
const ENTRIES_AT_ONCE: usize = 32;
/// A step takes about so long: between steps the board is kept and the maps are looked at.
const STEP: Duration = Duration::from_millis(500);
/// What a drive may read at once after a pause, seconds of its pace.
const BURST_S: u64 = 2;

/// Bytes a second that bring a pass round in time.
fn pace(live: u64, within: Duration, least: u64) -> u64 {
    (live / within.as_secs().max(1)).max(least)
}

/// Why a drive is not read on: what was found is to be made anew first, and the board is bounded.
fn held_back(open: usize) -> Option<String> {
    (open >= OPEN_MAX).then(|| format!("{open} damaged shards wait for their repair"))
}

/// What may be read now: where from, forced, how many bytes.
struct Turn {
    at: (u64, u64),
    forced: bool,
    left: u64,
}

/// Reads on, as far as the pace allows.
pub(super) async fn step(inner: &Inner, drive: &Drive) {
    let id = drive.row.id;
    let live = drive.store.usage().live;
    let Some(mut turn) = inner.scrub.board(|board| {
        let open = board.open_of(id);
        let of = board.drives.get_mut(&id)?;
        turn(inner, of, live, open)
    }) else {
        return;
    };
    let until = inner.clock.monotonic() + STEP;
    let problem = loop {
        match piece(inner, drive, &mut turn).await {
            Ok(true) if turn.left > 0 && inner.clock.monotonic() < until => {}
            Ok(_) => break None,
            Err(error) => break Some(error.to_string()),
        }
        if inner.life.is_cancelled() {
            break None;
        }
    };
    inner.scrub.board(|board| {
        if let Some(of) = board.drives.get_mut(&id) {
            of.problem = problem;
            of.allowance = turn.left;
        }
    });
}

/// Begins a pass that is due, refills the allowance; none: nothing to read now.
fn turn(inner: &Inner, of: &mut DriveBoard, live: u64, open: usize) -> Option<Turn> {
    let options = &inner.options;
    let (now, unix) = (inner.clock.monotonic(), inner.clock.unix_ms());
    let within = u64::try_from(options.scrub_within.as_millis()).unwrap_or(u64::MAX);
    if of.kept.at.is_none() && unix >= of.kept.started.saturating_add(within) {
        begin(&mut of.kept, unix, false);
        of.changed = true;
    }
    let at = of.kept.at?;
    if let Some(problem) = held_back(open) {
        of.problem = Some(problem);
        return None;
    }
    let since = u64::try_from(now.saturating_sub(of.refilled).as_millis()).unwrap_or(u64::MAX);
    let pace = pace(live, options.scrub_within, options.scrub_bytes_per_s_min);
    let more = pace.saturating_mul(since) / 1000;
    if more > 0 {
        // Else the fraction would be lost each time.
        of.refilled = now;
    }
    of.allowance = of.allowance.saturating_add(more).min(pace * BURST_S);
    let left = if of.kept.forced {
        u64::MAX
    } else {
        of.allowance
    };
    let forced = of.kept.forced;
    (left > 0).then_some(Turn { at, forced, left })
}

/// The next few records; false: the pass has ended.
async fn piece(inner: &Inner, drive: &Drive, turn: &mut Turn) -> Result<bool, DriveError> {
    let placed = drive.store.placed(turn.at, ENTRIES_AT_ONCE);
    let entries = inner.drives.run(drive, "scrub", placed).await?;
    if entries.is_empty() {
        segment_done(inner, drive, turn.at).await?;
        end(inner, drive);
        return Ok(false);
    }
    for entry in entries {
        if entry.segment != turn.at.0 {
            segment_done(inner, drive, turn.at).await?;
        }
        let begun = inner.clock.monotonic();
        let verify = drive.store.verify(entry.token);
        let bad = match inner.drives.run(drive, "scrub", verify).await {
            // Freed since it was listed.
            Ok(_) | Err(DriveError::NotFound) => None,
            Err(DriveError::Corrupt(reason)) => Some(reason),
            Err(error) => return Err(error),
        };
        turn.at = (entry.segment, entry.offset + 1);
        turn.left = turn.left.saturating_sub(entry.length.into());
        if !note(inner, drive.row.id, &entry, bad) {
            // Stopped meanwhile.
            return Ok(false);
        }
        if turn.left == 0 || inner.life.is_cancelled() {
            return Ok(true);
        }
        let took = inner.clock.monotonic().saturating_sub(begun);
        give_way(inner, turn.forced, took).await;
    }
    Ok(true)
}

/// One record was read; false: the pass was stopped.
fn note(inner: &Inner, id: DriveId, entry: &ShardEntry, bad: Option<String>) -> bool {
    metrics::counter!(SCRUB_BYTES, "drive" => id.to_string()).increment(entry.length.into());
    inner.scrub.board(|board| {
        let Some(of) = board.drives.get_mut(&id) else {
            return false;
        };
        let Some(at) = &mut of.kept.at else {
            return false;
        };
        // Begun anew meanwhile: then it is at the start and stays there.
        if board.requested.contains(&id) {
            return false;
        }
        *at = (entry.segment, entry.offset + 1);
        of.changed = true;
        of.kept.bytes += u64::from(entry.length);
        of.kept.shards += 1;
        let Some(reason) = bad else { return true };
        // Made anew already: this copy is dead, and goes once its readers are gone.
        let replaced = |f: &mut Finding| f.state == FindingState::Repaired;
        if board.finding(id, entry.token).is_some_and(replaced) {
            return true;
        }
        tracing::debug!(drive = %id, segment = entry.segment, offset = entry.offset, reason, "does not verify");
        let fresh = Open::new(Some((entry.segment, entry.offset)), None);
        board.open.entry((id, entry.token)).or_insert(fresh);
        true
    })
}

/// A segment was read up to `below`: its own blocks are looked at, and the reading is noted.
async fn segment_done(
    inner: &Inner,
    drive: &Drive,
    (segment, below): (u64, u64),
) -> Result<(), DriveError> {
    if below == 0 {
        return Ok(());
    }
    let id = drive.row.id;
    let check = drive.store.check_segment(segment);
    let check = match inner.drives.run(drive, "scrub", check).await {
        Ok(check) => check,
        // All in it was freed, and it is gone.
        Err(DriveError::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    let now = inner.clock.unix_ms();
    let finding = |kind, state, reason: &str| Finding {
        found: now,
        drive: id,
        place: Some((segment, 0)),
        token: None,
        object: None,
        shard: None,
        kind,
        state,
        reason: reason.into(),
    };
    inner.scrub.board(|board| {
        if check.footer == FooterCheck::Damaged {
            board.tell(finding(
                FindingKind::Footer,
                FindingState::Repaired,
                "the footer did not read; a new one was written",
            ));
        }
        // Told once: the segment stays as it is until it has been emptied.
        if !check.header_sound && board.to_empty.insert((id, segment)) {
            board.tell(finding(
                FindingKind::SegmentHeader,
                FindingState::Queued,
                "the first block did not read; its shards are moved to another segment",
            ));
        }
        if let Some(of) = board.drives.get_mut(&id) {
            let read = KeptSegment {
                segment,
                below,
                at: now,
            };
            of.segments.insert(segment, read);
        }
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no integers")]
fn end(inner: &Inner, drive: &Drive) {
    let id = drive.row.id;
    let now = inner.clock.unix_ms();
    let there: std::collections::BTreeSet<u64> =
        drive.store.segments().iter().map(|of| of.segment).collect();
    inner.scrub.board(|board| {
        board
            .to_empty
            .retain(|(on, segment)| *on != id || there.contains(segment));
        // None: it was stopped meanwhile.
        let walked = |of: &&mut DriveBoard| of.kept.at.is_some();
        if let Some(of) = board.drives.get_mut(&id).filter(walked) {
            of.segments.retain(|segment, _| there.contains(segment));
            of.kept.at = None;
            of.kept.ended = now;
            of.changed = true;
            let (shards, bytes, damaged) = (of.kept.shards, of.kept.bytes, of.kept.damaged);
            tracing::info!(drive = %id, shards, bytes, damaged, "drive scrubbed");
        }
    });
    metrics::gauge!(SCRUB_ENDED, "drive" => id.to_string()).set((now / 1000) as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_with_much_damage_waits_for_its_repair() {
        assert_eq!(held_back(OPEN_MAX - 1), None);
        assert!(held_back(OPEN_MAX).is_some());
    }

    #[test]
    fn a_pass_comes_round_in_time_and_no_slower_than_the_least() {
        let week = Duration::from_hours(168);
        assert_eq!(pace(0, week, 4 << 20), 4 << 20);
        assert_eq!(pace(8_000_000_000_000, week, 4 << 20), 13_227_513);
        assert_eq!(pace(10, Duration::ZERO, 1), 10);
    }
}
