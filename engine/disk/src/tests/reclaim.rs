//! Space comes back, and only dead space.

use super::{holds, is_gone, new_drive, open, put_many, segment_blocks, segment_files, until};
use crate::Options;
use crate::segment::{OPEN_SEGMENTS_MAX, SEGMENTS, Segments};
use crate::tests::faults::Call;
use engine_core::ports::{DriveError, DriveFiles, ShardStore};
use engine_sim::contracts::shard_store::shard;
use rustix::io::Errno;
use std::sync::Arc;

#[tokio::test]
async fn freed_blocks_go_back_and_dead_segments_go() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..40, 200_000).await;
    let files = segment_files(drive.path()).len();
    assert!(files > 5);
    let (dead, kept) = shards.split_at(30);
    let before = segment_blocks(drive.path());
    let tokens: Vec<_> = dead.iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("frees");
    until("dead segments are deleted", || {
        segment_files(drive.path()).len() <= files - 5
    })
    .await;
    until("blocks are given back", || {
        segment_blocks(drive.path()) < before / 2
    })
    .await;
    for one in kept {
        holds(&store, one).await;
    }
    for one in dead {
        is_gone(&store, one).await;
    }
    let live: u64 = kept
        .iter()
        .map(|one| u64::from(one.0.record_length()))
        .sum();
    let usage = store.usage();
    assert_eq!(usage.live, live);
    assert!(
        usage.written >= live && usage.written < before / 2,
        "{usage:?}"
    );
}

#[tokio::test]
async fn a_segment_that_could_not_be_deleted_is_deleted_later() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..12, 200_000).await;
    let faults = &store.files().root().faults;
    faults.order(Call::Remove, "segments", Errno::ACCESS);
    let tokens: Vec<_> = shards[..5].iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("frees");
    until("it is deleted all the same", || {
        segment_files(drive.path()).len() == 2
    })
    .await;
    until("and forgotten", || store.segments().len() == 2).await;
    assert_eq!(store.files().failure(), None);
    for one in &shards[5..] {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn no_handle_of_a_deleted_segment_is_kept() {
    let drive = new_drive();
    let dir = super::open_dir(drive.path()).await;
    dir.root().make_directories(SEGMENTS).expect("makes");
    let segments = Arc::new(Segments::new(dir.root(), super::UUID));
    drop(segments.create(1, 1 << 20).expect("creates"));
    let reader = Arc::clone(&segments);
    dir.root().faults.meanwhile(move || {
        drop(reader.open(1).expect("it is there yet"));
    });
    segments.delete(1).expect("deletes");
    let found = segments.open(1).map(drop);
    assert!(matches!(found, Err(DriveError::NotFound)), "{found:?}");
}

#[tokio::test]
async fn what_a_crash_left_unpunched_is_punched_later() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..20, 200_000).await;
    store.close().await;
    drop(store);
    // Freed by the log alone, as after a crash between the free and the punch.
    let dir = super::open_dir(drive.path()).await;
    let mut frees = crate::free_log::FreeLog::open(&dir).expect("opens");
    let (kept, dead): (Vec<_>, Vec<_>) = shards.iter().enumerate().partition(|(n, _)| n % 4 == 0);
    let records: Vec<_> = dead.iter().map(|(_, one)| (one.0.token, 1)).collect();
    frees.append(&records).expect("appends");
    drop((frees, dir));
    let before = segment_blocks(drive.path());
    let (store, report) = open(drive.path()).await;
    assert_eq!(report.frees, dead.len() as u64);
    until("blocks are given back", || {
        segment_blocks(drive.path()) < before / 2
    })
    .await;
    for (_, one) in kept {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn segments_are_told_with_what_lives_in_them() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..12, 200_000).await;
    let (first, _) = shards.split_at(4);
    let tokens: Vec<_> = first.iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("frees");
    let uses = store.segments();
    let settled: Vec<_> = uses.iter().map(|of| (of.segment, of.settled)).collect();
    assert_eq!(settled, [(1, true), (2, true), (3, false)], "{uses:?}");
    assert_eq!(uses[0].records, 1);
    let entries = store.placed((1, 0), 1).await.expect("lists");
    assert_eq!(entries.len(), 1, "no more than asked for");
    assert_eq!(entries[0].token, shards[4].0.token);
}

#[tokio::test]
async fn the_log_of_frees_forgets_deleted_segments() {
    let drive = new_drive();
    let dir = super::open_dir(drive.path()).await;
    let mut frees = crate::free_log::FreeLog::open(&dir).expect("opens");
    let token = |number| shard(super::UUID, 10, number, 64).0.token;
    let many = crate::free_log::REWRITE_BYTES_MIN / crate::free_log::FREE_RECORD_BYTES as u64;
    let records: Vec<_> = (0..many - 2).map(|n| (token(n), n % 2)).collect();
    frees.append(&records).expect("appends");
    assert!(!frees.is_long(), "one short of it");
    frees.append(&[(token(many), 1)]).expect("appends");
    assert!(frees.is_long());
    let before = frees.mark();
    frees.rewrite(|segment| segment == 1).expect("rewrites");
    assert_ne!(frees.mark().generation, before.generation);
    let mut left = 0;
    frees
        .replay(|_, _, segment| {
            assert_eq!(segment, 1);
            left += 1;
        })
        .expect("replays");
    assert_eq!(left, many / 2);
}

#[tokio::test]
async fn the_reserve_is_left_alone() {
    let drive = new_drive();
    let dir = super::open_dir(drive.path()).await;
    let capacity = 8 * 1024 * 1024;
    dir.root().pretended_capacity.set(capacity).expect("once");
    let options = Options {
        reserve_bytes_min: 4 * 1024 * 1024,
        ..super::options()
    };
    let (store, _) = crate::SegmentStore::open(dir, options).expect("opens");
    let mut number = 0;
    let refused = loop {
        let (header, payload) = shard(super::UUID, 10, number, 100_000);
        match store.append(header, payload).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 1000);
    };
    assert!(matches!(refused, DriveError::Full), "{refused}");
    let used = segment_blocks(drive.path());
    assert!(used <= capacity / 2 + 64 * 1024, "{used}: footers aside");
    assert!(used > capacity / 4, "{used}: and the rest is used");
    assert!(store.usage().available < 200_000, "{:?}", store.usage());
}

#[test]
fn the_reserve_is_two_percent_and_at_least_one_gib() {
    let options = Options::default();
    let gib = 1024 * 1024 * 1024;
    assert_eq!(options.reserve(10 * gib), gib);
    assert_eq!(options.reserve(1000 * gib), 20 * gib);
}

#[tokio::test]
async fn so_many_segments_are_kept_open_and_one_more_takes_the_place_of_another() {
    let drive = new_drive();
    let dir = super::open_dir(drive.path()).await;
    dir.root().make_directories(SEGMENTS).expect("makes");
    let segments = Segments::new(dir.root(), super::UUID);
    let most = OPEN_SEGMENTS_MAX as u64;
    for number in 1..=most + 1 {
        drop(segments.create(number, 16 * 1024).expect("creates"));
        drop(segments.open_cached(number).expect("opens"));
        let kept = usize::try_from(number)
            .expect("fits")
            .min(OPEN_SEGMENTS_MAX);
        assert_eq!(segments.kept_open(), kept);
    }
    for number in 1..=most + 1 {
        drop(segments.open(number).expect("each opens again"));
    }
    assert_eq!(segments.kept_open(), OPEN_SEGMENTS_MAX);
}
