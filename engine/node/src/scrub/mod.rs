//! What is known of the scrub: how far each drive is, what was found, what is asked for. The work is
//! done by `tasks::scrub`; the engine's callers ask here.

mod ask;
mod kept;

use crate::stripe_read::StripeAt;
pub use ask::{DriveScrub, ScrubStatus};
use engine_types::{CopyToken, DriveId};
#[doc(hidden)]
pub use kept::reads_again;
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
    /// What the walks over the stripe maps say of its owner.
    pub(crate) search: Search,
}

impl Open {
    pub(crate) fn new(place: Option<(u64, u64)>, owner: Option<Owner>) -> Self {
        Self {
            place,
            owner,
            tries: 0,
            due: Duration::ZERO,
            search: Search::default(),
        }
    }
}

/// How far the search for the owner of a copy is whose own header does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Search {
    /// No walk has begun since it was found.
    #[default]
    None,
    /// One that began since is under way.
    UnderWay,
    /// One went over every map and found no stripe that names it.
    InVain,
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
