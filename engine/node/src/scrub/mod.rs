//! What is known of the scrub: how far each drive is, what was found, what is asked for. The work is
//! done by `tasks::scrub`; the engine's callers ask here.

mod kept;

use crate::EngineError;
use crate::drives::Service;
use crate::engine::Engine;
use crate::stripe_read::StripeAt;
use engine_types::{CopyToken, DriveId};
pub(crate) use kept::{KEPT_FILE, Kept, KeptCopy, KeptSegment};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Every shard is read once in this time. Flips gather slowly, m of them in one stripe slower still;
/// a week costs a drive of 8 TB some 13 MB/s.
pub const SCRUB_WITHIN: Duration = Duration::from_hours(7 * 24);
/// A drive with little on it is done sooner than that: nothing is gained by reading slower.
pub const SCRUB_BYTES_PER_S_MIN: u64 = 4 << 20;
/// Most findings told; older ones are in the log.
pub const FINDINGS_MAX: usize = 1000;
/// Damaged copies of one drive that wait for their repair; beyond it the scrub of the drive waits.
pub const OPEN_MAX: usize = 1024;

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// A shard's header or payload.
    Damaged,
    /// A shard that a stripe names is not in the drive's index.
    Missing,
    /// A segment's footer.
    Footer,
    /// The block a segment begins with.
    SegmentHeader,
}

impl FindingKind {
    /// As metrics and commands call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Footer => "footer",
            Self::SegmentHeader => "segment_header",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingState {
    /// Its header does not say whose it is: the stripe maps are being searched.
    Searched,
    /// Waits for its repair.
    Queued,
    /// Made anew, or its object is gone.
    Repaired,
    /// Reads again.
    Sound,
}

impl FindingState {
    /// As commands call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Searched => "searched",
            Self::Queued => "queued",
            Self::Repaired => "repaired",
            Self::Sound => "sound",
        }
    }
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// When, Unix ms.
    pub found: u64,
    /// On this drive.
    pub drive: DriveId,
    /// Segment and offset of the record, where it has any.
    pub place: Option<(u64, u64)>,
    /// The copy, where it is one.
    pub token: Option<CopyToken>,
    /// Bucket (its name, or number where that is gone) and key, once known.
    pub object: Option<(String, String)>,
    /// Stripe and shard, once known.
    pub shard: Option<(u32, u8)>,
    /// What.
    pub kind: FindingKind,
    /// What became of it.
    pub state: FindingState,
    /// What the drive said.
    pub reason: String,
}

/// One drive's scrub.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriveScrub {
    /// Which.
    pub drive: DriveId,
    /// A pass is under way.
    pub running: bool,
    /// … asked for by hand.
    pub forced: bool,
    /// Passes begun.
    pub pass: u64,
    /// When the last one began, Unix ms; 0: never.
    pub started: u64,
    /// When one last ended whole, Unix ms; 0: never.
    pub ended: u64,
    /// Bytes of shards read in this pass, and live ones there are.
    pub bytes: u64,
    /// Bytes of live shards.
    pub bytes_all: u64,
    /// Shards read in this pass.
    pub shards: u64,
    /// Damaged ones among them.
    pub damaged: u64,
    /// Found and not made anew yet.
    pub open: u64,
    /// Why it does not go on.
    pub problem: Option<String>,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrubStatus {
    /// Drives here.
    pub drives: Vec<DriveScrub>,
    /// The stripe maps are being held against the drives, or will be at once.
    pub maps_running: bool,
    /// Stripes looked at since that began last.
    pub maps_stripes: u64,
    /// When it last ended, Unix ms; 0: never.
    pub maps_ended: u64,
    /// Newest last; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
}

/// Whose a copy is.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) at: StripeAt,
    pub(crate) index: u8,
}

/// A copy that was found bad and that a stripe (as far as is known) still names.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) place: Option<(u64, u64)>,
    pub(crate) owner: Option<Owner>,
    /// Times its repair was asked for.
    pub(crate) tries: u32,
    /// Monotonic: not looked at before.
    pub(crate) due: Duration,
}

/// A drive as the worker knows it.
#[derive(Debug, Default)]
pub(crate) struct DriveBoard {
    pub(crate) kept: Kept,
    /// Last whole readings, by segment.
    pub(crate) segments: BTreeMap<u64, KeptSegment>,
    /// Bytes that may be read now.
    pub(crate) allowance: u64,
    pub(crate) refilled: Duration,
    pub(crate) saved: Duration,
    pub(crate) changed: bool,
    pub(crate) problem: Option<String>,
}

/// The walk over the stripe maps.
#[derive(Debug, Default)]
pub(crate) struct MapsBoard {
    pub(crate) requested: bool,
    pub(crate) running: bool,
    pub(crate) stripes: u64,
    pub(crate) ended: u64,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) drives: BTreeMap<DriveId, DriveBoard>,
    pub(crate) requested: BTreeSet<DriveId>,
    pub(crate) maps: MapsBoard,
    pub(crate) open: BTreeMap<(DriveId, CopyToken), Open>,
    pub(crate) findings: VecDeque<Finding>,
    /// Segments to be emptied whatever lives in them: their own blocks are damaged.
    pub(crate) to_empty: BTreeSet<(DriveId, u64)>,
}

/// The board, shared by worker and callers.
#[derive(Debug, Default)]
pub(crate) struct Scrub(Mutex<Board>);

impl Scrub {
    /// Briefly: nothing is awaited meanwhile.
    pub(crate) fn board<T>(&self, look: impl FnOnce(&mut Board) -> T) -> T {
        look(&mut self.0.lock())
    }
}

impl Board {
    /// Tells of something new.
    pub(crate) fn tell(&mut self, finding: Finding) {
        let Finding {
            drive,
            place,
            object,
            shard,
            kind,
            reason,
            ..
        } = &finding;
        let (segment, offset) = place.unzip();
        let (bucket, key) = object.clone().unzip();
        tracing::warn!(
            %drive, segment, offset, bucket, key, ?shard, kind = kind.name(), reason,
            "scrub found damage"
        );
        let labels = [
            ("drive", drive.to_string()),
            ("kind", kind.name().to_owned()),
        ];
        metrics::counter!(crate::metrics::SCRUB_FOUND, &labels).increment(1);
        if *kind == FindingKind::Damaged
            && let Some(of) = self.drives.get_mut(drive)
        {
            of.kept.damaged += 1;
        }
        if self.findings.len() >= FINDINGS_MAX {
            self.findings.pop_front();
        }
        self.findings.push_back(finding);
    }

    /// The newest finding of a copy.
    pub(crate) fn finding(&mut self, drive: DriveId, token: CopyToken) -> Option<&mut Finding> {
        let of = |f: &&mut Finding| f.drive == drive && f.token == Some(token);
        self.findings.iter_mut().rev().find(of)
    }

    /// A copy needs no more care.
    pub(crate) fn close(&mut self, drive: DriveId, token: CopyToken, state: FindingState) {
        self.open.remove(&(drive, token));
        if let Some(board) = self.drives.get_mut(&drive) {
            board.changed = true;
        }
        if let Some(finding) = self.finding(drive, token) {
            finding.state = state;
            if state == FindingState::Repaired {
                let labels = [("drive", drive.to_string())];
                metrics::counter!(crate::metrics::SCRUB_REPAIRED, &labels).increment(1);
            }
        }
    }

    /// Copies of a drive that wait.
    pub(crate) fn open_of(&self, drive: DriveId) -> usize {
        let all = (drive, CopyToken([0; 16]))..=(drive, CopyToken([0xFF; 16]));
        self.open.range(all).count()
    }

    /// Whether a pass asked for by hand is under way or to begin.
    pub(crate) fn forced(&self) -> bool {
        let walks = |board: &DriveBoard| board.kept.forced && board.kept.at.is_some();
        !self.requested.is_empty() || self.drives.values().any(walks)
    }
}

impl Engine {
    /// Begins a pass over one drive, or all that are in service, as fast as the foreground allows;
    /// one under way begins anew. Then the stripe maps are held against the drives.
    ///
    /// # Errors
    /// `Unavailable` where a drive is not in service.
    pub fn scrub_start(&self, drive: Option<DriveId>) -> Result<(), EngineError> {
        let here = self.inner.drives.here();
        let mut ids = here.iter().filter(|d| d.readable()).map(|d| d.row.id);
        let wanted: BTreeSet<DriveId> = match drive {
            Some(id) if ids.any(|known| known == id) => [id].into(),
            Some(id) => {
                let why = format!("drive {id} is not in service");
                return Err(EngineError::Unavailable(why));
            }
            None => ids.collect(),
        };
        self.inner.scrub.board(|board| {
            board.requested.extend(wanted);
            board.maps.requested = true;
        });
        Ok(())
    }

    /// Ends what runs, also a rolling pass: that one begins again when it is due.
    pub fn scrub_stop(&self) {
        self.inner.scrub.board(|board| {
            board.requested.clear();
            (board.maps.requested, board.maps.running) = (false, false);
            for drive in board.drives.values_mut() {
                drive.kept.at = None;
                drive.changed = true;
            }
        });
    }

    /// How far it is, and what was found.
    pub fn scrub_status(&self) -> ScrubStatus {
        let inner = &self.inner;
        let drives = inner.drives.status();
        inner.scrub.board(|board| ScrubStatus {
            drives: board
                .drives
                .iter()
                .map(|(id, of)| {
                    let row = drives.iter().find(|status| status.row.id == *id);
                    let out = row.and_then(|status| match &status.service {
                        Service::Out(why) => Some(why.clone()),
                        _ => None,
                    });
                    DriveScrub {
                        drive: *id,
                        running: of.kept.at.is_some() || board.requested.contains(id),
                        forced: of.kept.forced || board.requested.contains(id),
                        pass: of.kept.pass,
                        started: of.kept.started,
                        ended: of.kept.ended,
                        bytes: of.kept.bytes,
                        bytes_all: row.map_or(0, |status| status.usage.live),
                        shards: of.kept.shards,
                        damaged: of.kept.damaged,
                        open: board.open_of(*id) as u64,
                        problem: out.or_else(|| of.problem.clone()),
                    }
                })
                .collect(),
            maps_running: board.maps.running || board.maps.requested,
            maps_stripes: board.maps.stripes,
            maps_ended: board.maps.ended,
            findings: board.findings.iter().cloned().collect(),
        })
    }

    /// When the bytes of a record were last read whole and found right, Unix ms, if that is known.
    pub fn last_verified(
        &self,
        drive: DriveId,
        token: CopyToken,
        place: (u64, u64),
    ) -> Option<u64> {
        self.inner.scrub.board(|board| {
            let bad = board.open.contains_key(&(drive, token));
            let read = board.drives.get(&drive)?.segments.get(&place.0)?;
            (!bad && place.1 < read.below).then_some(read.at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_up_to_the_limit_and_the_oldest_goes() {
        let mut board = Board::default();
        for n in 0..=FINDINGS_MAX as u64 {
            board.tell(Finding {
                found: n,
                drive: DriveId(1),
                place: None,
                token: None,
                object: None,
                shard: None,
                kind: FindingKind::Footer,
                state: FindingState::Repaired,
                reason: String::new(),
            });
            if n + 1 == FINDINGS_MAX as u64 {
                assert_eq!(board.findings[0].found, 0);
            }
        }
        assert_eq!(board.findings.len(), FINDINGS_MAX);
        assert_eq!(board.findings[0].found, 1);
    }
}
