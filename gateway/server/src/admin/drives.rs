//! Drives: list, add, remove, replace.
//!
//! **Adding**, in order, so that a cut between any two steps leaves a store that starts: a number
//! from control, the mark (`forming`), the shard store, metadata's tables, a copy of the keyring, the
//! layout (the one step that counts), the mark (`in_service`), the engine. Before the layout's commit
//! everything is undone on failure; a process that dies there leaves a marked drive, which the next
//! start uses and `departures` puts into the layout.
//!
//! **Replacing** is the same with another change of the layout: the new one in, the old one gone (or
//! leaving, where it still answers), in one step. **Removing** only marks the drive as leaving, and
//! calling that off as active again; what follows is done by the engine and by `departures`.

use super::departures::named;
use super::error::AdminError;
use super::routes::Given;
use super::shapes::{DriveAdded, DriveInfo, DrivePath};
use super::{Admin, Running, layout, status};
use crate::erase::erase;
use crate::shelf::{Place, Shelved};
use crate::store::{NODE, disk_options, row};
use crate::system::SystemEntropy;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine_core::placement::{
    DriveRoom, DriveState as LayoutState, Layout, LayoutChange, LayoutDrive, RemovalRefused,
    removal,
};
use engine_core::ports::{DriveFiles, Entropy};
use engine_disk::drives::NewDrive;
use engine_disk::{Drive, DriveState, EmptyPath, SegmentStore};
use engine_node::Service;
use engine_types::{DriveId, DriveUuid};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<DriveInfo>>, AdminError> {
    Ok(Json(status::drives(admin.running()?)))
}

/// Marks a drive as leaving, or as gone where it does not answer. 202: what it holds now moves.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Path(id): Path<u32>,
) -> Result<(StatusCode, Json<DriveAdded>), AdminError> {
    let running = admin.running()?;
    let _one_at_a_time = running.layout.lock().await;
    let known = layout::read(running).await?;
    let drive = DriveId(id);
    let granted = removal(&known, drive, &rooms(running)).map_err(|refused| match refused {
        RemovalRefused::NoSuchDrive => unknown(id),
        refused => AdminError::conflict("RemovalRefused", refused.to_string()),
    })?;
    let state = if is_out(running, drive) {
        LayoutState::Gone
    } else {
        LayoutState::Leaving
    };
    layout::change(running, &known, LayoutChange::SetState { drive, state }).await?;
    let mut notes = Vec::new();
    if granted.before != granted.after {
        let (was, will) = (granted.before, granted.after);
        notes.push(format!(
            "with the drives left, stripes are {}+{} instead of {}+{}: every one is written anew",
            will.k, will.m, was.k, was.m
        ));
    }
    notes.push(
        "the drive is emptied and then leaves by itself; `datamesh status` shows how far it is"
            .into(),
    );
    if let Some(path) = path_of(running, drive) {
        notes.push(format!(
            "take {} out of `drives` in the settings once it has left",
            path.display()
        ));
    }
    told(running, id, notes).map(|told| (StatusCode::ACCEPTED, told))
}

/// Calls a removal off: what is still on the drive stays, and it takes shards again. One that did not
/// answer when it was removed stays gone: what it holds was not kept up with since.
pub(super) async fn keep(
    State(admin): State<Admin>,
    Path(id): Path<u32>,
) -> Result<Json<DriveAdded>, AdminError> {
    let running = admin.running()?;
    let _one_at_a_time = running.layout.lock().await;
    let known = layout::read(running).await?;
    let drive = DriveId(id);
    let standing = known.drive(drive).ok_or_else(|| unknown(id))?.state;
    if standing != LayoutState::Leaving {
        return Err(AdminError::conflict(
            "Refused",
            format!("drive {id} is not leaving: it is {}", named(standing)),
        ));
    }
    let state = LayoutState::Active;
    layout::change(running, &known, LayoutChange::SetState { drive, state }).await?;
    let note = "the drive stays; what was moved off it already keeps its new places";
    told(running, id, vec![note.into()])
}

/// A new drive takes an old one's place.
pub(super) async fn replace(
    State(admin): State<Admin>,
    Path(id): Path<u32>,
    Given(DrivePath { path }): Given<DrivePath>,
) -> Result<(StatusCode, Json<DriveAdded>), AdminError> {
    let running = admin.running()?;
    let path = absolute(path)?;
    let _one_at_a_time = running.layout.lock().await;
    let old = DriveId(id);
    let known = layout::read(running).await?;
    let standing = known.drive(old).ok_or_else(|| unknown(id))?.state;
    if !standing.counts() {
        return Err(AdminError::conflict(
            "Refused",
            format!("drive {id} is being given up already: `datamesh status` shows how far it is"),
        ));
    }
    let old_path = path_of(running, old);
    let change = |running: &Running, new| LayoutChange::Replace {
        old,
        gone: is_out(running, old),
        new,
    };
    let new = bring(running, &path, change).await?;
    let mut notes = Vec::new();
    if old_path.as_ref() != Some(&path) {
        let instead = old_path.map_or("the old path".into(), |old| old.display().to_string());
        notes.push(format!(
            "put {} in place of {instead} in `drives` in the settings: the next start opens only what they name",
            path.display()
        ));
    }
    notes.push(format!(
        "what drive {id} held is made anew on drive {}; `datamesh status` shows how far it is",
        new.0
    ));
    told(running, new.0, notes).map(|told| (StatusCode::CREATED, told))
}

pub(super) async fn add(
    State(admin): State<Admin>,
    Given(DrivePath { path }): Given<DrivePath>,
) -> Result<(StatusCode, Json<DriveAdded>), AdminError> {
    let running = admin.running()?;
    let path = absolute(path)?;
    let _one_at_a_time = running.layout.lock().await;
    let new = bring(running, &path, |_, new| LayoutChange::Add(new)).await?;
    let mut notes = Vec::new();
    if !running.config.drives.contains(&path) {
        notes.push(format!(
            "add {} to `drives` in the settings: the next start opens only what they name",
            path.display()
        ));
    }
    notes.push(
        "stripes narrower than the drives now allow are written anew; others keep their places"
            .into(),
    );
    told(running, new.0, notes).map(|told| (StatusCode::CREATED, told))
}

fn unknown(id: u32) -> AdminError {
    AdminError::missing(format!("no drive {id}; see `datamesh drive list`"))
}

fn absolute(path: String) -> Result<PathBuf, AdminError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(AdminError::invalid(
        "path: give an absolute one, as the server sees it",
    ))
}

fn told(running: &Running, id: u32, notes: Vec<String>) -> Result<Json<DriveAdded>, AdminError> {
    let drive = status::drives(running).into_iter().find(|d| d.id == id);
    let drive = drive.ok_or_else(|| AdminError::internal("the drive is not listed"))?;
    Ok(Json(DriveAdded { drive, notes }))
}

fn place_of(running: &Running, drive: DriveId) -> Option<Place> {
    let places = running.shelf.places();
    places.into_iter().find(|place| place.drive == Some(drive))
}

fn path_of(running: &Running, drive: DriveId) -> Option<PathBuf> {
    place_of(running, drive).map(|place| place.path)
}

fn is_out(running: &Running, drive: DriveId) -> bool {
    let all = running.engine.drives().status();
    let found = all.into_iter().find(|status| status.row.id == drive);
    found.is_none_or(|status| matches!(status.service, Service::Out(_)))
}

/// Of a drive that does not answer nothing is known: as much as the fullest of the others.
fn rooms(running: &Running) -> Vec<DriveRoom> {
    let all = running.engine.drives().status();
    let fullest = all.iter().map(|d| d.usage.live).max().unwrap_or(0);
    let room = |status: engine_node::DriveStatus| {
        let up = !matches!(status.service, Service::Out(_));
        DriveRoom {
            drive: status.row.id,
            up,
            live: if up { status.usage.live } else { fullest },
            available: status.usage.available,
        }
    };
    all.into_iter().map(room).collect()
}

/// Forms a drive at an empty path and brings it into the layout by `change`.
async fn bring(
    running: &Running,
    path: &FilePath,
    change: impl FnOnce(&Running, LayoutDrive) -> LayoutChange,
) -> Result<DriveId, AdminError> {
    // The settings may name it already: the keeper must not try it while it is formed.
    let out = |place: &Place| place.path == path && place.state.is_err();
    let before = running.shelf.places().into_iter().find(out);
    if before.is_some() {
        running.shelf.forget(path);
    }
    let brought = try_bring(running, path, change).await;
    if let (Err(_), Some(place)) = (&brought, before) {
        running.shelf.set(&place.path, place.drive, place.state);
    }
    brought
}

async fn try_bring(
    running: &Running,
    path: &FilePath,
    change: impl FnOnce(&Running, LayoutDrive) -> LayoutChange,
) -> Result<DriveId, AdminError> {
    let (drive, store) = form(running, path.to_owned()).await?;
    let new = row(&drive, &store, &running.config.zone);
    let change = change(running, new.clone());
    if let Err(error) = enlist(running, &drive, change).await {
        // Unknown is not refused: the layout may name the drive already, so it stays.
        if error.status() != StatusCode::SERVICE_UNAVAILABLE {
            undo(running, &drive, store).await;
        }
        return Err(error);
    }
    let number = new.id;
    in_service(running, Shelved { drive, store }, new).await?;
    Ok(number)
}

/// A marked drive with an open shard store, and nothing of the cluster on it yet.
async fn form(
    running: &Running,
    path: PathBuf,
) -> Result<(Arc<Drive>, Arc<SegmentStore>), AdminError> {
    let ours = running.shelf.drives();
    let sibling = ours
        .first()
        .map(|d| d.mark())
        .ok_or_else(|| AdminError::unavailable("no drive is open"))?;
    let empty = tokio::task::spawn_blocking(move || EmptyPath::open(&path));
    let empty = empty.await.map_err(AdminError::internal)??;
    let number = layout::allot(running).await?;
    let mut uuid = [0; 16];
    SystemEntropy::new().fill(&mut uuid);
    let new = NewDrive {
        uuid: DriveUuid(uuid),
        drive: number,
        cluster: sibling.cluster,
        node: NODE,
    };
    let options = disk_options(&running.config);
    let formed = tokio::task::spawn_blocking(move || {
        let path = empty.path().to_owned();
        let drive = empty.join(new, &sibling)?;
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
async fn enlist(running: &Running, drive: &Drive, change: LayoutChange) -> Result<(), AdminError> {
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
    let known: Layout = layout::read(running).await?;
    layout::change(running, &known, change).await
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
    let id = drive.files().drive();
    let node = running.metadata.node();
    node.drive_out(id, "its addition failed").await;
    if let Err(error) = running
        .engine
        .keyring()
        .set_holders(running.shelf.files())
        .await
    {
        tracing::warn!(%error, "keyring's holders");
    }
    let closed = engine_core::ports::ShardStore::close(store.as_ref()).await;
    if !closed || !node.is_let_go(id).await {
        tracing::warn!(drive = %id, "the drive hangs: it is let go of when this process ends");
        return;
    }
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
