//! Errors of the drive on order, and what the store makes of them.

use super::{Shard, UUID, holds, new_drive, open, put_many, read};
use crate::SegmentStore;
use engine_core::ports::{DriveError, DriveFiles, ShardStore};
use engine_sim::contracts::shard_store::shard;
use parking_lot::Mutex;
use rustix::io::Errno;

/// What fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Sync,
}

/// One order: the call, in files whose name holds this, and the error.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Option<(Call, &'static str, Errno)>>);

impl Faults {
    fn order(&self, call: Call, file: &'static str, error: Errno) {
        *self.0.lock() = Some((call, file, error));
    }
    fn meet(&self, call: Call, name: &str) -> Option<Errno> {
        let mut order = self.0.lock();
        let (due, file, error) = (*order)?;
        let met = due == call && name.contains(file);
        met.then(|| {
            *order = None;
            error
        })
    }
    pub(crate) fn read(&self, name: &str) -> Option<Errno> {
        self.meet(Call::Read, name)
    }
    pub(crate) fn write(&self, name: &str) -> Option<Errno> {
        self.meet(Call::Write, name)
    }
    pub(crate) fn sync(&self, name: &str) -> Option<Errno> {
        self.meet(Call::Sync, name)
    }
}

async fn append(store: &SegmentStore, shard: &Shard) -> Result<(), DriveError> {
    store.append(shard.0.clone(), shard.1.clone()).await
}

#[tokio::test]
async fn a_failed_sync_fails_the_drive_and_acknowledges_nothing() {
    for file in ["segments", "frees"] {
        let drive = new_drive();
        let (store, _) = open(drive.path()).await;
        let kept = put_many(&store, 0..3, 70_000).await;
        let faults = &store.files().root().faults;
        faults.order(Call::Sync, file, Errno::IO);
        let failed = if file == "frees" {
            store.free(&[kept[0].0.token]).await
        } else {
            append(&store, &shard(UUID, 10, 9, 70_000)).await
        };
        assert!(matches!(failed, Err(DriveError::Failed(_))), "{failed:?}");
        assert!(store.files().failure().is_some());
        // The kernel would answer the next sync with success: it is not asked.
        let again = append(&store, &shard(UUID, 10, 10, 64)).await;
        assert!(matches!(again, Err(DriveError::Failed(_))), "{again:?}");
        drop(store);
        let (store, _) = open(drive.path()).await;
        for one in &kept[1..] {
            holds(&store, one).await;
        }
    }
}

#[tokio::test]
async fn a_write_without_room_refuses_its_group_and_no_more() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let mut kept = put_many(&store, 0..3, 70_000).await;
    let faults = &store.files().root().faults;
    faults.order(Call::Write, "segments", Errno::NOSPC);
    let one = shard(UUID, 10, 9, 70_000);
    let refused = append(&store, &one).await;
    assert!(matches!(refused, Err(DriveError::Full)), "{refused:?}");
    assert!(store.files().failure().is_none());
    // The place it was to go to is not written again: the next goes to a new segment.
    append(&store, &one).await.expect("room again");
    kept.push(one);
    let entries = store.placed((2, 0), 10).await.expect("lists");
    assert_eq!(entries.len(), 1);
    for one in &kept {
        holds(&store, one).await;
    }
    drop(store);
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let (store, _) = open(drive.path()).await;
    for one in &kept {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn frees_without_room_for_the_log_are_refused_and_not_done() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..1, 1000).await;
    let faults = &store.files().root().faults;
    faults.order(Call::Write, "frees", Errno::NOSPC);
    let tokens = [kept[0].0.token];
    let refused = store.free(&tokens).await;
    assert!(matches!(refused, Err(DriveError::Full)), "{refused:?}");
    holds(&store, &kept[0]).await;
    store.free(&tokens).await.expect("room again");
    super::is_gone(&store, &kept[0]).await;
}

#[tokio::test]
async fn an_unreadable_sector_fails_the_drive_and_is_no_missing_shard() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..1, 100_000).await;
    store
        .files()
        .root()
        .faults
        .order(Call::Read, "segments", Errno::IO);
    let failed = read(&store, &kept[0]).await;
    assert!(matches!(failed, Err(DriveError::Failed(_))), "{failed:?}");
    assert!(store.files().failure().is_some());
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_at_open_is_not_cut() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..3, 100_000).await;
    drop(store);
    let dir = super::open_dir(drive.path()).await;
    dir.root().faults.order(Call::Read, "segments", Errno::IO);
    let failed = SegmentStore::open(dir, super::options());
    assert!(matches!(failed, Err(DriveError::Failed(_))), "{failed:?}");
    drop(failed);
    let (store, _) = open(drive.path()).await;
    for one in &kept {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn what_the_process_lacks_passes_and_does_not_fail_the_drive() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        let drive = new_drive();
        let (store, _) = open(drive.path()).await;
        let kept = put_many(&store, 0..1, 100_000).await;
        let faults = &store.files().root().faults;
        for call in [Call::Read, Call::Write] {
            faults.order(call, "segments", errno);
            let starved = match call {
                Call::Write => append(&store, &shard(UUID, 10, 9, 70_000)).await,
                Call::Read | Call::Sync => read(&store, &kept[0]).await.map(drop),
            };
            assert!(
                matches!(starved, Err(DriveError::Starved(_))),
                "{starved:?}"
            );
            assert!(store.files().failure().is_none());
        }
        append(&store, &shard(UUID, 10, 9, 70_000))
            .await
            .expect("it passed");
        holds(&store, &kept[0]).await;
    }
}
