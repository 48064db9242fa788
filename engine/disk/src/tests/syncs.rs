//! Single syncs: one test for each that no acknowledgement waits for, but a later promise rests on.

use super::power_cut::{Disk, dice, workload};
use super::tape::Event;
use super::{UUID, new_drive, open, open_dir, options, put, shard};
use crate::{DriveDir, Root, SegmentStore};
use engine_core::ports::DriveFiles;
use engine_types::DriveId;
use std::path::Path;

/// Cuts of one recording: enough that a name or block which is left to chance is lost in one.
const CUTS: usize = 16;

fn drive_at(path: &Path) -> DriveDir {
    DriveDir::new(Root::lock(path).expect("locks"), DriveId(1), UUID)
}

/// What `name` holds after each of some power cuts behind the last of `events`.
fn after_cuts(events: &[Event], name: &str) -> Vec<Option<Vec<u8>>> {
    let mut dice = dice();
    let cut = |_| {
        let drive = new_drive();
        Disk::after(events).leave(drive.path(), &mut dice);
        std::fs::read(drive.path().join(name)).ok()
    };
    (0..CUTS).map(cut).collect()
}

fn position(events: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    let found = events.iter().position(what);
    found.unwrap_or_else(|| panic!("it is not among {events:?}"))
}

/// A segment that was left has its footer, so that a lost index costs no scan of it.
#[tokio::test]
async fn a_sealed_segment_keeps_its_footer() {
    let recorded = new_drive();
    let (events, _) = workload(recorded.path()).await;
    let (mut dice, mut footers) = (dice(), 0);
    for (at, event) in events.iter().enumerate() {
        // The next segment is made once the last is sealed.
        if !matches!(event, Event::Created(name) if name.contains("/segments/")) {
            continue;
        }
        let drive = new_drive();
        Disk::after(&events[..=at]).leave(drive.path(), &mut dice);
        let (_store, found) = open(drive.path()).await;
        assert!(found.scanned <= 1, "cut at {at}: {found:?}");
        footers += found.footers;
    }
    assert!(footers > 3, "{footers}");
}

#[test]
fn a_renamed_file_has_its_new_name_and_not_the_old_one() {
    let recorded = new_drive();
    let files = drive_at(recorded.path());
    files.root().tape.start();
    files.write("a/old", b"bytes").expect("writes");
    files.rename("a/old", "b/new").expect("renames");
    let events = files.root().tape.events();
    assert!(
        after_cuts(&events, "b/new")
            .iter()
            .all(|found| found.as_deref() == Some(&b"bytes"[..]))
    );
    assert!(after_cuts(&events, "a/old").iter().all(Option::is_none));
}

#[test]
fn a_removed_file_stays_removed() {
    let recorded = new_drive();
    let files = drive_at(recorded.path());
    files.root().tape.start();
    files.write("a/old", b"bytes").expect("writes");
    files.remove("a/old").expect("removes");
    let events = files.root().tape.events();
    assert!(after_cuts(&events, "a/old").iter().all(Option::is_none));
}

/// The zeros are on the drive before the name goes: behind it nothing would ever overwrite them.
#[test]
fn an_erased_file_is_overwritten_durably_before_its_name_goes() {
    let recorded = new_drive();
    let files = drive_at(recorded.path());
    files.write("keyring/old", &[7; 100]).expect("writes");
    files.root().tape.start();
    files.erase("keyring/old").expect("erases");
    let events = files.root().tape.events();
    let zeros = |event: &Event| matches!(event, Event::Wrote(_, 0, bytes) if *bytes == [0; 100]);
    let (zeros, synced, removed) = (
        position(&events, zeros),
        position(&events, |event| matches!(event, Event::Synced(_))),
        position(&events, |event| matches!(event, Event::Removed(_))),
    );
    assert!(zeros < synced && synced < removed, "{events:?}");
}

#[test]
fn what_was_truncated_does_not_come_back() {
    let recorded = new_drive();
    let files = drive_at(recorded.path());
    files.root().tape.start();
    let mut log = files.open_log("log/1").expect("opens");
    log.append(&[7; 9000]).expect("appends");
    log.sync().expect("syncs");
    log.truncate(10).expect("truncates");
    let found = after_cuts(&files.root().tape.events(), "log/1");
    assert!(
        found
            .iter()
            .all(|found| found.as_deref() == Some(&[7; 10][..]))
    );
}

/// A killed process leaves bytes and names that are visible and not durable: they are synced before
/// anybody builds upon them.
#[tokio::test]
async fn what_is_found_at_a_start_is_synced_before_it_is_believed() {
    let drive = new_drive();
    std::fs::create_dir(drive.path().join("log")).expect("creates");
    std::fs::write(drive.path().join("log/1"), b"unsynced").expect("writes");
    let files = drive_at(drive.path());
    files.root().tape.start();
    files.open_log("log/1").expect("opens");
    let events = files.root().tape.events();
    position(&events, |event| *event == Event::Synced("log/1".into()));
    position(&events, |event| {
        *event == Event::DirectorySynced("log".into())
    });
    drop(files);

    let (store, _) = SegmentStore::open(open_dir(drive.path()).await, options()).expect("opens");
    put(&store, &shard(UUID, 10, 1, 5000)).await;
    drop(store);
    let files = open_dir(drive.path()).await;
    let root = std::sync::Arc::clone(files.root());
    root.tape.start();
    let (_store, found) = SegmentStore::open(files, options()).expect("opens");
    assert_eq!(found.scanned, 1);
    let segment =
        |event: &Event| matches!(event, Event::Synced(name) if name.contains("/segments/"));
    position(&root.tape.events(), segment);
}

#[test]
fn a_name_found_at_a_start_is_durable_before_it_is_believed() {
    let drive = new_drive();
    std::fs::create_dir(drive.path().join("keyring")).expect("creates");
    std::fs::write(drive.path().join("keyring/new"), b"x").expect("writes");
    let files = drive_at(drive.path());
    files.root().tape.start();
    files.read("keyring/new").expect("reads");
    let events = files.root().tape.events();
    assert_eq!(events, [Event::DirectorySynced("keyring".into())]);
    files.read("keyring/new").expect("reads");
    assert_eq!(files.root().tape.events().len(), 1, "once a process");
}
