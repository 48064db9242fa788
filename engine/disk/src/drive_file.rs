//! One open file of a drive: the calls on it, their errors sorted by [`Root::sort`].

use crate::aligned::AlignedBuffer;
use crate::bad_places::Met;
use crate::file::Root;
use crate::segment::ALIGN;
#[cfg(test)]
use crate::tests::faults::PageCache;
use engine_core::format::RECORD_ALIGN;
use engine_core::ports::DriveError;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

/// Which fsync of a file it is: names the sabotage that skips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncPoint {
    /// A segment's.
    Segment,
    /// An append-only file's.
    Log,
}

impl SyncPoint {
    #[cfg(sabotage)]
    fn skipped(self) -> bool {
        engine_types::sabotage(match self {
            Self::Segment => "skip-segment-fsync",
            Self::Log => "skip-log-fsync",
        })
    }
}

/// An open file of a drive. All offsets and lengths in bytes.
#[derive(Debug)]
pub(crate) struct DriveFile {
    pub(crate) root: Arc<Root>,
    pub(crate) file: File,
    pub(crate) name: String,
    pub(crate) sync: SyncPoint,
}

impl DriveFile {
    fn doing(&self, verb: &str) -> String {
        format!("{verb} {}", self.name)
    }

    /// Fills `buffer` from `offset`; `Corrupt` if the file ends before, or where a segment does not
    /// read there while the drive works otherwise.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DriveError> {
        self.root.working()?;
        let Err(error) = self.read_plain(buffer, offset) else {
            return Ok(());
        };
        match Errno::from_io_error(&error) {
            // What a lost sector, a wrong checksum of the file system or of the device come as.
            Some(Errno::IO | Errno::NODATA | Errno::ILSEQ) if self.sync == SyncPoint::Segment => {
                Err(self.unreadable(offset, &error))
            }
            _ => Err(self.root.sort_io(&self.doing("read"), &error)),
        }
    }

    /// As [`Self::read_at`], where the answer says nothing of the drive: for reads that have another way.
    pub(crate) fn try_read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DriveError> {
        self.root.working()?;
        #[cfg(test)]
        let read = match self.root.faults.page_cache() {
            PageCache::AsTheMedium => self.read_plain(buffer, offset),
            PageCache::Warm => self.file.read_exact_at(buffer, offset),
            PageCache::Wrong => {
                buffer.fill(0xee);
                Ok(())
            }
        };
        #[cfg(not(test))]
        let read = self.read_plain(buffer, offset);
        read.map_err(|error| DriveError::Failed(format!("{}: {error}", self.doing("read"))))
    }

    /// No more is to be read ahead than what is asked for. A hint: what the kernel makes of it is its own.
    pub(crate) fn expect_scattered_reads(&self) {
        let advised = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::Random);
        if let Err(error) = advised {
            tracing::debug!(name = self.name, %error, "fadvise");
        }
    }

    fn read_plain(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        #[cfg(test)]
        if let Some(error) = self.root.faults.read(&self.name, offset, buffer.len()) {
            return Err(error.into());
        }
        self.file.read_exact_at(buffer, offset)
    }

    fn unreadable(&self, offset: u64, error: &std::io::Error) -> DriveError {
        let text = format!("unreadable: {} at {offset}: {error}", self.name);
        #[cfg(sabotage)]
        if engine_types::sabotage("lost-sector-is-the-end") {
            self.root.fail(&text);
            return DriveError::Failed(text);
        }
        let works = match self
            .root
            .bad_places
            .meet(&self.name, offset, Instant::now())
        {
            Met::Known => true,
            Met::New => {
                tracing::warn!(path = %self.root.path().display(), "{text}");
                self.reads_elsewhere()
            }
            Met::TooMany => false,
        };
        if works {
            return DriveError::Corrupt(text);
        }
        self.root.fail(&text);
        DriveError::Failed(text)
    }

    /// Whether its first block reads, or its last where the first is what does not.
    fn reads_elsewhere(&self) -> bool {
        let end = self.length().unwrap_or(0) / ALIGN * ALIGN;
        let mut block = AlignedBuffer::new(RECORD_ALIGN);
        [0, end.saturating_sub(ALIGN)]
            .into_iter()
            .any(|at| self.read_plain(block.bytes_mut(), at).is_ok())
    }

    /// Writes all of `bytes`; not durable before [`Self::sync`].
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DriveError> {
        self.root.working()?;
        #[cfg(test)]
        if let Some(error) = self.root.faults.write(&self.name) {
            return Err(self.root.sort(&self.doing("write"), error));
        }
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.root.sort_io(&self.doing("write"), &error))?;
        #[cfg(test)]
        self.root.tape.wrote(&self.name, offset, bytes);
        Ok(())
    }

    /// fdatasync: data, and the length if it grew.
    pub(crate) fn sync(&self) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if self.sync.skipped() {
            return Ok(());
        }
        self.root.working()?;
        #[cfg(test)]
        if let Some(error) = self.root.faults.sync(&self.name) {
            return Err(self.root.sync_failed(&self.name, error));
        }
        rustix::fs::fdatasync(&self.file)
            .map_err(|error| self.root.sync_failed(&self.name, error))?;
        #[cfg(test)]
        self.root.tape.synced(&self.name);
        Ok(())
    }

    /// [`Self::sync`] of a segment that has just got its footer.
    pub(crate) fn sync_footer(&self) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-footer-fsync") {
            return Ok(());
        }
        self.sync()
    }

    /// [`Self::sync`] of what a killed process had written but not synced, and which is about to be
    /// believed.
    pub(crate) fn sync_found(&self) -> Result<(), DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-found-fsync") {
            return Ok(());
        }
        self.sync()
    }

    /// Reserves blocks up to `length`. File systems that cannot are left to write as they go.
    pub(crate) fn allocate(&self, length: u64) -> Result<(), DriveError> {
        self.root.working()?;
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => rustix::fs::ftruncate(&self.file, length)
                .map_err(|error| self.root.sort(&self.doing("extend"), error))?,
            Err(error) => return Err(self.root.sort(&self.doing("allocate"), error)),
        }
        #[cfg(test)]
        self.root.tape.resized(&self.name, length);
        Ok(())
    }

    /// Gives the blocks of a range back; it reads as zeros afterwards. False where the file system
    /// cannot.
    pub(crate) fn punch(&self, offset: u64, length: u64) -> Result<bool, DriveError> {
        self.root.working()?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(self.root.sort(&self.doing("punch"), error)),
        }
    }

    /// Cuts or extends; not durable before [`Self::sync`].
    pub(crate) fn set_length(&self, length: u64) -> Result<(), DriveError> {
        self.root.working()?;
        rustix::fs::ftruncate(&self.file, length)
            .map_err(|error| self.root.sort(&self.doing("truncate"), error))?;
        #[cfg(test)]
        self.root.tape.resized(&self.name, length);
        Ok(())
    }

    /// Bytes in the file.
    pub(crate) fn length(&self) -> Result<u64, DriveError> {
        Ok(self.stat()?.0)
    }

    /// Bytes in the file, and bytes of blocks it holds.
    pub(crate) fn stat(&self) -> Result<(u64, u64), DriveError> {
        let stat = rustix::fs::fstat(&self.file)
            .map_err(|error| self.root.sort(&self.doing("stat"), error))?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
        Ok((length, blocks.saturating_mul(512)))
    }

    /// Bytes of the first `length` that hold data: not holes, and not blocks that were reserved and
    /// never written. `None` where the file system does not tell.
    pub(crate) fn written(&self, length: u64) -> Result<Option<u64>, DriveError> {
        let (mut position, mut written) = (0, 0u64);
        while position < length {
            let start = match rustix::fs::seek(&self.file, SeekFrom::Data(position)) {
                Ok(start) => start,
                // Nothing but a hole is left.
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
                Err(error) => return Err(self.root.sort(&self.doing("seek"), error)),
            };
            let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start))
                .map_err(|error| self.root.sort(&self.doing("seek"), error))?
                .min(length);
            written = written.saturating_add(end.saturating_sub(start));
            position = end.max(position.saturating_add(1));
        }
        Ok(Some(written))
    }

    /// Another handle.
    pub(crate) fn duplicate(&self) -> Result<Self, DriveError> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| self.root.sort_io(&self.doing("duplicate"), &error))?;
        Ok(Self {
            root: Arc::clone(&self.root),
            file,
            name: self.name.clone(),
            sync: self.sync,
        })
    }

    /// Its name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
