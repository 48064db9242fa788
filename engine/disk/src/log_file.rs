//! Append-only files: writes at the end, fdatasync on demand.
//!
//! Room ahead of the end is written as zeros. `fallocate` alone was turned down: ext4 turns each
//! unwritten block into a written one in its journal, and a sync waits for that as it does for a new
//! length (six files, 9 kB a sync: some 1,500 syncs/s growing, 3,000 with `fallocate`, 9,000 in zeros).
//! A failed append is cut off again, so that a later one does not follow half a record.

use crate::drive_file::{DriveFile, SyncPoint};
use crate::file::{Root, parent};
use engine_core::ports::{DriveError, LogFile};
use rustix::fs::OFlags;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Zeros written at once as room.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The writer of a log, or (from [`LogFile::reader`]) a view of it.
#[derive(Debug)]
pub(crate) struct DiskLog {
    file: DriveFile,
    /// Shared with the readers.
    length: Arc<AtomicU64>,
    /// Where the writer's room ends; what it wrote ends before.
    grown: u64,
    writer: bool,
}

impl DiskLog {
    /// Opens or creates; what is in the file is durable when this returns.
    pub(crate) fn open(root: &Arc<Root>, name: &str) -> Result<Self, DriveError> {
        root.make_directories(parent(name))?;
        let file = root.open_file(name, OFlags::RDWR | OFlags::CREATE, SyncPoint::Log)?;
        root.sync_directory(parent(name))?;
        file.sync_found()?;
        let length = file.length()?;
        Ok(Self {
            file,
            length: Arc::new(AtomicU64::new(length)),
            grown: length,
            writer: true,
        })
    }

    fn writable(&self) -> Result<(), DriveError> {
        if self.writer {
            Ok(())
        } else {
            let text = format!("{} is open for reading", self.file.name());
            Err(DriveError::Failed(text))
        }
    }

    /// Writes zeros from `from` on, up to `room` bytes; where they end. A full drive has none to give,
    /// and nothing that was asked for is missing.
    fn make_room(&self, from: u64, room: u64) -> Result<u64, DriveError> {
        let (mut at, end) = (from, from.saturating_add(room));
        while at < end {
            let count = (end - at).min(ZEROS.len() as u64);
            let zeros = &ZEROS[..usize::try_from(count).unwrap_or(ZEROS.len())];
            match self.file.write_at(zeros, at) {
                Ok(()) => at += count,
                Err(DriveError::Full) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }
}

impl LogFile for DiskLog {
    fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    fn append_with_room(&mut self, bytes: &[u8], room: u64) -> Result<(), DriveError> {
        self.writable()?;
        let length = self.len();
        let end = length.saturating_add(bytes.len() as u64);
        let written = self.file.write_at(bytes, length);
        let written = written.and_then(|()| {
            if end > self.grown {
                self.grown = self.make_room(end, room)?;
            }
            Ok(())
        });
        if let Err(error) = written {
            self.grown = length;
            if self.file.set_length(length).is_err() {
                tracing::warn!(file = self.file.name(), "half an append stays behind");
            }
            return Err(error);
        }
        self.length.store(end, Ordering::Release);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DriveError> {
        self.writable()?;
        self.file.sync()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        self.file.read_at(buffer, offset)
    }

    fn truncate(&mut self, length: u64) -> Result<(), DriveError> {
        self.writable()?;
        if length > self.len() {
            let text = format!("{} is shorter than {length}", self.file.name());
            return Err(DriveError::Failed(text));
        }
        self.file.set_length(length)?;
        self.length.store(length, Ordering::Release);
        self.grown = length;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-truncate-fsync") {
            return Ok(());
        }
        self.file.sync()
    }

    fn reader(&self) -> Result<Box<dyn LogFile>, DriveError> {
        Ok(Box::new(Self {
            file: self.file.duplicate()?,
            length: Arc::clone(&self.length),
            grown: 0,
            writer: false,
        }))
    }
}
