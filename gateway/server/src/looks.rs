//! Looking whether drives stand where they did, without waiting for one that hangs.

use crate::keeper::LOOK;
use engine_core::ports::DriveFiles;
use engine_disk::Drive;
use engine_types::DriveId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Looks that were begun and have not come back: no second one is begun at the same drive.
#[derive(Debug, Default)]
pub(crate) struct Looks(BTreeMap<DriveId, (Arc<Drive>, JoinHandle<bool>)>);

impl Looks {
    /// Whether a drive stands where it did; one that does not say so within a look is asked on.
    pub(crate) async fn still_here(&mut self, drive: &Arc<Drive>) -> bool {
        let id = drive.files().drive();
        let begun = self.0.remove(&id);
        // One that was begun before the drive went and came back says nothing of it now.
        let begun = begun.filter(|(before, _)| Arc::ptr_eq(before, drive));
        let mut looking = begun.map_or_else(
            || {
                let drive = Arc::clone(drive);
                tokio::task::spawn_blocking(move || drive.check_still_here())
            },
            |(_, looking)| looking,
        );
        match tokio::time::timeout(LOOK, &mut looking).await {
            Ok(here) => here.unwrap_or(true),
            Err(_late) => {
                self.0.insert(id, (Arc::clone(drive), looking));
                true
            }
        }
    }
}
