//! Which copies are enough to open a keyring by.
//!
//! What is in force is on a majority of control's voters' drives, so of any other majority at least one
//! drive has it: the newest copy is the true one once whole copies of a majority were read, or certain
//! absence. With fewer, all that newer ones hold might lie on the drives that were not read, and be
//! erased for an old copy when they come.

use super::KeyringError;
use super::copies::{HOLDER_PATIENCE, KEYRING_FILE, OLD_FILE};
use super::file::Ring;
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::DriveId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a drive holds under both names; none: some of it could not be read.
pub(super) struct DriveCopies {
    drive: DriveId,
    files: Vec<Vec<u8>>,
    read: bool,
}

/// All files that were read.
pub(super) fn files(copies: Vec<DriveCopies>) -> Vec<Vec<u8>> {
    copies.into_iter().flat_map(|copy| copy.files).collect()
}

/// Reads what there is on each drive.
pub(super) async fn read_copies(holders: &[Arc<dyn DriveFiles>]) -> Vec<DriveCopies> {
    futures::future::join_all(holders.iter().map(read)).await
}

async fn read(files: &Arc<dyn DriveFiles>) -> DriveCopies {
    let drive = files.drive();
    let mut copies = DriveCopies {
        drive,
        files: Vec::new(),
        read: true,
    };
    let both = [KEYRING_FILE, OLD_FILE].map(|name| {
        let files = Arc::clone(files);
        let read = tokio::task::spawn_blocking(move || files.read(name));
        tokio::time::timeout(HOLDER_PATIENCE, read)
    });
    for done in futures::future::join_all(both).await {
        match done {
            Ok(Ok(Ok(bytes))) => copies.files.push(bytes),
            Ok(Ok(Err(DriveError::NotFound))) => {}
            other => {
                tracing::warn!(%drive, ?other, "keyring copy not read");
                copies.read = false;
            }
        }
    }
    copies
}

/// Whether the newest of `copies` is the true one. A damaged copy counts as not read, until every voter's
/// drive was: nothing more can come then, and the best there is opens.
///
/// # Errors
/// `NotRead`; `Newer` where some copy is.
pub(super) fn enough(copies: &[DriveCopies], voters: &[DriveId]) -> Result<(), KeyringError> {
    #[cfg(sabotage)]
    if engine_types::sabotage("keyring-any-copy") {
        return Ok(());
    }
    let (mut read, mut whole) = (BTreeSet::new(), BTreeSet::new());
    for copy in copies.iter().filter(|copy| copy.read) {
        read.insert(copy.drive);
        whole.insert(copy.drive);
        for bytes in &copy.files {
            match Ring::decode(bytes) {
                Ok(_) => {}
                Err(error @ KeyringError::Newer(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(drive = %copy.drive, %error, "keyring copy damaged");
                    whole.remove(&copy.drive);
                }
            }
        }
    }
    let of = |drives: &BTreeSet<DriveId>| voters.iter().filter(|d| drives.contains(d)).count();
    if of(&whole) > voters.len() / 2 || of(&read) == voters.len() {
        return Ok(());
    }
    Err(KeyringError::NotRead {
        read: of(&whole),
        holders: voters.len(),
    })
}
