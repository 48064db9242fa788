//! Background work: what waits, and what can be started by hand.

use super::error::AdminError;
use super::shapes::Work;
use super::{Admin, Running};
use axum::Json;
use axum::extract::{Path, State};
use engine_core::meta::{Query, Reply};
use engine_core::ports::Metadata;
use engine_node::{RebuildPhase, RebuildStatus};
use engine_types::{PartitionId, Stamp};
use std::time::Duration;

/// Things counted in one partition; what is beyond is "more".
pub(super) const COUNTED_MAX: u32 = 1000;
/// A partition that does not answer in this time is told as such.
const PATIENCE: Duration = Duration::from_secs(2);
/// Later than every stamp: those have 48 bits.
const FOREVER: Stamp = Stamp(1 << 48);

/// What the engine does by itself and can be counted.
#[derive(Clone, Copy)]
enum Kind {
    Repair,
    Collect,
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<Work>>, AdminError> {
    Ok(Json(all(admin.running()?).await))
}

/// Starts work by hand.
pub(super) async fn start(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<Work>, AdminError> {
    let running = admin.running()?;
    match name.as_str() {
        "repair" => {
            running.engine.start_rebuild();
            Ok(Json(count(running, Kind::Repair).await))
        }
        "scrub" => Err(AdminError::missing(
            "scrub has a path of its own: POST /v1/scrub",
        )),
        "gc" => {
            running.engine.start_clean_up();
            Ok(Json(count(running, Kind::Collect).await))
        }
        _ => Err(AdminError::missing(format!("no such work: {name}"))),
    }
}

pub(super) async fn all(running: &Running) -> Vec<Work> {
    let (repair, collect) =
        tokio::join!(count(running, Kind::Repair), count(running, Kind::Collect));
    vec![repair, collect]
}

async fn count(running: &Running, kind: Kind) -> Work {
    let partitions = running
        .metadata
        .partitions()
        .into_iter()
        .filter(|p| *p != PartitionId::CONTROL);
    let counts = futures::future::join_all(partitions.map(|p| waiting(running, p, kind))).await;
    let (name, what) = match kind {
        Kind::Repair => (
            "repair",
            "stripes with shards to be made anew or brought elsewhere",
        ),
        Kind::Collect => (
            "gc",
            "replaced or deleted things whose bytes are still on drives",
        ),
    };
    let mut work = Work {
        name: name.into(),
        what: what.into(),
        waiting: 0,
        more: false,
        problem: None,
    };
    for counted in counts {
        match counted {
            Ok(found) => add(&mut work, found),
            Err(problem) => work.problem = Some(problem),
        }
    }
    if matches!(kind, Kind::Repair) {
        let rebuild = running.engine.rebuild_status();
        add_rebuild(&mut work, &rebuild);
    }
    work
}

/// Stripes that a walk has found. Those queued by a commit are among them, once it has come there;
/// while it counts there may be more.
fn add_rebuild(work: &mut Work, rebuild: &RebuildStatus) {
    work.waiting = work.waiting.max(rebuild.left.stripes);
    work.more |= rebuild.phase == RebuildPhase::Surveying;
}

/// What one partition counted. At the limit there may be more.
fn add(work: &mut Work, found: u64) {
    work.waiting += found;
    work.more |= found >= u64::from(COUNTED_MAX);
}

async fn waiting(running: &Running, partition: PartitionId, kind: Kind) -> Result<u64, String> {
    let query = match kind {
        Kind::Repair => Query::Repairs {
            after: None,
            limit: COUNTED_MAX,
        },
        Kind::Collect => Query::Dead {
            after: None,
            before: FOREVER,
            limit: COUNTED_MAX,
        },
    };
    let told = |why: &dyn std::fmt::Display| format!("partition {partition}: {why}");
    let reply = tokio::time::timeout(PATIENCE, running.metadata.read(partition, query)).await;
    match reply
        .map_err(|late| told(&late))?
        .map_err(|error| told(&error))?
    {
        Reply::Repairs(rows) => Ok(rows.len() as u64),
        Reply::Dead(rows) => Ok(rows.len() as u64),
        _ => Err(told(&"unexpected answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_found_by_a_walk_wait_too_and_are_not_counted_twice() {
        let mut work = Work {
            name: String::new(),
            what: String::new(),
            waiting: 5,
            more: false,
            problem: None,
        };
        let mut rebuild = RebuildStatus::default();
        rebuild.left.stripes = 7;
        add_rebuild(&mut work, &rebuild);
        assert_eq!((work.waiting, work.more), (7, false));
        rebuild.left.stripes = 0;
        rebuild.phase = RebuildPhase::Surveying;
        add_rebuild(&mut work, &rebuild);
        assert_eq!((work.waiting, work.more), (7, true));
    }

    #[test]
    fn a_count_at_the_limit_says_that_more_may_wait() {
        let mut work = Work {
            name: String::new(),
            what: String::new(),
            waiting: 0,
            more: false,
            problem: None,
        };
        add(&mut work, u64::from(COUNTED_MAX) - 1);
        assert!(!work.more);
        add(&mut work, u64::from(COUNTED_MAX));
        assert!(work.more);
        assert_eq!(work.waiting, 2 * u64::from(COUNTED_MAX) - 1);
    }
}
