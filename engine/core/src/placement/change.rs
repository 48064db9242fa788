//! How the layout changes: one drive at a time, each change judged against the version it was
//! decided on. A drive comes in by `Add` or `Replace` and goes by `SetState` (leaving, or gone) and
//! then `Drop`, once nothing names it.
//!
//! Whoever proposes `Drop` has seen that no stripe names the drive and that no write begun before
//! it was left out of placement can still commit. Apply cannot see that: stripes are in other
//! partitions.

use super::{DriveState, Layout, LayoutDrive};
use engine_types::DriveId;
use serde::{Deserialize, Serialize};

/// One change of the layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LayoutChange {
    /// A new drive, under a number given by `AllotDrive`.
    Add(LayoutDrive),
    /// A new drive takes the place of an old one, in one step: the number of drives that count, and
    /// so the geometry, never changes between.
    Replace {
        /// The old one.
        old: DriveId,
        /// It does not answer: `Gone`; else `Leaving`, and its shards are copied off it.
        gone: bool,
        /// The new one.
        new: LayoutDrive,
    },
    /// Another state.
    SetState {
        /// Whose.
        drive: DriveId,
        /// Which.
        state: DriveState,
    },
    /// It is no part of the layout any more; it must be leaving or gone.
    Drop(DriveId),
}

/// Why a change of the layout was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum LayoutRefusal {
    /// The layout names no such drive.
    #[error("the layout names no such drive")]
    NoSuchDrive,
    /// The number or the uuid is in the layout already, or the number was not given out for this.
    #[error("the drive's number or uuid is taken")]
    Taken,
    /// A drive that is gone stays gone; only one that is leaving or gone may be dropped.
    #[error("the drive's state does not allow it")]
    State,
}

impl DriveState {
    /// Whether the drive belongs to those that stripes are spread over: it is neither leaving nor
    /// gone.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Leaving | Self::Gone)
    }
}

impl Layout {
    /// Drives that stripes are spread over.
    pub fn counted(&self) -> usize {
        self.drives.iter().filter(|d| d.state.counts()).count()
    }

    /// The layout after `change`, its version one higher.
    ///
    /// # Errors
    /// [`LayoutRefusal`].
    pub fn changed(&self, change: &LayoutChange) -> Result<Self, LayoutRefusal> {
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        match change {
            LayoutChange::Add(new) => next.enter(new)?,
            LayoutChange::Replace { old, gone, new } => {
                let state = if *gone {
                    DriveState::Gone
                } else {
                    DriveState::Leaving
                };
                next.set(*old, state)?;
                next.enter(new)?;
            }
            LayoutChange::SetState { drive, state } => next.set(*drive, *state)?,
            LayoutChange::Drop(drive) => {
                let row = next.drive(*drive).ok_or(LayoutRefusal::NoSuchDrive)?;
                if row.state.counts() {
                    return Err(LayoutRefusal::State);
                }
                next.drives.retain(|row| row.id != *drive);
            }
        }
        Ok(next)
    }

    fn enter(&mut self, new: &LayoutDrive) -> Result<(), LayoutRefusal> {
        let taken = |row: &LayoutDrive| row.id == new.id || row.uuid == new.uuid;
        if self.drives.iter().any(taken) {
            return Err(LayoutRefusal::Taken);
        }
        if !new.state.counts() {
            return Err(LayoutRefusal::State);
        }
        self.drives.push(new.clone());
        self.drives.sort_by_key(|row| row.id);
        Ok(())
    }

    fn set(&mut self, drive: DriveId, state: DriveState) -> Result<(), LayoutRefusal> {
        let row = self.drives.iter_mut().find(|row| row.id == drive);
        let row = row.ok_or(LayoutRefusal::NoSuchDrive)?;
        if row.state == DriveState::Gone {
            // What was freed of it meanwhile was never acknowledged: it must come back empty.
            return Err(LayoutRefusal::State);
        }
        row.state = state;
        Ok(())
    }
}
