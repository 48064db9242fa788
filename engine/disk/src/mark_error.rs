//! Why a path is not used as a drive.

use crate::file::OpenError;
use engine_core::ports::DriveError;
use engine_types::{ClusterId, DriveUuid, NodeId};
use std::path::PathBuf;

/// Why a path is not used as a drive. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Locked, or not a directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The drive erred.
    #[error("{path}: {error}")]
    Drive {
        /// The path.
        path: PathBuf,
        /// The cause.
        error: DriveError,
    },
    /// Empty, where drives are expected: most likely a disk that is not mounted.
    #[error(
        "{0} holds no drive. If its disk is not mounted, mount it. To add it as a new drive: \
         datamesh drive add {0}"
    )]
    Unmarked(PathBuf),
    /// Holds other files.
    #[error("{0} is not empty and holds no drive: give an empty directory")]
    NotEmpty(PathBuf),
    /// A drive stands there already.
    #[error("{path} already holds drive {uuid}")]
    Marked {
        /// The path.
        path: PathBuf,
        /// The drive found.
        uuid: DriveUuid,
    },
    /// The mark does not read.
    #[error("{path}/drive.json is damaged ({what}): the drive cannot be told; replace it")]
    Damaged {
        /// The path.
        path: PathBuf,
        /// How.
        what: String,
    },
    /// Written by a newer release.
    #[error(
        "{path} was written by {release} at feature level {level}; this build knows up to {known}: \
         upgrade it"
    )]
    Newer {
        /// The path.
        path: PathBuf,
        /// The release that wrote it.
        release: String,
        /// What it needs.
        level: u32,
        /// What this build has.
        known: u32,
    },
    /// The witness, where a drive is expected.
    #[error("{0} holds the witness and is no drive: name it in witness_dir, not in drives")]
    IsWitness(PathBuf),
    /// A drive, where the witness is expected.
    #[error("{0} holds a drive and not the witness: name another directory in witness_dir")]
    IsDrive(PathBuf),
    /// Of another cluster.
    #[error(
        "{path} is a drive of cluster {found}, this node is of cluster {expected}: remove the path"
    )]
    ForeignCluster {
        /// The path.
        path: PathBuf,
        /// In its mark.
        found: ClusterId,
        /// What the credentials file or the other drives say.
        expected: ClusterId,
    },
    /// Of another node.
    #[error("{path} is a drive of node {found}, this is node {expected}: put it back there")]
    ForeignNode {
        /// The path.
        path: PathBuf,
        /// In its mark.
        found: NodeId,
        /// What the other drives say.
        expected: NodeId,
    },
    /// Two paths hold the same drive: one is a copy.
    #[error("{path} and {other} hold the same drive {uuid}: one is a copy, remove it")]
    Twice {
        /// The path.
        path: PathBuf,
        /// The other path.
        other: PathBuf,
        /// The drive.
        uuid: DriveUuid,
    },
}
