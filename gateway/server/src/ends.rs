//! What drives remember of each other beside boot counts: how far each one's log is known to be
//! durable. A drive that comes back with less, now or at a later start, is an older copy of itself.
//!
//! Written into the marks whenever a drive goes out or comes back, each minute, and at an ordered
//! stop. So a copy is told unless it is younger than a minute and the process was killed meanwhile.

use crate::shelf::Shelf;
use engine_core::ports::DriveFiles;
use engine_meta::service::MetaNode;
use engine_types::{DriveId, DriveUuid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two writes while nothing happens.
const PERIOD: Duration = Duration::from_mins(1);
/// A drive that takes longer to write its mark is left behind; it will be found silent by others.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the marks were written last, and with which drives in service and known.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Option<(Instant, BTreeSet<DriveId>, BTreeSet<DriveId>)>);

impl Remembered {
    /// Writes where it is due.
    pub(crate) async fn look(&mut self, drives: &Shelf, node: &MetaNode) {
        let ends = node.log_ends();
        let in_service = drives.drives().into_iter();
        let here: BTreeSet<DriveId> = in_service.map(|drive| drive.files().drive()).collect();
        let known: BTreeSet<DriveId> = ends.keys().copied().collect();
        let fresh = self.0.as_ref().is_some_and(|(at, was_here, was_known)| {
            at.elapsed() < PERIOD && *was_here == here && *was_known == known
        });
        if !fresh {
            tell(drives, &ends).await;
            self.0 = Some((Instant::now(), here, known));
        }
    }
}

/// Writes into the mark of every drive in service how far each log is durable.
pub(crate) async fn tell(shelf: &Shelf, ends: &BTreeMap<DriveId, u64>) {
    let uuids = shelf.uuids();
    let named = ends
        .iter()
        .filter_map(|(id, end)| Some((*uuids.get(id)?, *end)));
    let ends: Arc<BTreeMap<DriveUuid, u64>> = Arc::new(named.collect());
    let telling = shelf.drives().into_iter().map(|drive| {
        let ends = Arc::clone(&ends);
        async move {
            let id = drive.files().drive();
            let told = tokio::task::spawn_blocking(move || drive.learn_log_ends(&ends));
            match tokio::time::timeout(PATIENCE, told).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::debug!(drive = %id, %error, "mark not written"),
                Ok(Err(error)) => tracing::debug!(drive = %id, %error, "mark not written"),
                Err(_late) => tracing::debug!(drive = %id, "mark not written in time"),
            }
        }
    });
    futures::future::join_all(telling).await;
}
