//! The seam to the pure state: commands in, row changes and an answer out.

use crate::rows::{Changes, Rows, RowsError};
use engine_types::{GroupId, Stamp};
use std::fmt::Debug;

/// Where in history a command is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The group.
    pub group: GroupId,
    /// Log index.
    pub index: u64,
    /// max(previous stamp, the leader's): monotone.
    pub stamp: Stamp,
}

/// What applies commands. Pure: the same rows and bytes give the same changes on every replica.
pub trait Machine: Send + Sync + Debug + 'static {
    /// Applies one command to `rows` with `changes` laid over them, adds its own changes, and
    /// returns the encoded answer. Refusals are answers; an error stops the replica.
    fn apply(
        &self,
        rows: &dyn Rows,
        changes: &mut Changes,
        at: At,
        command: &[u8],
    ) -> Result<Vec<u8>, RowsError>;

    /// The command an idle group's leader proposes to move its stamp; none: an empty entry, which
    /// moves the stamp and changes no row.
    fn tick(&self, group: GroupId, stamp: Stamp) -> Option<Vec<u8>> {
        let _ = (group, stamp);
        None
    }
}
