//! Shortens the log of frees, on a thread of its own: no append waits for it.
//!
//! Segments of which much was freed get a new footer that names what lives in them, durably, and the
//! index is made durable. From then on nothing brings back what was freed before: neither an index
//! made anew from the footers, nor one that a power cut took back; so the records go. (A segment that
//! has lost its footer is scanned, and what was freed there and not punched comes back as an orphan.)
//! Records of segments that are gone go with them. What is left is written beside the log in use,
//! and takes its place behind one of the appender's groups.
//!
//! A footer is worth writing for [`RESEAL_FREES_MIN`] records. Where they are thinner spread, segments
//! with most go first, until half of what the log may have is left.

use crate::free_log::{Begun, FREE_RECORD_BYTES, Rewrite};
use crate::segment::SEGMENTS;
use crate::store::Shared;
use engine_core::ports::{DriveError, DriveFiles};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Freed records of a segment that are worth a footer: it costs two writes and a sync.
const RESEAL_FREES_MIN: u64 = 1024;
/// What was appended to the log meanwhile and is left to the appender, bytes.
const BEHIND_BYTES: u64 = 64 * 1024;
/// Times that is caught up with; a log that grows faster is left to the appender in any case.
const CATCH_UPS: u32 = 16;

/// One shortening under way. Dropped, it ends within one segment.
#[derive(Debug)]
pub(crate) struct Shortening {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Rewrite, DriveError>>>,
}

impl Shortening {
    pub(crate) fn start(shared: &Arc<Shared>, begun: Begun) -> Result<Self, DriveError> {
        let stop = Arc::new(AtomicBool::new(false));
        let body = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            move || shorten(&shared, begun, &stop)
        };
        let name = format!("frees-{}", shared.files.drive());
        let started = std::thread::Builder::new().name(name).spawn(body);
        let failed = |error| DriveError::Starved(format!("start a thread: {error}"));
        Ok(Self {
            stop,
            thread: Some(started.map_err(failed)?),
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What came of it.
    pub(crate) fn end(mut self) -> Result<Rewrite, DriveError> {
        let panicked = || DriveError::Failed("the thread panicked".to_owned());
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).ok_or_else(panicked)?
    }
}

impl Drop for Shortening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the shortening of a log of frees panicked");
            }
        }
    }
}

fn shorten(shared: &Shared, begun: Begun, stop: &AtomicBool) -> Result<Rewrite, DriveError> {
    let counts = begun.count()?;
    let there: BTreeSet<u64> = shared.segments.list()?.into_iter().collect();
    let gone = counts.keys().filter(|segment| !there.contains(*segment));
    let mut done: BTreeSet<u64> = gone.copied().collect();
    let settled = {
        let space = shared.space.lock();
        // What nothing lives in goes by itself.
        let live = space.settled().filter(|(_, of)| of.records > 0);
        let counted = live.filter_map(|(number, _)| counts.get_key_value(&number));
        counted.map(|(number, count)| (*number, *count)).collect()
    };
    let all: u64 = counts.values().sum();
    let lost: u64 = done.iter().filter_map(|segment| counts.get(segment)).sum();
    for segment in chosen(
        settled,
        all.saturating_sub(lost),
        shared.options.frees_bytes,
    ) {
        #[cfg(sabotage)]
        if engine_types::sabotage("shorten-without-footers") {
            done.insert(segment);
            continue;
        }
        let since = Instant::now();
        match shared.reseal(segment) {
            Ok(true) => drop(done.insert(segment)),
            // Gone meanwhile, or no room for it.
            Ok(false) | Err(DriveError::NotFound | DriveError::Full) => {}
            Err(error) => return Err(error),
        }
        // The drive is the requests' half of the time.
        std::thread::park_timeout(since.elapsed());
        if stop.load(Ordering::Acquire) {
            return Err(DriveError::Failed("shard store closed".to_owned()));
        }
    }
    // What is gone does not come back, in the directory or in the index.
    shared.files.root().sync_directory(SEGMENTS)?;
    shared.index.persist()?;
    let mut rewrite = begun.open()?;
    rewrite.copy(|segment| !done.contains(&segment))?;
    for _ in 0..CATCH_UPS {
        rewrite.catch_up()?;
        if rewrite.behind() <= BEHIND_BYTES {
            break;
        }
    }
    Ok(rewrite)
}

/// Segments to be sealed anew, of these with so many freed records each, of `left` in the log.
fn chosen(mut segments: Vec<(u64, u64)>, mut left: u64, most: u64) -> Vec<u64> {
    let most = most / 2 / FREE_RECORD_BYTES as u64;
    segments.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut chosen = Vec::new();
    for (segment, count) in segments {
        if count < RESEAL_FREES_MIN && left <= most {
            break;
        }
        left = left.saturating_sub(count);
        chosen.push(segment);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_a_footer_gets_one_and_more_where_the_log_is_too_long() {
        let segments = vec![
            (1, RESEAL_FREES_MIN - 1),
            (2, RESEAL_FREES_MIN),
            (3, 10),
            (4, 2 * RESEAL_FREES_MIN),
        ];
        let left = segments.iter().map(|(_, count)| count).sum();
        let bytes = |records: u64| 2 * records * FREE_RECORD_BYTES as u64;
        assert_eq!(chosen(segments.clone(), left, bytes(left)), [4, 2]);
        assert_eq!(
            chosen(segments.clone(), left, bytes(10 + RESEAL_FREES_MIN - 1)),
            [4, 2]
        );
        assert_eq!(
            chosen(segments.clone(), left, bytes(10 + RESEAL_FREES_MIN - 2)),
            [4, 2, 1]
        );
        assert_eq!(chosen(segments, left, 0), [4, 2, 1, 3]);
    }
}
