//! Looking at drives: failures that others have seen, drives that answer again, room again.
//!
//! A drive may answer readers and hang in writes, or the other way round; so one that is out of
//! service is asked for both, and what is read is read from the drive and not from memory.

use super::{Drive, Drives, FULL_CLEARS_BYTES, Service, Side, note};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::CopyToken;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A copy that was never made: its free changes nothing, and is answered by the thread that writes,
/// once it has done what was asked of it before.
const NOBODY: CopyToken = CopyToken([0; 16]);
/// Written to a read-only drive to see whether it is so still (**format**), and removed at once.
const PROBE_FILE: &str = "shards/probe";

impl Drives {
    /// Looks at every drive, at all of them at once: one that hangs does not keep the others out.
    pub(crate) async fn probe(&self) {
        let here = self.here();
        futures::future::join_all(here.iter().map(|drive| self.look(drive))).await;
    }

    async fn look(&self, drive: &Arc<Drive>) {
        match (drive.service(), drive.files.failure()) {
            (Service::Up | Service::Full | Service::ReadOnly, Some(reason)) => {
                note(drive, "probe", &DriveError::Failed(reason));
            }
            (Service::Out(_), None) => {
                if self.answers(drive).await {
                    drive.answered_now(Side::Reads, self.now_ms());
                    drive.answered_now(Side::Writes, self.now_ms());
                    tracing::info!(drive = %drive.row.id, "drive is back in service");
                    *drive.service.lock() = Service::Up;
                }
            }
            (Service::Full, None) => {
                let usage = drive.store.usage();
                if usage.available > FULL_CLEARS_BYTES.min(usage.capacity / 50) {
                    *drive.service.lock() = Service::Up;
                }
            }
            (Service::ReadOnly, None) => {
                let writable = tokio::time::timeout(self.silence, takes_files(drive)).await;
                if writable == Ok(true) {
                    tracing::info!(drive = %drive.row.id, "drive takes writes again");
                    *drive.service.lock() = Service::Up;
                }
            }
            (Service::Up, None) | (Service::Out(_), Some(_)) => {}
        }
    }

    async fn answers(&self, drive: &Drive) -> bool {
        let both = futures::future::join(answers_writers(drive), self.answers_readers(drive));
        let answered = tokio::time::timeout(self.silence, both).await;
        answered == Ok((true, true))
    }

    async fn answers_readers(&self, drive: &Drive) -> bool {
        let segments = drive.store.segments();
        // Not always the same one: a bad place must not keep a drive out.
        let count = u64::try_from(segments.len()).unwrap_or(u64::MAX).max(1);
        let any = usize::try_from(self.now_ms() % count).unwrap_or(0);
        let segment = segments.get(any).map_or(0, |of| of.segment);
        let Ok(placed) = drive.store.placed((segment, 0), 1).await else {
            return false;
        };
        let Some(entry) = placed.first() else {
            return true;
        };
        // A read may be answered by the page cache, of a medium that answers nobody.
        #[cfg(sabotage)]
        if engine_types::sabotage("probe-from-memory") {
            return drive.store.read(entry.token, 0..1).await.is_ok();
        }
        match drive.store.verify(entry.token).await {
            // Damage is the scrub's.
            Ok(_) | Err(DriveError::NotFound | DriveError::Corrupt(_)) => true,
            Err(_) => false,
        }
    }
}

async fn answers_writers(drive: &Drive) -> bool {
    let free = drive.store.free(&[NOBODY]).await;
    matches!(free, Ok(()) | Err(DriveError::Full | DriveError::ReadOnly))
}

/// Whether a drive that was read-only takes writes. One that hangs in such a write is not asked
/// again before that has ended.
async fn takes_files(drive: &Arc<Drive>) -> bool {
    if drive.store.free(&[NOBODY]).await.is_err() || drive.trying.swap(true, Ordering::AcqRel) {
        return false;
    }
    let tried = Arc::clone(drive);
    let written = tokio::task::spawn_blocking(move || {
        let written = write_file(&*tried.files);
        tried.trying.store(false, Ordering::Release);
        written
    });
    // Where there is no room the next shard says so.
    matches!(written.await, Ok(Ok(()) | Err(DriveError::Full)))
}

fn write_file(files: &dyn DriveFiles) -> Result<(), DriveError> {
    files.write(PROBE_FILE, &[])?;
    files.remove(PROBE_FILE)
}
