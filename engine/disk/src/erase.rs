//! Removing files: so that they are gone for good, and erasing them: so that their bytes are too.

use crate::file::{Root, checked, parent};
use engine_core::ports::DriveError;
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use std::os::unix::fs::FileExt;

/// Zeros written at once.
const ZEROS_BYTES: usize = 64 * 1024;

impl Root {
    /// Overwrites a file with zeros where it lies, syncs it, and removes it. A file system that
    /// copies on write puts the zeros elsewhere, and flash may too: the caller's document says so.
    pub(crate) fn erase(&self, name: &str) -> Result<(), DriveError> {
        match self.overwrite(name) {
            Ok(()) | Err(DriveError::NotFound) => self.remove(name),
            Err(error) => Err(error),
        }
    }

    fn overwrite(&self, name: &str) -> Result<(), DriveError> {
        let file = self.open_at(name, OFlags::WRONLY)?;
        #[cfg(sabotage)]
        if engine_types::sabotage("erase-by-unlink") {
            return Ok(());
        }
        let failed = |error: std::io::Error| self.sort_io(&format!("overwrite {name}"), &error);
        let length = file.metadata().map_err(failed)?.len();
        let zeros = vec![0_u8; ZEROS_BYTES];
        let mut at = 0;
        while at < length {
            let left = usize::try_from(length - at).unwrap_or(ZEROS_BYTES);
            let some = zeros.get(..left).unwrap_or(&zeros);
            file.write_all_at(some, at).map_err(failed)?;
            #[cfg(test)]
            self.tape.wrote(name, at, some);
            at += some.len() as u64;
        }
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-erase-fsync") {
            return Ok(());
        }
        rustix::fs::fdatasync(&file).map_err(|error| self.sync_failed(name, error))?;
        #[cfg(test)]
        self.tape.synced(name);
        Ok(())
    }

    /// Removes a file or tree, durably; absent is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DriveError> {
        self.working()?;
        checked(name)?;
        match self.remove_any(name) {
            #[cfg(sabotage)]
            Ok(()) if engine_types::sabotage("skip-remove-fsync") => Ok(()),
            Ok(()) => self.sync_directory(parent(name)),
            Err(DriveError::NotFound) => self.settle(parent(name)),
            Err(error) => Err(error),
        }
    }

    fn remove_any(&self, name: &str) -> Result<(), DriveError> {
        let sort = |error| self.sort(&format!("remove {name}"), error);
        #[cfg(test)]
        if let Some(error) = self.faults.remove(name) {
            return Err(sort(error));
        }
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) => {
                #[cfg(test)]
                self.tape.removed(name);
                return Ok(());
            }
            // POSIX says EPERM for a directory, Linux EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(sort(error)),
        }
        for inner in self.names(name)? {
            self.remove_any(&format!("{name}/{inner}"))?;
        }
        rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR).map_err(sort)?;
        #[cfg(test)]
        self.tape.removed(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erased_files_bytes_are_gone_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::lock(dir.path()).unwrap();
        for length in [0, 1, ZEROS_BYTES - 1, ZEROS_BYTES, 2 * ZEROS_BYTES + 1] {
            root.write("keyring/old", &vec![7; length]).unwrap();
            // Another name for the same blocks shows what is left of them.
            let kept = dir.path().join("kept");
            std::fs::hard_link(dir.path().join("keyring/old"), &kept).unwrap();
            root.erase("keyring/old").unwrap();
            assert!(matches!(
                root.read("keyring/old"),
                Err(DriveError::NotFound)
            ));
            assert!(std::fs::read(&kept).unwrap() == vec![0; length], "{length}");
            std::fs::remove_file(&kept).unwrap();
        }
        root.erase("keyring/old").unwrap();
    }
}
