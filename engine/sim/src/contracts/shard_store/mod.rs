//! What every [`ShardStore`] owes.

mod shards;

use async_trait::async_trait;
use bytes::Bytes;
use engine_core::format::{BLOCK_BYTES, ShardHeader};
use engine_core::ports::{DriveError, ShardEntry, ShardStore};
use engine_types::{DriveUuid, Stamp};
use shards::{BLOCK, LENGTHS, small};
use std::sync::Arc;

pub use shards::shard;

/// One drive that can be opened, crashed and damaged.
#[async_trait]
pub trait StoreUnderTest: Send {
    /// The drive's uuid: goes into every header.
    fn drive(&self) -> DriveUuid;
    /// Opens the drive's store; the earlier one has been closed or crashed.
    async fn open(&mut self) -> Arc<dyn ShardStore>;
    /// Ends the store without closing it; loses what may be lost.
    async fn crash(&mut self, store: Arc<dyn ShardStore>);
    /// Flips a bit of the stored payload, `payload_at` bytes into it (large shards only: their
    /// payload begins 4,096 bytes into the record). The store is closed meanwhile.
    async fn damage(&mut self, entry: &ShardEntry, payload_at: usize);
}

/// Makes empty drives.
#[derive(Clone, Copy)]
pub struct Fixture<'a> {
    /// With room for 64 MiB of shards.
    pub roomy: &'a (dyn Fn() -> Box<dyn StoreUnderTest> + Sync),
    /// With room for at most 16 MiB of shards.
    pub small: &'a (dyn Fn() -> Box<dyn StoreUnderTest> + Sync),
}

impl std::fmt::Debug for Fixture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").finish_non_exhaustive()
    }
}

/// The whole suite.
pub async fn all(fixture: &Fixture<'_>) {
    reads_back(&mut *(fixture.roomy)()).await;
    ranges(&mut *(fixture.roomy)()).await;
    lies_are_refused(&mut *(fixture.roomy)()).await;
    tokens_are_written_once(&mut *(fixture.roomy)()).await;
    frees(&mut *(fixture.roomy)()).await;
    survives_a_crash(&mut *(fixture.roomy)()).await;
    survives_a_close(&mut *(fixture.roomy)()).await;
    lists(&mut *(fixture.roomy)()).await;
    many_at_once(&mut *(fixture.roomy)()).await;
    damage_is_told(&mut *(fixture.roomy)()).await;
    full_refuses_and_frees(&mut *(fixture.small)()).await;
    closed_refuses(&mut *(fixture.roomy)()).await;
}

async fn put(store: &dyn ShardStore, shard: &(ShardHeader, Bytes)) {
    let (header, payload) = shard.clone();
    store
        .append(header, payload)
        .await
        .expect("a sound shard is taken");
}

/// The shard reads back whole, with the header it was given.
async fn holds(store: &dyn ShardStore, shard: &(ShardHeader, Bytes)) {
    let (header, payload) = shard;
    let read = store
        .read(header.token, 0..header.payload_length)
        .await
        .unwrap_or_else(|error| panic!("{} reads back: {error}", header.token));
    assert!(read.payload == payload, "the bytes of {}", header.token);
    let placed = ShardHeader {
        segment: read.header.segment,
        offset: read.header.offset,
        ..header.clone()
    };
    assert_eq!(read.header, placed);
}

async fn is_gone(store: &dyn ShardStore, shard: &(ShardHeader, Bytes)) {
    let token = shard.0.token;
    let read = store.read(token, 0..64).await;
    assert!(matches!(read, Err(DriveError::NotFound)), "{read:?}");
    let verified = store.verify(token).await;
    assert!(
        matches!(verified, Err(DriveError::NotFound)),
        "{verified:?}"
    );
}

async fn reads_back(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let mut numbers = 0..;
    let shards = LENGTHS.map(|length| {
        let number = numbers.next().unwrap_or(0);
        shard(drive.drive(), 10, number, length)
    });
    for one in &shards {
        put(&*store, one).await;
        holds(&*store, one).await;
    }
    for one in &shards {
        holds(&*store, one).await;
        let verified = store.verify(one.0.token).await.expect("verifies");
        assert_eq!(verified.token, one.0.token);
    }
    let live: u64 = shards
        .iter()
        .map(|one| u64::from(one.0.record_length()))
        .sum();
    assert_eq!(store.usage().live, live);
    store.close().await;
}

async fn ranges(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let one = shard(drive.drive(), 10, number as u64, length);
        put(&*store, &one).await;
        let (header, payload) = one;
        let length = header.payload_length;
        let block = BLOCK;
        let edges = [
            0,
            1,
            63,
            block - 1,
            block,
            block + 1,
            3 * block,
            length - 1,
            length,
            length + 9,
        ];
        for start in edges {
            for end in edges.into_iter().filter(|end| *end >= start) {
                let read = store.read(header.token, start..end).await.expect("reads");
                let until = end.min(length) as usize;
                let from = (start as usize).min(until);
                assert!(
                    read.payload == payload.slice(from..until),
                    "{start}..{end} of {length}"
                );
            }
        }
    }
    store.close().await;
}

async fn lies_are_refused(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let (header, payload) = shard(drive.drive(), 10, 1, 128);
    let refused = |result: Result<(), DriveError>| {
        assert!(matches!(result, Err(DriveError::Corrupt(_))), "{result:?}");
    };
    let mut other = payload.to_vec();
    other[5] ^= 1;
    refused(store.append(header.clone(), other.into()).await);
    refused(store.append(header.clone(), payload.slice(..64)).await);
    let mut elsewhere = header.clone();
    elsewhere.drive = DriveUuid([99; 16]);
    refused(store.append(elsewhere, payload.clone()).await);
    is_gone(&*store, &(header, payload)).await;
    store.close().await;
}

async fn tokens_are_written_once(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let one = shard(drive.drive(), 10, 1, 128);
    put(&*store, &one).await;
    let live = store.usage().live;
    // The same again is a retry whose answer was lost.
    put(&*store, &one).await;
    assert_eq!(store.usage().live, live);
    let mut other = shard(drive.drive(), 10, 2, 256);
    other.0.token = one.0.token;
    let refused = store.append(other.0, other.1).await;
    assert!(
        matches!(refused, Err(DriveError::Corrupt(_))),
        "{refused:?}"
    );
    holds(&*store, &one).await;
    store.close().await;
}

async fn frees(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let shards: Vec<_> = (0..8)
        .map(|n| shard(drive.drive(), 10, n, 70_000))
        .collect();
    for one in &shards {
        put(&*store, one).await;
    }
    let (dead, kept) = shards.split_at(5);
    let tokens: Vec<_> = dead.iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("frees");
    for one in dead {
        is_gone(&*store, one).await;
    }
    // Again, and what never was, and nothing.
    store.free(&tokens).await.expect("freed already");
    let never = shard(drive.drive(), 10, 99, 64).0.token;
    store.free(&[never]).await.expect("never written");
    store.free(&[]).await.expect("nothing");
    let live: u64 = kept
        .iter()
        .map(|one| u64::from(one.0.record_length()))
        .sum();
    assert_eq!(store.usage().live, live);
    drive.crash(store).await;
    let store = drive.open().await;
    for one in dead {
        is_gone(&*store, one).await;
    }
    for one in kept {
        holds(&*store, one).await;
    }
    assert_eq!(store.usage().live, live);
    store.close().await;
}

async fn survives_a_crash(drive: &mut dyn StoreUnderTest) {
    let mut kept = Vec::new();
    for round in 0..3 {
        let store = drive.open().await;
        for one in &kept {
            holds(&*store, one).await;
        }
        for (number, length) in LENGTHS.into_iter().enumerate().take(7) {
            let one = shard(drive.drive(), 10 + round, number as u64, length);
            put(&*store, &one).await;
            kept.push(one);
        }
        drive.crash(store).await;
    }
    let store = drive.open().await;
    for one in &kept {
        holds(&*store, one).await;
    }
    store.close().await;
}

async fn survives_a_close(drive: &mut dyn StoreUnderTest) {
    let one = shard(drive.drive(), 10, 1, 100_000);
    let store = drive.open().await;
    put(&*store, &one).await;
    store.close().await;
    drop(store);
    let store = drive.open().await;
    holds(&*store, &one).await;
    store.close().await;
}

async fn lists(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let births = [30, 10, 20, 10, 40];
    let mut tokens = Vec::new();
    for (number, birth) in births.into_iter().enumerate() {
        let one = shard(drive.drive(), birth, number as u64, 64);
        put(&*store, &one).await;
        tokens.push(one.0.token);
    }
    tokens.sort();
    let list = async |after, before, limit| {
        let entries = store.entries(after, Stamp(before), limit).await;
        let entries = entries.expect("lists").into_iter();
        entries.map(|entry| entry.token).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 100, 10).await, tokens);
    assert_eq!(
        list(None, 40, 10).await,
        tokens[..4],
        "born before, strictly"
    );
    assert_eq!(list(None, 10, 10).await, []);
    assert_eq!(list(None, 100, 2).await, tokens[..2]);
    assert_eq!(list(Some(tokens[1]), 100, 10).await, tokens[2..]);
    assert_eq!(list(Some(tokens[4]), 100, 10).await, []);
    store.free(&tokens[..2]).await.expect("frees");
    assert_eq!(list(None, 100, 10).await, tokens[2..]);
    store.close().await;
}

async fn many_at_once(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let shards: Vec<_> = (0..200)
        .map(|n| shard(drive.drive(), 10, n, 64 + (small(n) * 977) % 90_000))
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for one in shards.clone() {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            put(&*store, &one).await;
            holds(&*store, &one).await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task fails");
    }
    let entries = store.entries(None, Stamp(100), 1000).await.expect("lists");
    let mut ranges: Vec<_> = entries
        .iter()
        .map(|entry| (entry.segment, entry.offset, u64::from(entry.length)))
        .collect();
    ranges.sort_unstable();
    assert_eq!(ranges.len(), shards.len());
    for pair in ranges.windows(2) {
        let [(segment, offset, length), (next, start, _)] = pair else {
            continue;
        };
        assert!(
            segment < next || offset + length <= *start,
            "no range twice"
        );
    }
    drive.crash(store).await;
    let store = drive.open().await;
    for one in &shards {
        holds(&*store, one).await;
    }
    store.close().await;
}

async fn damage_is_told(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let shards: Vec<_> = (0..3)
        .map(|n| shard(drive.drive(), 10, n, 300_000))
        .collect();
    for one in &shards {
        put(&*store, one).await;
    }
    let entries = store.entries(None, Stamp(100), 10).await.expect("lists");
    store.close().await;
    drop(store);
    let block = BLOCK;
    drive.damage(&entries[1], 2 * BLOCK_BYTES + 17).await;
    let store = drive.open().await;
    holds(&*store, &shards[0]).await;
    holds(&*store, &shards[2]).await;
    let token = shards[1].0.token;
    let is_corrupt = |wrong: &DriveError| matches!(wrong, DriveError::Corrupt(_));
    let whole = store.read(token, 0..300_000).await.expect_err("damaged");
    assert!(is_corrupt(&whole), "{whole}");
    let scrubbed = store.verify(token).await.expect_err("damaged");
    assert!(is_corrupt(&scrubbed), "{scrubbed}");
    let inside = store.read(token, 2 * block..2 * block + 1).await;
    assert!(is_corrupt(&inside.expect_err("the damaged block")));
    // Other blocks of it still serve.
    let beside = store.read(token, 0..2 * block).await.expect("sound blocks");
    assert_eq!(beside.payload, shards[1].1.slice(..2 * BLOCK_BYTES));
    store.close().await;
}

async fn full_refuses_and_frees(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let mut kept = Vec::new();
    let refused = loop {
        let one = shard(drive.drive(), 10, kept.len() as u64, 200_000);
        let (header, payload) = one.clone();
        match store.append(header, payload).await {
            Ok(()) => kept.push(one),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "a small drive fills up");
    };
    assert!(matches!(refused, DriveError::Full), "{refused}");
    assert!(!kept.is_empty(), "it takes some");
    for one in &kept {
        holds(&*store, one).await;
    }
    let tokens: Vec<_> = kept.iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("a full drive frees");
    for one in &kept {
        is_gone(&*store, one).await;
    }
    store.close().await;
}

async fn closed_refuses(drive: &mut dyn StoreUnderTest) {
    let store = drive.open().await;
    let one = shard(drive.drive(), 10, 1, 64);
    put(&*store, &one).await;
    store.close().await;
    store.close().await;
    let failed = |error: Option<DriveError>| assert!(matches!(error, Some(DriveError::Failed(_))));
    failed(store.append(one.0.clone(), one.1.clone()).await.err());
    failed(store.read(one.0.token, 0..64).await.err());
    failed(store.free(&[one.0.token]).await.err());
    drop(store);
    let store = drive.open().await;
    holds(&*store, &one).await;
    store.close().await;
}
