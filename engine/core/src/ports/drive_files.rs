//! Files of one drive beside its segments: mark, log, snapshots, keyring. How `meta` and `node`
//! reach a drive.

use super::DriveError;
use engine_types::{DriveId, DriveUuid};
use std::fmt::Debug;
use std::path::PathBuf;

/// Ends the name of what [`DriveFiles::write`] writes aside (**format**): a cut may leave it behind.
pub const ASIDE: &str = ".aside";

/// An append-only file. Blocking: callers use threads of their own.
pub trait LogFile: Send + Debug {
    /// Bytes found in the file and appended since.
    fn len(&self) -> u64;
    /// Nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Appends; not durable before [`LogFile::sync`].
    fn append(&mut self, bytes: &[u8]) -> Result<(), DriveError> {
        self.append_with_room(bytes, 0)
    }
    /// Appends; where the file grows for it, then by `room` zeros more, as far as the drive has them.
    /// Appends that fit in them write in place, so that their syncs wait for no change of the file's
    /// length or blocks in the file system's journal. Room is in no [`LogFile::len`] but that of a later
    /// open, which finds the zeros; [`LogFile::truncate`] takes it away.
    fn append_with_room(&mut self, bytes: &[u8], room: u64) -> Result<(), DriveError>;
    /// fdatasync. An error fails the drive: the kernel may have dropped the dirty pages.
    fn sync(&mut self) -> Result<(), DriveError>;
    /// Reads exactly `buffer.len()` bytes at `offset`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError>;
    /// Cuts the file at `length`, which is at most [`LogFile::len`], and syncs. Room goes too.
    fn truncate(&mut self, length: u64) -> Result<(), DriveError>;
    /// Another handle on the same file, for readers.
    fn reader(&self) -> Result<Box<dyn LogFile>, DriveError>;
}

/// Files below one drive's root. Names are relative, `/`-separated, made by us (never by clients).
/// Blocking: callers use threads of their own.
pub trait DriveFiles: Send + Sync + Debug {
    /// The drive's number in the layout.
    fn drive(&self) -> DriveId;
    /// The uuid in its mark.
    fn uuid(&self) -> DriveUuid;
    /// Whole content of a file; `NotFound` if absent.
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError>;
    /// Replaces a file atomically and durably: write aside ([`ASIDE`]), fsync, rename, fsync
    /// the directory.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError>;
    /// Removes a file or a directory tree durably; absent is fine.
    fn remove(&self, name: &str) -> Result<(), DriveError>;
    /// Removes a file whose content must not outlive it: its blocks are overwritten with zeros, as
    /// far as the file system overwrites in place, durably, and then it goes; absent is fine.
    fn erase(&self, name: &str) -> Result<(), DriveError> {
        self.remove(name)
    }
    /// Renames durably (fsync of both directories).
    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError>;
    /// Names in a directory, sorted; an absent directory is empty.
    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError>;
    /// Opens for appending, creating file and directories (durably) where absent.
    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError>;
    /// Where a library that opens its own files (fjall) may put a directory; created.
    fn directory(&self, name: &str) -> Result<PathBuf, DriveError>;
    /// Takes the drive out of service: something that was to be durable may not be.
    fn fail(&self, reason: &str);
    /// Why the drive is out of service, if it is.
    fn failure(&self) -> Option<String>;
}
