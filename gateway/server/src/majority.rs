//! The first steps of a start: what opens goes on the shelf, and then drives are waited for until
//! control has a majority.

use crate::admin::{Health, Phase};
use crate::config::Config;
use crate::keeper::{Keeper, LOOK};
use crate::paths::Opening;
use crate::shelf::{Shelf, Witness, WitnessState};
use crate::store::{StoreError, blocking, disk_options};
use engine_core::ports::{DriveFiles, MetaError};
use engine_disk::SegmentStore;
use engine_meta::metadata::Replicated;
use engine_types::GroupId;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

/// Control's group.
const CONTROL: GroupId = GroupId(0);

/// Opens the shard stores and puts every path on the shelf, the witness's as well. A drive whose shards do not open does not
/// stop the others: its error is its state, and the keeper tries it again.
pub(crate) async fn fill(
    shelf: &Shelf,
    opening: &Opening,
    config: &Config,
) -> Result<(), StoreError> {
    let options = disk_options(config);
    let opening_stores = opening.drives.iter().map(|drive| {
        let files = drive.files().clone();
        blocking(move || {
            Ok(SegmentStore::open(files, options)
                .map(|(store, _)| Arc::new(store))
                .map_err(|e| e.to_string()))
        })
    });
    for (drive, store) in opening
        .drives
        .iter()
        .zip(futures::future::join_all(opening_stores).await)
    {
        match store? {
            Ok(store) => {
                drive.admitted();
                shelf.add(Arc::clone(drive), store);
            }
            Err(why) => {
                tracing::error!(drive = %drive.files().drive(), why, "shards do not open");
                drive.release();
                shelf.set(
                    drive.files().root().path(),
                    Some(drive.files().drive()),
                    Err(why),
                );
            }
        }
    }
    for (path, why) in &opening.out {
        tracing::error!(path = %path.display(), reason = why, "drive left out");
        shelf.set(path, None, Err(why.clone()));
    }
    let state = match &opening.witness {
        None => return Ok(()),
        Some(Ok(drive)) => {
            drive.admitted();
            WitnessState::Up(Arc::clone(drive))
        }
        Some(Err(why)) => {
            tracing::error!(reason = why, "witness left out");
            WitnessState::Failing(why.clone())
        }
    };
    let path = config.witness_path();
    shelf.set_witness(Some(Witness { path, state }));
    Ok(())
}

/// Until control can be read: every request needs it, for its key and its bucket. The other
/// partitions are waited for only while they may have a majority: those without are refused one by
/// one, and come into service by themselves. Meanwhile drives come and go as in a running node.
pub(crate) async fn wait_for_control(
    keeper: &mut Keeper,
    metadata: &Replicated,
    shelf: &Shelf,
    health: &Health,
) -> Result<(), StoreError> {
    let doing = "waiting for a majority of control's replicas".to_owned();
    health.set(Phase::Starting {
        doing: doing.clone(),
    });
    let mut waiting = Waiting::new(keeper, shelf, health);
    let mut told = false;
    loop {
        match waiting.until(metadata.node().wait_ready_of(CONTROL)).await {
            Ok(()) => break,
            Err(error @ MetaError::Closed) => return Err(StoreError::because(error)),
            Err(error) => {
                let doing = format!("{doing}: {error}");
                if !told {
                    tracing::error!(reason = doing, left_out = ?shelf.left_out(), "not ready yet");
                    told = true;
                }
                health.set(Phase::Starting { doing });
                waiting.look().await;
            }
        }
    }
    let others = metadata
        .node()
        .groups()
        .into_iter()
        .filter(|group| *group != CONTROL);
    let others = others.map(|group| metadata.node().wait_ready_of(group));
    for outcome in waiting.until(futures::future::join_all(others)).await {
        if let Err(error) = outcome {
            tracing::error!(%error, "served without a partition");
        }
    }
    Ok(())
}

/// What is waited for while the drives are looked at each second.
pub(crate) struct Waiting<'a> {
    keeper: &'a mut Keeper,
    shelf: &'a Shelf,
    health: &'a Health,
    tick: tokio::time::Interval,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(keeper: &'a mut Keeper, shelf: &'a Shelf, health: &'a Health) -> Self {
        let mut tick = tokio::time::interval(LOOK);
        // The drives were opened just now.
        tick.reset();
        Self {
            keeper,
            shelf,
            health,
            tick,
        }
    }

    /// At its time, at every drive once.
    pub(crate) async fn look(&mut self) {
        self.tick.tick().await;
        self.keeper.look_around().await;
        self.health.set_left_out(&self.shelf.left_out());
    }

    async fn until<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            // A look that was begun runs to its end: what it takes out or in must not stay half done.
            tokio::select! {
                answer = &mut answer => return answer,
                _ = self.tick.tick() => {
                    self.keeper.look_around().await;
                    self.health.set_left_out(&self.shelf.left_out());
                }
            }
        }
    }
}
