//! The ports' contracts, on real files.

use super::{UUID, new_drive, open_dir, options};
use crate::{DriveDir, Options, Root, SegmentStore};
use async_trait::async_trait;
use engine_core::ports::{DriveFiles, ShardEntry, ShardStore};
use engine_sim::contracts::drive_files::{self, DriveUnderTest};
use engine_sim::contracts::shard_store::{Fixture, StoreUnderTest, all};
use engine_types::{DriveId, DriveUuid};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

struct Real {
    path: TempDir,
    options: Options,
    capacity: Option<u64>,
}

#[async_trait]
impl StoreUnderTest for Real {
    fn drive(&self) -> DriveUuid {
        UUID
    }
    async fn open(&mut self) -> Arc<dyn ShardStore> {
        let dir = open_dir(self.path.path()).await;
        if let Some(capacity) = self.capacity {
            dir.root().pretended_capacity.set(capacity).expect("once");
        }
        let (store, _) = SegmentStore::open(dir, self.options).expect("opens");
        Arc::new(store)
    }
    async fn crash(&mut self, store: Arc<dyn ShardStore>) {
        drop(store);
    }
    async fn damage(&mut self, entry: &ShardEntry, payload_at: usize) {
        let name = format!("shards/segments/{:016x}", entry.segment);
        flip(
            &self.path.path().join(name),
            entry.offset + 4096 + payload_at as u64,
        );
    }
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[byte[0] ^ 4], at).expect("writes");
}

fn fixture<'a>(
    roomy: &'a (dyn Fn() -> Box<dyn StoreUnderTest> + Sync),
    small: &'a (dyn Fn() -> Box<dyn StoreUnderTest> + Sync),
) -> Fixture<'a> {
    Fixture { roomy, small }
}

fn real(path: TempDir, capacity: Option<u64>) -> Box<dyn StoreUnderTest> {
    Box::new(Real {
        path,
        options: options(),
        capacity,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_the_contract() {
    let small = || real(new_drive(), Some(3 * 1024 * 1024 + 4096));
    all(&fixture(&|| real(new_drive(), None), &small)).await;
}

/// A file system in memory: no `O_DIRECT`, or other limits to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_the_contract_on_tmpfs() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return;
    }
    let make = || TempDir::new_in(memory).expect("a temporary directory");
    let small = || real(make(), Some(3 * 1024 * 1024 + 4096));
    all(&fixture(&|| real(make(), None), &small)).await;
}

struct RealFiles(TempDir);

impl DriveUnderTest for RealFiles {
    fn open(&mut self) -> Arc<dyn DriveFiles> {
        let root = Root::lock(self.0.path()).expect("nobody else has it");
        Arc::new(DriveDir::new(root, DriveId(1), UUID))
    }
    fn crash(&mut self, files: Arc<dyn DriveFiles>) {
        drop(files);
    }
}

#[test]
fn the_files_keep_the_contract() {
    drive_files::all(&|| Box::new(RealFiles(new_drive())));
}
