//! Where records gather before they are written.
//!
//! Small records of a group go out in one write, from one aligned buffer; payloads that lie aligned
//! in memory already go out from there, uncopied.

use crate::aligned::AlignedBuffer;
use crate::drive_file::DriveFile;
use crate::index::Place;
use engine_core::format::RECORD_ALIGN;
use engine_core::ports::DriveError;

/// Bytes of the buffer, and so of the largest write from it. Larger than a core's L2 on purpose: each
/// write waits for the drive and then for a core, which on a busy machine costs more than the copy.
const STAGING_BYTES: usize = 4 * 1024 * 1024;
/// Payload bytes from which an aligned payload is written from where it lies.
const UNCOPIED_BYTES_MIN: usize = 64 * 1024;

/// Padding.
static ZEROS: [u8; RECORD_ALIGN] = [0; RECORD_ALIGN];

/// Bytes of one segment that are not written yet: those from `at` on.
#[derive(Debug)]
pub(crate) struct Staging {
    buffer: AlignedBuffer,
    used: usize,
    at: u64,
}

impl Default for Staging {
    fn default() -> Self {
        Self {
            buffer: AlignedBuffer::new(STAGING_BYTES),
            used: 0,
            at: 0,
        }
    }
}

impl Staging {
    /// Takes up a whole record: header, payload, padding. It follows the one before, or begins
    /// after a [`Self::flush`].
    pub(crate) fn record(
        &mut self,
        file: &DriveFile,
        place: Place,
        head: &[u8],
        payload: &[u8],
    ) -> Result<(), DriveError> {
        if self.used == 0 {
            self.at = place.offset;
        }
        self.push(file, head)?;
        let aligned = payload.as_ptr().align_offset(RECORD_ALIGN) == 0
            && head.len().is_multiple_of(RECORD_ALIGN)
            && payload.len() >= UNCOPIED_BYTES_MIN;
        let uncopied = if aligned {
            payload.len() - payload.len() % RECORD_ALIGN
        } else {
            0
        };
        let (direct, rest) = payload.split_at(uncopied);
        if !direct.is_empty() {
            self.flush(file)?;
            file.write_at(direct, self.at)?;
            self.at = self.at.saturating_add(direct.len() as u64);
        }
        self.push(file, rest)?;
        let written = self.at.saturating_add(self.used as u64);
        let padding = usize::try_from(place.end().saturating_sub(written)).unwrap_or(0);
        self.push(file, ZEROS.get(..padding).unwrap_or_default())
    }

    /// Adds bytes, writing the buffer out whenever it is full.
    fn push(&mut self, file: &DriveFile, mut bytes: &[u8]) -> Result<(), DriveError> {
        while !bytes.is_empty() {
            if self.used == STAGING_BYTES {
                self.flush(file)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(STAGING_BYTES - self.used));
            let end = self.used.saturating_add(now.len());
            if let Some(slot) = self.buffer.bytes_mut().get_mut(self.used..end) {
                slot.copy_from_slice(now);
            }
            self.used = end;
            bytes = later;
        }
        Ok(())
    }

    /// Writes out what has gathered: whole blocks, as every record is.
    pub(crate) fn flush(&mut self, file: &DriveFile) -> Result<(), DriveError> {
        if self.used > 0 {
            let bytes = self.buffer.bytes().get(..self.used).unwrap_or_default();
            file.write_at(bytes, self.at)?;
            self.at = self.at.saturating_add(self.used as u64);
            self.used = 0;
        }
        Ok(())
    }

    /// Drops what has gathered.
    pub(crate) fn forget(&mut self) {
        self.used = 0;
    }
}
