//! Errors of the drive on order, and what the store makes of them.

use super::{Shard, UUID, holds, new_drive, open, put_many, read};
use crate::SegmentStore;
use engine_core::ports::{DriveError, DriveFiles, ShardStore};
use engine_sim::contracts::shard_store::shard;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Sync,
    Remove,
}

/// What comes by way of the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PageCache {
    /// What the medium gives, or does not give.
    #[default]
    AsTheMedium,
    /// What was written, whatever became of the medium.
    Warm,
    /// Something else.
    Wrong,
}

/// Done before a file is removed.
type Meanwhile = Box<dyn FnOnce() + Send>;

/// One order: the call, in files whose name holds this, and the error; and what does not read for as
/// long as it stands.
#[derive(Default)]
pub(crate) struct Faults {
    order: Mutex<Option<(Call, &'static str, Errno)>>,
    unreadable: Mutex<Vec<(String, Range<u64>, Errno)>>,
    meanwhile: Mutex<Option<Meanwhile>>,
    cache: Mutex<PageCache>,
    /// Syncs hang while it is shut; those that do.
    gate: Mutex<(bool, usize)>,
    moves: Condvar,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Faults {
    pub(super) fn order(&self, call: Call, file: &'static str, error: Errno) {
        *self.order.lock() = Some((call, file, error));
    }
    /// These bytes of files whose name ends so do not read from now on.
    pub(super) fn spoil(&self, file: &str, bytes: Range<u64>, error: Errno) {
        self.unreadable.lock().push((file.into(), bytes, error));
    }
    /// Does this before the next file is removed.
    pub(super) fn meanwhile(&self, this: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some(Box::new(this));
    }
    pub(super) fn set_page_cache(&self, cache: PageCache) {
        *self.cache.lock() = cache;
    }
    pub(crate) fn page_cache(&self) -> PageCache {
        *self.cache.lock()
    }
    fn hang(&self, hangs: bool) {
        self.gate.lock().0 = hangs;
        self.moves.notify_all();
    }
    fn meet(&self, call: Call, name: &str) -> Option<Errno> {
        let mut order = self.order.lock();
        let (due, file, error) = (*order)?;
        let met = due == call && name.contains(file);
        met.then(|| {
            *order = None;
            error
        })
    }
    pub(crate) fn read(&self, name: &str, offset: u64, length: usize) -> Option<Errno> {
        let end = offset + length as u64;
        let met = |(file, bytes, _): &&(String, Range<u64>, Errno)| {
            name.ends_with(file.as_str()) && bytes.start < end && offset < bytes.end
        };
        let unreadable = self.unreadable.lock();
        let spoiled = unreadable.iter().find(met).map(|(_, _, error)| *error);
        spoiled.or_else(|| self.meet(Call::Read, name))
    }
    pub(crate) fn remove(&self, name: &str) -> Option<Errno> {
        let meanwhile = self.meanwhile.lock().take();
        if let Some(this) = meanwhile {
            this();
        }
        self.meet(Call::Remove, name)
    }
    pub(crate) fn write(&self, name: &str) -> Option<Errno> {
        self.meet(Call::Write, name)
    }
    pub(crate) fn sync(&self, name: &str) -> Option<Errno> {
        let mut gate = self.gate.lock();
        gate.1 += 1;
        while gate.0 {
            self.moves.wait(&mut gate);
        }
        gate.1 -= 1;
        drop(gate);
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
async fn closing_a_drive_that_hangs_is_given_up_and_may_be_tried_again() {
    let (drive, other) = (new_drive(), new_drive());
    let (store, _) = open(drive.path()).await;
    let store = Arc::new(store);
    let kept = put_many(&store, 0..3, 70_000).await;
    let files = store.files().clone();
    files.root().faults.hang(true);
    let appending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { append(&store, &shard(UUID, 10, 9, 70_000)).await }
    });
    while files.root().faults.gate.lock().1 == 0 {
        tokio::task::yield_now().await;
    }
    let patience = Duration::from_millis(100);
    assert!(!store.close_within(patience).await, "a thread is in a sync");
    // Nobody else waits for it.
    let (second, _) = open(other.path()).await;
    assert!(second.close().await);
    assert!(!store.close_within(patience).await);
    files.root().faults.hang(false);
    assert!(store.close().await, "it goes on: its threads end");
    appending.await.expect("ran").expect("it was synced");
    drop((store, files));
    let (store, _) = open(drive.path()).await;
    for one in &kept {
        holds(&store, one).await;
    }
    holds(&store, &shard(UUID, 10, 9, 70_000)).await;
}

#[tokio::test]
async fn dropping_a_store_whose_drive_hangs_waits_for_nobody() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let files = store.files().clone();
    files.root().faults.hang(true);
    let one = shard(UUID, 10, 9, 70_000);
    let asked = append(&store, &one);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), asked)
            .await
            .is_err()
    );
    assert!(!store.close_within(Duration::ZERO).await);
    drop(store);
    files.root().faults.hang(false);
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
                Call::Read | Call::Sync | Call::Remove => read(&store, &kept[0]).await.map(drop),
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
