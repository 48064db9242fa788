//! Sectors that do not read: damage where they are few, the end of the drive where they are not.

use super::scrub::entry;
use super::{
    Shard, UUID, holds, is_gone, new_drive, open, open_dir, options, put_many, read, until,
};
use crate::SegmentStore;
use crate::bad_places::UNREADABLE_PLACES_MAX;
use crate::tests::faults::Call;
use engine_core::ports::{DriveError, DriveFiles, FooterCheck, ShardEntry, ShardStore};
use engine_sim::contracts::shard_store::shard;
use rustix::io::Errno;
use std::path::Path;

fn file(segment: u64) -> String {
    format!("segments/{segment:016x}")
}

/// A sector in the payload of a record is lost.
pub(super) fn lose(store: &SegmentStore, at: &ShardEntry, error: Errno) {
    let sector = at.offset + 8192;
    let faults = &store.files().root().faults;
    faults.spoil(&file(at.segment), sector..sector + 512, error);
}

async fn damaged(store: &SegmentStore, one: &Shard) {
    for _ in 0..3 {
        let found = read(store, one).await;
        let Err(DriveError::Corrupt(why)) = found else {
            panic!("{found:?}")
        };
        assert!(why.starts_with("unreadable: "), "{why}");
    }
    let found = store.verify(one.0.token).await;
    assert!(matches!(found, Err(DriveError::Corrupt(_))), "{found:?}");
}

#[tokio::test]
async fn a_lost_sector_is_damage_and_the_drive_goes_on() {
    for error in [Errno::IO, Errno::NODATA, Errno::ILSEQ] {
        let drive = new_drive();
        let (store, _) = open(drive.path()).await;
        let shards = put_many(&store, 0..4, 100_000).await;
        let at = entry(&store, &shards[1]).await;
        lose(&store, &at, error);
        damaged(&store, &shards[1]).await;
        assert_eq!(store.files().failure(), None);
        for one in [&shards[0], &shards[2], &shards[3]] {
            holds(&store, one).await;
        }
        put_many(&store, 10..12, 100_000).await;
        // Made anew elsewhere, it is freed.
        store.free(&[at.token]).await.expect("frees");
        is_gone(&store, &shards[1]).await;
        assert_eq!(store.files().failure(), None);
    }
}

#[tokio::test]
async fn lost_headers_and_footers_of_segments_are_told_and_take_nothing_with_them() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let shards = put_many(&store, 0..12, 200_000).await;
    let faults = &store.files().root().faults;
    faults.spoil(&file(1), 0..512, Errno::IO);
    let length = |segment: u64| {
        let path = drive.path().join("shards").join(file(segment));
        std::fs::metadata(path).expect("stat").len()
    };
    faults.spoil(&file(2), length(2) - 512..length(2), Errno::IO);
    let check = store.check_segment(1).await.expect("checks");
    assert_eq!(
        (check.header_sound, check.footer),
        (false, FooterCheck::Sound)
    );
    let check = store.check_segment(2).await.expect("checks");
    assert_eq!(
        (check.header_sound, check.footer),
        (true, FooterCheck::Damaged)
    );
    let again = store.check_segment(2).await.expect("checks");
    assert_eq!(again.footer, FooterCheck::Sound, "a new one was written");
    for one in &shards {
        holds(&store, one).await;
    }
    assert_eq!(store.files().failure(), None);
}

#[tokio::test]
async fn a_drive_of_which_nothing_reads_has_failed() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..2, 100_000).await;
    let faults = &store.files().root().faults;
    faults.spoil("", 0..u64::MAX, Errno::IO);
    let failed = read(&store, &kept[0]).await;
    assert!(matches!(failed, Err(DriveError::Failed(_))), "{failed:?}");
    assert!(store.files().failure().is_some());
    let (header, payload) = shard(UUID, 10, 9, 64);
    let refused = store.append(header, payload).await;
    assert!(matches!(refused, Err(DriveError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_drive_with_too_many_lost_sectors_at_a_time_has_failed() {
    let drive = new_drive();
    let options = crate::Options {
        segment_bytes: 64 << 20,
        ..options()
    };
    let (store, _) = super::open_with(drive.path(), options).await;
    let count = UNREADABLE_PLACES_MAX as u64;
    let shards = put_many(&store, 0..count + 1, 1_200_000).await;
    for one in &shards {
        lose(&store, &entry(&store, one).await, Errno::IO);
    }
    let (last, most) = shards.split_last().expect("some");
    for one in most {
        damaged(&store, one).await;
    }
    assert_eq!(store.files().failure(), None, "as many as may be");
    let failed = read(&store, last).await;
    assert!(matches!(failed, Err(DriveError::Failed(_))), "{failed:?}");
    assert!(store.files().failure().is_some(), "one past it");
}

async fn killed(path: &Path) -> (Vec<Shard>, ShardEntry, u64) {
    let (store, _) = open(path).await;
    let shards = put_many(&store, 0..4, 100_000).await;
    let last = entry(&store, &shards[3]).await;
    drop(store);
    let length = std::fs::metadata(path.join("shards").join(file(1)));
    (shards, last, length.expect("stat").len())
}

#[tokio::test]
async fn a_segment_that_does_not_read_whole_at_open_is_kept_as_it_is_and_read_again() {
    let drive = new_drive();
    let (shards, last, length) = killed(drive.path()).await;
    // The rows went with the index's end.
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    for _ in 0..2 {
        let dir = open_dir(drive.path()).await;
        let sector = last.offset + 8192;
        let faults = &dir.root().faults;
        faults.spoil(&file(1), sector..sector + 512, Errno::IO);
        let (store, report) = SegmentStore::open(dir, options()).expect("opens");
        assert_eq!(report.scanned, 1, "{report:?}");
        assert!(report.unreadable > 0, "{report:?}");
        for one in &shards[..3] {
            holds(&store, one).await;
        }
        is_gone(&store, &shards[3]).await;
        let check = store.check_segment(1).await.expect("checks");
        assert_eq!(check.footer, FooterCheck::Open, "no footer without it");
        // What it would take for holes is not given back before that of a later segment is.
        store.account().await.expect("counts");
        let more = &put_many(&store, 100..101, 1000).await[0];
        let later = entry(&store, more).await.segment;
        store.free(&[more.0.token]).await.expect("frees");
        until("the reclaimer has gone round", || {
            store.shared().space.lock().dead_bytes(later) == 0
        })
        .await;
        store.close().await;
    }
    // A loose cable.
    let (store, report) = open(drive.path()).await;
    assert_eq!(report.unreadable, 0, "{report:?}");
    for one in &shards {
        holds(&store, one).await;
    }
    let now = std::fs::metadata(drive.path().join("shards").join(file(1)));
    assert!(now.expect("stat").len() < length, "cut, as any other");
    let check = store.check_segment(1).await.expect("checks");
    assert_eq!(check.footer, FooterCheck::Written);
}

#[tokio::test]
async fn a_lost_sector_in_the_unsealed_segment_does_not_keep_a_drive_out() {
    let drive = new_drive();
    let (shards, last, _) = killed(drive.path()).await;
    let dir = open_dir(drive.path()).await;
    let sector = last.offset;
    let faults = &dir.root().faults;
    faults.spoil(&file(1), sector..sector + 512, Errno::IO);
    let (store, _) = SegmentStore::open(dir, options()).expect("opens");
    damaged(&store, &shards[3]).await;
    for one in &shards[..3] {
        holds(&store, one).await;
    }
    assert_eq!(store.files().failure(), None);
}

#[tokio::test]
async fn a_transient_error_at_open_cuts_nothing() {
    let drive = new_drive();
    let (shards, ..) = killed(drive.path()).await;
    let dir = open_dir(drive.path()).await;
    dir.root().faults.order(Call::Read, "segments", Errno::IO);
    drop(SegmentStore::open(dir, options()));
    let (store, _) = open(drive.path()).await;
    for one in &shards {
        holds(&store, one).await;
    }
}
