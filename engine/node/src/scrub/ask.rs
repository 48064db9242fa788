//! What the engine's callers ask of the scrub: begin, end, how far it is.

use super::Finding;
use crate::EngineError;
use crate::drives::Service;
use crate::engine::Engine;
use engine_types::{CopyToken, DriveId};
use std::collections::BTreeSet;

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
    /// Newest last; at most [`super::FINDINGS_MAX`].
    pub findings: Vec<Finding>,
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
