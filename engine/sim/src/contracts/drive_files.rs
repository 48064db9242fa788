//! What every [`DriveFiles`] owes.

use engine_core::ports::{DriveError, DriveFiles};
use std::sync::Arc;

/// One drive that can be opened and crashed.
pub trait DriveUnderTest {
    /// Opens the drive's files; the earlier ones have been dropped or crashed.
    fn open(&mut self) -> Arc<dyn DriveFiles>;
    /// Ends the process that had it open; loses what may be lost.
    fn crash(&mut self, files: Arc<dyn DriveFiles>);
}

/// The whole suite, each part on an empty drive (a mark may lie in it).
pub fn all(make: &dyn Fn() -> Box<dyn DriveUnderTest>) {
    whole_files(&mut *make());
    trees(&mut *make());
    logs(&mut *make());
    logs_with_room(&mut *make());
    synced_logs_stay(&mut *make());
    names_stay_below_the_drive(&mut *make());
    a_failed_drive_stays_failed(&mut *make());
}

fn whole_files(drive: &mut dyn DriveUnderTest) {
    let files = drive.open();
    let absent = files.read("a/b").expect_err("absent");
    assert!(matches!(absent, DriveError::NotFound), "{absent}");
    files.write("a/b", b"one").expect("writes");
    files.write("a/b", b"two!").expect("replaces");
    files.write("a/empty", b"").expect("writes nothing");
    assert_eq!(files.read("a/b").expect("reads"), b"two!");
    drive.crash(files);
    let files = drive.open();
    assert_eq!(files.read("a/b").expect("reads"), b"two!");
    assert_eq!(files.read("a/empty").expect("reads"), b"");
    files.rename("a/b", "c/d/e").expect("renames");
    assert!(files.read("a/b").is_err());
    drive.crash(files);
    let files = drive.open();
    assert_eq!(files.read("c/d/e").expect("reads"), b"two!");
    assert_eq!(files.list("a").expect("lists"), ["empty"]);
    let absent = files.rename("a/b", "x").expect_err("absent");
    assert!(matches!(absent, DriveError::NotFound), "{absent}");
}

fn trees(drive: &mut dyn DriveUnderTest) {
    let files = drive.open();
    for name in ["t/b", "t/a", "t/sub/c", "t/sub/deep/d", "tt"] {
        files.write(name, name.as_bytes()).expect("writes");
    }
    assert_eq!(files.list("t").expect("lists"), ["a", "b", "sub"]);
    assert_eq!(files.list("nowhere").expect("lists"), Vec::<String>::new());
    assert!(files.list("").expect("lists").contains(&"t".to_owned()));
    files.rename("t/sub", "t/other").expect("renames a tree");
    assert_eq!(
        files.read("t/other/deep/d").expect("reads"),
        b"t/sub/deep/d"
    );
    files.remove("t").expect("removes");
    files.remove("t").expect("absent is fine");
    assert_eq!(files.list("t").expect("lists"), Vec::<String>::new());
    assert_eq!(files.read("tt").expect("reads"), b"tt");
    let directory = files.directory("lib/x").expect("a directory");
    assert!(directory.is_dir());
    std::fs::write(directory.join("file"), b"x").expect("a library writes there");
    files.remove("lib").expect("removes");
    assert!(!directory.exists());
}

fn logs(drive: &mut dyn DriveUnderTest) {
    let files = drive.open();
    let mut log = files.open_log("logs/one").expect("opens");
    assert!(log.is_empty());
    log.append(b"hello ").expect("appends");
    log.append(b"world").expect("appends");
    assert_eq!(log.len(), 11);
    log.sync().expect("syncs");
    let mut reader = log.reader().expect("a reader");
    log.append(b"!!").expect("appends");
    assert_eq!(reader.len(), 13);
    let mut bytes = [0; 5];
    reader.read_at(6, &mut bytes).expect("reads");
    assert_eq!(&bytes, b"world");
    assert!(reader.append(b"x").is_err(), "a reader does not write");
    let beyond = reader.read_at(10, &mut bytes).expect_err("beyond the end");
    assert!(matches!(beyond, DriveError::Corrupt(_)), "{beyond}");
    log.truncate(5).expect("cuts");
    assert!(log.truncate(6).is_err(), "cuts only");
    log.append(b"?").expect("appends at the cut");
    log.sync().expect("syncs");
    drop((log, reader));
    drive.crash(files);
    let files = drive.open();
    assert_eq!(files.read("logs/one").expect("reads"), b"hello?");
}

/// Room is zeros behind the end, and only whoever opens the file next takes it for content.
fn logs_with_room(drive: &mut dyn DriveUnderTest) {
    const ROOM: usize = 100;
    let files = drive.open();
    let mut log = files.open_log("log").expect("opens");
    log.append_with_room(b"first", ROOM as u64)
        .expect("appends");
    assert_eq!(log.len(), 5, "room is no content");
    log.sync().expect("syncs");
    log.append_with_room(b" second", ROOM as u64)
        .expect("appends in place");
    log.sync().expect("syncs");
    assert_eq!(log.len(), 12);
    assert!(log.truncate(13).is_err(), "nor can it be cut to");
    log.append(b"unsynced").expect("appends in place");
    drop(log);
    drive.crash(files);
    let files = drive.open();
    let found = files.read("log").expect("reads");
    assert!(found.starts_with(b"first second"), "{found:?}");
    assert_eq!(found.len(), 5 + ROOM, "room outlives a cut");
    assert!(found[20..].iter().all(|byte| *byte == 0), "{found:?}");
    let mut log = files.open_log("log").expect("opens");
    assert_eq!(log.len(), 5 + ROOM as u64, "found is found");
    log.truncate(12).expect("cuts");
    log.append_with_room(b"!", ROOM as u64).expect("appends");
    log.truncate(13).expect("room goes");
    drop(log);
    assert_eq!(files.read("log").expect("reads"), b"first second!");
    let mut log = files.open_log("log").expect("opens");
    log.append_with_room(&[7; ROOM], 8).expect("appends");
    log.append(&[8; 9]).expect("one past the room");
    log.sync().expect("syncs");
    drop(log);
    let found = files.read("log").expect("reads");
    assert_eq!(
        found.len(),
        13 + ROOM + 9,
        "the file grew by what was appended"
    );
    assert!(found.ends_with(&[8; 9]));
}

fn synced_logs_stay(drive: &mut dyn DriveUnderTest) {
    let mut expected = Vec::new();
    for round in 0..3_u8 {
        let files = drive.open();
        let mut log = files.open_log("log").expect("opens");
        let mut found = vec![0; usize::try_from(log.len()).expect("short")];
        log.read_at(0, &mut found).expect("reads");
        assert!(
            found.starts_with(&expected),
            "what was synced stays, in place"
        );
        log.truncate(expected.len() as u64).expect("cuts");
        log.append(&[round; 1000]).expect("appends");
        log.sync().expect("syncs");
        expected.extend_from_slice(&[round; 1000]);
        log.append(b"unsynced").expect("appends");
        drop(log);
        drive.crash(files);
    }
}

fn names_stay_below_the_drive(drive: &mut dyn DriveUnderTest) {
    let files = drive.open();
    for name in ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", "."] {
        assert!(files.write(name, b"x").is_err(), "{name:?}");
        assert!(files.open_log(name).is_err(), "{name:?}");
        assert!(files.remove(name).is_err(), "{name:?}");
    }
    assert!(files.failure().is_none(), "that is no fault of the drive");
}

fn a_failed_drive_stays_failed(drive: &mut dyn DriveUnderTest) {
    let files = drive.open();
    files.write("a", b"x").expect("writes");
    let mut log = files.open_log("log").expect("opens");
    assert_eq!(files.failure(), None);
    files.fail("first");
    files.fail("second");
    assert_eq!(files.failure().as_deref(), Some("first"));
    let failed = |error: Option<DriveError>| {
        assert!(matches!(error, Some(DriveError::Failed(_))), "{error:?}");
    };
    failed(files.write("b", b"x").err());
    failed(files.read("a").err());
    failed(files.open_log("log").err());
    failed(log.append(b"x").err());
    failed(log.sync().err());
    drop(log);
    drive.crash(files);
    let files = drive.open();
    assert_eq!(files.failure(), None, "opening it again is a new start");
    assert_eq!(files.read("a").expect("reads"), b"x");
}
