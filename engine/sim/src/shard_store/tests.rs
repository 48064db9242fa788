//! The fake keeps the contract.

use super::*;
use crate::contracts::shard_store::{Fixture, StoreUnderTest, all, shard};
use std::sync::Arc;

struct Fake(Arc<FakeShardStore>);

#[async_trait]
impl StoreUnderTest for Fake {
    fn drive(&self) -> DriveUuid {
        self.0.drive
    }
    async fn open(&mut self) -> Arc<dyn ShardStore> {
        self.0.reopen();
        Arc::<FakeShardStore>::clone(&self.0)
    }
    async fn crash(&mut self, store: Arc<dyn ShardStore>) {
        drop(store);
        self.0.power_cut();
    }
    async fn damage(&mut self, entry: &ShardEntry, payload_at: usize) {
        assert!(self.0.damage(entry.token, payload_at));
    }
}

fn fake(capacity: u64) -> Box<dyn StoreUnderTest> {
    let drive = DriveUuid([7; 16]);
    Box::new(Fake(Arc::new(FakeShardStore::new(drive, capacity))))
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let fixture = Fixture {
        roomy: &|| fake(1 << 30),
        small: &|| fake(1 << 20),
    };
    all(&fixture).await;
}

#[tokio::test]
async fn a_power_cut_takes_what_was_not_acknowledged() {
    let store = Arc::new(FakeShardStore::new(DriveUuid([7; 16]), 1 << 30));
    let (header, payload) = shard(store.drive, 5, 1, 64);
    let token = header.token;
    let appending = Arc::clone(&store);
    let task = tokio::spawn(async move { appending.append(header, payload).await });
    store.set_silent(true);
    tokio::task::yield_now().await;
    store.power_cut();
    store.set_silent(false);
    let Ok(done) = task.await else {
        panic!("append panicked")
    };
    let read = store.read(token, 0..64).await;
    assert_eq!(done.is_ok(), read.is_ok());
}
