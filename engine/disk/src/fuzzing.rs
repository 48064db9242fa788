//! This crate's parsers of what lies on a drive as a fuzzer calls them: no part of the API.
//!
//! They read files, so each thread gets a directory of its own below the temporary one.

use crate::drive_dir::DriveDir;
use crate::file::Root;
use crate::free_log::FreeLog;
use crate::recover::Recovery;
use crate::scan::scan;
use crate::segment::{ALIGN, SEGMENTS, Segments};
use engine_types::{DriveId, DriveUuid};
use std::path::{Path, PathBuf};

/// The drive that all these files are on.
pub const DRIVE: DriveUuid = DriveUuid([1; 16]);
/// The number of the segment.
pub const SEGMENT: u64 = 1;

/// A directory for drives of this thread.
pub fn directory(name: &str) -> std::io::Result<PathBuf> {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let directory = std::env::temp_dir()
        .join(format!("datamesh-fuzz-{process}-{thread:?}"))
        .join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn drive_with(file: &str, bytes: &[u8]) -> Option<DriveDir> {
    let directory = directory("parse").ok()?;
    let path = directory.join(file);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).ok()?;
    std::fs::write(&path, bytes).ok()?;
    let root = Root::lock(&directory).ok()?;
    Some(DriveDir::new(root, DriveId(1), DRIVE))
}

/// A log of frees: opened (torn ends cut), read, and read the same once more.
pub fn frees(bytes: &[u8]) -> bool {
    let read = |files: &DriveDir| {
        let log = FreeLog::open(files).ok()?;
        let mut found = Vec::new();
        log.replay(|end, token, segment| found.push((end, token, segment)))
            .ok()?;
        Some(found)
    };
    let Some(files) = drive_with("shards/frees", bytes) else {
        return false;
    };
    let Some(first) = read(&files) else {
        return false;
    };
    assert_eq!(
        read(&files).as_ref(),
        Some(&first),
        "opening changes nothing more"
    );
    !first.is_empty()
}

/// A segment: its footer, and the records a scan finds.
pub fn segment(bytes: &[u8]) -> bool {
    let Some(files) = drive_with(&format!("{SEGMENTS}/{SEGMENT:016x}"), bytes) else {
        return false;
    };
    let segments = Segments::new(files.root(), DRIVE);
    let Ok(file) = segments.open(SEGMENT) else {
        return false;
    };
    let length = bytes.len() as u64;
    if let Ok(Some((_, start))) = segments.footer(SEGMENT, &file) {
        assert!(
            (ALIGN..length).contains(&start),
            "a footer lies behind the header"
        );
    }
    let (mut report, mut end) = (Recovery::default(), ALIGN);
    let found = scan(&file, DRIVE, SEGMENT, &mut report, |_, place| {
        assert!(
            place.offset >= end && place.end() <= length,
            "records stand one behind another"
        );
        end = place.end();
        Ok(())
    });
    found.is_ok() && report.indexed > 0
}
