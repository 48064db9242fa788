//! Being written.

use engine_types::{DriveId, DriveUuid, NodeId};
use serde::{Deserialize, Serialize};

/// What may be written to a drive, as the operators and control have it. Whether it answers just
/// now is not here: that changes by the second and is not stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum DriveState {
    /// Takes shards.
    Active,
    /// Keeps its shards, takes no new ones: full or set read-only.
    ReadOnly,
    /// Being emptied.
    Leaving,
}

/// One drive of the layout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayoutDrive {
    /// Its number.
    pub id: DriveId,
    /// The uuid in its mark.
    pub uuid: DriveUuid,
    /// The node it is in.
    pub node: NodeId,
    /// The zone its node is in.
    pub zone: String,
    /// Its weight.
    pub size_bytes: u64,
    /// What may be written to it.
    pub state: DriveState,
}

/// The versioned list of drives, stored in control.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Layout {
    /// Raised by every change.
    pub version: u64,
    /// By id.
    pub drives: Vec<LayoutDrive>,
}
