//! Frees copies that no row names: left by writes whose outcome nobody learnt, or by a crash.
//!
//! A copy is judged only once its token was born before its partition's watermark: no later commit
//! can name it then. It goes if its data id is neither referenced nor dead, or if the stripe is
//! there but names another copy in its place and this one is not waiting in `dead`. Point look-ups,
//! no mark and sweep. Tokens sort by birth, so a sweep goes on where the last one ended; once in a
//! while it begins anew, for copies that reached their drive late.

use crate::EngineError;
use crate::drives::Drive;
use crate::engine::Inner;
use crate::worker::{Progress, Worker};
use async_trait::async_trait;
use engine_core::format::{ShardHeader, ShardOwner};
use engine_core::meta::{Query, Reply, Slot, shard_place};
use engine_core::ports::DriveError;
use engine_types::{BucketId, CopyToken, DataId, DriveId, ObjectKey, PartitionId, Stamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Copies looked at in one tick of one drive.
const COPIES_PER_TICK: usize = 64;
/// Sweeps until one begins anew: a day at one a minute.
const SWEEPS_TO_WHOLE: u32 = 1440;

/// Clean-up that somebody asks for.
#[derive(Debug, Default)]
pub(crate) struct CleanUp {
    /// What is dead is looked at now …
    pub(super) dead: Arc<Notify>,
    /// … and every copy on every drive.
    sweep: Arc<Notify>,
    anew: AtomicBool,
}

impl CleanUp {
    pub(crate) fn ask(&self) {
        self.anew.store(true, Ordering::Release);
        self.dead.notify_one();
        self.sweep.notify_one();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    after: BTreeMap<DriveId, CopyToken>,
    sweeps: u32,
}

#[async_trait]
impl Worker for Sweeper {
    fn name(&self) -> &'static str {
        "orphans"
    }
    fn period(&self, inner: &Inner) -> Duration {
        inner.options.orphan_period
    }
    fn asked(&self, inner: &Inner) -> Option<Arc<Notify>> {
        Some(Arc::clone(&inner.clean_up.sweep))
    }
    async fn tick(&mut self, inner: &Arc<Inner>) -> Result<Progress, EngineError> {
        if inner.clean_up.anew.swap(false, Ordering::AcqRel) {
            self.after.clear();
        }
        let watermarks = watermarks(inner).await?;
        let Some(before) = watermarks.values().min().copied() else {
            return Ok(Progress::Done);
        };
        let mut progress = Progress::Done;
        for drive in inner.drives.here() {
            if drive.readable()
                && !inner.life.is_cancelled()
                && self.drive(inner, &drive, before).await?
            {
                progress = Progress::More;
            }
        }
        if progress == Progress::Done {
            self.sweeps += 1;
            if self.sweeps >= SWEEPS_TO_WHOLE {
                self.sweeps = 0;
                self.after.clear();
            }
        }
        Ok(progress)
    }
}

impl Sweeper {
    /// Judges the next copies of a drive; true: more follow.
    async fn drive(
        &mut self,
        inner: &Inner,
        drive: &Drive,
        before: Stamp,
    ) -> Result<bool, EngineError> {
        let id = drive.row.id;
        let after = self.after.get(&id).copied();
        #[cfg(sabotage)]
        let before = if engine_types::sabotage("orphan-ignore-watermark") {
            Stamp(u64::MAX)
        } else {
            before
        };
        let entries = drive.store.entries(after, before, COPIES_PER_TICK);
        let Ok(entries) = inner.drives.run(drive, "entries", entries).await else {
            return Ok(false);
        };
        for entry in &entries {
            // The header alone: no payload is read.
            let read = inner
                .drives
                .run(drive, "read", drive.store.read(entry.token, 0..0))
                .await;
            let orphan = match read {
                Ok(shard) => orphan(inner, id, &shard.header).await?,
                // Damage is the scrub's; freed meanwhile is fine; a failed drive comes again.
                Err(DriveError::NotFound | DriveError::Corrupt(_)) => false,
                Err(_) => return Ok(false),
            };
            if orphan {
                tracing::info!(drive = %id, token = %entry.token, "orphan freed");
                inner
                    .free(&[Slot {
                        drive: id,
                        token: entry.token,
                    }])
                    .await;
            }
            self.after.insert(id, entry.token);
        }
        Ok(entries.len() == COPIES_PER_TICK)
    }
}

/// Each partition's but control's: what was born before it is named by now, or never will be.
pub(super) async fn watermarks(inner: &Inner) -> Result<BTreeMap<PartitionId, Stamp>, EngineError> {
    let mut watermarks = BTreeMap::new();
    for partition in inner.metadata.partitions() {
        if partition == PartitionId::CONTROL {
            continue;
        }
        let Reply::Clock { watermark, .. } = inner.ask(partition, Query::Clock).await? else {
            return Err(EngineError::unexpected("Clock"));
        };
        watermarks.insert(partition, watermark);
    }
    Ok(watermarks)
}

/// Whether nothing names this copy, nor will.
async fn orphan(inner: &Inner, drive: DriveId, header: &ShardHeader) -> Result<bool, EngineError> {
    let (bucket, key) = &shard_place(&header.owner);
    let ShardHeader { data, token, .. } = *header;
    let partition = match header.owner {
        ShardOwner::Object { .. } => header.partition,
        // Its maker alone knows, whoever has rows that point into it.
        ShardOwner::Pack { partition, .. } => partition,
    };
    let named = known(inner, partition, (*bucket, key), data).await?;
    #[cfg(sabotage)]
    let named = named && !engine_types::sabotage("orphan-skip-lookup");
    if !named {
        return Ok(true);
    }
    #[cfg(sabotage)]
    let token = if engine_types::sabotage("orphan-ignore-slots") {
        CopyToken([0; 16])
    } else {
        token
    };
    let query = Query::Part {
        bucket: *bucket,
        key: key.clone(),
        data,
        first: header.stripe,
    };
    let Reply::Part(found) = inner.ask(partition, query).await? else {
        return Err(EngineError::unexpected("Part"));
    };
    let Some(stripe) = found.and_then(|part| part.stripes.into_iter().next()) else {
        return Ok(false);
    };
    let own = Slot { drive, token };
    if stripe.slots.iter().flatten().any(|slot| *slot == own) {
        return Ok(false);
    }
    // A replaced copy waits in `dead` under its token: that is the collector's.
    Ok(!known(inner, partition, (*bucket, key), DataId(token.0)).await?)
}

async fn known(
    inner: &Inner,
    partition: PartitionId,
    (bucket, key): (BucketId, &ObjectKey),
    data: DataId,
) -> Result<bool, EngineError> {
    match inner
        .ask(
            partition,
            Query::DataKnown {
                bucket,
                key: key.clone(),
                data,
            },
        )
        .await?
    {
        Reply::Known(known) => Ok(known),
        _ => Err(EngineError::unexpected("DataKnown")),
    }
}
