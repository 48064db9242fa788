//! Directories of a drive: made, synced and listed.
//!
//! A process killed between a rename and the directory's fsync leaves a name that is visible but
//! not durable. So each directory is fsynced once before the first thing in it is believed.

use crate::file::{Root, checked, parent};
use engine_core::ports::{ASIDE, DriveError};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

impl Root {
    /// fsync of a directory; `""` is the root.
    pub(crate) fn sync_directory(&self, directory: &str) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-dir-fsync") {
            return Ok(());
        }
        self.working()?;
        let failed = |error| self.sync_failed(directory, error);
        if directory.is_empty() {
            rustix::fs::fsync(&self.dir).map_err(failed)?;
        } else {
            let opened = self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::fsync(&opened).map_err(failed)?;
        }
        #[cfg(test)]
        self.tape.directory_synced(directory);
        self.settled.lock().insert(directory.to_owned());
        Ok(())
    }

    /// Makes what stands in `directory` durable before it is believed; once a process.
    pub(crate) fn settle(&self, directory: &str) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-found-name-fsync") {
            return Ok(());
        }
        if self.settled.lock().contains(directory) {
            return Ok(());
        }
        match self.sync_directory(directory) {
            Ok(()) | Err(DriveError::NotFound | DriveError::ReadOnly) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory and its parents, durably.
    pub(crate) fn make_directories(&self, directory: &str) -> Result<(), DriveError> {
        if directory.is_empty() {
            return Ok(());
        }
        checked(directory)?;
        let ends = directory.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([directory.len()]) {
            let (name, _) = directory.split_at(end);
            match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
                Ok(()) => {
                    #[cfg(test)]
                    self.tape.directory_made(name);
                    self.sync_directory(parent(name))?;
                }
                Err(Errno::EXIST) => self.settle(parent(name))?,
                Err(error) => return Err(self.sort(&format!("create {name}"), error)),
            }
        }
        Ok(())
    }

    /// All names in a directory, unsorted; `""` is the root.
    pub(crate) fn names(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        let sort = |error| self.sort(&format!("list {directory}"), error);
        let opened = if directory.is_empty() {
            rustix::fs::openat(
                &self.dir,
                ".",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(sort)?
        } else {
            self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?
                .into()
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(opened).map_err(sort)? {
            let entry = entry.map_err(sort)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        Ok(names)
    }

    /// Names in a directory, sorted, without what is being written aside; none where it is absent.
    pub(crate) fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        self.working()?;
        if !directory.is_empty() {
            checked(directory)?;
        }
        self.settle(directory)?;
        let mut names = match self.names(directory) {
            Err(DriveError::NotFound) => return Ok(Vec::new()),
            other => other?,
        };
        names.retain(|name| !name.ends_with(ASIDE));
        names.sort();
        Ok(names)
    }
}
