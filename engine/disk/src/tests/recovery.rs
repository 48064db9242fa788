//! What an open makes of a drive that was left in any state.

use super::{
    Shard, UUID, holds, is_gone, new_drive, open, open_dir, options, put_many, read, segment_files,
};
use crate::{DriveDir, Root, SegmentStore};
use engine_core::ports::{DriveError, DriveFiles, ShardStore};
use engine_sim::contracts::shard_store::shard;
use engine_types::{DriveId, Stamp};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A small generator: the tests choose places by it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("opens");
    file.write_all_at(bytes, at).expect("writes");
}

/// A drive with several segments, some shards freed, closed or dropped.
async fn filled(path: &Path, close: bool) -> (Vec<Shard>, Vec<Shard>) {
    let (store, _) = open(path).await;
    let mut kept = put_many(&store, 0..40, 150_000).await;
    kept.extend(put_many(&store, 40..60, 1000).await);
    let dead: Vec<_> = kept.iter().step_by(3).cloned().collect();
    kept.retain(|one| !dead.contains(one));
    let tokens: Vec<_> = dead.iter().map(|one| one.0.token).collect();
    store.free(&tokens).await.expect("frees");
    if close {
        store.close().await;
    }
    (kept, dead)
}

async fn check(store: &SegmentStore, kept: &[Shard], dead: &[Shard]) {
    for one in kept {
        holds(store, one).await;
    }
    for one in dead {
        is_gone(store, one).await;
    }
    let live: u64 = kept
        .iter()
        .map(|one| u64::from(one.0.record_length()))
        .sum();
    assert_eq!(store.usage().live, live);
    let entries = store.entries(None, Stamp(1000), 1000).await.expect("lists");
    assert_eq!(entries.len(), kept.len());
}

#[tokio::test]
async fn after_a_close_nothing_is_scanned() {
    let drive = new_drive();
    let (kept, dead) = filled(drive.path(), true).await;
    let (store, report) = open(drive.path()).await;
    assert_eq!((report.scanned, report.footers, report.indexed), (0, 0, 0));
    check(&store, &kept, &dead).await;
}

#[tokio::test]
async fn a_lost_index_is_made_anew_and_what_was_freed_stays_freed() {
    for close in [true, false] {
        let drive = new_drive();
        let (kept, dead) = filled(drive.path(), close).await;
        std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
        let (store, report) = open(drive.path()).await;
        assert!(
            report.footers > 1,
            "sealed segments need no scan: {report:?}"
        );
        assert!(report.indexed >= kept.len() as u64);
        check(&store, &kept, &dead).await;
        drop(store);
        let (store, report) = open(drive.path()).await;
        assert_eq!(report.indexed, 0, "once: {report:?}");
        check(&store, &kept, &dead).await;
    }
}

#[tokio::test]
async fn footers_are_not_needed() {
    let drive = new_drive();
    let (kept, dead) = filled(drive.path(), true).await;
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    for path in segment_files(drive.path()) {
        let length = std::fs::metadata(&path).expect("stat").len();
        overwrite(&path, length - 10, &[0xAA; 10]);
    }
    let (store, report) = open(drive.path()).await;
    assert_eq!(report.footers, 0);
    assert!(report.scanned > 1);
    check(&store, &kept, &dead).await;
}

#[tokio::test]
async fn a_damaged_index_loses_nothing() {
    let mut dice = Dice(77);
    for _ in 0..12 {
        let drive = new_drive();
        let (kept, dead) = filled(drive.path(), false).await;
        let index = drive.path().join("shards/index");
        let mut files = Vec::new();
        let mut directories = vec![index];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).expect("lists").flatten() {
                if entry.path().is_dir() {
                    directories.push(entry.path());
                } else {
                    files.push(entry.path());
                }
            }
        }
        files.retain(|path| std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0));
        files.sort();
        let chosen = usize::try_from(dice.roll(files.len() as u64)).expect("small");
        let victim = &files[chosen];
        let length = std::fs::metadata(victim).expect("stat").len();
        // Journals are preallocated: most of their bytes are behind their end.
        let at = dice.roll(length.min(6000));
        overwrite(victim, at, &[0x5A; 3]);
        let dir = open_dir(drive.path()).await;
        let store = match SegmentStore::open(dir, options()) {
            Ok((store, _)) => store,
            // Found only while being read: out of service, and made anew at the next open.
            Err(DriveError::Failed(_)) => open(drive.path()).await.0,
            Err(error) => panic!("{victim:?} at {at}: {error}"),
        };
        check(&store, &kept, &dead).await;
    }
}

/// The index's only one.
fn journal(drive: &Path) -> PathBuf {
    let entries = std::fs::read_dir(drive.join("shards/index")).expect("lists");
    let mut journals = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    let journal = journals.next().expect("a journal");
    assert_eq!(journals.next(), None);
    journal
}

/// It has no checksum over a batch's number, and as many as that are not to be had.
#[tokio::test]
async fn a_flipped_number_of_a_batch_costs_the_index_and_no_start() {
    let drive = new_drive();
    let (kept, dead) = filled(drive.path(), false).await;
    let journal = journal(drive.path());
    let mut bytes = std::fs::read(&journal).expect("reads");
    // Tag, items u32, number u64, little-endian.
    assert_eq!(bytes[0], 1, "the start of a batch");
    bytes[12] ^= 0x80;
    std::fs::write(&journal, bytes).expect("writes");
    let (store, report) = open(drive.path()).await;
    assert!(report.index_rebuilt);
    check(&store, &kept, &dead).await;
    put_many(&store, 500..503, 50_000).await;
}

/// What the index's journal may look like after a power cut: any part of its end missing, as a
/// shorter file or as zeros.
#[tokio::test]
async fn an_index_that_lost_its_end_is_completed() {
    let mut dice = Dice(99);
    for round in 0..12 {
        let drive = new_drive();
        let (kept, dead) = filled(drive.path(), false).await;
        let journal = &journal(drive.path());
        let bytes = std::fs::read(journal).expect("reads");
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("content");
        let from = usize::try_from(dice.roll(used as u64)).expect("small");
        let mut left = bytes[..from].to_vec();
        if round % 2 == 0 {
            left.resize(bytes.len(), 0);
        }
        std::fs::write(journal, left).expect("writes");
        let (store, _) = open(drive.path()).await;
        check(&store, &kept, &dead).await;
        drop(store);
        let (store, _) = open(drive.path()).await;
        check(&store, &kept, &dead).await;
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_not_written_again() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..3, 50_000).await;
    let entries = store.entries(None, Stamp(1000), 10).await.expect("lists");
    drop(store);
    let end = entries
        .iter()
        .map(|entry| entry.offset + u64::from(entry.length))
        .max();
    let end = end.expect("entries");
    let [path] = &segment_files(drive.path())[..] else {
        panic!("one segment")
    };
    // As left by a write that was cut: a sound header, half a payload, then other blocks.
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.set_len(1024 * 1024))
        .expect("extends");
    let (mut header, payload) = shard(UUID, 10, 99, 100_000);
    header.segment = entries[0].segment;
    header.offset = end;
    let mut torn = Vec::new();
    header.encode(&mut torn).expect("encodes");
    torn.extend_from_slice(&payload[..60_000]);
    overwrite(path, end, &torn);
    let (store, report) = open(drive.path()).await;
    assert_eq!(report.damaged, 1);
    is_gone(&store, &(header, payload)).await;
    assert_eq!(std::fs::metadata(path).expect("stat").len(), end);
    let more = put_many(&store, 100..103, 50_000).await;
    check(&store, &[kept, more].concat(), &[]).await;
    let entries = store.entries(None, Stamp(1000), 10).await.expect("lists");
    assert_eq!(entries.iter().map(|entry| entry.segment).max(), Some(2));
}

#[tokio::test]
async fn records_behind_damage_are_found() {
    let mut dice = Dice(4242);
    for round in 0..8 {
        let drive = new_drive();
        let (store, _) = open(drive.path()).await;
        let mut shards = put_many(&store, 0..30, 70_000).await;
        shards.extend(put_many(&store, 30..60, 64).await);
        let entries = store.entries(None, Stamp(1000), 100).await.expect("lists");
        drop(store);
        std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
        // Unsealed or sealed, wherever it hits: header, payload, padding, footer.
        let mut hits = Vec::new();
        for path in segment_files(drive.path()) {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            let number = u64::from_str_radix(name, 16).expect("a number");
            let length = std::fs::metadata(&path).expect("stat").len();
            for _ in 0..4 {
                let at = dice.roll(length);
                overwrite(&path, at, &[0xFF ^ round; 2]);
                hits.push((number, at));
            }
        }
        let (store, _) = open(drive.path()).await;
        for one in &shards {
            let entry = entries.iter().find(|entry| entry.token == one.0.token);
            let entry = entry.expect("was listed");
            let range = entry.offset.saturating_sub(1)..entry.offset + u64::from(entry.length);
            let hit = hits
                .iter()
                .any(|(segment, at)| *segment == entry.segment && range.contains(at));
            match read(&store, one).await {
                Ok(()) => {}
                Err(DriveError::NotFound | DriveError::Corrupt(_)) => {
                    assert!(hit, "untouched records are held");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_or_displaced_record_is_not_taken_up() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    put_many(&store, 0..1, 1000).await;
    drop(store);
    let [path] = &segment_files(drive.path())[..] else {
        panic!("one segment")
    };
    let bytes = std::fs::read(path).expect("reads");
    // The record again, one step later: its own offset tells.
    overwrite(path, 8192, &bytes[4096..8192]);
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let (store, report) = open(drive.path()).await;
    assert_eq!(report.indexed, 1);
    drop(store);
    // The whole drive under another uuid: nothing is ours.
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let root = Root::lock(drive.path()).expect("locks");
    let other = DriveDir::new(root, DriveId(1), engine_types::DriveUuid([1; 16]));
    let (store, report) = SegmentStore::open(other, options()).expect("opens");
    assert_eq!(report.indexed, 0);
    drop(store);
}

#[tokio::test]
async fn a_failed_drive_answers_failed_until_it_is_opened_again() {
    let drive = new_drive();
    let (store, _) = open(drive.path()).await;
    let kept = put_many(&store, 0..2, 1000).await;
    store.files().fail("a test");
    let (header, payload) = shard(UUID, 10, 9, 64);
    let refused = store.append(header, payload).await;
    assert!(matches!(refused, Err(DriveError::Failed(_))), "{refused:?}");
    let refused = read(&store, &kept[0]).await;
    assert!(matches!(refused, Err(DriveError::Failed(_))), "{refused:?}");
    drop(store);
    let (store, _) = open(drive.path()).await;
    check(&store, &kept, &[]).await;
}

#[tokio::test]
async fn torn_frees_are_cut_and_damaged_ones_skipped() {
    let drive = new_drive();
    let (kept, dead) = filled(drive.path(), false).await;
    let frees = drive.path().join("shards/frees");
    let length = std::fs::metadata(&frees).expect("stat").len();
    assert_eq!(length, 32 * (1 + dead.len() as u64));
    overwrite(&frees, length, &[1; 45]);
    let (store, _) = open(drive.path()).await;
    check(&store, &kept, &dead).await;
    assert_eq!(std::fs::metadata(&frees).expect("stat").len(), length);
    drop(store);
    // A damaged record: that one shard may come back, the others do not.
    overwrite(&frees, 32 + 32 * 4 + 5, &[0xEE; 3]);
    std::fs::remove_dir_all(drive.path().join("shards/index")).expect("removes");
    let (store, _) = open(drive.path()).await;
    for one in &kept {
        holds(&store, one).await;
    }
    for (number, one) in dead.iter().enumerate() {
        if number != 4 {
            is_gone(&store, one).await;
        }
    }
}
