//! Looks at everything ten times a second. Each look is cheap: metrics in memory and flags. What has to
//! wait for a drive is done in a task of its own, one a drive: a drive that hangs must not keep the
//! others from being looked at.

use super::Inner;
use super::closing;
use super::group::partition_name;
use super::host::{self, Running};
use super::quorum;
use crate::raft::stamp::{Behind, News};
use crate::raft::types::Proposal;
use crate::replica::{Replica, ReplicaError};
use engine_core::ports::{DriveError, MetaError};
use engine_types::GroupId;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many looks: the clock, ticks, snapshots, repairs, leaders.
const SLOW: u32 = 10;

/// Until the node is closed or dropped.
pub(super) async fn run(inner: Weak<Inner>) {
    let Some(strong) = inner.upgrade() else {
        return;
    };
    let mut closed = strong.closed.subscribe();
    drop(strong);
    let mut look: u32 = 0;
    let mut behind = Behind::default();
    loop {
        tokio::select! {
            _closed = closed.wait_for(|closed| *closed) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        look = look.wrapping_add(1);
        inner.look_at_drives();
        inner.look_at_replicas();
        inner.look_at_quorums();
        if look.is_multiple_of(SLOW) {
            inner.look_at_clock(&mut behind);
            inner.try_back();
            inner.keep_up().await;
        }
    }
}

impl Inner {
    fn look_at_drives(self: &Arc<Self>) {
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
            // What follows goes on by itself.
            drop(self.take_out(drive, &why, false));
        }
    }

    /// Tells people of a wall clock far behind what was stamped, once, and when it has caught up.
    fn look_at_clock(&self, behind: &mut Behind) {
        let newest = |group: &GroupId| {
            let replicas = self.replicas(*group);
            let stamp = replicas.iter().map(|replica| replica.core.stamp()).max()?;
            Some((stamp, *group))
        };
        let Some((stamp, group)) = self.options.groups.iter().filter_map(newest).max() else {
            return;
        };
        let ms = stamp.saturating_sub(self.clock.unix_ms());
        match behind.look(ms) {
            Some(News::Behind) => tracing::warn!(
                partition = %partition_name(group), behind_s = ms / 1000,
                "the clock is behind the partitions' time: it was ahead before, or is behind now. \
                 Nothing is lost; what is written is dated ahead of the clock, and background work \
                 waits twice as long, until the clock has caught up. If it is wrong, set it right"
            ),
            Some(News::CaughtUp) => {
                tracing::info!("the clock has caught up with the partitions' time");
            }
            None => {}
        }
    }

    /// Drives whose failure has been lifted by their owner come back.
    fn try_back(self: &Arc<Self>) {
        for files in self.due_back() {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                let drive = files.drive();
                match inner.drive_back(files, false).await {
                    Ok(()) => tracing::info!(%drive, "drive back in service"),
                    Err(MetaError::Closed) => {}
                    Err(error) => tracing::debug!(%drive, %error, "drive not back yet"),
                }
            });
        }
    }

    /// Reopens replicas that openraft stopped though their drive is well: tables that could not be
    /// read are rebuilt.
    fn look_at_replicas(self: &Arc<Self>) {
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
            let due = self.due(&running);
            let Some(turn) = (!due.is_empty()).then(|| running.try_turn()).flatten() else {
                continue;
            };
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                for group in due {
                    inner.reopen(&running, group).await;
                }
                drop(turn);
            });
        }
    }

    /// Groups whose replica here is to be opened again now.
    fn due(&self, running: &Running) -> Vec<GroupId> {
        let replicas: Vec<Replica> = running.replicas.read().values().cloned().collect();
        for replica in replicas {
            if let Some(why) = replica.stopped()
                && host::stopped(self, running, &replica.core, &why)
            {
                self.switchboard.disconnect(replica.core.group, replica.id);
                self.groups[&replica.core.group].forget_leader();
            }
        }
        let now = self.clock.monotonic();
        let stops = running.stops.lock();
        let due = stops.iter().filter(|(_, stop)| stop.is_due(now));
        due.map(|(group, _)| *group).collect()
    }

    async fn reopen(self: &Arc<Self>, running: &Arc<Running>, group: GroupId) {
        let rebuild = {
            let mut stops = running.stops.lock();
            // It may have been erased since.
            let Some(stop) = stops.get_mut(&group) else {
                return;
            };
            stop.opening(self.clock.monotonic());
            stop.spoiled
        };
        let replica = running.replicas.write().remove(&group);
        if let Some(replica) = &replica {
            closing::stop(self, replica).await;
        }
        match host::open_replica(self, running, group, rebuild).await {
            Ok(()) => {}
            // The process lacks file handles: nothing is wrong with the drive.
            Err(ReplicaError::Drive(error @ DriveError::Starved(_))) => {
                if let Some(stop) = running.stops.lock().get_mut(&group) {
                    stop.found(self.clock.monotonic(), 0, &error.to_string());
                }
            }
            Err(error) => running.parts.files.fail(&error.to_string()),
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
        let (stamps, last) = (&self.groups[&group].stamps, leader.core.stamp());
        let idle = stamps.age(self.clock.as_ref(), last);
        // Without a majority each would wait in the log, one a look.
        if u128::from(idle) < self.options.tick_after.as_millis() || !quorum::heard(&leader) {
            return;
        }
        let stamp = stamps.next(self.clock.as_ref(), last);
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
