//! Which groups have a majority of their voters in service, and what the others lack.
//!
//! Judged from memory: a voter is in service if its replica runs here; of voters on other nodes
//! nothing is known, so they count. A group known to be short is answered for at once, because
//! nothing but the return of a drive would help: to wait for a leader costs each client the whole
//! deadline, and each worker of the engine its turn for the other groups. Nothing else follows from
//! it; raft alone decides what commits.

use super::drives::HostState;
use super::group::partition_name;
use super::{Inner, MetaNode};
use crate::raft::types::Home;
use crate::replica::Replica;
use engine_core::ports::MetaError;
use engine_types::{DriveId, GroupId};
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::SerdeInstant;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A group is refused once it has been short for so long: a replica that is reopened, or a drive
/// that takes another's place, is no outage.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// A leader acknowledged by a majority so lately has one: several heartbeats.
const HEARD: Duration = Duration::from_secs(1);
/// A leader whom no majority has acknowledged for so long has none, though its voters' drives are
/// in service: they hang. Longer than a flush of a healthy drive.
const UNHEARD: Duration = Duration::from_secs(3);

/// A group without a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Which.
    pub group: GroupId,
    /// Its voters, as the newest membership known here has them; 0: no replica of it is in service.
    pub voters: usize,
    /// Voters in service.
    pub running: usize,
    /// The drives of the others, and why they are not.
    pub missing: Vec<(DriveId, String)>,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            voters,
            running,
            missing,
            ..
        } = self;
        let partition = partition_name(self.group);
        match voters {
            0 => write!(
                f,
                "{partition} has no majority: none of its replicas here is whole and in service"
            )?,
            _ => write!(
                f,
                "{partition} has no majority: {running} of {voters} voters are in service"
            )?,
        }
        for (at, (drive, why)) in missing.iter().enumerate() {
            let open = if at == 0 { " (" } else { "; " };
            write!(f, "{open}drive {drive}: {why}")?;
        }
        if !missing.is_empty() {
            write!(f, ")")?;
        }
        match voters {
            0 => write!(
                f,
                ". Bring back another of its drives, or restore from a backup (docs: Recovery)"
            ),
            _ => Ok(()),
        }
    }
}

/// How long a group has been short.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Since>);

impl Watched {
    /// The group is being made: what it lacks is no outage.
    pub(super) fn hold(&self) {
        let mut since = self.0.lock();
        (since.forming, since.short) = (true, None);
    }

    /// It is made, or was not to be.
    pub(super) fn begin(&self) {
        self.0.lock().forming = false;
    }

    /// Whether the last look found it out of service.
    fn is_short(&self) -> bool {
        self.0.lock().told
    }
}

#[derive(Debug, Default)]
struct Since {
    short: Option<Instant>,
    told: bool,
    forming: bool,
}

impl MetaNode {
    /// Groups that have been without a majority for longer than a moment. They are refused
    /// ([`MetaError::NoMajority`]) and come back by themselves.
    pub fn without_majority(&self) -> Vec<Shortage> {
        let groups = self.inner.options.groups.iter();
        groups
            .filter_map(|group| self.inner.lasting_shortage(*group))
            .collect()
    }
}

impl Inner {
    /// What the group lacks now.
    pub(super) fn shortage(&self, group: GroupId) -> Option<Shortage> {
        let mut replicas = self.replicas(group);
        replicas.retain(|replica| replica.stopped().is_none());
        let Some((configs, homes)) = newest_membership(&replicas) else {
            let missing = self.all_missing(group);
            return Some(Shortage {
                group,
                voters: 0,
                running: 0,
                missing,
            });
        };
        let serves = |id: &u64| {
            let elsewhere = homes
                .get(id)
                .is_some_and(|home| home.node != self.options.node);
            elsewhere || replicas.iter().any(|replica| replica.id == *id)
        };
        let running = |voters: &BTreeSet<u64>| voters.iter().filter(|id| serves(id)).count();
        let short = configs
            .iter()
            .find(|voters| running(voters) * 2 <= voters.len())?;
        let lacking = short
            .iter()
            .filter(|id| !serves(id))
            .filter_map(|id| homes.get(id));
        let missing = lacking.map(|home| {
            (
                DriveId(home.drive),
                self.why_missing(group, DriveId(home.drive)),
            )
        });
        Some(Shortage {
            group,
            voters: short.len(),
            running: running(short),
            missing: missing.collect(),
        })
    }

    /// What the group lacks, if it has lacked it for longer than [`PATIENCE`].
    pub(super) fn lasting_shortage(&self, group: GroupId) -> Option<Shortage> {
        let found = self.shortage(group);
        let mut since = self.groups.get(&group)?.watched.0.lock();
        if found.is_none() || since.forming {
            since.short = None;
            return None;
        }
        let began = *since.short.get_or_insert_with(Instant::now);
        found.filter(|_| began.elapsed() >= PATIENCE)
    }

    /// Why nothing of the group should be begun: a write that must fail at its end had better not
    /// send its body first. As of the last look, so that it costs a write nothing.
    pub(super) fn refuses(&self, group: GroupId) -> Option<MetaError> {
        let part = self.groups.get(&group)?;
        let short = part
            .watched
            .is_short()
            .then(|| self.lasting_shortage(group))?;
        short.map(|short| MetaError::NoMajority(short.to_string()))
    }

    /// Says once that a group went out of service, and once that it is back.
    pub(super) fn look_at_quorums(&self) {
        for (group, part) in &self.groups {
            let short = self.lasting_shortage(*group);
            let mut since = part.watched.0.lock();
            match short {
                Some(short) if !since.told => {
                    tracing::error!(%group, reason = %short, "partition out of service");
                }
                None if since.told && since.short.is_none() => {
                    tracing::info!(%group, "partition has a majority again");
                }
                _ => continue,
            }
            since.told = !since.told;
        }
    }

    fn why_missing(&self, group: GroupId, drive: DriveId) -> String {
        match self.hosts.read().get(&drive).map(|host| &host.state) {
            None => "not here".into(),
            Some(HostState::Out(out)) => out.reason.clone(),
            Some(HostState::In(running)) => {
                let damaged = running.damaged.lock().get(&group).cloned();
                let stopped = || running.stops.lock().get(&group)?.why().cloned();
                damaged
                    .or_else(stopped)
                    .unwrap_or_else(|| "its replica does not run".into())
            }
        }
    }

    /// Where no replica says who the voters are: every drive that is out or holds a broken one.
    fn all_missing(&self, group: GroupId) -> Vec<(DriveId, String)> {
        let lacking = |state: &HostState| match state {
            HostState::Out(_) => true,
            HostState::In(running) => running.damaged.lock().contains_key(&group),
        };
        let hosts = self.hosts.read();
        let drives = hosts.iter().filter(|(_, host)| lacking(&host.state));
        let drives: Vec<DriveId> = drives.map(|(drive, _)| *drive).collect();
        drop(hosts);
        drives
            .into_iter()
            .map(|drive| (drive, self.why_missing(group, drive)))
            .collect()
    }
}

type Membership = (Vec<BTreeSet<u64>>, BTreeMap<u64, Home>);

/// Voters, twice while they change, and where each lives, as the latest of these replicas has it.
fn newest_membership(replicas: &[Replica]) -> Option<Membership> {
    let known = replicas.iter().map(|replica| {
        let metrics = replica.node.metrics();
        let metrics = metrics.borrow_watched();
        Arc::clone(&metrics.membership_config)
    });
    let newest = known.max_by_key(|stored| stored.log_id().map(|id| id.index()))?;
    let configs = newest.membership().get_joint_config().clone();
    let homes = newest.nodes().map(|(id, home)| (*id, *home)).collect();
    configs
        .iter()
        .any(|voters| !voters.is_empty())
        .then_some((configs, homes))
}

/// How long ago a majority acknowledged this leader last: zero for a lone voter, nothing for one that
/// has not heard of anybody.
fn unheard_for(leader: &Replica) -> Option<Duration> {
    let metrics = leader.node.metrics();
    let metrics = metrics.borrow_watched();
    if metrics.membership_config.voter_ids().nth(1).is_none() {
        return Some(Duration::ZERO);
    }
    let acked = metrics.last_quorum_acked.map(SerdeInstant::into_inner);
    acked.map(|acked| acked.elapsed())
}

/// Whether a leader can commit, as far as is known: what it is asked for may be worth its price.
pub(super) fn heard(leader: &Replica) -> bool {
    unheard_for(leader).is_some_and(|since| since < HEARD)
}

/// Whether a leader's voters hang. One that was elected just now has yet to hear of them.
pub(super) fn unheard(leader: &Replica) -> bool {
    unheard_for(leader).is_some_and(|since| since >= UNHEARD)
}
