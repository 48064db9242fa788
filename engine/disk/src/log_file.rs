//! Append-only files: plain appends at the end, fdatasync on demand.
//!
//! Not preallocated: a log's end must be where its bytes end, and its writer groups its syncs
//! anyway. A failed append is cut off again, so that a later one does not follow half a record.

use crate::drive_file::{DriveFile, SyncPoint};
use crate::file::{Root, parent};
use engine_core::ports::{DriveError, LogFile};
use rustix::fs::OFlags;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The writer of a log, or (from [`LogFile::reader`]) a view of it.
#[derive(Debug)]
pub(crate) struct DiskLog {
    file: DriveFile,
    /// Shared with the readers.
    length: Arc<AtomicU64>,
    writer: bool,
}

impl DiskLog {
    /// Opens or creates; what is in the file is durable when this returns.
    pub(crate) fn open(root: &Arc<Root>, name: &str) -> Result<Self, DriveError> {
        root.make_directories(parent(name))?;
        let file = root.open_file(name, OFlags::RDWR | OFlags::CREATE, SyncPoint::Log)?;
        root.sync_directory(parent(name))?;
        file.sync_found()?;
        let length = Arc::new(AtomicU64::new(file.length()?));
        Ok(Self {
            file,
            length,
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
}

impl LogFile for DiskLog {
    fn len(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        self.writable()?;
        let length = self.len();
        if let Err(error) = self.file.write_at(bytes, length) {
            if self.file.set_length(length).is_err() {
                tracing::warn!(file = self.file.name(), "half an append stays behind");
            }
            return Err(error);
        }
        let more = u64::try_from(bytes.len()).unwrap_or(0);
        self.length
            .store(length.saturating_add(more), Ordering::Release);
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
            writer: false,
        }))
    }
}
