//! Readiness: one sentence that names the cause, and every drive that is missing. From memory alone,
//! so that it answers also when control cannot be read.

use super::shapes::{DriveInfo, Partition, Readiness};
use super::{Running, status};
use engine_core::stripes::Geometry;
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
        Self(Mutex::new((
            Phase::Starting {
                doing: "opening drives".into(),
            },
            Vec::new(),
        )))
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.lock().0 = phase;
    }

    /// Paths that are not in use, and why.
    pub(crate) fn set_left_out(&self, paths: &[String]) {
        self.0.lock().1 = paths.to_vec();
    }

    /// Why requests are not served yet, in a sentence.
    pub(crate) fn sentence(&self) -> String {
        let (phase, missing) = self.0.lock().clone();
        let why = match phase {
            Phase::Starting { doing } => doing,
            Phase::Ready => return "ready".into(),
            Phase::Ending => return "shutting down".into(),
        };
        if missing.is_empty() {
            return format!("The store is not open yet: {why}");
        }
        format!(
            "The store is not open yet: {why}; not in use: {}",
            missing.join("; ")
        )
    }

    /// What `/health/ready` says.
    pub(super) fn readiness(&self, running: Option<&Running>) -> Readiness {
        let (phase, missing) = self.0.lock().clone();
        let state = |state: &str, reason: Option<String>, missing| Readiness {
            state: state.into(),
            reason,
            missing,
        };
        match (phase, running) {
            (Phase::Starting { doing }, _) => state("starting", Some(doing), missing),
            (Phase::Ending, _) => state("ending", Some("shutting down".into()), missing),
            (Phase::Ready, None) => state("ready", None, missing),
            (Phase::Ready, Some(running)) => {
                let drives = status::drives(running);
                let mut missing = status::left_out(running);
                missing.extend(drives.iter().filter_map(out));
                let reason = too_few(&drives).or_else(|| leaderless(&status::partitions(running)));
                state(
                    if reason.is_some() { "failing" } else { "ready" },
                    reason,
                    missing,
                )
            }
        }
    }
}

fn out(drive: &DriveInfo) -> Option<String> {
    if drive.layout == "gone" {
        return None;
    }
    let path = drive
        .path
        .as_ref()
        .map(|path| format!(" at {path}"))
        .unwrap_or_default();
    drive
        .reason
        .as_ref()
        .map(|reason| format!("drive {}{path}: {reason}", drive.id))
}

/// More drives out of service than stripes bear.
fn too_few(drives: &[DriveInfo]) -> Option<String> {
    let counted = || drives.iter().filter(|drive| drive.counts());
    let all = counted().count();
    let borne = Geometry::for_drives(all).map_or(0, |g| usize::from(g.m));
    let out = counted().filter(|drive| drive.state == "out").count();
    (out > borne).then(|| {
        format!("{out} of {all} drives are out of service, {borne} may be: bring them back")
    })
}

/// Partitions without a majority.
fn leaderless(partitions: &[Partition]) -> Option<String> {
    let mut without = partitions
        .iter()
        .filter(|partition| partition.leader.is_none());
    let first = without.next()?;
    let name = if first.id == 0 {
        "control".to_owned()
    } else {
        format!("partition {}", first.id)
    };
    let more = match without.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{name}{more}: no majority of the replicas' drives answers"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drives(out: usize) -> Vec<DriveInfo> {
        let drive = |n: usize| DriveInfo {
            id: u32::try_from(n).expect("small"),
            uuid: String::new(),
            path: Some(format!("/d/{n}")),
            zone: "z".into(),
            state: if n < out { "out".into() } else { "up".into() },
            reason: (n < out).then(|| "unplugged".into()),
            layout: "active".into(),
            capacity_bytes: 1,
            available_bytes: 1,
            live_bytes: 0,
            written_bytes: 0,
            replicas: 1,
            shards_left: None,
            bytes_left: None,
        };
        (0..6).map(drive).collect()
    }

    #[test]
    fn two_of_six_may_be_out_and_not_three() {
        assert_eq!(too_few(&drives(2)), None);
        assert!(
            too_few(&drives(3))
                .expect("too few")
                .starts_with("3 of 6 drives")
        );
        assert_eq!(
            drives(1).iter().filter_map(out).collect::<Vec<_>>(),
            ["drive 0 at /d/0: unplugged"]
        );
    }

    #[test]
    fn control_without_a_majority_is_named() {
        let partition = |id, leader| Partition {
            id,
            leader,
            term: 1,
            voters: 5,
            replicas: Vec::new(),
        };
        assert_eq!(
            leaderless(&[partition(0, Some(1)), partition(1, Some(2))]),
            None
        );
        let told = leaderless(&[
            partition(0, None),
            partition(1, Some(2)),
            partition(2, None),
        ]);
        assert!(told.expect("told").starts_with("control and 1 more"));
    }

    #[test]
    fn before_the_store_is_open_the_reason_and_the_paths_are_told() {
        let health = Health::new();
        health.set_left_out(&["/d/3 holds no drive".into()]);
        health.set(Phase::Starting {
            doing: "waiting".into(),
        });
        let told = health.readiness(None);
        assert_eq!(
            (told.state.as_str(), told.reason.as_deref()),
            ("starting", Some("waiting"))
        );
        assert_eq!(told.missing, ["/d/3 holds no drive"]);
    }
}
