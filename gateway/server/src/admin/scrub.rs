//! `/v1/scrub`: begin, end and look at a pass; `/v1/space`: where every byte of the segments is.

use super::error::AdminError;
use super::routes::Given;
use super::{Admin, Running};
use axum::Json;
use axum::extract::State;
use engine_core::ports::{ShardStore, SpaceAccount};
use engine_node::scrub::Finding;
use engine_types::DriveId;
use serde::{Deserialize, Serialize};

/// `POST /v1/scrub`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScrubStart {
    /// Only this drive; none: all, and the metadata.
    pub(crate) drive: Option<u32>,
}

/// `GET /v1/scrub`, and what the others answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ScrubReport {
    /// A pass runs, or what it found is not made anew yet.
    pub(crate) running: bool,
    /// Found and not made anew yet.
    pub(crate) open: u64,
    /// Each drive here.
    pub(crate) drives: Vec<DriveScrubInfo>,
    /// Stripe maps held against the drives.
    pub(crate) maps: MapsInfo,
    /// Snapshots and tables.
    pub(crate) metadata: MetadataInfo,
    /// What was found since the process began, newest last, 1,000 at most.
    pub(crate) findings: Vec<FindingInfo>,
}

/// One drive's pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DriveScrubInfo {
    /// Its number.
    pub(crate) drive: u32,
    /// A pass is under way.
    pub(crate) running: bool,
    /// … asked for by hand.
    pub(crate) forced: bool,
    /// Passes begun.
    pub(crate) pass: u64,
    /// When the last began, Unix ms.
    pub(crate) started_ms: Option<u64>,
    /// When one last ended whole, Unix ms.
    pub(crate) ended_ms: Option<u64>,
    /// Read in this pass.
    pub(crate) read_bytes: u64,
    /// Live shards there are.
    pub(crate) live_bytes: u64,
    /// Shards read in this pass.
    pub(crate) shards: u64,
    /// Damaged ones among them.
    pub(crate) damaged: u64,
    /// Found and not made anew yet.
    pub(crate) open: u64,
    /// Why it does not go on.
    pub(crate) problem: Option<String>,
}

/// The walk over the stripe maps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MapsInfo {
    /// It is under way, or about to be.
    pub(crate) running: bool,
    /// Stripes looked at since it began last.
    pub(crate) stripes: u64,
    /// When it last ended, Unix ms.
    pub(crate) ended_ms: Option<u64>,
}

/// Snapshots and tables.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MetadataInfo {
    /// A pass is under way.
    pub(crate) running: bool,
    /// When one last ended, Unix ms.
    pub(crate) ended_ms: Option<u64>,
    /// Sound snapshots seen in it.
    pub(crate) snapshots: u64,
    /// Partitions whose replicas were compared.
    pub(crate) compared: u64,
    /// Replicas that differed from the majority and are made anew.
    pub(crate) differing: u64,
    /// What could not be looked at, and why.
    pub(crate) problem: Option<String>,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct FindingInfo {
    /// When, Unix ms.
    pub(crate) found_ms: u64,
    /// On this drive.
    pub(crate) drive: u32,
    /// `damaged`, `missing`, `footer`, `segment_header` or `snapshot`.
    pub(crate) kind: String,
    /// `searched` (whose it is is not known yet), `queued`, `repaired` or `sound` (reads again).
    pub(crate) state: String,
    /// Segment, hex as its file is named.
    pub(crate) segment: Option<String>,
    /// Byte of the segment at which the record begins.
    pub(crate) offset: Option<u64>,
    /// Bucket.
    pub(crate) bucket: Option<String>,
    /// Key.
    pub(crate) key: Option<String>,
    /// Stripe of the part, from 0.
    pub(crate) stripe: Option<u32>,
    /// Shard of the stripe, from 0.
    pub(crate) shard: Option<u8>,
    /// What the drive said.
    pub(crate) reason: String,
}

/// Where the bytes of one drive's segments are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SpaceInfo {
    /// Its number.
    pub(crate) drive: u32,
    /// Segment files.
    pub(crate) segments: u64,
    /// Live records.
    pub(crate) records: u64,
    /// Bytes of them.
    pub(crate) live_bytes: u64,
    /// Of segments' headers.
    pub(crate) header_bytes: u64,
    /// Of footers.
    pub(crate) footer_bytes: u64,
    /// Of freed records that are being given back.
    pub(crate) dead_bytes: u64,
    /// Of blocks that were written and not given back, as the file system tells.
    pub(crate) written_bytes: u64,
    /// Of blocks the files hold, preallocated ones included.
    pub(crate) allocated_bytes: u64,
    /// Written bytes that nothing above accounts for; 0 at rest.
    pub(crate) unexplained_bytes: i64,
}

pub(super) async fn status(State(admin): State<Admin>) -> Result<Json<ScrubReport>, AdminError> {
    Ok(Json(report(admin.running()?)))
}

pub(super) async fn start(
    State(admin): State<Admin>,
    Given(given): Given<ScrubStart>,
) -> Result<Json<ScrubReport>, AdminError> {
    let running = admin.running()?;
    let drive = given.drive.map(DriveId);
    if let Some(id) = drive {
        let known = running.engine.drives().status();
        if !known.iter().any(|of| of.row.id == id) {
            let why = format!("no drive {id}; see `datamesh drive list`");
            return Err(AdminError::missing(why));
        }
    }
    running.engine.scrub_start(drive)?;
    if drive.is_none() {
        running.meta_scrub.ask();
    }
    Ok(Json(report(running)))
}

pub(super) async fn stop(State(admin): State<Admin>) -> Result<Json<ScrubReport>, AdminError> {
    let running = admin.running()?;
    running.engine.scrub_stop();
    Ok(Json(report(running)))
}

pub(super) async fn space(State(admin): State<Admin>) -> Result<Json<Vec<SpaceInfo>>, AdminError> {
    let mut spaces = Vec::new();
    for shelved in admin.running()?.shelf.all() {
        // A drive that fails meanwhile is told of by `drive list`.
        if let Ok(account) = shelved.store.account().await {
            spaces.push(told(shelved.id(), &account));
        }
    }
    spaces.sort_by_key(|of| of.drive);
    Ok(Json(spaces))
}

fn told(drive: DriveId, of: &SpaceAccount) -> SpaceInfo {
    SpaceInfo {
        drive: drive.0,
        segments: of.segments,
        records: of.records,
        live_bytes: of.live,
        header_bytes: of.headers,
        footer_bytes: of.footers,
        dead_bytes: of.dead,
        written_bytes: of.written,
        allocated_bytes: of.allocated,
        unexplained_bytes: of.unexplained(),
    }
}

fn some(ms: u64) -> Option<u64> {
    (ms > 0).then_some(ms)
}

fn report(running: &Running) -> ScrubReport {
    let status = running.engine.scrub_status();
    let meta = running.meta_scrub.state();
    let drives = status.drives.iter().map(|of| DriveScrubInfo {
        drive: of.drive.0,
        running: of.running,
        forced: of.forced,
        pass: of.pass,
        started_ms: some(of.started),
        ended_ms: some(of.ended),
        read_bytes: of.bytes,
        live_bytes: of.bytes_all,
        shards: of.shards,
        damaged: of.damaged,
        open: of.open,
        problem: of.problem.clone(),
    });
    let drives: Vec<DriveScrubInfo> = drives.collect();
    let snapshots = meta.damaged.iter().map(|of| FindingInfo {
        found_ms: of.found_ms,
        drive: of.drive,
        kind: "snapshot".into(),
        state: if of.remade { "repaired" } else { "queued" }.into(),
        segment: None,
        offset: None,
        bucket: None,
        key: Some(of.name.clone()),
        stripe: None,
        shard: None,
        reason: of.reason.clone(),
    });
    let mut findings: Vec<FindingInfo> = snapshots.collect();
    findings.extend(status.findings.iter().map(finding));
    findings.sort_by_key(|of| of.found_ms);
    let open = drives.iter().map(|of| of.open).sum();
    ScrubReport {
        running: meta.running
            || status.maps_running
            || drives.iter().any(|of| of.running)
            || open > 0,
        open,
        drives,
        maps: MapsInfo {
            running: status.maps_running,
            stripes: status.maps_stripes,
            ended_ms: some(status.maps_ended),
        },
        metadata: MetadataInfo {
            running: meta.running,
            ended_ms: some(meta.ended_ms),
            snapshots: meta.snapshots,
            compared: meta.compared,
            differing: meta.differing,
            problem: meta.problem,
        },
        findings,
    }
}

fn finding(of: &Finding) -> FindingInfo {
    let (segment, offset) = of.place.unzip();
    let (bucket, key) = of.object.clone().unzip();
    let (stripe, shard) = of.shard.unzip();
    FindingInfo {
        found_ms: of.found,
        drive: of.drive.0,
        kind: of.kind.name().into(),
        state: of.state.name().into(),
        segment: segment.map(|segment| format!("{segment:016x}")),
        offset,
        bucket,
        key,
        stripe,
        shard,
        reason: of.reason.clone(),
    }
}
