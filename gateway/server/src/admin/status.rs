//! `GET /v1/status`, and the drives as everything shows them.

use super::error::AdminError;
use super::shapes::{DriveInfo, Partition, Rebuild, ReplicaInfo, Status, WitnessInfo};
use super::{Admin, Running, departures, work};
use crate::config::TlsMode;
use crate::shelf::{Place, WitnessState};
use axum::Json;
use axum::extract::State;
use engine_core::placement::Voters;
use engine_core::stripes::Geometry;
use engine_meta::service::NodeStatus;
use engine_node::{DriveStatus, RebuildPhase, RebuildStatus, Service};
use engine_types::{DriveId, GroupId};

pub(super) async fn status(State(admin): State<Admin>) -> Result<Json<Status>, AdminError> {
    let running = admin.running()?;
    let drives = drives(running);
    let counted = drives.iter().filter(|d| d.counts()).count();
    let geometry =
        Geometry::for_drives(counted).map_or("none".into(), |g| format!("{}+{}", g.k, g.m));
    let tls = match running.config.tls.mode {
        TlsMode::Off => "off",
        TlsMode::On => "on",
        TlsMode::Both => "both",
    };
    Ok(Json(Status {
        cluster: running.cluster(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: running.since.elapsed().as_secs(),
        boot: running.boot.0,
        region: running.config.region.clone(),
        s3_listen: running.config.listen.to_string(),
        s3_tls: tls.into(),
        readiness: admin.health.readiness(Some(running)),
        geometry,
        drives,
        witness: witness(running),
        left_out: left_out(running),
        partitions: partitions(running),
        rebuild: rebuild(&running.engine.rebuild_status()),
        work: work::all(running).await,
    }))
}

/// How far rebuilding and re-striping are.
fn rebuild(status: &RebuildStatus) -> Rebuild {
    Rebuild {
        state: match status.phase {
            RebuildPhase::Idle => "idle",
            RebuildPhase::Surveying => "surveying",
            RebuildPhase::Rebuilding => "rebuilding",
        }
        .into(),
        stripes_left: status.left.stripes,
        shards_left: status.left.shards,
        bytes_left: status.left.bytes,
        shards_done: status.done.shards,
        bytes_done: status.done.bytes,
        bytes_per_s: status.bytes_per_s,
        seconds_left: status.seconds_left,
        blocked_stripes: status.blocked.stripes,
        walks: status.walks,
    }
}

impl DriveInfo {
    /// Whether stripes are spread over it.
    pub(crate) fn counts(&self) -> bool {
        self.layout != "leaving" && self.layout != "gone"
    }
}

impl Running {
    fn cluster(&self) -> String {
        self.shelf
            .drives()
            .first()
            .map(|d| d.mark().cluster.to_string())
            .unwrap_or_default()
    }
}

/// All drives of the layout.
pub(super) fn drives(running: &Running) -> Vec<DriveInfo> {
    let replicas = running.metadata.node().status();
    let rebuild = running.engine.rebuild_status();
    let told = |drive| {
        let mut told = info(running, &replicas, drive);
        if let Some(left) = rebuild.drives.get(&drive.row.id).filter(|_| !told.counts()) {
            told.shards_left = Some(left.shards);
            told.bytes_left = Some(left.bytes);
        } else if rebuild.departed.contains(&drive.row.id) {
            told.shards_left = Some(0);
            told.bytes_left = Some(0);
        }
        told
    };
    running.engine.drives().status().iter().map(told).collect()
}

/// Paths of the settings at which no known drive was found, and why.
pub(super) fn left_out(running: &Running) -> Vec<String> {
    let places = running
        .shelf
        .places()
        .into_iter()
        .filter(|place| place.drive.is_none());
    let why = |place: Place| Some(format!("{}: {}", place.path.display(), place.state.err()?));
    places.filter_map(why).collect()
}

/// The witness, where one is needed or still stands.
pub(super) fn witness(running: &Running) -> Option<WitnessInfo> {
    let layout = running.engine.drives().layout();
    let standing = running.shelf.witness();
    if standing.is_none() && !Voters::for_drives(layout.counted()).witness {
        return None;
    }
    let replicas = running.metadata.node().status();
    let mut drives = replicas.drives.iter();
    let here = drives.find(|d| d.drive == DriveId::WITNESS);
    // Metadata may have seen a failure that no look has met yet.
    let failed = here.and_then(|here| here.out.clone());
    let (state, reason) = match standing.map(|witness| witness.state) {
        Some(WitnessState::Up(_)) if failed.is_none() => ("up", None),
        Some(WitnessState::Up(_)) => ("failing", failed),
        Some(WitnessState::Failing(why)) => ("failing", Some(why)),
        Some(WitnessState::Missing(why)) => ("missing", Some(why)),
        None => ("missing", Some("it is made within seconds".into())),
    };
    Some(WitnessInfo {
        path: running.config.witness_path().display().to_string(),
        state: state.into(),
        reason,
        replicas: here.map_or(0, |d| u32::try_from(d.replicas.len()).unwrap_or(u32::MAX)),
    })
}

/// What a service state is called, and why where it is out.
pub(super) fn named(service: &Service) -> (&'static str, Option<String>) {
    match service {
        Service::Up => ("up", None),
        Service::Full => ("full", None),
        Service::ReadOnly => ("read-only", None),
        Service::Out(why) => ("out", Some(why.clone())),
    }
}

fn info(running: &Running, replicas: &NodeStatus, drive: &DriveStatus) -> DriveInfo {
    let (state, reason) = named(&drive.service);
    let here = replicas.drives.iter().find(|d| d.drive == drive.row.id);
    // Metadata may have seen a failure that no shard has met yet.
    let reason = reason.or_else(|| here.and_then(|d| d.out.clone()));
    let place = running
        .shelf
        .places()
        .into_iter()
        .find(|place| place.drive == Some(drive.row.id));
    let found = place
        .as_ref()
        .and_then(|place| place.state.as_ref().err().cloned());
    let reason = reason.map(|reason| found.unwrap_or(reason));
    let layout = departures::named(drive.row.state);
    DriveInfo {
        id: drive.row.id.0,
        uuid: drive.row.uuid.to_string(),
        path: place.map(|place| place.path.display().to_string()),
        zone: drive.row.zone.clone(),
        state: state.into(),
        reason,
        layout: layout.into(),
        capacity_bytes: drive.usage.capacity,
        available_bytes: drive.usage.available,
        live_bytes: drive.usage.live,
        written_bytes: drive.usage.written,
        replicas: here.map_or(0, |d| u32::try_from(d.replicas.len()).unwrap_or(u32::MAX)),
        shards_left: None,
        bytes_left: None,
    }
}

pub(super) fn partitions(running: &Running) -> Vec<Partition> {
    let status = running.metadata.node().status();
    running
        .metadata
        .node()
        .groups()
        .into_iter()
        .map(|group| partition(&status, group))
        .collect()
}

fn partition(status: &NodeStatus, group: GroupId) -> Partition {
    let replicas = status.replicas(group);
    let named = status.leader(group);
    let (_, leading) = replicas
        .iter()
        .find(|(drive, _)| Some(*drive) == named)
        .copied()
        .unzip();
    let last = leading.map_or_else(
        || replicas.iter().map(|(_, r)| r.last).max().unwrap_or(0),
        |r| r.last,
    );
    let voters = leading
        .or(replicas.first().map(|(_, r)| *r))
        .map_or(0, |r| r.voters.len());
    // A leader that lost its majority does not know it at once, and leads nobody.
    let alive = replicas.iter().filter(|(_, r)| r.stopped.is_none()).count();
    let leader = named.filter(|_| alive * 2 > voters);
    let replica =
        |(drive, replica): &(DriveId, &engine_meta::service::ReplicaStatus)| ReplicaInfo {
            drive: drive.0,
            leader: Some(*drive) == leader,
            applied: replica.applied,
            lag: last.saturating_sub(replica.applied),
            log_bytes: replica.log_bytes,
            stopped: replica.stopped.clone(),
        };
    Partition {
        id: group.0,
        leader: leader.map(|drive| drive.0),
        term: replicas.iter().map(|(_, r)| r.term).max().unwrap_or(0),
        voters: u32::try_from(voters).unwrap_or(u32::MAX),
        replicas: replicas.iter().map(replica).collect(),
    }
}
