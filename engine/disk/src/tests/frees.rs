//! The log of frees over segments in which something lives for good.

use super::power_cut::{judge, workload_with};
use super::scrub::rests;
use super::tape::Event;
use super::{PATIENCE, Shard, UUID, holds, is_gone, new_drive, open, open_with, options, shard};
use crate::free_log::{Begun, FREE_RECORD_BYTES, FreeLog};
use crate::index::FreesMark;
use crate::options::{FREES_BYTES, SEGMENT_BYTES_MAX};
use crate::store::FREES_MAX;
use crate::{Options, SegmentStore};
use engine_core::ports::ShardStore;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// 256 records.
const LOG_BYTES: u64 = 8 * 1024;

fn short() -> Options {
    Options {
        frees_bytes: LOG_BYTES,
        ..options()
    }
}

fn log_bytes(drive: &Path) -> u64 {
    std::fs::metadata(drive.join("shards/frees")).map_or(0, |meta| meta.len())
}

/// One segment after the other of which a quarter is kept: kept and freed.
async fn churn(
    store: &Arc<SegmentStore>,
    rounds: std::ops::Range<u64>,
) -> (Vec<Shard>, Vec<Shard>) {
    let (mut kept, mut dead) = (Vec::new(), Vec::new());
    for round in rounds {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..100 {
            let (store, one) = (
                Arc::clone(store),
                shard(UUID, 10, round * 100 + number, 5000),
            );
            tasks.spawn(async move {
                super::put(&store, &one).await;
                (number, one)
            });
        }
        let mut freed = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (number, one) = done.expect("no task fails");
            if number % 4 == 0 {
                kept.push(one);
            } else {
                freed.push(one);
            }
        }
        let tokens: Vec<_> = freed.iter().map(|one| one.0.token).collect();
        store.free(&tokens).await.expect("frees");
        dead.extend(freed);
    }
    (kept, dead)
}

/// Until the log is short: it is looked at behind each group.
async fn until_short(store: &SegmentStore, drive: &Path) {
    let begun = Instant::now();
    for number in 1_000_000.. {
        if log_bytes(drive) < LOG_BYTES {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", log_bytes(drive));
        let one = shard(UUID, 10, number, 64);
        super::put(store, &one).await;
        store.free(&[one.0.token]).await.expect("frees");
    }
}

#[tokio::test]
async fn the_log_is_bounded_and_nothing_that_was_freed_comes_back() {
    for close in [true, false] {
        let drive = new_drive();
        let (store, _) = open_with(drive.path(), short()).await;
        let store = Arc::new(store);
        let (kept, dead) = churn(&store, 0..12).await;
        assert!(dead.len() as u64 * 32 > 3 * LOG_BYTES);
        until_short(&store, drive.path()).await;
        rests(&store).await;
        if close {
            store.close().await;
        }
        drop(store);
        std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
        let (store, report) = open(drive.path()).await;
        assert!(
            report.footers >= 8 && report.frees < dead.len() as u64 / 2,
            "{report:?}"
        );
        for one in &kept {
            holds(&store, one).await;
        }
        for one in &dead {
            is_gone(&store, one).await;
        }
    }
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "the lock is that of a thread which must not be waited for"
)]
async fn neither_appends_nor_frees_wait_while_the_log_is_shortened() {
    let drive = new_drive();
    let (store, _) = open_with(drive.path(), short()).await;
    let store = Arc::new(store);
    let sealing = store.shared().resealing.lock();
    let churned = tokio::time::timeout(PATIENCE, churn(&store, 0..12)).await;
    let (kept, dead) = churned.expect("nothing waits");
    assert_eq!(log_bytes(drive.path()), 32 * (1 + dead.len() as u64));
    drop(sealing);
    until_short(&store, drive.path()).await;
    for one in &kept {
        holds(&store, one).await;
    }
    for one in &dead {
        is_gone(&store, one).await;
    }
}

#[tokio::test]
async fn what_a_crash_leaves_of_a_shortening_is_written_over() {
    let drive = new_drive();
    let (store, _) = open_with(drive.path(), short()).await;
    let store = Arc::new(store);
    let (kept, dead) = churn(&store, 0..2).await;
    assert!(log_bytes(drive.path()) < LOG_BYTES, "none has begun");
    std::fs::write(drive.path().join("shards/frees.aside"), [7; 1000]).expect("writes");
    store.close().await;
    drop(store);
    let (store, _) = open_with(drive.path(), short()).await;
    let store = Arc::new(store);
    for one in &dead {
        is_gone(&store, one).await;
    }
    let (more, gone) = churn(&store, 10..20).await;
    until_short(&store, drive.path()).await;
    for one in kept.iter().chain(&more) {
        holds(&store, one).await;
    }
    for one in dead.iter().chain(&gone) {
        is_gone(&store, one).await;
    }
}

#[tokio::test]
async fn a_power_cut_at_any_point_of_a_shortening_brings_nothing_back() {
    let shortest = Options {
        frees_bytes: 32,
        ..options()
    };
    let begun = Instant::now();
    let taken = |event: &&Event| matches!(event, Event::Renamed(_, to) if to == "shards/frees");
    loop {
        let recorded = new_drive();
        let (events, acked) = workload_with(recorded.path(), shortest).await;
        // The first is the log's own beginning.
        if events.iter().filter(taken).count() < 3 {
            assert!(begun.elapsed() < PATIENCE, "the log is shortened");
            continue;
        }
        let verdict = judge(&events, &acked, 60).await;
        assert_eq!((verdict.lost, verdict.undead), (0, 0), "{verdict:?}");
        return;
    }
}

#[tokio::test]
async fn a_rewrite_that_fails_leaves_the_log_in_use_and_is_put_off() {
    let drive = new_drive();
    let dir = super::open_dir(drive.path()).await;
    let frees = FreeLog::open(&dir).expect("opens");
    let mut frees = frees.bounded(LOG_BYTES);
    let token = |number| shard(UUID, 10, number, 64).0.token;
    let records = LOG_BYTES / FREE_RECORD_BYTES as u64;
    let many: Vec<_> = (1..records).map(|n| (token(n), 1)).collect();
    frees.append(&many).expect("appends");
    assert!(frees.is_long());
    let before: FreesMark = frees.mark();
    drop(frees.begin().and_then(Begun::open).expect("begins"));
    assert_eq!(frees.mark(), before);
    frees.put_off();
    assert!(!frees.is_long());
    // What comes while one is made is in it.
    let begun = frees.begin().expect("begins");
    frees.append(&[(token(9_999), 1)]).expect("appends");
    assert_eq!(begun.count().expect("counts").get(&1), Some(&(records - 1)));
    let mut rewrite = begun.open().expect("opens");
    rewrite.copy(|_| false).expect("copies");
    frees.append(&[(token(10_000), 2)]).expect("appends");
    frees.finish(rewrite).expect("finishes");
    let mut left = Vec::new();
    frees
        .replay(|_, token, segment| left.push((token, segment)))
        .expect("replays");
    assert_eq!(left, [(token(9_999), 1), (token(10_000), 2)]);
    assert!(before.generation < frees.mark().generation);
}

#[tokio::test]
async fn no_segment_is_set_longer_than_its_footer_can_name() {
    for asked in [SEGMENT_BYTES_MAX, SEGMENT_BYTES_MAX + 4096, u64::MAX] {
        let drive = new_drive();
        let long = Options {
            segment_bytes: asked,
            ..options()
        };
        let (store, _) = open_with(drive.path(), long).await;
        assert_eq!(store.shared().options.segment_bytes, SEGMENT_BYTES_MAX);
    }
    const { assert!(FREES_BYTES > LOG_BYTES) };
}

#[tokio::test]
async fn who_reads_the_header_alone_takes_no_readers_place() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let one = shard(UUID, 10, 1, 500_000);
    super::put(&store, &one).await;
    let shared = store.shared();
    let token = one.0.token;
    let place = shared.index.get(token).expect("reads").expect("is live");
    store.read(token, 0..0).await.expect("reads");
    assert_eq!(shared.headers.get(token, place), None);
    store.read(token, 0..1).await.expect("reads");
    assert!(shared.headers.get(token, place).is_some());
}

/// Syncs of the log of frees that freeing so many shards at once takes.
async fn syncs_to_free(store: &Arc<SegmentStore>, numbers: std::ops::Range<u64>) -> usize {
    let mut tasks = tokio::task::JoinSet::new();
    for number in numbers {
        let (store, one) = (Arc::clone(store), shard(UUID, 10, number, 64));
        tasks.spawn(async move {
            super::put(&store, &one).await;
            one.0.token
        });
    }
    let tokens = tasks.join_all().await;
    let tape = &store.files().root().tape;
    tape.start();
    store.free(&tokens).await.expect("frees");
    let absent = store.absent(&tokens).await.expect("looks up");
    assert_eq!(absent.len(), tokens.len());
    let synced = |event: &Event| *event == Event::Synced("shards/frees".into());
    tape.events().iter().filter(|event| synced(event)).count()
}

#[tokio::test]
async fn more_frees_than_a_drive_is_handed_at_a_time_go_in_two() {
    let drive = new_drive();
    let (store, _) = open_with(drive.path(), options()).await;
    let (store, most) = (Arc::new(store), FREES_MAX as u64);
    assert_eq!(syncs_to_free(&store, 0..most).await, 1);
    assert_eq!(syncs_to_free(&store, most..2 * most + 1).await, 2);
}
