//! The reclaimer: gives the blocks of freed records back, deletes dead segments, and looks at the
//! room each second. Nothing here is promised to anyone: after a restart it is found again.

use crate::index::Place;
use crate::segment::ALIGN;
use crate::space::Reclaim;
use crate::store::Shared;
use engine_core::ports::DriveError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How old the view of the room may be.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// Until the store is closed.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut told = BTreeSet::new();
    loop {
        let mut wake = shared.wake.state.lock();
        if !wake.closed && !wake.work {
            shared.wake.changed.wait_for(&mut wake, ROOM_EVERY);
        }
        if wake.closed {
            return;
        }
        wake.work = false;
        drop(wake);
        if shared.files.root().failure().is_some() {
            // Out of service: wait for the end.
            let mut wake = shared.wake.state.lock();
            while !wake.closed {
                shared.wake.changed.wait(&mut wake);
            }
            return;
        }
        let mut staying = Vec::new();
        while let Some(work) = next(shared) {
            match (reclaim(shared, &work), &work) {
                (Ok(()), Reclaim::Delete(segment)) => shared.space.lock().gone(*segment),
                (Ok(()), _) => {}
                (Err(error), Reclaim::Delete(segment)) => {
                    if told.insert(*segment) {
                        tracing::warn!(segment, %error, "a dead segment is not deleted yet");
                    }
                    staying.push(*segment);
                }
                (Err(error), _) => tracing::warn!(?work, %error, "reclaim"),
            }
        }
        // Not before all else was done: it is tried again at the next look.
        for segment in staying {
            shared.space.lock().stays(segment);
        }
        let root = shared.files.root();
        if let Err(error) = shared.room.refresh(root, &shared.options) {
            tracing::warn!(%error, "look at the room");
        }
    }
}

fn next(shared: &Shared) -> Option<Reclaim> {
    if shared.wake.state.lock().closed || shared.files.root().failure().is_some() {
        return None;
    }
    shared.space.lock().next_work()
}

fn reclaim(shared: &Shared, work: &Reclaim) -> Result<(), DriveError> {
    match work {
        Reclaim::Delete(segment) => shared.segments.delete(*segment),
        Reclaim::Punch(segment, dead) => {
            let ranges = dead.iter().map(|place| (place.offset, place.end()));
            punch(shared, *segment, &joined(ranges.collect()))
        }
        Reclaim::PunchGaps(segment) => punch_gaps(shared, *segment),
    }
}

/// Neighbours in one call.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in ranges {
        match joined.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn punch(shared: &Shared, segment: u64, ranges: &[(u64, u64)]) -> Result<(), DriveError> {
    let file = shared.segments.open(segment)?;
    for (start, end) in ranges {
        let length = end.saturating_sub(*start);
        if length > 0 && file.punch(*start, length)? {
            shared.space.lock().punched(segment, length);
        }
    }
    Ok(())
}

/// Punches all that lies between header and footer and under no live record. Only for segments that
/// are no longer written.
fn punch_gaps(shared: &Shared, segment: u64) -> Result<(), DriveError> {
    let file = shared.segments.open(segment)?;
    // Before the look for a footer: one that is being written behind the end is not to be punched.
    let length = file.length()?;
    let end = match shared.segments.footer(segment, &file)? {
        Some((_, start)) => start,
        None => length,
    };
    let mut gaps = Vec::new();
    let mut position = ALIGN;
    shared.index.by_place(segment, 0, |_, place: Place| {
        if place.segment != segment {
            return false;
        }
        gaps.push((position, place.offset));
        position = position.max(place.end());
        true
    })?;
    gaps.push((position, end));
    for (start, end) in gaps {
        if start < end {
            file.punch(start, end.saturating_sub(start))?;
        }
    }
    let (_, blocks) = file.stat()?;
    shared.space.lock().set_held(segment, blocks);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        let ranges = vec![(8192, 12288), (4096, 8192), (20480, 24576)];
        assert_eq!(joined(ranges), vec![(4096, 12288), (20480, 24576)]);
    }
}
