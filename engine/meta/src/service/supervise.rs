//! Looks at everything ten times a second. Each look is cheap: metrics in memory and flags.

use super::Inner;
use super::host::{self, HostState};
use super::quorum;
use crate::raft::types::Proposal;
use crate::replica::Replica;
use engine_core::ports::{DriveFiles, MetaError};
use engine_types::GroupId;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many looks: ticks, snapshots, repairs, leaders.
const SLOW: u32 = 10;

/// Until the node is closed or dropped.
pub(super) async fn run(inner: Weak<Inner>) {
    let Some(strong) = inner.upgrade() else {
        return;
    };
    let mut closed = strong.closed.subscribe();
    drop(strong);
    let mut look: u32 = 0;
    loop {
        tokio::select! {
            _closed = closed.wait_for(|closed| *closed) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        look = look.wrapping_add(1);
        inner.look_at_drives().await;
        inner.look_at_replicas().await;
        inner.look_at_quorums();
        if look.is_multiple_of(SLOW) {
            inner.try_back().await;
            inner.keep_up().await;
        }
    }
}

impl Inner {
    async fn look_at_drives(self: &Arc<Self>) {
        let mut failed = Vec::new();
        for (drive, host) in self.hosts.read().iter() {
            let Some(running) = host.running() else {
                continue;
            };
            let why = host.files.failure();
            let why = why.or_else(|| running.parts.log.failure().map(|error| error.to_string()));
            failed.extend(why.map(|why| (*drive, why)));
        }
        for (drive, why) in failed {
            self.drive_out(drive, &why, false).await;
        }
    }

    /// Drives whose failure has been lifted by their owner come back.
    async fn try_back(self: &Arc<Self>) {
        let out: Vec<Arc<dyn DriveFiles>> = {
            let hosts = self.hosts.read();
            let free = hosts
                .values()
                .filter(|host| matches!(host.state, HostState::Out { held: false, .. }));
            free.filter(|host| host.files.failure().is_none())
                .map(|host| Arc::clone(&host.files))
                .collect()
        };
        for files in out {
            match self.drive_back(Arc::clone(&files)).await {
                Ok(()) => tracing::info!(drive = %files.drive(), "drive back in service"),
                Err(MetaError::Closed) => {}
                Err(error) => tracing::debug!(drive = %files.drive(), %error, "drive not back yet"),
            }
        }
    }

    /// Reopens replicas that openraft stopped though their drive is well: tables that could not be
    /// read are rebuilt.
    async fn look_at_replicas(self: &Arc<Self>) {
        let drives: Vec<_> = self
            .hosts
            .read()
            .values()
            .filter_map(|host| host.running().cloned())
            .collect();
        for running in drives {
            if running.parts.files.failure().is_some() || running.parts.log.failure().is_some() {
                continue;
            }
            let stopped: Vec<(Replica, String)> = {
                let replicas = running.replicas.read();
                replicas
                    .values()
                    .filter_map(|r| Some((r.clone(), r.stopped()?)))
                    .collect()
            };
            for (replica, why) in stopped {
                let _lifecycle = self.lifecycle.lock().await;
                let group = replica.core.group;
                let rebuild = replica.core.spoiled.load(Ordering::Relaxed);
                tracing::error!(%group, id = replica.id, %why, rebuild, "replica stopped: reopening");
                self.groups[&group].forget_leader();
                running.replicas.write().remove(&group);
                host::stop(self, &replica).await;
                drop(replica);
                if let Err(error) = host::open_replica(self, &running, group, rebuild).await {
                    running.parts.files.fail(&error.to_string());
                }
            }
        }
    }

    async fn keep_up(self: &Arc<Self>) {
        self.snapshots().await;
        self.give_back().await;
        for group in &self.options.groups {
            self.tick(*group).await;
        }
        self.repair_due();
        self.spread_leaders().await;
        self.compare_due();
    }

    /// Snapshots what has outgrown its tables, and purges below the older of two.
    async fn snapshots(&self) {
        let drives: Vec<_> = self
            .hosts
            .read()
            .values()
            .filter_map(|host| host.running().cloned())
            .collect();
        for running in drives {
            let pressed = running.parts.log.take_pressure();
            let replicas: Vec<Replica> = running.replicas.read().values().cloned().collect();
            for replica in replicas {
                let core = &replica.core;
                // Twice: a snapshot writes the whole tables, so that half of the writes at most are its.
                let due = (self.options.snapshot_bytes_min).max(2 * core.table_bytes());
                if core.since_snapshot.load(Ordering::Relaxed) >= due
                    || pressed.contains(&core.group)
                {
                    // Asked for once; the count begins again when it is written.
                    core.since_snapshot.store(0, Ordering::Relaxed);
                    told(replica.node.trigger().snapshot().await);
                }
                let upto = core.purge_upto.load(Ordering::Relaxed);
                let purged = core.log.bounds().0.map_or(0, |id| id.index());
                if upto > purged {
                    told(replica.node.trigger().purge_log(upto).await);
                }
            }
        }
    }

    /// Moves an idle group's stamp.
    async fn tick(self: &Arc<Self>, group: GroupId) {
        let Some(leader) = self.leader(group) else {
            return;
        };
        let last = leader.core.stamp();
        let idle = self.clock.unix_ms().saturating_sub(last);
        // Without a majority each would wait in the log, one a look.
        if u128::from(idle) < self.options.tick_after.as_millis() || !quorum::heard(&leader) {
            return;
        }
        let stamp = self.groups[&group].stamps.next(self.clock.as_ref(), last);
        let command = self
            .machine
            .tick(group, engine_types::Stamp(stamp))
            .unwrap_or_default();
        // Nobody waits for the answer: a tick that does not commit is followed by another.
        told(
            leader
                .node
                .client_write_ff(
                    Proposal {
                        stamp,
                        command: command.into(),
                    },
                    None,
                )
                .await,
        );
    }
}

/// A replica that stopped meanwhile is seen at the next look.
pub(super) fn told<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "replica not told");
    }
}
