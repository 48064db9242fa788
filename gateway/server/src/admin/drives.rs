//! Drives: list, add; remove and replace once the engine empties drives.
//!
//! **Adding**, in order, so that a cut between any two steps leaves a store that starts: the mark
//! (`forming`), the shard store, metadata's tables, a copy of the keyring, the layout (the one step
//! that counts), the mark (`in_service`), the engine. Before the layout's commit everything is
//! undone on failure; a process that dies there leaves a marked drive, which the next start uses
//! and [`adopt`] puts into the layout.

use super::error::AdminError;
use super::routes::Given;
use super::shapes::{DriveAdded, DriveInfo, DrivePath};
use super::{Admin, Running, status};
use crate::shelf::Shelved;
use crate::store::{NODE, disk_options, row};
use crate::system::SystemEntropy;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine_core::meta::{
    Answer, Change, Command, ControlChange, ControlQuery, ControlReply, Query, Refusal, Reply,
};
use engine_core::placement::{Layout, LayoutDrive};
use engine_core::ports::{DriveFiles, Entropy, Metadata};
use engine_disk::drives::NewDrive;
use engine_disk::{Drive, DriveState, EmptyPath, SegmentStore};
use engine_types::{BirthId, CommandId, DriveId, DriveUuid, PartitionId};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<DriveInfo>>, AdminError> {
    Ok(Json(status::drives(admin.running()?)))
}

pub(super) async fn remove(
    State(admin): State<Admin>,
    Path(id): Path<u32>,
) -> Result<StatusCode, AdminError> {
    known(admin.running()?, id)?;
    Err(AdminError::not_built(format!(
        "moving the shards of drive {id} to other drives is not built yet, so it cannot be removed; nothing was changed"
    )))
}

pub(super) async fn replace(
    State(admin): State<Admin>,
    Path(id): Path<u32>,
    Given(_path): Given<DrivePath>,
) -> Result<StatusCode, AdminError> {
    known(admin.running()?, id)?;
    Err(AdminError::not_built(format!(
        "making the shards of drive {id} anew on another is not built yet; nothing was changed. `datamesh drive add` \
         takes the new drive for what is written from now on"
    )))
}

fn known(running: &Running, id: u32) -> Result<(), AdminError> {
    let drives = running.engine.drives().status();
    let found = drives.iter().any(|drive| drive.row.id.0 == id);
    if found {
        Ok(())
    } else {
        Err(AdminError::missing(format!(
            "no drive {id}; see `datamesh drive list`"
        )))
    }
}

pub(super) async fn add(
    State(admin): State<Admin>,
    Given(DrivePath { path }): Given<DrivePath>,
) -> Result<(StatusCode, Json<DriveAdded>), AdminError> {
    let running = admin.running()?;
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(AdminError::invalid(
            "path: give an absolute one, as the server sees it",
        ));
    }
    let _one_at_a_time = running.layout.lock().await;
    let layout = read_layout(running).await?;
    // The settings may name it already: the keeper must not try it while it is formed.
    running.shelf.forget(&path);
    let (drive, store) = form(running, &layout, path.clone()).await?;
    let new = row(&drive, &store, &running.config.zone);
    if let Err(error) = enlist(running, &drive, layout, new.clone()).await {
        // Unknown is not refused: the layout may name the drive already, so it stays.
        if error.status() != StatusCode::SERVICE_UNAVAILABLE {
            undo(running, &drive, store).await;
        }
        return Err(error);
    }
    in_service(running, Shelved { drive, store }, new.clone()).await?;
    let mut notes = Vec::new();
    if !running.config.drives.contains(&path) {
        notes.push(format!(
            "add {} to `drives` in the settings: the next start opens only what they name",
            path.display()
        ));
    }
    notes.push("objects written before keep their places; the number of metadata voters follows at the next start".into());
    let info = status::drives(running)
        .into_iter()
        .find(|drive| drive.id == new.id.0);
    let drive = info.ok_or_else(|| AdminError::internal("the new drive is not listed"))?;
    Ok((StatusCode::CREATED, Json(DriveAdded { drive, notes })))
}

/// A marked drive with an open shard store, and nothing of the cluster on it yet.
async fn form(
    running: &Running,
    layout: &Layout,
    path: PathBuf,
) -> Result<(Arc<Drive>, Arc<SegmentStore>), AdminError> {
    let ours = running.shelf.drives();
    let cluster = ours
        .first()
        .map(|d| d.mark().cluster)
        .ok_or_else(|| AdminError::unavailable("no drive is open"))?;
    let opened = ours.iter().map(|d| d.files().drive().0);
    let number = layout
        .drives
        .iter()
        .map(|d| d.id.0)
        .chain(opened)
        .max()
        .unwrap_or(0)
        + 1;
    let mut uuid = [0; 16];
    SystemEntropy::new().fill(&mut uuid);
    let new = NewDrive {
        uuid: DriveUuid(uuid),
        drive: DriveId(number),
        cluster,
        node: NODE,
    };
    let options = disk_options(&running.config);
    let formed = tokio::task::spawn_blocking(move || {
        let drive = EmptyPath::open(&path)?.form(new)?;
        let store = SegmentStore::open(drive.files().clone(), options);
        if store.is_err() {
            erase(&drive);
            drive.release();
        }
        let (store, _) = store.map_err(|e| {
            AdminError::conflict("DriveRefused", format!("{}: {e}", path.display()))
        })?;
        Ok::<_, AdminError>((Arc::new(drive), Arc::new(store)))
    });
    formed.await.map_err(AdminError::internal)?
}

/// Metadata, keyring, layout.
async fn enlist(
    running: &Running,
    drive: &Drive,
    layout: Layout,
    new: LayoutDrive,
) -> Result<(), AdminError> {
    let files: Arc<dyn DriveFiles> = Arc::new(drive.files().clone());
    running
        .metadata
        .node()
        .drive_back(Arc::clone(&files))
        .await
        .map_err(|e| AdminError::conflict("DriveRefused", e.to_string()))?;
    let mut holders = running.shelf.files();
    holders.push(files);
    running
        .engine
        .keyring()
        .set_holders(holders)
        .await
        .map_err(|e| AdminError::conflict("Refused", e.to_string()))?;
    put_layout(running, with(layout, new)).await
}

async fn in_service(running: &Running, new: Shelved, row: LayoutDrive) -> Result<(), AdminError> {
    let drive = Arc::clone(&new.drive);
    let marked = tokio::task::spawn_blocking(move || drive.set_state(DriveState::InService)).await;
    marked.map_err(AdminError::internal)??;
    let files = Arc::new(new.drive.files().clone());
    running
        .engine
        .drives()
        .add(row, Arc::clone(&new.store) as _, files);
    running.shelf.add(new.drive, new.store);
    Ok(())
}

async fn undo(running: &Running, drive: &Arc<Drive>, store: Arc<SegmentStore>) {
    running
        .metadata
        .node()
        .drive_out(drive.files().drive(), "its addition failed")
        .await;
    if let Err(error) = running
        .engine
        .keyring()
        .set_holders(running.shelf.files())
        .await
    {
        tracing::warn!(%error, "keyring's holders");
    }
    engine_core::ports::ShardStore::close(store.as_ref()).await;
    let drive = Arc::clone(drive);
    if let Err(error) = tokio::task::spawn_blocking(move || {
        erase(&drive);
        drive.release();
    })
    .await
    {
        tracing::warn!(%error, "drive not erased");
    }
}

/// Empties a path that was empty before it was formed: the mark last, so that a cut leaves a path
/// that says what it is.
fn erase(drive: &Drive) {
    let files = drive.files();
    let names = files.list("").unwrap_or_default();
    let ours = names
        .iter()
        .filter(|name| *name != "lost+found" && *name != engine_disk::mark::MARK_FILE);
    for name in ours
        .map(String::as_str)
        .chain([engine_disk::mark::MARK_FILE])
    {
        if let Err(error) = files.remove(name) {
            tracing::warn!(name, %error, "left on a drive that was not added");
            return;
        }
    }
}

/// Puts opened drives into the layout that it does not name: a `drive add` that was cut off.
pub(super) async fn adopt(running: &Running) -> Result<(), AdminError> {
    let _one_at_a_time = running.layout.lock().await;
    for shelved in running.shelf.all() {
        let layout = read_layout(running).await?;
        let mark = shelved.drive.mark();
        if layout.drive(mark.drive).is_none() && mark.state != DriveState::Leaving {
            tracing::info!(drive = %mark.drive, "a drive whose addition was cut off joins the layout");
            let new = row(&shelved.drive, &shelved.store, &running.config.zone);
            put_layout(running, with(layout, new)).await?;
        }
    }
    Ok(())
}

fn with(mut layout: Layout, new: LayoutDrive) -> Layout {
    layout.version += 1;
    layout.drives.push(new);
    layout.drives.sort_by_key(|drive| drive.id);
    layout
}

async fn read_layout(running: &Running) -> Result<Layout, AdminError> {
    match running
        .metadata
        .read(PartitionId::CONTROL, Query::Control(ControlQuery::Layout))
        .await?
    {
        Reply::Control(ControlReply::Layout(Some(layout))) => Ok(layout),
        _ => Err(AdminError::internal("control holds no layout")),
    }
}

async fn put_layout(running: &Running, layout: Layout) -> Result<(), AdminError> {
    let birth = running.metadata.stamp(PartitionId::CONTROL).await?;
    let mut random = [0; 10];
    SystemEntropy::new().fill(&mut random);
    let change = Change::Control(ControlChange::PutLayout(layout));
    let command = Command {
        id: CommandId::born(birth, random),
        change,
    };
    match running
        .metadata
        .propose(PartitionId::CONTROL, command)
        .await?
    {
        Answer::Done => Ok(()),
        Answer::Refused(Refusal::Changed) => Err(AdminError::conflict(
            "LayoutChanged",
            "the layout was changed meanwhile: try again",
        )),
        Answer::Refused(refusal) => Err(AdminError::conflict("Refused", refusal.to_string())),
        _ => Err(AdminError::internal("unexpected answer to PutLayout")),
    }
}
