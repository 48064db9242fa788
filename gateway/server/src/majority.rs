//! The first steps of a start: what opens goes on the shelf, and then drives are waited for until the
//! metadata has a majority.

use crate::admin::{Health, Phase};
use crate::keeper::{Keeper, LOOK};
use crate::paths::Opening;
use crate::shelf::Shelf;
use crate::store::{StoreError, blocking};
use engine_core::ports::{DriveFiles, MetaError};
use engine_disk::SegmentStore;
use engine_meta::metadata::Replicated;
use std::sync::Arc;

/// Opens the shard stores and puts every path on the shelf. A drive whose shards do not open does not
/// stop the others: its error is its state, and the keeper tries it again.
pub(crate) async fn fill(
    shelf: &Shelf,
    opening: &Opening,
    options: engine_disk::Options,
) -> Result<(), StoreError> {
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
            Ok(store) => shelf.add(Arc::clone(drive), store),
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
    Ok(())
}

/// Until every group has a leader. Meanwhile drives come and go as in a running node.
pub(crate) async fn wait_for_majority(
    keeper: &mut Keeper,
    metadata: &Replicated,
    shelf: &Shelf,
    health: &Health,
) -> Result<(), StoreError> {
    let doing = "waiting for a majority of the metadata's replicas".to_owned();
    health.set(Phase::Starting {
        doing: doing.clone(),
    });
    let mut tick = tokio::time::interval(LOOK);
    // The drives were opened just now.
    tick.reset();
    let mut told = false;
    loop {
        let ready = metadata.node().wait_ready();
        tokio::pin!(ready);
        let answer = loop {
            tokio::select! {
                answer = &mut ready => break answer,
                _ = tick.tick() => {
                    keeper.look_around().await;
                    health.set_left_out(&shelf.left_out());
                }
            }
        };
        match answer {
            Ok(()) => return Ok(()),
            Err(error @ MetaError::Closed) => return Err(StoreError::because(error)),
            Err(error) => {
                let doing = format!("{doing}: {error}");
                if !told {
                    tracing::error!(reason = doing, left_out = ?shelf.left_out(), "not ready yet");
                    told = true;
                }
                health.set(Phase::Starting { doing });
            }
        }
    }
}
