//! What people and tests see of a node.

use super::Inner;
use super::drives::HostState;
use super::host::Running;
use crate::raft::types::term_of;
use crate::replica::Replica;
use engine_types::{DriveId, GroupId, Stamp};
use openraft::async_runtime::WatchReceiver;

/// One replica.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// Its group.
    pub group: GroupId,
    /// Its id in the group.
    pub id: u64,
    /// It leads.
    pub leader: bool,
    /// Its term.
    pub term: u64,
    /// Ids of the group's voters, as it knows them.
    pub voters: Vec<u64>,
    /// Last log index.
    pub last: u64,
    /// Last applied index.
    pub applied: u64,
    /// Last applied stamp.
    pub stamp: Stamp,
    /// Digest of all changes up to `applied`.
    pub digest: u64,
    /// Index of its newest snapshot.
    pub snapshot: Option<u64>,
    /// The log is gone up to here.
    pub purged: Option<u64>,
    /// Bytes of unpurged log.
    pub log_bytes: u64,
    /// Why it stopped.
    pub stopped: Option<String>,
}

/// One drive.
#[derive(Clone, Debug)]
pub struct DriveStatus {
    /// Which.
    pub drive: DriveId,
    /// Why it is out of service, if it is.
    pub out: Option<String>,
    /// Syncs of its log since it was opened.
    pub syncs: u64,
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// Groups whose replica here waits to be made anew.
    pub damaged: Vec<(GroupId, String)>,
    /// Why the drive was taken for an older copy of itself when it was last opened, if it was.
    pub old_copy: Option<String>,
}

/// The node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Its drives.
    pub drives: Vec<DriveStatus>,
}

impl NodeStatus {
    /// Replicas of a group with their drives.
    pub fn replicas(&self, group: GroupId) -> Vec<(DriveId, &ReplicaStatus)> {
        let all = self
            .drives
            .iter()
            .flat_map(|drive| drive.replicas.iter().map(|r| (drive.drive, r)));
        all.filter(|(_, replica)| replica.group == group).collect()
    }

    /// The drive that leads a group.
    pub fn leader(&self, group: GroupId) -> Option<DriveId> {
        let leaders = self
            .replicas(group)
            .into_iter()
            .filter(|(_, replica)| replica.leader);
        leaders
            .max_by_key(|(_, replica)| replica.term)
            .map(|(drive, _)| drive)
    }
}

fn replica(running: &Running, replica: &Replica) -> ReplicaStatus {
    let applied = replica.core.applied();
    let metrics = replica.node.metrics();
    let metrics = metrics.borrow_watched();
    let (purged, last) = replica.core.log.bounds();
    let stopped = metrics.running_state.as_ref().err();
    let told = running
        .stops
        .lock()
        .get(&replica.core.group)
        .and_then(|stop| stop.why().cloned());
    ReplicaStatus {
        group: replica.core.group,
        id: replica.id,
        leader: metrics.state.is_leader() && metrics.running_state.is_ok(),
        term: metrics.current_term.max(last.as_ref().map_or(0, term_of)),
        voters: metrics.membership_config.voter_ids().collect(),
        last: last.map_or(0, |id| id.index()),
        applied: applied.index(),
        stamp: applied.stamp,
        digest: applied.digest,
        snapshot: metrics.snapshot.map(|id| id.index()),
        purged: purged.map(|id| id.index()),
        log_bytes: replica.core.log.live_bytes(),
        stopped: stopped.map(|error| told.unwrap_or_else(|| error.to_string())),
    }
}

/// Those that run, and those that were stopped while they were opened.
fn replicas(running: &Running) -> Vec<ReplicaStatus> {
    let known: Vec<Replica> = running.replicas.read().values().cloned().collect();
    let mut all: Vec<_> = known.iter().map(|of| replica(running, of)).collect();
    let stops = running.stops.lock();
    for (group, stop) in stops.iter().filter(|(_, stop)| stop.why().is_some()) {
        if all.iter().all(|replica| replica.group != *group) {
            let log = running.parts.log.group(*group);
            let (purged, last) = log.bounds();
            all.push(ReplicaStatus {
                group: *group,
                id: stop.id,
                leader: false,
                term: 0,
                voters: Vec::new(),
                last: last.map_or(0, |id| id.index()),
                applied: 0,
                stamp: Stamp(0),
                digest: 0,
                snapshot: None,
                purged: purged.map(|id| id.index()),
                log_bytes: log.live_bytes(),
                stopped: stop.why().cloned(),
            });
        }
    }
    all.sort_by_key(|replica| replica.group);
    all
}

impl Inner {
    pub(super) fn status(&self) -> NodeStatus {
        let hosts = self.hosts.read();
        let drives = hosts.iter().map(|(drive, host)| match &host.state {
            HostState::In(running) => DriveStatus {
                drive: *drive,
                out: None,
                syncs: running.parts.log.syncs(),
                replicas: replicas(running),
                damaged: running.damaged.lock().clone().into_iter().collect(),
                old_copy: running.old_copy.clone(),
            },
            HostState::Out(out) => DriveStatus {
                drive: *drive,
                out: Some(out.reason.clone()),
                syncs: 0,
                replicas: Vec::new(),
                damaged: Vec::new(),
                old_copy: None,
            },
        });
        NodeStatus {
            drives: drives.collect(),
        }
    }
}
