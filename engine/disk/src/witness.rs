//! The witness's directory: marked, locked and judged as a drive's, and never taken for one.
//!
//! It holds what a drive holds of metadata (log, tables, snapshots, a copy of the keyring) and no
//! shards. Its mark is told by its number, [`DriveId::WITNESS`]. Where it is absent or empty nothing
//! is wrong: it is made when it is needed, under a new uuid, and what it votes then it votes as
//! somebody new. An unmounted drive is a loss of data to be mended by mounting it; a lost witness
//! has lost nothing that the drives do not have.
//!
//! [`DriveId::WITNESS`]: engine_types::DriveId::WITNESS

use crate::drives::look;
use crate::file::{OpenError, Root};
use crate::mark::{FEATURE_LEVEL, Found, MarkError};
use std::io::ErrorKind;
use std::path::Path;

/// What a path is opened as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Shards and replicas.
    Drive,
    /// Replicas alone.
    Witness,
}

/// What stands in a locked directory, unless it plays another role.
pub(crate) fn look_for(root: &Root, role: Role) -> Found {
    let found = look(root, FEATURE_LEVEL);
    let Found::Marked(mark) = &found else {
        return found;
    };
    let path = || root.path().to_owned();
    match (role, mark.role()) {
        (Role::Drive, Role::Witness) => Found::Unfit(MarkError::IsWitness(path())),
        (Role::Witness, Role::Drive) => Found::Unfit(MarkError::IsDrive(path())),
        (Role::Drive, Role::Drive) | (Role::Witness, Role::Witness) => found,
    }
}

/// What stands where the witness is expected; none: nothing, and it may be made there.
pub(crate) fn standing(path: &Path) -> Option<Result<(Root, Found), MarkError>> {
    let root = match Root::lock(path) {
        Ok(root) => root,
        Err(OpenError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(error.into())),
    };
    match look_for(&root, Role::Witness) {
        Found::Empty => None,
        found @ Found::Marked(_) => Some(Ok((root, found))),
        Found::Other => Some(Err(MarkError::NotEmpty(path.to_owned()))),
        Found::Unfit(error) => Some(Err(error)),
    }
}
