//! Opens what this node keeps: drives, replicas, shard stores, keyring, engine; in that order. Closes
//! it in the other.

use crate::admin::{Health, Phase};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::holders::control_voters;
use crate::keeper::{Keeper, LOOK, known_of, settle};
use crate::keyring::{keyring_lock, open_keyring, wait_for_keyring};
use crate::majority::{fill, wait_for_control};
use crate::paths::{Opening, open_paths, pending};
use crate::shelf::Shelf;
use crate::system::{SystemClock, SystemEntropy};
use engine_core::placement::{DriveState as LayoutState, Layout, LayoutDrive, Voters};
use engine_core::ports::{Clock, DriveFiles, Entropy, ShardStore};
use engine_disk::{Drive, DriveState, SegmentStore};
use engine_meta::log::LogOptions;
use engine_meta::metadata::Replicated;
use engine_meta::service::MetaOptions;
use engine_node::keyring::KeyringParts;
use engine_node::{Engine, EngineOptions, EngineParts, Keyring, NewCluster, Secret, bootstrap};
use engine_types::{BootId, ClusterId, DriveId, NodeId};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The only node until nodes join.
pub(crate) const NODE: NodeId = NodeId(1);
/// Data partitions of a new cluster.
const DATA_PARTITIONS: u32 = 8;
/// Background work gets this long to end.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// Why the store did not open; says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Trying again would not help.
    #[error("{0}")]
    Refused(String),
    /// Nothing is wrong that the return of a drive would not mend.
    #[error("{0}")]
    Waiting(String),
}

impl StoreError {
    pub(crate) fn because(error: impl std::fmt::Display) -> Self {
        Self::Refused(error.to_string())
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
    /// To be run from now on.
    pub(crate) keeper: Option<Keeper>,
}

impl Store {
    /// Opens, and waits as long as it takes for drives that are missing: `health` is told which and
    /// why, as soon as that is known and again whenever it changes.
    pub(crate) async fn open(config: &Config, health: &Health) -> Result<Self, StoreError> {
        let mut told = String::new();
        loop {
            let shelf = Arc::new(Shelf::default());
            let opened = Self::attempt(config, health, &shelf).await;
            let Err(StoreError::Waiting(why)) = opened else {
                return opened;
            };
            // What this attempt holds must be free for the next.
            release(&shelf).await;
            health.set(Phase::Starting { doing: why.clone() });
            if told != why {
                tracing::error!(reason = why, "the store cannot be opened yet; trying again");
                told = why;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn attempt(
        config: &Config,
        health: &Health,
        shelf: &Arc<Shelf>,
    ) -> Result<Self, StoreError> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock::new()), Arc::new(SystemEntropy::new()));
        let opening = {
            let (config, entropy) = (config.clone(), Arc::clone(&entropy));
            blocking(move || open_paths(&config, entropy.as_ref())).await?
        };
        let lock = keyring_lock(config, opening.first.is_some())?;
        fill(shelf, &opening, config).await?;
        health.set_left_out(&shelf.left_out());
        let time = (Arc::clone(&clock), Arc::clone(&entropy));
        let metadata = open_metadata(config, opening.boot, shelf, time).await?;
        if opening.forming() {
            metadata
                .node()
                .bootstrap()
                .await
                .map_err(StoreError::because)?;
        }
        let mut keeper = Keeper::new(
            Arc::clone(shelf),
            metadata.clone(),
            disk_options(config),
            config.witness_path(),
        );
        wait_for_control(&mut keeper, &metadata, shelf, health).await?;
        let keyring = wait_for_keyring(&mut keeper, shelf, health, || {
            let parts = KeyringParts {
                holders: shelf.files(),
                voters: Some(control_voters(&metadata)),
                boot: opening.boot,
                entropy: Arc::clone(&entropy),
                clock: Arc::clone(&clock),
            };
            open_keyring(&opening, parts, lock.clone())
        });
        let parts = Parts {
            keyring: keyring.await?,
            clock,
            entropy,
            config,
        };
        let engine = start_engine(&opening, &metadata, shelf, parts).await?;
        let keeper = keeper.serving(engine.clone());
        let shelf = Arc::clone(shelf);
        let store = Self {
            engine,
            metadata,
            shelf,
            boot: opening.boot,
            first: opening.first,
            keeper: Some(keeper),
        };
        store.settle(&config.credentials_file).await?;
        Ok(store)
    }

    /// Bootstrap is committed: the credentials stand from now on, and the drives are in service.
    async fn settle(&self, credentials: &Path) -> Result<(), StoreError> {
        let (file, first) = (credentials.to_path_buf(), self.first.clone());
        let drives = self.shelf.drives();
        blocking(move || {
            // Later ones are settled by the layout (`admin/departures`): a drive whose addition was
            // cut off must be told from one that left the layout.
            let Some(first) = first else { return Ok(()) };
            first.write_new(&file).map_err(StoreError::because)?;
            std::fs::remove_file(pending(&file)).map_err(StoreError::because)?;
            for drive in drives
                .iter()
                .filter(|d| d.mark().state == DriveState::Forming)
            {
                drive
                    .set_state(DriveState::InService)
                    .map_err(StoreError::because)?;
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
        let node = self.metadata.node();
        node.shutdown().await;
        crate::ends::tell(&self.shelf, &node.log_ends()).await;
        let stores = self.shelf.all();
        let closing = stores.iter().map(|shelved| shelved.store.close());
        for (shelved, closed) in stores.iter().zip(futures::future::join_all(closing).await) {
            if !closed {
                tracing::warn!(drive = %shelved.id(), "the drive hangs: its shards are left as they are");
            }
        }
    }
}

/// Closes all drives and lets go of their locks; a drive that hangs keeps its lock, and the next attempt
/// leaves it out.
async fn release(shelf: &Shelf) {
    let stores = shelf.all();
    let closing = stores.iter().map(|shelved| shelved.store.close());
    let closed = futures::future::join_all(closing).await;
    let hanging: BTreeSet<DriveId> = stores
        .iter()
        .zip(closed)
        .filter(|(_, closed)| !closed)
        .map(|(shelved, _)| shelved.id())
        .collect();
    for drive in shelf.drives() {
        if !hanging.contains(&drive.files().drive()) {
            drive.release();
        }
    }
}

/// What the settings say of the replicas.
fn metadata_options(config: &Config, boot: BootId) -> MetaOptions {
    MetaOptions {
        node: NODE.0.into(),
        voters: Voters::for_drives(config.drives.len()).count,
        log: LogOptions {
            boot: boot.0,
            ..LogOptions::default()
        },
        snapshot_bytes_min: config.snapshot_log_bytes,
        ..MetaOptions::default()
    }
}

/// Opens the replicas on the drives of the shelf; those of older copies are disowned.
async fn open_metadata(
    config: &Config,
    boot: BootId,
    shelf: &Shelf,
    (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
) -> Result<Replicated, StoreError> {
    let drives = shelf.drives();
    let known = |drive: &Arc<Drive>| (drive.files().drive(), known_of(&drive.mark()));
    let options = MetaOptions {
        known: drives.iter().map(known).collect(),
        ..metadata_options(config, boot)
    };
    let opened = Replicated::open(shelf.files(), options, clock, entropy).await;
    let metadata = opened.map_err(StoreError::because)?;
    // One whose log did not open has not been judged.
    let status = metadata.node().status().drives.into_iter();
    let judged: BTreeSet<DriveId> = status
        .filter(|d| d.out.is_none())
        .map(|d| d.drive)
        .collect();
    blocking(move || {
        let mut settling = drives
            .iter()
            .filter(|d| judged.contains(&d.files().drive()));
        settling.try_for_each(|drive| settle(drive).map_err(StoreError::Refused))
    })
    .await?;
    Ok(metadata)
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(StoreError::because)?
}

/// How shard stores are set.
pub(crate) fn disk_options(config: &Config) -> engine_disk::Options {
    let mut options = engine_disk::Options {
        segment_bytes: config.segment_bytes,
        ..engine_disk::Options::default()
    };
    if config.reserve_bytes > 0 {
        options.reserve_percent = 0;
        options.reserve_bytes_min = config.reserve_bytes;
    }
    options
}

struct Parts<'a> {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keyring: Keyring,
    config: &'a Config,
}

async fn start_engine(
    opening: &Opening,
    metadata: &Replicated,
    shelf: &Shelf,
    parts: Parts<'_>,
) -> Result<Engine, StoreError> {
    let keyring = Arc::new(parts.keyring);
    let served = shelf.all();
    let rows: Vec<LayoutDrive> = served
        .iter()
        .map(|s| row(&s.drive, &s.store, &parts.config.zone))
        .collect();
    if let Some(first) = &opening.first {
        let new = NewCluster {
            cluster: opening.cluster,
            layout: Layout {
                version: 1,
                drives: rows.clone(),
            },
            partitions: DATA_PARTITIONS,
            root: (root_id(opening.cluster), "root".into(), String::new()),
            access_key: first.access_key.clone(),
            secret: Secret(first.secret_key.clone()),
        };
        let made = bootstrap(metadata, &keyring, parts.entropy.as_ref(), new).await;
        made.map_err(StoreError::because)?;
    }
    let drives = rows.into_iter().zip(&served).map(|(row, served)| {
        (
            row,
            Arc::clone(&served.store) as Arc<dyn ShardStore>,
            served.files(),
        )
    });
    let buffers = usize::try_from(parts.config.upload_buffer_bytes).unwrap_or(usize::MAX);
    let options = EngineOptions {
        buffer_bytes: buffers,
        pack_age: Duration::from_secs(parts.config.pack_age_s),
        pack_bytes_min: parts.config.pack_bytes_min,
        scrub_within: Duration::from_hours(parts.config.scrub_days * 24),
        scrub_bytes_per_s_min: parts.config.scrub_bytes_per_s_min,
        ..EngineOptions::default()
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_reach_the_replicas() {
        let config = Config {
            drives: (1..=6).map(|n| format!("/d/{n}").into()).collect(),
            snapshot_log_bytes: 3 << 20,
            ..Config::default()
        };
        let options = metadata_options(&config, BootId(7));
        assert_eq!(options.snapshot_bytes_min, 3 << 20);
        assert_eq!((options.voters, options.log.boot), (5, 7));
        let default = metadata_options(&Config::default(), BootId(7));
        assert_eq!(
            default.snapshot_bytes_min,
            MetaOptions::default().snapshot_bytes_min
        );
    }
}
