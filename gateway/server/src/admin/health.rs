//! Readiness: one sentence that names the cause, and every drive that is missing. From memory alone,
//! so that it answers also when control cannot be read.

use super::Running;
use super::shapes::Readiness;
use engine_core::stripes::Geometry;
use engine_node::{DriveStatus, Service};
use engine_types::GroupId;
use parking_lot::Mutex;

/// How far the process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Opening drives, recovering, electing.
    Starting {
        /// At what.
        doing: String,
    },
    /// Serving.
    Ready,
    /// On the way down.
    Ending,
}

/// The phase, and what was missing at start.
#[derive(Debug)]
pub(crate) struct Health(Mutex<(Phase, Vec<String>)>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((Phase::Starting { doing: "opening drives".into() }, Vec::new())))
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.lock().0 = phase;
    }

    /// Paths that are not in use, and why.
    pub(crate) fn set_left_out(&self, paths: &[String]) {
        self.0.lock().1 = paths.to_vec();
    }

    /// What `/health/ready` says.
    pub(super) fn readiness(&self, running: Option<&Running>) -> Readiness {
        let (phase, missing) = self.0.lock().clone();
        let state = |state: &str, reason: Option<String>, missing| Readiness { state: state.into(), reason, missing };
        match (phase, running) {
            (Phase::Starting { doing }, _) => state("starting", Some(doing), missing),
            (Phase::Ending, _) => state("ending", Some("shutting down".into()), missing),
            (Phase::Ready, None) => state("ready", None, missing),
            (Phase::Ready, Some(running)) => {
                let drives = running.engine.drives().status();
                let mut missing = running.shelf.missing();
                missing.extend(drives.iter().filter_map(out));
                let reason = too_few(&drives).or_else(|| leaderless(running));
                state(if reason.is_some() { "failing" } else { "ready" }, reason, missing)
            }
        }
    }
}

fn out(drive: &DriveStatus) -> Option<String> {
    match &drive.service {
        Service::Out(reason) => Some(format!("drive {}: {reason}", drive.row.id)),
        Service::Up | Service::Full | Service::ReadOnly => None,
    }
}

/// More drives out of service than stripes bear.
fn too_few(drives: &[DriveStatus]) -> Option<String> {
    let borne = Geometry::for_drives(drives.len()).map_or(0, |g| usize::from(g.m));
    let out = drives.iter().filter(|drive| matches!(drive.service, Service::Out(_))).count();
    (out > borne).then(|| {
        format!("{out} of {} drives are out of service, {borne} may be: bring them back", drives.len())
    })
}

/// Partitions that no replica leads.
fn leaderless(running: &Running) -> Option<String> {
    let status = running.metadata.node().status();
    let groups = running.metadata.node().groups();
    let without: Vec<_> = groups.into_iter().filter(|group| status.leader(*group).is_none()).collect();
    let (first, more) = (without.first()?, without.len() - 1);
    let name = if *first == GroupId(0) { "control".to_owned() } else { format!("partition {first}") };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{name}{more}: no majority of the replicas' drives answers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_core::placement::{DriveState, LayoutDrive};
    use engine_types::{DriveId, DriveUuid, NodeId};

    fn drives(out: usize) -> Vec<DriveStatus> {
        let drive = |n: usize| DriveStatus {
            row: LayoutDrive {
                id: DriveId(u32::try_from(n).expect("small")),
                uuid: DriveUuid([0; 16]),
                node: NodeId(1),
                zone: "z".into(),
                size_bytes: 1,
                state: DriveState::Active,
            },
            service: if n < out { Service::Out("unplugged".into()) } else { Service::Up },
            usage: engine_core::ports::DriveUsage::default(),
        };
        (0..6).map(drive).collect()
    }

    #[test]
    fn two_of_six_may_be_out_and_not_three() {
        assert_eq!(too_few(&drives(2)), None);
        assert!(too_few(&drives(3)).expect("too few").starts_with("3 of 6 drives"));
        assert_eq!(drives(1).iter().filter_map(out).collect::<Vec<_>>(), ["drive 0: unplugged"]);
    }

    #[test]
    fn before_the_store_is_open_the_reason_and_the_paths_are_told() {
        let health = Health::new();
        health.set_left_out(&["/d/3 holds no drive".into()]);
        health.set(Phase::Starting { doing: "waiting".into() });
        let told = health.readiness(None);
        assert_eq!((told.state.as_str(), told.reason.as_deref()), ("starting", Some("waiting")));
        assert_eq!(told.missing, ["/d/3 holds no drive"]);
    }
}
