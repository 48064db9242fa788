//! A fresh node's first replicas.

use super::group::partition_name;
use super::host::{self, Running};
use super::{Inner, MetaNode, unavailable};
use crate::blocking::blocking;
use crate::raft::types::Home;
use crate::replica::{Identity, Replica, ReplicaError};
use engine_core::ports::MetaError;
use engine_types::{DriveId, GroupId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl MetaNode {
    /// Makes every group's first replicas and memberships, and waits until all have leaders.
    /// Idempotent: what an attempt cut short has made is kept, what runs already is left alone.
    pub async fn bootstrap(&self) -> Result<(), MetaError> {
        let parts = || self.inner.groups.values();
        parts().for_each(|part| part.watched.hold());
        let formed = self.inner.form_all().await;
        parts().for_each(|part| part.watched.begin());
        formed?;
        self.wait_ready().await
    }
}

impl Inner {
    async fn form_all(self: &Arc<Self>) -> Result<(), MetaError> {
        let _repairing = self.repairing.lock().await;
        for (at, group) in self.options.groups.iter().enumerate() {
            self.form(at, *group).await?;
        }
        Ok(())
    }

    async fn form(self: &Arc<Self>, at: usize, group: GroupId) -> Result<(), MetaError> {
        for replica in self.replicas(group) {
            if replica
                .node
                .is_initialized()
                .await
                .map_err(|e| MetaError::Unavailable(e.to_string()))?
            {
                return Ok(());
            }
        }
        let drives: Vec<(DriveId, Arc<Running>)> = {
            let hosts = self.hosts.read();
            hosts
                .iter()
                .filter_map(|(id, host)| Some((*id, Arc::clone(host.running()?))))
                .collect()
        };
        let voters = self.options.voters.min(drives.len());
        if voters == 0 {
            return Err(MetaError::Unavailable("no drive in service".into()));
        }
        // Rotated by group, so that replicas and first leaders spread over the drives.
        let chosen: Vec<&(DriveId, Arc<Running>)> = (0..voters)
            .map(|j| &drives[(at + j) % drives.len()])
            .collect();
        let mut members = BTreeMap::new();
        for (drive, running) in &chosen {
            let _turn = running.turn().await;
            let replica = self
                .ensure_replica(running, group)
                .await
                .map_err(|e| unavailable(&e))?;
            members.insert(
                replica.id,
                Home {
                    node: self.options.node,
                    drive: drive.0,
                },
            );
        }
        let on_drive = chosen.iter().find(|(drive, _)| *drive != DriveId::WITNESS);
        let (_, first) = on_drive.unwrap_or(&chosen[0]);
        let first = first.replicas.read().get(&group).cloned();
        let Some(first) = first else {
            return Err(MetaError::Unavailable(format!(
                "{}: replica did not open",
                partition_name(group)
            )));
        };
        let formed = first.node.initialize(members).await;
        formed
            .map_err(|error| MetaError::Unavailable(format!("{}: {error}", partition_name(group))))
    }

    /// The replica of `group` on a drive, made with a fresh id where there is none. The caller has
    /// the drive's turn.
    pub(super) async fn ensure_replica(
        &self,
        running: &Arc<Running>,
        group: GroupId,
    ) -> Result<Replica, ReplicaError> {
        if let Some(replica) = running.replicas.read().get(&group) {
            return Ok(replica.clone());
        }
        let (files, id) = (
            Arc::clone(&running.parts.files),
            self.fresh_id(running.parts.files.drive()),
        );
        blocking(move || {
            if Identity::read(files.as_ref(), group)?.is_none() {
                Identity { id, generation: 1 }.write(files.as_ref(), group)?;
            }
            Ok::<_, ReplicaError>(())
        })
        .await?;
        host::open_replica(self, running, group, false).await?;
        let replica = running.replicas.read().get(&group).cloned();
        replica.ok_or_else(|| {
            ReplicaError::Damaged(format!("{}: replica did not open", partition_name(group)))
        })
    }

    /// A replica id nobody had: the drive's number above 32 random bits.
    fn fresh_id(&self, drive: DriveId) -> u64 {
        let mut low = [0; 4];
        self.entropy.fill(&mut low);
        u64::from(drive.0) << 32 | u64::from(u32::from_le_bytes(low))
    }
}
