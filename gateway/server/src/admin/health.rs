//! Readiness: one sentence that names the cause, and every drive that is missing. From memory alone,
//! so that it answers also when control cannot be read.

use super::shapes::{DriveInfo, Readiness, WitnessInfo};
use super::{Running, status};
use engine_core::stripes::Geometry;
use engine_meta::service::{Shortage, partition_name};
use engine_types::DriveId;
use parking_lot::Mutex;
use std::collections::BTreeSet;

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

    /// The process is on its way down.
    pub(super) fn ending(&self) -> bool {
        self.0.lock().0 == Phase::Ending
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
                let short = running.metadata.node().without_majority();
                let mut missing = status::left_out(running);
                missing.extend(drives.iter().filter_map(out));
                let witness = status::witness(running);
                missing.extend(witness.as_ref().and_then(unwitnessed));
                missing.extend(broken(&short, &out_of_service(&drives, witness.as_ref())));
                let (name, reason) = judge(too_few(&drives), &short);
                state(name, reason, missing)
            }
        }
    }
}

/// Without control or enough drives nothing is served whole; without another partition all keys but
/// its own are, and to send clients elsewhere would take those from them too.
fn judge(too_few: Option<String>, short: &[Shortage]) -> (&'static str, Option<String>) {
    let control = short.iter().any(|short| short.group.0 == 0);
    let name = match (&too_few, short) {
        (None, []) => "ready",
        (None, _) if !control => "degraded",
        _ => "failing",
    };
    let reasons: Vec<String> = too_few.into_iter().chain(no_majority(short)).collect();
    (name, (!reasons.is_empty()).then(|| reasons.join("; ")))
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

fn unwitnessed(witness: &WitnessInfo) -> Option<String> {
    let reason = witness.reason.as_ref()?;
    Some(format!("witness at {}: {reason}", witness.path))
}

/// What holds a replica, as people call it.
fn home(drive: DriveId) -> String {
    if drive == DriveId::WITNESS {
        return "in the witness".into();
    }
    format!("on drive {drive}")
}

/// More drives out of service than stripes bear.
fn too_few(drives: &[DriveInfo]) -> Option<String> {
    let counted = || drives.iter().filter(|drive| drive.counts());
    let all = counted().count();
    let borne = Geometry::for_drives(all).map_or(0, |g| usize::from(g.m));
    let out = counted().filter(|drive| drive.state == "out").count();
    (out > borne).then(|| {
        format!("{out} of {all} drives are out of service; at most {borne} may be: bring them back")
    })
}

/// Every partition without a majority.
fn no_majority(short: &[Shortage]) -> Option<String> {
    let named = short.iter().map(|short| match short.voters {
        0 => format!("{} (no replica is whole)", partition_name(short.group)),
        all => format!(
            "{} ({} of {all} voters in service)",
            partition_name(short.group),
            short.running
        ),
    });
    let named: Vec<String> = named.collect();
    let asks = if short.iter().any(|short| short.group.0 == 0) {
        "every request needs control"
    } else {
        "their keys, and lists of their buckets, are answered 503"
    };
    (!named.is_empty()).then(|| format!("no majority: {}; {asks}", named.join(", ")))
}

/// What is told of as a whole.
fn out_of_service(drives: &[DriveInfo], witness: Option<&WitnessInfo>) -> BTreeSet<DriveId> {
    let drives = drives.iter().filter(|d| d.state == "out");
    let witness = witness.filter(|witness| witness.state != "up");
    drives
        .map(|d| DriveId(d.id))
        .chain(witness.map(|_| DriveId::WITNESS))
        .collect()
}

/// Replicas that partitions without a majority miss elsewhere than on what is `out` of service.
fn broken(short: &[Shortage], out: &BTreeSet<DriveId>) -> Vec<String> {
    let mut told = Vec::new();
    for short in short {
        for (drive, why) in &short.missing {
            if !out.contains(drive) {
                let partition = partition_name(short.group);
                told.push(format!("{partition} {}: {why}", home(*drive)));
            }
        }
    }
    told
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
                .starts_with("3 of 6 drives are out of service; at most 2 may be")
        );
        assert_eq!(
            drives(1).iter().filter_map(out).collect::<Vec<_>>(),
            ["drive 0 at /d/0: unplugged"]
        );
    }

    fn short(group: u32) -> Shortage {
        Shortage {
            group: engine_types::GroupId(group),
            voters: 5,
            running: 2,
            missing: vec![
                (DriveId(1), "unplugged".into()),
                (DriveId(4), "log damaged".into()),
            ],
        }
    }

    #[test]
    fn a_partition_without_a_majority_degrades_and_control_fails() {
        assert_eq!(judge(None, &[]), ("ready", None));
        let (state, reason) = judge(None, &[short(2), short(7)]);
        assert_eq!(state, "degraded");
        let reason = reason.expect("told");
        assert!(
            reason.contains("partition 2 (2 of 5 voters in service), partition 7 (2 of 5"),
            "{reason}"
        );
        let (state, reason) = judge(None, &[short(0), short(2)]);
        assert_eq!(state, "failing");
        assert!(reason.expect("told").contains("control (2 of 5 voters"));
        let (state, reason) = judge(Some("3 of 6 drives".into()), &[short(2)]);
        assert_eq!(state, "failing");
        assert!(
            reason
                .expect("told")
                .starts_with("3 of 6 drives; no majority: partition 2")
        );
    }

    #[test]
    fn what_a_partition_misses_on_drives_in_service_is_named_once() {
        assert_eq!(
            broken(&[short(2)], &out_of_service(&drives(2), None)),
            ["partition 2 on drive 4: log damaged"]
        );
        let witness = |state: &str| WitnessInfo {
            path: "/k/witness".into(),
            state: state.into(),
            reason: (state != "up").then(|| "gone".into()),
            replicas: 0,
        };
        let mut short = short(2);
        short.missing = vec![(DriveId::WITNESS, "log damaged".into())];
        let told = |state| {
            broken(
                &[short.clone()],
                &out_of_service(&[], Some(&witness(state))),
            )
        };
        assert_eq!(told("up"), ["partition 2 in the witness: log damaged"]);
        assert!(told("missing").is_empty());
        assert_eq!(
            unwitnessed(&witness("missing")).as_deref(),
            Some("witness at /k/witness: gone")
        );
        assert_eq!(unwitnessed(&witness("up")), None);
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
