//! Opens what this node keeps: drives, replicas, shard stores, keyring, engine; in that order. Closes
//! it in the other.

use crate::admin::{Health, Phase};
use crate::config::Config;
use crate::credentials::{Credentials, key_file};
use crate::keeper::discard_replicas;
use crate::shelf::Shelf;
use crate::system::{SystemClock, SystemEntropy};
use engine_core::placement::{DriveState as LayoutState, Layout, LayoutDrive};
use engine_core::ports::{Clock, DriveFiles, Entropy, ShardStore};
use engine_core::stripes::Geometry;
use engine_disk::drives::{NewDrive, first_boot};
use engine_disk::{Drive, DriveState, Opened, SegmentStore, open_drives};
use engine_meta::log::LogOptions;
use engine_meta::metadata::Replicated;
use engine_meta::service::MetaOptions;
use engine_node::{
    Engine, EngineOptions, EngineParts, Keyring, KeyringLock, NewCluster, Secret, bootstrap,
};
use engine_types::{BootId, ClusterId, DriveId, DriveUuid, NodeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The only node until nodes join.
pub(crate) const NODE: NodeId = NodeId(1);
/// Data partitions of a new cluster.
const DATA_PARTITIONS: u32 = 8;
/// Background work gets this long to end.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// Why the store did not open; says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreError(String);

impl StoreError {
    fn because(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// What is open.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) engine: Engine,
    pub(crate) metadata: Replicated,
    pub(crate) shelf: Arc<Shelf>,
    /// This start's number.
    pub(crate) boot: BootId,
    /// Root's keys, on the first start only: shown once.
    pub(crate) first: Option<Credentials>,
}

/// Drives that opened, and what a first start has to say.
struct Opening {
    boot: BootId,
    cluster: ClusterId,
    drives: Vec<Arc<Drive>>,
    /// Paths that are not in use, and why.
    out: Vec<(PathBuf, String)>,
    first: Option<Credentials>,
}

impl Opening {
    /// A first start, also one that goes on where another was cut off. Not whenever a mark says
    /// `forming`: once the credentials stand Bootstrap is committed, and a drive that was being
    /// added when the process died must never found a second cluster.
    fn forming(&self) -> bool {
        self.first.is_some()
    }
}

impl Store {
    /// `health` is told what is missing as soon as it is known: metadata may then wait for a majority.
    pub(crate) async fn open(config: &Config, health: &Health) -> Result<Self, StoreError> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock::new()), Arc::new(SystemEntropy::new()));
        let opening = {
            let (config, entropy) = (config.clone(), Arc::clone(&entropy));
            blocking(move || open_paths(&config, entropy.as_ref())).await?
        };
        let left_out: Vec<String> = opening.out.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
        health.set_left_out(&left_out);
        let lock = keyring_lock(config, opening.first.is_some())?;
        let files: Vec<Arc<dyn DriveFiles>> =
            opening.drives.iter().map(|d| Arc::new(d.files().clone()) as Arc<dyn DriveFiles>).collect();
        let options = MetaOptions {
            node: NODE.0.into(),
            voters: voters(config.drives.len()),
            log: LogOptions { boot: opening.boot.0, ..LogOptions::default() },
            ..MetaOptions::default()
        };
        let metadata =
            Replicated::open(files.clone(), options, Arc::clone(&clock), Arc::clone(&entropy)).await.map_err(StoreError::because)?;
        if opening.forming() {
            metadata.node().bootstrap().await.map_err(StoreError::because)?;
        }
        health.set(Phase::Starting { doing: "waiting for a majority of the metadata's replicas".into() });
        metadata.node().wait_ready().await.map_err(|e| missing_drives(&e, &left_out))?;
        let stores = open_stores(&opening.drives, disk_options(config)).await?;
        let parts = Parts { clock, entropy, files, lock, config };
        let engine = start_engine(&opening, &metadata, &stores, parts).await?;
        let shelf = Arc::new(Shelf::default());
        for (drive, store) in opening.drives.into_iter().zip(stores) {
            match store {
                Ok(store) => shelf.add(drive, store),
                Err(why) => {
                    let path = drive.files().root().path().to_owned();
                    drive.files().fail(&why);
                    metadata.node().drive_out(drive.files().drive(), &why).await;
                    drive.release();
                    shelf.set(&path, Some(drive.files().drive()), Err(why));
                }
            }
        }
        opening.out.into_iter().for_each(|(path, why)| shelf.set(&path, None, Err(why)));
        let store = Self { engine, metadata, shelf, boot: opening.boot, first: opening.first };
        store.settle(&config.credentials_file).await?;
        Ok(store)
    }

    /// Bootstrap is committed: the credentials stand from now on, and the drives are in service.
    async fn settle(&self, credentials: &Path) -> Result<(), StoreError> {
        let (file, first) = (credentials.to_path_buf(), self.first.clone());
        let drives = self.shelf.drives();
        blocking(move || {
            if let Some(first) = first {
                first.write_new(&file).map_err(StoreError::because)?;
                std::fs::remove_file(pending(&file)).map_err(StoreError::because)?;
            }
            for drive in drives.iter().filter(|d| d.mark().state == DriveState::Forming) {
                drive.set_state(DriveState::InService).map_err(StoreError::because)?;
            }
            Ok(())
        })
        .await
    }

    /// Ordered: engine's tasks, replicas, shard stores.
    pub(crate) async fn close(self) {
        if !self.engine.shutdown(ENGINE_PATIENCE).await {
            tracing::warn!("background work did not end in time");
        }
        self.metadata.node().shutdown().await;
        for shelved in self.shelf.all() {
            shelved.store.close().await;
        }
    }
}

/// No majority: the drives that are missing are the reason.
fn missing_drives(error: &engine_core::ports::MetaError, left_out: &[String]) -> StoreError {
    match left_out {
        [] => StoreError::because(error),
        some => StoreError(format!("{error}; not in use: {}", some.join("; "))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(StoreError::because)?
}

/// 2m+1 voters, as many as there are drives for (an odd number).
fn voters(drives: usize) -> usize {
    let m = Geometry::for_drives(drives).map_or(0, |g| usize::from(g.m));
    (2 * m + 1).min(drives.saturating_sub(1) | 1)
}

/// Where the keys of a first start wait until Bootstrap is committed: a start that is cut off
/// resumes with the same ones.
fn pending(credentials: &Path) -> PathBuf {
    credentials.with_extension("pending")
}

fn open_paths(config: &Config, entropy: &dyn Entropy) -> Result<Opening, StoreError> {
    let standing = Credentials::read(&config.credentials_file).map_err(StoreError::because)?;
    let named = match &standing {
        None => None,
        Some(c) => Some(c.cluster.parse::<ClusterId>().map_err(|_e| {
            StoreError(format!("{}: names no cluster id", config.credentials_file.display()))
        })?),
    };
    for path in &config.drives {
        if !path.is_dir() {
            tracing::warn!(path = %path.display(), "no such directory");
        }
    }
    match open_drives(&config.drives, named) {
        Opened::FirstStart { resumed, empty, forming } => {
            let mut drives = forming;
            let cluster = resumed.unwrap_or_else(|| {
                let mut id = [0; 16];
                entropy.fill(&mut id);
                ClusterId(id)
            });
            let first = first_credentials(config, cluster)?;
            let mut number = drives.iter().map(|d| d.mark().drive.0).max().unwrap_or(0);
            for path in empty {
                number += 1;
                let mut uuid = [0; 16];
                entropy.fill(&mut uuid);
                let new = NewDrive { uuid: DriveUuid(uuid), drive: DriveId(number), cluster, node: NODE };
                drives.push(path.form(new).map_err(StoreError::because)?);
            }
            let (boot, drives) = first_boot(drives);
            let drives = drives.into_iter().map(|d| d.map(Arc::new)).collect::<Result<Vec<_>, _>>();
            Ok(Opening { boot, cluster, drives: drives.map_err(StoreError::because)?, out: Vec::new(), first: Some(first) })
        }
        Opened::Started { boot, drives } => started(config, boot, drives),
    }
}

fn started(
    config: &Config,
    boot: BootId,
    outcomes: Vec<Result<Drive, engine_disk::MarkError>>,
) -> Result<Opening, StoreError> {
    let (mut drives, mut out) = (Vec::new(), Vec::new());
    for (path, outcome) in config.drives.iter().zip(outcomes) {
        match outcome {
            Ok(drive) => drives.push(Arc::new(drive)),
            Err(error) => {
                tracing::error!(%error, "drive left out");
                out.push((path.clone(), error.to_string()));
            }
        }
    }
    let old: Vec<&Arc<Drive>> = drives.iter().filter(|d| d.mark().stale).collect();
    // Throwing away more replicas than a group can lose would throw away what was acknowledged.
    let bearable = voters(config.drives.len()) / 2;
    if old.len() > bearable {
        let names: Vec<String> = old.iter().map(|d| d.files().root().path().display().to_string()).collect();
        return Err(StoreError(format!(
            "{} drives are old copies ({}); at most {bearable} can be made anew from the others. Bring the newer ones back",
            names.len(),
            names.join(", "),
        )));
    }
    for drive in old {
        discard_replicas(drive).map_err(StoreError)?;
    }
    let Some(drive) = drives.first() else {
        let why: Vec<String> = out.into_iter().map(|(_, why)| why).collect();
        return Err(StoreError(format!("no drive can be used: {}", why.join("; "))));
    };
    let cluster = drive.mark().cluster;
    Ok(Opening { boot, cluster, drives, out, first: None })
}

/// The root keys of a first start: those a start that was cut off has chosen, or new ones, kept
/// aside durably before anything is committed under them.
fn first_credentials(config: &Config, cluster: ClusterId) -> Result<Credentials, StoreError> {
    let aside = pending(&config.credentials_file);
    if let Some(kept) = Credentials::read(&aside).map_err(StoreError::because)? {
        if kept.cluster == cluster.to_string() {
            return Ok(kept);
        }
        std::fs::remove_file(&aside).map_err(StoreError::because)?;
    }
    let given = (std::env::var("DATAMESH_ROOT_ACCESS_KEY").ok(), std::env::var("DATAMESH_ROOT_SECRET_KEY").ok());
    let given = match given {
        (Some(access), Some(secret)) => {
            crate::config::check_key_pair("DATAMESH_ROOT_ACCESS_KEY", &access, &secret).map_err(StoreError::because)?;
            Some((access, secret))
        }
        (None, None) => None,
        _ => return Err(StoreError("set both DATAMESH_ROOT_ACCESS_KEY and DATAMESH_ROOT_SECRET_KEY, or neither".into())),
    };
    let made = Credentials::first(cluster, given).map_err(StoreError::because)?;
    made.write_new(&aside).map_err(StoreError::because)?;
    Ok(made)
}

fn keyring_lock(config: &Config, first: bool) -> Result<KeyringLock, StoreError> {
    if let Some(file) = &config.key_file {
        return Ok(KeyringLock::KeyFile(key_file(file, first).map_err(StoreError::because)?));
    }
    let file = config.passphrase_file.as_ref().ok_or_else(|| StoreError("key_file: not set".into()))?;
    let text = std::fs::read_to_string(file).map_err(|e| StoreError(format!("{}: {e}", file.display())))?;
    Ok(KeyringLock::Passphrase(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
}

/// How shard stores are set.
pub(crate) fn disk_options(config: &Config) -> engine_disk::Options {
    let mut options = engine_disk::Options { segment_bytes: config.segment_bytes, ..engine_disk::Options::default() };
    if config.reserve_bytes > 0 {
        options.reserve_percent = 0;
        options.reserve_bytes_min = config.reserve_bytes;
    }
    options
}

/// A drive whose shards do not open does not stop the others: its error is its state.
async fn open_stores(
    drives: &[Arc<Drive>],
    options: engine_disk::Options,
) -> Result<Vec<Result<Arc<SegmentStore>, String>>, StoreError> {
    let opening = drives.iter().map(|drive| {
        let files = drive.files().clone();
        blocking(move || Ok(SegmentStore::open(files, options).map(|(store, _)| Arc::new(store)).map_err(|e| e.to_string())))
    });
    futures::future::join_all(opening).await.into_iter().collect()
}

struct Parts<'a> {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    files: Vec<Arc<dyn DriveFiles>>,
    lock: KeyringLock,
    config: &'a Config,
}

async fn start_engine(
    opening: &Opening,
    metadata: &Replicated,
    stores: &[Result<Arc<SegmentStore>, String>],
    parts: Parts<'_>,
) -> Result<Engine, StoreError> {
    let (holders, clock, entropy) = (parts.files.clone(), Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
    // Only a first start may make a keyring: elsewhere its absence must be an error, not a new key.
    let keyring = if opening.forming() {
        Keyring::open_or_create(holders, parts.lock, entropy, clock).await
    } else {
        Keyring::open(holders, parts.lock, entropy, clock).await
    };
    let keyring = Arc::new(keyring.map_err(StoreError::because)?);
    let served: Vec<(&Arc<Drive>, &Arc<SegmentStore>)> =
        opening.drives.iter().zip(stores).filter_map(|(drive, store)| Some((drive, store.as_ref().ok()?))).collect();
    let rows: Vec<LayoutDrive> = served.iter().map(|(drive, store)| row(drive, store, &parts.config.zone)).collect();
    if let Some(first) = &opening.first {
        let new = NewCluster {
            cluster: opening.cluster,
            layout: Layout { version: 1, drives: rows.clone() },
            partitions: DATA_PARTITIONS,
            root: (root_id(opening.cluster), "root".into(), String::new()),
            access_key: first.access_key.clone(),
            secret: Secret(Zeroizing::new(first.secret_key.clone())),
        };
        let made = bootstrap(metadata, &keyring, parts.entropy.as_ref(), new).await;
        made.map_err(StoreError::because)?;
    }
    let drives = rows.into_iter().zip(&served).map(|(row, (drive, store))| {
        let files: Arc<dyn DriveFiles> = Arc::new(drive.files().clone());
        (row, Arc::clone(store) as Arc<dyn ShardStore>, files)
    });
    let buffers = usize::try_from(parts.config.upload_buffer_bytes).unwrap_or(usize::MAX);
    let options = EngineOptions { buffer_bytes: buffers, ..EngineOptions::default() };
    let parts = EngineParts {
        node: NODE,
        boot: opening.boot,
        metadata: Arc::new(metadata.clone()),
        keyring,
        drives: drives.collect(),
        clock: parts.clock,
        entropy: parts.entropy,
        options,
    };
    Ok(Engine::start(parts).await)
}

/// Root's canonical id: 64 hex digits as AWS's, the cluster id twice.
fn root_id(cluster: ClusterId) -> String {
    format!("{cluster}{cluster}")
}

/// A drive of ours as the layout has it.
pub(crate) fn row(drive: &Drive, store: &SegmentStore, zone: &str) -> LayoutDrive {
    LayoutDrive {
        id: drive.files().drive(),
        uuid: drive.files().uuid(),
        node: NODE,
        zone: zone.to_owned(),
        size_bytes: store.usage().capacity,
        state: LayoutState::Active,
    }
}
