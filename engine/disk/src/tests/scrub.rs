//! Flipped bits wherever they may lie, and the account of every byte.

use super::{
    Shard, holds, is_gone, new_drive, open, open_dir, options, put_many, segment_files, until,
};
use crate::SegmentStore;
use crate::index::Place;
use engine_core::ports::{DriveError, DriveFiles, FooterCheck, ShardEntry, ShardStore};
use engine_types::Stamp;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Flips a bit of a segment file behind the store's back.
pub(super) fn flip(drive: &Path, segment: u64, at: u64) {
    let path = drive.join(format!("shards/segments/{segment:016x}"));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    byte[0] ^= 0x10;
    file.write_all_at(&byte, at).expect("writes");
    file.sync_all().expect("syncs");
}

fn length(drive: &Path, segment: u64) -> u64 {
    let path = drive.join(format!("shards/segments/{segment:016x}"));
    std::fs::metadata(path).expect("stat").len()
}

pub(super) async fn entry(store: &SegmentStore, shard: &Shard) -> ShardEntry {
    let all = store.placed((0, 0), 1000).await.expect("lists");
    let found = all.into_iter().find(|entry| entry.token == shard.0.token);
    found.expect("is listed")
}

/// Five large shards in each of three segments, the last still open.
async fn filled(path: &Path) -> (SegmentStore, Vec<Shard>) {
    let (store, _) = open(path).await;
    let shards = put_many(&store, 0..12, 200_000).await;
    (store, shards)
}

#[tokio::test]
async fn a_flip_in_payload_or_header_is_damage_and_one_in_padding_is_nothing() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    let [payload, header, padding] = [0, 1, 2].map(|n| &shards[n]);
    let at = entry(&store, payload).await;
    flip(drive.path(), at.segment, at.offset + 4096 + 150_000);
    let at = entry(&store, header).await;
    flip(drive.path(), at.segment, at.offset + 40);
    let at = entry(&store, padding).await;
    // Between header and payload, and behind the payload.
    flip(drive.path(), at.segment, at.offset + 3000);
    flip(
        drive.path(),
        at.segment,
        at.offset + u64::from(at.length) - 1,
    );
    for damaged in [payload, header] {
        let found = store.verify(damaged.0.token).await;
        assert!(matches!(found, Err(DriveError::Corrupt(_))), "{found:?}");
    }
    for sound in &shards[2..] {
        store.verify(sound.0.token).await.expect("is sound");
    }
    // Whose shard it is still reads where the payload alone is damaged.
    let read = store.read(payload.0.token, 0..0).await.expect("reads");
    assert_eq!(read.header.data, payload.0.data);
}

#[tokio::test]
async fn a_flip_in_a_hole_is_nothing_and_its_block_is_given_back() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    let hole = entry(&store, &shards[1]).await;
    store.free(&[hole.token]).await.expect("frees");
    until("the hole is punched", || {
        store.shared().space.lock().dead_bytes(hole.segment) == 0
    })
    .await;
    rests(&store).await;
    flip(drive.path(), hole.segment, hole.offset + 5000);
    is_gone(&store, &shards[1]).await;
    for sound in shards.iter().filter(|one| one.0.token != hole.token) {
        store.verify(sound.0.token).await.expect("is sound");
    }
    let account = store.account().await.expect("counts");
    assert_eq!(account.unexplained(), 4096, "{account:?}");
    rests(&store).await;
}

/// Until every byte is accounted for.
pub(super) async fn rests(store: &SegmentStore) {
    let begun = std::time::Instant::now();
    loop {
        let account = store.account().await.expect("counts");
        if account.unexplained() == 0 && account.dead == 0 {
            return;
        }
        assert!(begun.elapsed() < super::PATIENCE, "{account:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_byte_is_accounted_for_whatever_happened() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    rests(&store).await;
    let account = store.account().await.expect("counts");
    assert_eq!((account.segments, account.records), (3, 12));
    assert_eq!(account.headers, 3 * 4096);
    assert_eq!(account.footers, 2 * 4096, "the third is not sealed");
    assert!(account.allocated >= account.written, "{account:?}");
    let tokens: Vec<_> = shards
        .iter()
        .skip(2)
        .step_by(2)
        .map(|one| one.0.token)
        .collect();
    store.free(&tokens).await.expect("frees");
    rests(&store).await;
    // Killed: the third is cut, holds no footer, and gets one.
    drop(store);
    let (store, _) = open(drive.path()).await;
    rests(&store).await;
    assert_eq!(store.account().await.expect("counts").footers, 2 * 4096);
    let check = store.check_segment(3).await.expect("checks");
    assert_eq!(check.footer, FooterCheck::Written);
    rests(&store).await;
    assert_eq!(store.account().await.expect("counts").footers, 3 * 4096);
    store.close().await;
    drop(store);
    let (store, _) = open(drive.path()).await;
    rests(&store).await;
}

#[tokio::test]
async fn a_damaged_footer_is_written_anew_and_serves_a_lost_index() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    let gone = &shards[0];
    store.free(&[gone.0.token]).await.expect("frees");
    // In the entries, and in the trailer.
    flip(drive.path(), 1, length(drive.path(), 1) - 4096 + 50);
    flip(drive.path(), 2, length(drive.path(), 2) - 20);
    for segment in [1, 2] {
        let check = store.check_segment(segment).await.expect("checks");
        assert_eq!(check.footer, FooterCheck::Damaged, "{segment}");
        let again = store.check_segment(segment).await.expect("checks");
        assert_eq!(again.footer, FooterCheck::Sound, "{segment}");
        assert!(again.header_sound);
    }
    let open_one = store.check_segment(3).await.expect("checks");
    assert_eq!(open_one.footer, FooterCheck::Open);
    rests(&store).await;
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let (store, report) = open(drive.path()).await;
    assert_eq!((report.footers, report.scanned), (3, 0), "{report:?}");
    is_gone(&store, gone).await;
    for one in &shards[1..] {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn a_damaged_segment_header_is_told_and_takes_nothing_with_it() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    flip(drive.path(), 1, 30);
    let check = store.check_segment(1).await.expect("checks");
    assert!(!check.header_sound);
    let gone = store.check_segment(99).await;
    assert!(matches!(gone, Err(DriveError::NotFound)), "{gone:?}");
    drop(store);
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let (store, _) = open(drive.path()).await;
    for one in &shards {
        holds(&store, one).await;
    }
}

#[tokio::test]
async fn an_index_that_lost_a_row_is_found_out_and_made_anew() {
    for by_place in [true, false] {
        let drive = new_drive();
        let (store, shards) = filled(drive.path()).await;
        let at = entry(&store, &shards[3]).await;
        let place = Place {
            segment: at.segment,
            offset: at.offset,
            length: at.length,
        };
        store.shared().index.lose_row(at.token, place, by_place);
        let found = if by_place {
            store.absent(&[at.token]).await.map(drop)
        } else {
            store.placed((0, 0), 1000).await.map(drop)
        };
        assert!(matches!(found, Err(DriveError::Failed(_))), "{found:?}");
        assert!(store.files().failure().is_some(), "out of service");
        drop(store);
        let dir = open_dir(drive.path()).await;
        let (store, report) = SegmentStore::open(dir, options()).expect("opens");
        assert!(report.index_rebuilt);
        for one in &shards {
            holds(&store, one).await;
        }
    }
}

#[tokio::test]
async fn shards_are_listed_by_place_and_absent_ones_are_told() {
    let drive = new_drive();
    let (store, shards) = filled(drive.path()).await;
    let all = store.placed((0, 0), 1000).await.expect("lists");
    let places: Vec<_> = all
        .iter()
        .map(|entry| (entry.segment, entry.offset))
        .collect();
    assert!(places.is_sorted());
    assert_eq!(all.len(), shards.len());
    let some = store.placed(places[5], 3).await.expect("lists");
    assert_eq!(some, all[5..8]);
    store.free(&[all[4].token]).await.expect("frees");
    let asked: Vec<_> = all.iter().map(|entry| entry.token).collect();
    assert_eq!(store.absent(&asked).await.expect("asks"), [all[4].token]);
    let entries = store.entries(None, Stamp(1000), 1000).await.expect("lists");
    assert_eq!(entries.len(), shards.len() - 1);
    assert_eq!(segment_files(drive.path()).len(), store.segments().len());
}
