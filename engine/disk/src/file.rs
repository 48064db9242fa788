//! The one file layer: every system call that touches a drive is here, in `drive_file`, `directories`
//! or `erase`.
//!
//! Everything goes by the directory opened at start, not by its path: when a drive is unmounted
//! lazily, the directory under the mount point never receives what was meant for the drive. (The
//! one exception is what a library opens itself, see [`engine_core::ports::DriveFiles::directory`].)
//!
//! What fails a drive for good: an error of fsync or fdatasync (the kernel may have dropped the
//! dirty pages and answers the next call with success), EIO, and a device that is gone. Full and
//! read-only file systems do not, nor does a process out of handles, nor a few places in segments
//! that do not read (see `bad_places`). A failed drive answers every call
//! with `Failed` until it is opened again. This is one place on purpose: no caller decides which error
//! is fatal.

use crate::bad_places::BadPlaces;
use crate::drive_file::{DriveFile, SyncPoint};
use crate::standing::Standing;
use engine_core::ports::{ASIDE, DriveError};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a path could not be opened as a drive.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or this one, twice) uses it.
    #[error("{0} is in use by another datamesh process: stop it, or give this node other paths")]
    InUse(PathBuf),
    /// It cannot be opened as a directory.
    #[error("open {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// A directory that is or may become a drive, locked for this process as long as it lives.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    /// Opened at start, and holds the flock. The directory itself is locked: a lock file would
    /// have to be made in paths that turn out to be unmounted disks.
    pub(crate) dir: File,
    pub(crate) standing: Standing,
    pub(crate) bad_places: BadPlaces,
    /// One whole-file write at a time, so that the aside name is never shared.
    writing: Mutex<()>,
    /// Directories that this process has fsynced.
    pub(crate) settled: Mutex<HashSet<String>>,
    /// What was written and synced, for the power-cut tests.
    #[cfg(test)]
    pub(crate) tape: crate::tests::tape::Tape,
    /// Makes the drive look as large as this, for the tests of full drives.
    #[cfg(test)]
    pub(crate) pretended_capacity: std::sync::OnceLock<u64>,
    /// The error that the next write, read or sync meets.
    #[cfg(test)]
    pub(crate) faults: crate::tests::faults::Faults,
}

/// Room of the file system, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileSystemRoom {
    /// Size.
    pub(crate) capacity: u64,
    /// What an ordinary user may still write.
    pub(crate) available: u64,
}

impl Root {
    /// Opens and locks `path`, which must be a directory.
    ///
    /// # Errors
    /// `InUse` while anyone else holds it.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let dir = File::open(path).map_err(io)?;
        if !dir.metadata().map_err(io)?.is_dir() {
            return Err(io(Errno::NOTDIR.into()));
        }
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            #[cfg(sabotage)]
            Err(Errno::WOULDBLOCK) if engine_types::sabotage("skip-drive-lock") => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::InUse(path.to_owned())),
            Err(error) => return Err(io(error.into())),
        }
        Ok(Self {
            path: path.to_owned(),
            dir,
            standing: Standing::default(),
            bad_places: BadPlaces::default(),
            writing: Mutex::new(()),
            settled: Mutex::new(HashSet::new()),
            #[cfg(test)]
            tape: crate::tests::tape::Tape::default(),
            #[cfg(test)]
            pretended_capacity: std::sync::OnceLock::new(),
            #[cfg(test)]
            faults: crate::tests::faults::Faults::default(),
        })
    }

    /// Gives the lock up before the directory is closed.
    pub(crate) fn unlock(&self) {
        if let Err(error) = rustix::fs::flock(&self.dir, FlockOperation::Unlock) {
            tracing::warn!(path = %self.path.display(), %error, "unlock");
        }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it out of service; the first reason stays.
    pub fn fail(&self, reason: &str) {
        self.standing.fail(&self.path, reason);
    }

    /// Why it is out of service.
    pub fn failure(&self) -> Option<String> {
        self.standing.failure()
    }

    /// Err once it has failed.
    pub(crate) fn working(&self) -> Result<(), DriveError> {
        self.standing.working()
    }

    /// Sorts an error by what the caller must do; fails the drive where the header says so.
    pub(crate) fn sort(&self, doing: &str, error: Errno) -> DriveError {
        let text = || format!("{doing}: {error}");
        match error {
            Errno::NOENT => DriveError::NotFound,
            Errno::NOSPC | Errno::DQUOT => DriveError::Full,
            Errno::ROFS => DriveError::ReadOnly,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => DriveError::Starved(text()),
            Errno::IO | Errno::NODEV | Errno::NXIO | Errno::STALE | Errno::UCLEAN => {
                self.fail(&text());
                DriveError::Failed(text())
            }
            _ => DriveError::Failed(text()),
        }
    }

    pub(crate) fn sort_io(&self, doing: &str, error: &std::io::Error) -> DriveError {
        match (Errno::from_io_error(error), error.kind()) {
            (Some(errno), _) => self.sort(doing, errno),
            (None, std::io::ErrorKind::UnexpectedEof) => {
                DriveError::Corrupt(format!("{doing}: the file ends before"))
            }
            (None, _) => DriveError::Failed(format!("{doing}: {error}")),
        }
    }

    /// An fsync went wrong: nothing written since the last one is certain.
    pub(crate) fn sync_failed(&self, name: &str, error: Errno) -> DriveError {
        let text = format!("sync {name}: {error}");
        #[cfg(sabotage)]
        if engine_types::sabotage("forgive-sync-error") {
            return DriveError::Failed(text);
        }
        self.fail(&text);
        DriveError::Failed(text)
    }

    pub(crate) fn open_at(&self, name: &str, flags: OFlags) -> Result<File, DriveError> {
        self.working()?;
        checked(name)?;
        self.open_plain(name, flags)
            .map_err(|error| self.sort(&format!("open {name}"), error))
    }

    fn open_plain(&self, name: &str, flags: OFlags) -> Result<File, Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::openat(&self.dir, name, flags | OFlags::CLOEXEC, mode).map(File::from)
    }

    /// Whole content of a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        let mut file = self.open_at(name, OFlags::RDONLY)?;
        self.settle(parent(name))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| self.sort_io(&format!("read {name}"), &error))?;
        Ok(bytes)
    }

    /// Replaces a file: whole or not at all, durable once Ok.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        checked(name)?;
        let _one = self.writing.lock();
        self.make_directories(parent(name))?;
        let aside = format!("{name}{ASIDE}");
        let mut file = self.open_at(&aside, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        #[cfg(test)]
        self.tape.created(&aside);
        file.write_all(bytes)
            .map_err(|error| self.sort_io(&format!("write {name}"), &error))?;
        #[cfg(test)]
        self.tape.wrote(&aside, 0, bytes);
        self.sync_whole_file(&aside, &file)?;
        self.rename_plain(&aside, name)?;
        self.sync_directory(parent(name))
    }

    fn sync_whole_file(&self, name: &str, file: &File) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-mark-fsync") {
            return Ok(());
        }
        rustix::fs::fsync(file).map_err(|error| self.sync_failed(name, error))?;
        #[cfg(test)]
        self.tape.synced(name);
        Ok(())
    }

    fn rename_plain(&self, from: &str, to: &str) -> Result<(), DriveError> {
        rustix::fs::renameat(&self.dir, from, &self.dir, to)
            .map_err(|error| self.sort(&format!("rename {from} to {to}"), error))?;
        #[cfg(test)]
        self.tape.renamed(from, to);
        Ok(())
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        self.working()?;
        checked(from)?;
        checked(to)?;
        self.make_directories(parent(to))?;
        self.rename_plain(from, to)?;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-rename-fsync") {
            return Ok(());
        }
        self.sync_directory(parent(to))?;
        if parent(from) == parent(to) {
            return Ok(());
        }
        self.sync_directory(parent(from))
    }

    /// Opens a file for reading and writing at offsets. `flags` add `O_CREAT` and such.
    pub(crate) fn open_file(
        self: &Arc<Self>,
        name: &str,
        flags: OFlags,
        sync: SyncPoint,
    ) -> Result<DriveFile, DriveError> {
        let file = self.open_at(name, flags)?;
        #[cfg(test)]
        if flags.contains(OFlags::CREATE) {
            self.tape.created(name);
        }
        Ok(DriveFile {
            root: Arc::clone(self),
            file,
            name: name.to_owned(),
            sync,
        })
    }

    /// As [`Self::open_file`], past the page cache where the file system takes that; says whether
    /// it does.
    pub(crate) fn open_direct(
        self: &Arc<Self>,
        name: &str,
        flags: OFlags,
        sync: SyncPoint,
    ) -> Result<(DriveFile, bool), DriveError> {
        self.working()?;
        checked(name)?;
        match self.open_plain(name, flags | OFlags::DIRECT) {
            Ok(file) => {
                #[cfg(test)]
                if flags.contains(OFlags::CREATE) {
                    self.tape.created(name);
                }
                let root = Arc::clone(self);
                let name = name.to_owned();
                Ok((
                    DriveFile {
                        root,
                        file,
                        name,
                        sync,
                    },
                    true,
                ))
            }
            // Linux has created the file by the time it refuses `O_DIRECT`.
            Err(Errno::INVAL) => {
                let file = self.open_file(name, flags - OFlags::EXCL, sync)?;
                Ok((file, false))
            }
            Err(error) => Err(self.sort(&format!("open {name}"), error)),
        }
    }

    /// Room of the file system.
    pub(crate) fn room(&self) -> Result<FileSystemRoom, DriveError> {
        #[cfg(test)]
        if let Some(capacity) = self.pretended_capacity.get() {
            let used = crate::tests::segment_blocks(&self.path);
            return Ok(FileSystemRoom {
                capacity: *capacity,
                available: capacity.saturating_sub(used),
            });
        }
        let stat = rustix::fs::fstatvfs(&self.dir).map_err(|error| self.sort("statvfs", error))?;
        Ok(FileSystemRoom {
            capacity: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// Whether the path still leads to the directory that was opened; fails the drive where it does not.
    pub(crate) fn path_leads_here(&self) -> bool {
        let here = self.is_at_path();
        if !here {
            self.fail("its path leads elsewhere: unmounted or replaced");
        }
        here
    }

    fn is_at_path(&self) -> bool {
        let (Ok(now), Ok(opened)) = (std::fs::metadata(&self.path), self.dir.metadata()) else {
            return false;
        };
        (now.dev(), now.ino()) == (opened.dev(), opened.ino())
    }
}

/// The directory part of a name; `""` for names in the root.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Names are made by us; one that leaves the root is a mistake, and is not followed.
pub(crate) fn checked(name: &str) -> Result<(), DriveError> {
    let fit = |part: &str| !part.is_empty() && part != "." && part != "..";
    if name.split('/').all(fit) && !name.as_bytes().contains(&0) {
        Ok(())
    } else {
        let shown = OsStr::from_bytes(name.as_bytes()).display().to_string();
        Err(DriveError::Failed(format!(
            "file name {shown:?} is not below the drive"
        )))
    }
}
