//! Groups that damaged logs would leave without a majority, though between them their drives have
//! everything: damaged records are restored ([`crate::log::mend`]) before such a group is given up.
//!
//! Only then. Where a majority is whole, the damaged replica is made anew from it.

use super::Inner;
use super::closing;
use super::drives::{Hold, Host};
use super::host::Running;
use crate::blocking::blocking;
use crate::log::LogError;
use crate::log::mend::{Restored, restorable, restore};
use engine_core::ports::DriveFiles;
use engine_types::{DriveId, GroupId};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Inner {
    /// Looks at every group.
    pub(super) async fn mend_logs(&self) {
        let _mending = self.mending.lock().await;
        let mut drives = BTreeSet::new();
        for group in self
            .options
            .groups
            .iter()
            .filter(|group| self.is_lost_here(**group))
        {
            drives.extend(self.with_damaged_log(*group));
        }
        for drive in drives {
            if let Err(error) = self.mend_log(drive).await {
                tracing::warn!(%drive, %error, "log not mended");
            }
        }
    }

    /// Whether the whole replicas here are too few, by the membership that they have applied.
    fn is_lost_here(&self, group: GroupId) -> bool {
        let replicas = self.replicas(group);
        let voters = |replica: &crate::replica::Replica| {
            replica.core.applied().membership.voter_ids().count()
        };
        let voters = replicas.iter().map(voters).max().unwrap_or(0);
        replicas.len() * 2 <= voters || replicas.is_empty()
    }

    /// Drives whose log, and nothing else, is why they have no replica of the group.
    fn with_damaged_log(&self, group: GroupId) -> Vec<DriveId> {
        let hosts = self.hosts.read();
        let running = hosts.values().filter_map(Host::running);
        let hit = running.filter(|running| {
            running.damaged.lock().contains_key(&group)
                && running.parts.log.damage_of(group).is_some()
        });
        hit.map(|running| running.parts.files.drive()).collect()
    }

    async fn mend_log(&self, drive: DriveId) -> Result<(), LogError> {
        let (running, siblings): (Option<Arc<Running>>, Vec<Arc<dyn DriveFiles>>) = {
            let hosts = self.hosts.read();
            let running = hosts.get(&drive).and_then(Host::running).cloned();
            let others = hosts
                .iter()
                .filter(|(id, host)| **id != drive && host.running().is_some());
            (
                running,
                others.map(|(_, host)| Arc::clone(&host.files)).collect(),
            )
        };
        let Some(running) = running else {
            return Ok(());
        };
        let looked = Arc::clone(&running.parts.files);
        let found = blocking(move || restorable(looked.as_ref(), &siblings)).await?;
        if found.is_empty() {
            return Ok(());
        }
        let Some(hold) = self.borrow_drive(&running, "its log is being mended") else {
            return Ok(());
        };
        self.rewrite(running, hold, found).await
    }

    /// With the drive's log closed meanwhile.
    async fn rewrite(
        &self,
        running: Arc<Running>,
        hold: Hold,
        found: Vec<Restored>,
    ) -> Result<(), LogError> {
        let files = Arc::clone(&running.parts.files);
        let (drive, records) = (files.drive(), found.len());
        closing::close(self, running, true).await;
        let written = Arc::clone(&files);
        let restored = blocking(move || restore(written.as_ref(), &found)).await;
        if let Err(error) = self.bring_in(files, hold, false).await {
            tracing::warn!(%drive, %error, "drive out of service while its log is mended");
        }
        restored?;
        tracing::warn!(%drive, records, "damaged records of the log restored: without them a group had no majority");
        Ok(())
    }
}
