//! Follows the layout with what this process holds: drives that leave, drives that have left, drives
//! whose addition was cut off.
//!
//! A drive leaves in this order, and each step can be done again after a cut: the layout says
//! `leaving` or `gone`; its mark says `leaving`; voters move elsewhere; the engine moves or makes
//! anew its shards; when no stripe names it and no voter is on it the layout drops it; then, only
//! then, it is closed and erased. Erased drives are empty directories and may be added again.
//!
//! A drive in service that the layout does not name is one that was given up and has come back: it
//! is closed and left as it is. Erasing what nobody said was to leave would be too much trust.

use super::Running;
use super::error::AdminError;
use super::layout;
use crate::erase::erase;
use crate::holders::votes;
use crate::shelf::Shelved;
use crate::store::row;
use engine_core::placement::{DriveState as LayoutState, Layout, LayoutChange, Voters};
use engine_core::ports::ShardStore;
use engine_disk::{Drive, DriveState, MarkError};
use engine_meta::service::Plan;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// Until the process ends.
pub(super) async fn watch(running: &Running) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        if let Err(error) = look(running).await {
            tracing::warn!(?error, "the layout could not be followed; will try again");
        }
    }
}

async fn look(running: &Running) -> Result<(), AdminError> {
    let _one_at_a_time = running.layout.lock().await;
    let known = running.engine.drives().layout();
    if known.version == 0 {
        return Ok(());
    }
    plan_voters(running, &known);
    for shelved in running.shelf.all() {
        follow(running, &known, shelved).await?;
    }
    for place in running.shelf.places() {
        let left = place.drive.filter(|id| known.drive(*id).is_none());
        if let (Some(id), true) = (left, place.state.is_err()) {
            running.shelf.forget(&place.path);
            let node = running.metadata.node();
            node.drive_gone(id, "it has left the layout").await;
        }
    }
    // Found under this very layout, and the change is refused under any other: so the drive was left
    // out from before the survey that found nothing on it until it is dropped.
    let rebuild = running.engine.rebuild_status();
    for drive in rebuild.departed_under(known.version) {
        let leaves = known.drive(drive).is_some_and(|row| !row.state.counts());
        if leaves && !votes(&running.metadata, drive) {
            tracing::info!(%drive, "nothing names the drive any more: it leaves the layout");
            layout::change(running, &known, LayoutChange::Drop(drive)).await?;
            return Ok(());
        }
    }
    Ok(())
}

/// Voters belong on the drives that stripes are spread over, and where those are too few in the
/// witness, which the keeper makes and lets go.
fn plan_voters(running: &Running, known: &Layout) {
    let counted = known.drives.iter().filter(|row| row.state.counts());
    let voters = Voters::for_drives(known.counted());
    running.metadata.node().replan(Plan {
        voters: voters.count,
        drives: Some(voters.homes(counted.map(|row| row.id))),
    });
}

async fn follow(running: &Running, known: &Layout, shelved: Shelved) -> Result<(), AdminError> {
    let mark = shelved.drive.mark();
    match (known.drive(mark.drive), mark.state) {
        (Some(row), DriveState::Forming) if row.state.counts() => {
            set_mark(&shelved.drive, DriveState::InService).await
        }
        (Some(row), state) if !row.state.counts() && state != DriveState::Leaving => {
            set_mark(&shelved.drive, DriveState::Leaving).await
        }
        // Its removal was called off.
        (Some(row), DriveState::Leaving) if row.state.counts() => {
            set_mark(&shelved.drive, DriveState::InService).await
        }
        (Some(_), _) => Ok(()),
        (None, DriveState::Forming) => {
            tracing::info!(drive = %mark.drive, "a drive whose addition was cut off joins the layout");
            let now = layout::read(running).await?;
            let new = row(&shelved.drive, &shelved.store, &running.config.zone);
            layout::change(running, &now, LayoutChange::Add(new)).await
        }
        (None, state) => leave(running, shelved, state == DriveState::Leaving).await,
    }
}

async fn set_mark(drive: &Arc<Drive>, state: DriveState) -> Result<(), AdminError> {
    let drive = Arc::clone(drive);
    let set = tokio::task::spawn_blocking(move || drive.set_state(state));
    let set: Result<(), MarkError> = set.await.map_err(AdminError::internal)?;
    Ok(set?)
}

/// Closes a drive that the layout does not name. Off the shelf first: the keeper must not take an
/// erased drive for one that failed.
async fn leave(running: &Running, shelved: Shelved, erased: bool) -> Result<(), AdminError> {
    let id = shelved.id();
    let path = shelved.drive.files().root().path().to_owned();
    running.shelf.forget(&path);
    let node = running.metadata.node();
    node.drive_gone(id, "it has left the layout").await;
    running.engine.drives().remove(id);
    let closed = shelved.store.close().await;
    // Asked again: its replicas had as long as its shards.
    let gone = closed && node.drive_gone(id, "it has left the layout").await;
    if let Err(error) = running
        .engine
        .keyring()
        .set_holders(running.shelf.files())
        .await
    {
        tracing::warn!(%error, "keyring's holders");
    }
    if !gone {
        tracing::warn!(
            drive = %id, path = %path.display(),
            "the drive hangs: it has left, and is let go of when this process ends"
        );
        return Ok(());
    }
    let drive = Arc::clone(&shelved.drive);
    tokio::task::spawn_blocking(move || {
        if erased {
            erase(&drive);
        }
        drive.release();
    })
    .await
    .map_err(AdminError::internal)?;
    if erased {
        tracing::info!(drive = %id, path = %path.display(), "drive has left; its directory is empty");
    } else {
        tracing::warn!(
            drive = %id, path = %path.display(),
            "the drive left the cluster earlier and is not used: empty its directory to add it anew"
        );
    }
    Ok(())
}

/// What the layout says of a drive, as people read it.
pub(super) fn named(state: LayoutState) -> &'static str {
    match state {
        LayoutState::Active => "active",
        LayoutState::ReadOnly => "read-only",
        LayoutState::Leaving => "leaving",
        LayoutState::Full => "full",
        LayoutState::Gone => "gone",
    }
}
