//! Tests over the whole crate.

mod contract;
mod drives;
pub(crate) mod faults;
mod frees;
mod marks;
mod pieces;
mod power_cut;
mod reclaim;
mod recovery;
mod scrub;
mod syncs;
pub(crate) mod tape;
mod unreadable;
mod witness;

use crate::{DriveDir, Options, Recovery, Root, SegmentStore};
use engine_core::format::ShardHeader;
use engine_core::ports::{DriveError, ShardStore};
use engine_sim::contracts::shard_store::shard;
use engine_types::{DriveId, DriveUuid};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

type Shard = (ShardHeader, bytes::Bytes);

const UUID: DriveUuid = DriveUuid([42; 16]);
/// Long enough for a loaded machine, short enough to notice.
const PATIENCE: Duration = Duration::from_secs(20);

/// Small segments, no reserve.
fn options() -> Options {
    Options {
        segment_bytes: 1024 * 1024,
        reserve_percent: 0,
        reserve_bytes_min: 0,
        index_cache_bytes: 1024 * 1024,
        ..Options::default()
    }
}

/// Blocks that the segments of a drive hold, in bytes.
pub(crate) fn segment_blocks(drive: &Path) -> u64 {
    let files = segment_files(drive).into_iter();
    files
        .map(|path| std::fs::metadata(path).map_or(0, |meta| meta.blocks() * 512))
        .sum()
}

/// The segment files of a drive, oldest first.
fn segment_files(drive: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(drive.join("shards/segments")) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// A drive whose earlier user may still be letting go of it.
async fn open_dir(path: &Path) -> DriveDir {
    let begun = Instant::now();
    loop {
        match Root::lock(path) {
            Ok(root) => return DriveDir::new(root, DriveId(1), UUID),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

async fn open_with(path: &Path, options: Options) -> (SegmentStore, Recovery) {
    let dir = open_dir(path).await;
    SegmentStore::open(dir, options).expect("opens")
}

async fn open(path: &Path) -> (SegmentStore, Recovery) {
    open_with(path, options()).await
}

async fn put(store: &SegmentStore, shard: &Shard) {
    let (header, payload) = shard.clone();
    store.append(header, payload).await.expect("appends");
}

async fn put_many(store: &SegmentStore, numbers: std::ops::Range<u64>, length: u32) -> Vec<Shard> {
    let mut shards = Vec::new();
    for number in numbers {
        let one = shard(UUID, 10, number, length);
        put(store, &one).await;
        shards.push(one);
    }
    shards
}

async fn read(store: &SegmentStore, shard: &Shard) -> Result<(), DriveError> {
    let read = store.read(shard.0.token, 0..u32::MAX).await?;
    assert!(read.payload == shard.1, "never wrong bytes");
    Ok(())
}

async fn holds(store: &SegmentStore, shard: &Shard) {
    read(store, shard).await.expect("is held");
}

async fn is_gone(store: &SegmentStore, shard: &Shard) {
    let found = read(store, shard).await;
    assert!(matches!(found, Err(DriveError::NotFound)), "{found:?}");
}

/// Waits until `done` says so.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn new_drive() -> TempDir {
    TempDir::new().expect("a temporary directory")
}
