//! Segment files: made, opened, listed, deleted. What is in them: `engine_core::format`.
//!
//! A segment is preallocated, and its header block and its name are durable before a record goes
//! in. `O_DIRECT` where the file system takes it: through the page cache the same append costs ten
//! times the CPU. All offsets and lengths handed to such files are multiples of 4 KiB, and so are
//! the buffers' addresses.

use crate::aligned::AlignedBuffer;
use crate::drive_file::{DriveFile, SyncPoint};
use crate::file::Root;
use engine_core::format::{
    FOOTER_TRAILER_BYTES, FormatError, RECORD_ALIGN, SEGMENT_HEADER_BYTES, SegmentFooter,
    SegmentHeader, footer_length,
};
use engine_core::ports::DriveError;
use engine_types::DriveUuid;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where segments lie on a drive.
pub(crate) const SEGMENTS: &str = "shards/segments";
/// Open segments kept for readers, of up to two handles each.
pub(crate) const OPEN_SEGMENTS_MAX: usize = 128;
/// [`RECORD_ALIGN`] as an offset.
pub(crate) const ALIGN: u64 = RECORD_ALIGN as u64;

/// The segment files of one drive.
#[derive(Debug)]
pub(crate) struct Segments {
    root: Arc<Root>,
    drive: DriveUuid,
    /// Whether `O_DIRECT` is (still believed to be) taken.
    direct: AtomicBool,
    open: Mutex<HashMap<u64, Handles>>,
}

/// The open handles of one segment.
#[derive(Debug)]
struct Handles {
    file: Arc<DriveFile>,
    /// For reads through the page cache.
    cached: Option<Arc<DriveFile>>,
}

fn name(number: u64) -> String {
    format!("{SEGMENTS}/{number:016x}")
}

/// A structure did not read: damage, except that a newer one is named.
pub(crate) fn corrupt(error: &FormatError) -> DriveError {
    DriveError::Corrupt(error.to_string())
}

/// A footer as it is written: whole blocks.
pub(crate) fn footer_block(footer: &SegmentFooter) -> Result<AlignedBuffer, DriveError> {
    let mut bytes = Vec::new();
    footer.encode(&mut bytes).map_err(|error| corrupt(&error))?;
    let mut aligned = AlignedBuffer::new(bytes.len());
    aligned.bytes_mut().copy_from_slice(&bytes);
    Ok(aligned)
}

impl Segments {
    pub(crate) fn new(root: &Arc<Root>, drive: DriveUuid) -> Self {
        Self {
            root: Arc::clone(root),
            drive,
            direct: AtomicBool::new(true),
            open: Mutex::new(HashMap::new()),
        }
    }

    /// Numbers of the segments that are there, ascending.
    pub(crate) fn list(&self) -> Result<Vec<u64>, DriveError> {
        let names = match self.root.names(SEGMENTS) {
            Err(DriveError::NotFound) => return Ok(Vec::new()),
            other => other?,
        };
        let number = |name: &String| match name.len() {
            16 => u64::from_str_radix(name, 16).ok(),
            _ => None,
        };
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes a segment of `length` bytes, header and name durable. An error leaves no file that
    /// matters.
    pub(crate) fn create(&self, number: u64, length: u64) -> Result<Arc<DriveFile>, DriveError> {
        let made = self.open_direct(number, OFlags::CREATE | OFlags::EXCL)?;
        match self.prepare(number, &made, length) {
            Ok(()) => {
                let file = Arc::new(made);
                Self::keep(&mut self.open.lock(), number, &file);
                Ok(file)
            }
            Err(error) => {
                if let Err(left) = self.root.remove(&name(number)) {
                    tracing::debug!(number, %left, "an unused segment stays behind");
                }
                Err(error)
            }
        }
    }

    fn prepare(&self, number: u64, file: &DriveFile, length: u64) -> Result<(), DriveError> {
        file.allocate(length)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let header = SegmentHeader {
            segment: number,
            drive: self.drive,
            created: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0)),
        };
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        header.encode(&mut bytes).map_err(|error| corrupt(&error))?;
        let mut block = AlignedBuffer::new(SEGMENT_HEADER_BYTES);
        block.bytes_mut().copy_from_slice(&bytes);
        file.write_at(block.bytes(), 0)?;
        file.sync()?;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-segment-dir-fsync") {
            return Ok(());
        }
        self.root.sync_directory(SEGMENTS)
    }

    fn open_direct(&self, number: u64, more: OFlags) -> Result<DriveFile, DriveError> {
        let (name, flags) = (name(number), OFlags::RDWR | more);
        if !self.direct.load(Ordering::Relaxed) {
            return self.root.open_file(&name, flags, SyncPoint::Segment);
        }
        let (file, direct) = self.root.open_direct(&name, flags, SyncPoint::Segment)?;
        if !direct {
            tracing::info!(name, "no O_DIRECT here: segments go through the page cache");
            self.direct.store(false, Ordering::Relaxed);
        }
        Ok(file)
    }

    /// An open segment; `NotFound` if it has been deleted.
    pub(crate) fn open(&self, number: u64) -> Result<Arc<DriveFile>, DriveError> {
        // Locked as long as it takes: see `delete`.
        let mut open = self.open.lock();
        if let Some(handles) = open.get(&number) {
            return Ok(Arc::clone(&handles.file));
        }
        let file = Arc::new(self.open_direct(number, OFlags::empty())?);
        Self::keep(&mut open, number, &file);
        Ok(file)
    }

    /// A segment for reads through the page cache; `None` where there is no other way.
    pub(crate) fn open_cached(&self, number: u64) -> Result<Option<Arc<DriveFile>>, DriveError> {
        drop(self.open(number)?);
        if !self.direct.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut open = self.open.lock();
        let Some(handles) = open.get_mut(&number) else {
            return Err(DriveError::NotFound);
        };
        if handles.cached.is_none() {
            let (flags, sync) = (OFlags::RDONLY, SyncPoint::Segment);
            let file = self.root.open_file(&name(number), flags, sync)?;
            file.expect_scattered_reads();
            handles.cached = Some(Arc::new(file));
        }
        Ok(handles.cached.clone())
    }

    fn keep(open: &mut HashMap<u64, Handles>, number: u64, file: &Arc<DriveFile>) {
        if open.len() >= OPEN_SEGMENTS_MAX {
            // Any other will do: all are equally likely to be read.
            let victim = open.keys().next().copied();
            victim.map(|victim| open.remove(&victim));
        }
        let file = Arc::clone(file);
        open.insert(number, Handles { file, cached: None });
    }

    #[cfg(test)]
    pub(crate) fn kept_open(&self) -> usize {
        self.open.lock().len()
    }

    /// Deletes a segment, durably.
    pub(crate) fn delete(&self, number: u64) -> Result<(), DriveError> {
        self.root.remove(&name(number))?;
        // Behind the unlink: who opened it before that has kept it by now, and its blocks would stay
        // as long as the handle does.
        self.open.lock().remove(&number);
        Ok(())
    }

    /// The footer of a sealed segment and where it begins; `None` if it was never sealed, or the
    /// footer is damaged.
    pub(crate) fn footer(
        &self,
        number: u64,
        file: &DriveFile,
    ) -> Result<Option<(SegmentFooter, u64)>, DriveError> {
        let length = file.length()?;
        if length < ALIGN.saturating_mul(2) || length % ALIGN != 0 {
            return Ok(None);
        }
        let mut tail = AlignedBuffer::new(RECORD_ALIGN);
        match file.read_at(tail.bytes_mut(), length.saturating_sub(ALIGN)) {
            Err(DriveError::Corrupt(_)) => return Ok(None),
            other => other?,
        }
        let trailer = RECORD_ALIGN.saturating_sub(FOOTER_TRAILER_BYTES);
        let Some(Ok(bytes)) = tail.bytes().get(trailer..).map(footer_length) else {
            return Ok(None);
        };
        let start = length.saturating_sub(u64::from(bytes));
        if u64::from(bytes) % ALIGN != 0 || bytes == 0 || start < ALIGN {
            return Ok(None);
        }
        let mut whole = AlignedBuffer::new(usize::try_from(bytes).unwrap_or(0));
        match file.read_at(whole.bytes_mut(), start) {
            Err(DriveError::Corrupt(_)) => return Ok(None),
            other => other?,
        }
        match SegmentFooter::decode(whole.bytes()) {
            Ok(footer) if footer.segment == number && footer.drive == self.drive => {
                Ok(Some((footer, start)))
            }
            Err(error @ FormatError::Newer { .. }) => Err(DriveError::Failed(error.to_string())),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}
