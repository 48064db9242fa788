//! Finds the sound records of a segment without its footer or index, block by block.

use crate::aligned::AlignedBuffer;
use crate::drive_file::DriveFile;
use crate::index::Place;
use crate::recover::Recovery;
use crate::segment::{ALIGN, corrupt};
use engine_core::format::{BLOCK_BYTES, FormatError, HEADER_BYTES_MAX, RECORD_ALIGN, ShardHeader};
use engine_core::ports::DriveError;
use engine_types::{CopyToken, DriveUuid};

/// Bytes read at a time: a multiple of both block sizes.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Finds the sound records of a segment, in order of place.
pub(crate) fn scan(
    file: &DriveFile,
    drive: DriveUuid,
    number: u64,
    report: &mut Recovery,
    mut found: impl FnMut(CopyToken, Place) -> Result<(), DriveError>,
) -> Result<(), DriveError> {
    let length = file.length()?;
    let length = length - length % ALIGN;
    let mut window = Window {
        file,
        length,
        buffer: AlignedBuffer::new(WINDOW_BYTES),
        start: 0,
        filled: 0,
        careful: 0,
    };
    let mut offset = ALIGN;
    while offset < length {
        let header = match window.block(offset)? {
            Some(block) if block.starts_with(&ShardHeader::MAGIC) => ShardHeader::decode(block),
            Some(_) => Err(FormatError::Magic("shard header")),
            None => {
                report.unreadable = report.unreadable.saturating_add(1);
                offset = offset.saturating_add(ALIGN);
                continue;
            }
        };
        let header = match header {
            Ok(header) => header,
            Err(error @ FormatError::Newer { .. }) => return Err(corrupt_newer(&error)),
            Err(_) => {
                offset = offset.saturating_add(ALIGN);
                continue;
            }
        };
        let place = Place {
            segment: number,
            offset,
            length: header.record_length(),
        };
        let ours = (header.drive, header.segment, header.offset) == (drive, number, offset);
        if !ours || place.end() > length {
            offset = offset.saturating_add(ALIGN);
            continue;
        }
        match payload_is_sound(&window, &header, place) {
            Ok(true) => {
                report.indexed = report.indexed.saturating_add(1);
                found(header.token, place)?;
                offset = place.end();
            }
            Ok(false) => {
                report.damaged = report.damaged.saturating_add(1);
                offset = offset.saturating_add(ALIGN);
            }
            Err(DriveError::Corrupt(_)) => {
                report.unreadable = report.unreadable.saturating_add(1);
                offset = offset.saturating_add(ALIGN);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn corrupt_newer(error: &FormatError) -> DriveError {
    let DriveError::Corrupt(text) = corrupt(error) else {
        return DriveError::Failed(error.to_string());
    };
    DriveError::Failed(text)
}

/// A part of a segment in memory.
struct Window<'a> {
    file: &'a DriveFile,
    /// Of the file, whole blocks.
    length: u64,
    buffer: AlignedBuffer,
    start: u64,
    filled: usize,
    /// Up to here it is read block by block: something there did not read.
    careful: u64,
}

impl Window<'_> {
    /// The header block at `offset`; none: it does not read.
    fn block(&mut self, offset: u64) -> Result<Option<&[u8]>, DriveError> {
        let filled = self.filled as u64;
        if (offset < self.start || offset.saturating_add(ALIGN) > self.start.saturating_add(filled))
            && !self.fill(offset)?
        {
            return Ok(None);
        }
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let end = at.saturating_add(HEADER_BYTES_MAX);
        Ok(Some(self.buffer.bytes().get(at..end).unwrap_or_default()))
    }

    /// Reads from `offset` on, as much as can be; false: not even one block.
    fn fill(&mut self, offset: u64) -> Result<bool, DriveError> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut sizes = [WINDOW_BYTES.min(left), RECORD_ALIGN.min(left)].into_iter();
        if offset < self.careful {
            sizes.next();
        }
        for size in sizes {
            (self.start, self.filled) = (offset, 0);
            let (bytes, _) = self.buffer.bytes_mut().split_at_mut(size);
            match self.file.read_at(bytes, offset) {
                Ok(()) => {
                    self.filled = size;
                    return Ok(true);
                }
                Err(DriveError::Corrupt(_)) => {
                    self.careful = self.careful.max(offset.saturating_add(size as u64));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn payload_is_sound(
    window: &Window<'_>,
    header: &ShardHeader,
    place: Place,
) -> Result<bool, DriveError> {
    let length = usize::try_from(place.length).unwrap_or(0);
    let mut record = AlignedBuffer::new(length);
    window.file.read_at(record.bytes_mut(), place.offset)?;
    let from = usize::try_from(header.payload_offset()).unwrap_or(usize::MAX);
    let until = from.saturating_add(usize::try_from(header.payload_length).unwrap_or(usize::MAX));
    let payload = record.bytes().get(from..until).unwrap_or_default();
    let mut blocks = payload.chunks(BLOCK_BYTES).enumerate();
    Ok(blocks.all(|(number, bytes)| header.block_is_sound(number, bytes)))
}
