//! Drives that return, and what the others remember of them.
//!
//! A drive that was away may come back as an older copy of itself: a restored backup, a rolled-back
//! snapshot of the volume, a clone. Its replicas have then forgotten votes and entries they promised
//! to remember, so none may vote again under its id. Two things tell it: its boot count is behind
//! what its siblings have seen (the mark's part, told by the caller), or its log ends before a
//! sequence that is known to have been durable on it. The second is remembered here while the
//! process runs, and for later starts by whoever asks [`MetaNode::log_ends`] and writes it down.
//!
//! A drive that merely failed has lost nothing that was durable, so its log ends at that sequence or
//! behind it. One whose device lost synced writes is treated as an old copy, and rightly.
//!
//! The replicas are disowned, not erased: each is erased when its group makes it anew. Where so many
//! are disowned that a group has no majority, nothing is, and [`MetaNode::status`] says what stands.

use super::{Inner, MetaNode};
use crate::log::DriveLog;
use crate::replica::{Identity, ReplicaError};
use engine_core::ports::{DriveFiles, MetaError};
use engine_types::{DriveId, GroupId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the rest of a node knows of a drive before it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its siblings have seen it at a later start than it remembers.
    pub old_copy: bool,
    /// The last sequence of its log known to be durable; 0: none.
    pub log_end: u64,
}

impl Known {
    fn and(self, other: Self) -> Self {
        Self {
            old_copy: self.old_copy || other.old_copy,
            log_end: self.log_end.max(other.log_end),
        }
    }

    /// Why a drive whose log ends at `found` is an older copy, if it is.
    fn older(self, found: u64) -> Option<String> {
        #[cfg(sabotage)]
        if engine_types::sabotage("accept-older-log") {
            return None;
        }
        if self.old_copy {
            return Some("its siblings have seen it at a later start".into());
        }
        (found < self.log_end).then(|| {
            format!(
                "its log ends at record {found}, and record {} was durable",
                self.log_end
            )
        })
    }
}

impl MetaNode {
    /// Puts a drive (back) into service, where the caller knows more of it than this node does. Its
    /// replicas are made anew from their groups, under new ids, if it is an older copy of itself;
    /// [`super::DriveStatus::old_copy`] then says why.
    pub async fn drive_back_as(
        &self,
        files: Arc<dyn DriveFiles>,
        known: Known,
    ) -> Result<(), MetaError> {
        let drive = files.drive();
        if !self.inner.is_running(drive) {
            self.inner.expect(drive, known);
        }
        self.inner.drive_back(files, true).await
    }

    /// Takes a drive out for good and forgets it: whatever comes under its number next is somebody
    /// new, of which nothing is known. False: it is not let go of yet; ask again.
    pub async fn drive_gone(&self, drive: DriveId, reason: &str) -> bool {
        self.inner.drive_out(drive, reason).await;
        self.inner.forget(drive).await
    }

    /// The last durable log sequence of each drive that was ever open here: what must be found on it
    /// at any later open. Grows while the drive is in service; also after [`MetaNode::shutdown`].
    pub fn log_ends(&self) -> BTreeMap<DriveId, u64> {
        let known = self.inner.known.lock();
        let mut ends: BTreeMap<DriveId, u64> = known
            .iter()
            .map(|(id, known)| (*id, known.log_end))
            .collect();
        drop(known);
        for (drive, host) in self.inner.hosts.read().iter() {
            if let Some(running) = host.running() {
                ends.insert(*drive, running.parts.log.end());
            }
        }
        ends
    }
}

impl Inner {
    fn is_running(&self, drive: DriveId) -> bool {
        let hosts = self.hosts.read();
        hosts
            .get(&drive)
            .is_some_and(|host| host.running().is_some())
    }

    /// Adds to what must be found on a drive when it is opened next.
    pub(super) fn expect(&self, drive: DriveId, known: Known) {
        let mut all = self.known.lock();
        let merged = all.get(&drive).map_or(known, |before| before.and(known));
        all.insert(drive, merged);
    }

    /// Judges a drive whose log was just recovered, and disowns its replicas if it is an older copy.
    /// Blocking.
    pub(super) fn judge(
        known: Known,
        files: &dyn DriveFiles,
        log: &DriveLog,
    ) -> Result<Option<String>, ReplicaError> {
        let Some(why) = known.older(log.recovered()) else {
            return Ok(None);
        };
        tracing::error!(
            drive = %files.drive(), why,
            "an older copy of the drive: its replicas are made anew"
        );
        for group in Identity::groups(files)? {
            Identity::disown(files, group)?;
        }
        Ok(Some(why))
    }

    /// What is known has been found: only what is written from now on counts at the next open.
    pub(super) fn found(&self, drive: DriveId) {
        self.known.lock().remove(&drive);
    }

    /// Groups with a disowned replica on the drive, and why. Blocking.
    pub(super) fn disowned(
        files: &dyn DriveFiles,
        old_copy: Option<&String>,
    ) -> Result<Vec<(GroupId, String)>, ReplicaError> {
        let why = old_copy.map_or_else(
            || "disowned, to be made anew from its group".to_owned(),
            |why| format!("an older copy of the drive: {why}"),
        );
        let groups = Identity::disowned(files)?.into_iter();
        Ok(groups.map(|group| (group, why.clone())).collect())
    }

    /// Gives an empty witness the names of the voters that it lost.
    #[cfg(sabotage)]
    pub(super) fn votes_as_before(&self, files: &dyn DriveFiles) -> Result<(), ReplicaError> {
        for group in &self.options.groups {
            let status = self.status();
            let known = status.replicas(*group);
            let lost = known.iter().flat_map(|(_, replica)| &replica.voters);
            let lost = lost.copied().find(|id| id >> 32 == 0);
            if let (Some(id), None) = (lost, Identity::read(files, *group)?) {
                let generation = 1;
                Identity { id, generation }.write(files, *group)?;
            }
        }
        Ok(())
    }
}
