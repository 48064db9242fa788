//! A drive's files as the engine's port wants them.

use crate::file::Root;
use crate::log_file::DiskLog;
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_types::{DriveId, DriveUuid};
use std::path::PathBuf;
use std::sync::Arc;

/// One drive's files: an opened, locked and marked root. Clones share the lock and the failure.
#[derive(Clone, Debug)]
pub struct DriveDir {
    root: Arc<Root>,
    drive: DriveId,
    uuid: DriveUuid,
}

impl DriveDir {
    /// A drive whose mark has been read and judged (see [`crate::drives`]).
    pub fn new(root: Root, drive: DriveId, uuid: DriveUuid) -> Self {
        Self {
            root: Arc::new(root),
            drive,
            uuid,
        }
    }

    /// The directory under it.
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }
}

impl DriveFiles for DriveDir {
    fn drive(&self) -> DriveId {
        self.drive
    }
    fn uuid(&self) -> DriveUuid {
        self.uuid
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        self.root.read(name)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        self.root.write(name, bytes)
    }
    fn remove(&self, name: &str) -> Result<(), DriveError> {
        self.root.remove(name)
    }
    fn erase(&self, name: &str) -> Result<(), DriveError> {
        self.root.erase(name)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        self.root.rename(from, to)
    }
    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        self.root.list(directory)
    }
    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        Ok(Box::new(DiskLog::open(&self.root, name)?))
    }
    fn directory(&self, name: &str) -> Result<PathBuf, DriveError> {
        // Whoever opens it does so by its path, and would make it anew where the drive was taken away.
        self.root.path_leads_here();
        self.root.working()?;
        self.root.make_directories(name)?;
        Ok(self.root.path().join(name))
    }
    fn fail(&self, reason: &str) {
        self.root.fail(reason);
    }
    fn failure(&self) -> Option<String> {
        self.root.failure()
    }
}
