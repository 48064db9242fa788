//! Large shards read piece by piece.

use super::faults::PageCache;
use super::scrub::{entry, flip};
use super::unreadable::lose;
use super::{Shard, new_drive, open, put_many};
use crate::SegmentStore;
use engine_core::format::BLOCK_BYTES;
use engine_core::ports::{DriveError, DriveFiles, ShardStore};
use rustix::io::Errno;
use std::ops::Range;

const LENGTH: u32 = 200_000;
const BLOCK: u32 = 64 * 1024;
const _: () = assert!(BLOCK as usize == BLOCK_BYTES);

async fn piece(store: &SegmentStore, shard: &Shard, range: Range<u32>) -> Result<(), DriveError> {
    let read = store.read(shard.0.token, range.clone()).await?;
    assert_eq!(read.header.token, shard.0.token);
    let due = shard
        .1
        .slice(range.start as usize..range.end.min(LENGTH) as usize);
    assert!(read.payload == due, "{range:?}");
    Ok(())
}

#[tokio::test]
async fn every_range_reads_right_after_any_other() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..2, LENGTH).await;
    let ranges = [
        BLOCK..2 * BLOCK,
        0..BLOCK,
        0..LENGTH,
        3 * BLOCK..LENGTH,
        3 * BLOCK..u32::MAX,
        BLOCK - 1..BLOCK + 1,
        7..7,
        LENGTH..LENGTH + 1,
    ];
    for first in &ranges {
        for second in &ranges {
            for range in [first, second] {
                let end = range.end.max(range.start);
                if range.start < LENGTH {
                    piece(&store, &shards[0], range.start..end)
                        .await
                        .expect("reads");
                } else {
                    let read = store
                        .read(shards[0].0.token, range.clone())
                        .await
                        .expect("reads");
                    assert!(read.payload.is_empty());
                }
            }
        }
    }
    store.close().await;
}

#[tokio::test]
async fn later_pieces_are_judged_by_the_header_that_was_verified_with_the_first() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..2, LENGTH).await;
    let (read, unread) = (&shards[0], &shards[1]);
    piece(&store, read, 0..BLOCK).await.expect("reads");
    for shard in [read, unread] {
        let at = entry(&store, shard).await;
        flip(drive.path(), at.segment, at.offset + 40);
    }
    piece(&store, read, BLOCK..2 * BLOCK)
        .await
        .expect("its bytes are sound");
    let other = piece(&store, unread, BLOCK..2 * BLOCK).await;
    assert!(matches!(other, Err(DriveError::Corrupt(_))), "{other:?}");
    let scrubbed = store.verify(read.0.token).await;
    assert!(
        matches!(scrubbed, Err(DriveError::Corrupt(_))),
        "a scrub reads it anew: {scrubbed:?}"
    );
    let then = piece(&store, read, 2 * BLOCK..LENGTH).await;
    assert!(
        matches!(then, Err(DriveError::Corrupt(_))),
        "what was found damaged is forgotten: {then:?}"
    );
    store.close().await;
}

#[tokio::test]
async fn damage_in_a_later_piece_is_seen_and_a_freed_copy_is_gone() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..2, LENGTH).await;
    for shard in &shards {
        piece(&store, shard, 0..BLOCK).await.expect("reads");
    }
    let at = entry(&store, &shards[0]).await;
    flip(
        drive.path(),
        at.segment,
        at.offset + 4096 + u64::from(BLOCK) + 5,
    );
    let damaged = piece(&store, &shards[0], BLOCK..2 * BLOCK).await;
    assert!(
        matches!(damaged, Err(DriveError::Corrupt(_))),
        "{damaged:?}"
    );
    store.free(&[shards[1].0.token]).await.expect("frees");
    let freed = piece(&store, &shards[1], BLOCK..2 * BLOCK).await;
    assert!(matches!(freed, Err(DriveError::NotFound)), "{freed:?}");
    store.close().await;
}

#[tokio::test]
async fn what_is_asked_for_again_comes_from_memory_and_a_scrub_reads_the_medium() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..4, LENGTH).await;
    let [asked, once, never, headed] = &shards[..] else {
        panic!("four");
    };
    let at = entry(&store, asked).await;
    let segments = &store.shared().segments;
    let cached = segments.open_cached(at.segment).expect("opens");
    if cached.is_none() {
        // The tests' directory takes no O_DIRECT: all reads go through the page cache.
        return;
    }
    piece(&store, once, 0..LENGTH).await.expect("reads");
    for _ in 0..2 {
        piece(&store, asked, 0..LENGTH).await.expect("reads");
        piece(&store, headed, 0..0).await.expect("reads");
    }
    store.files().root().faults.set_page_cache(PageCache::Warm);
    for one in &shards {
        lose(&store, &entry(&store, one).await, Errno::IO);
    }
    piece(&store, asked, 0..LENGTH).await.expect("from memory");
    piece(&store, once, 0..LENGTH)
        .await
        .expect("the second time");
    for one in [never, headed] {
        let first = piece(&store, one, 0..LENGTH).await;
        assert!(matches!(first, Err(DriveError::Corrupt(_))), "{first:?}");
        piece(&store, one, 0..LENGTH)
            .await
            .expect("the second time");
    }
    for one in &shards {
        let scrubbed = store.verify(one.0.token).await;
        assert!(
            matches!(scrubbed, Err(DriveError::Corrupt(_))),
            "{scrubbed:?}"
        );
    }
    store.close().await;
}

#[tokio::test]
async fn a_page_cache_that_gives_something_else_costs_a_read_and_nothing_more() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..2, LENGTH).await;
    store.files().root().faults.set_page_cache(PageCache::Wrong);
    for range in [0..LENGTH, 0..BLOCK, BLOCK..LENGTH] {
        for _ in 0..3 {
            piece(&store, &shards[0], range.clone())
                .await
                .expect("reads");
        }
    }
    assert_eq!(store.files().failure(), None);
    store.close().await;
}
