//! A segment's own blocks: the header in its first 4 KiB, the footer behind its last record.
//!
//! Behind the frame (magic, version, length; CRC32C at the end) of each, all big-endian:
//! header `DMSEGHD\n`: segment (8), drive uuid (16), created (8);
//! footer `DMSEGFT\n`: segment (8), drive uuid (16), count (4), then token (16), offset (8),
//! length (4) of each record;
//! trailer `DMSEGTR\n`, the last 22 bytes of the footer's last block: bytes of the whole (4).

use super::FormatError;
use super::cursor::{Kind, round_up};
use super::shard::RECORD_ALIGN;
use engine_types::{CopyToken, DriveUuid};

/// The header's block. Records begin behind it.
pub const SEGMENT_HEADER_BYTES: usize = RECORD_ALIGN;
/// Bytes of the trailer, at the very end of the footer.
pub const FOOTER_TRAILER_BYTES: usize = TRAILER_BYTES;
/// Most records a footer lists: 4 GiB of the smallest records.
pub const FOOTER_ENTRIES_MAX: usize = 1 << 20;

const TRAILER_BYTES: usize = 22;
const ENTRY_BYTES: usize = 28;

const HEADER: Kind = Kind {
    what: "segment header",
    magic: *b"DMSEGHD\n",
    version: 1,
    bytes_max: SEGMENT_HEADER_BYTES,
};
const FOOTER: Kind = Kind {
    what: "segment footer",
    magic: *b"DMSEGFT\n",
    version: 1,
    bytes_max: ENTRY_BYTES * FOOTER_ENTRIES_MAX + 64,
};
const TRAILER: Kind = Kind {
    what: "segment trailer",
    magic: *b"DMSEGTR\n",
    version: 1,
    bytes_max: TRAILER_BYTES,
};

/// What a segment file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number, as in its file name.
    pub segment: u64,
    /// The drive it was made on.
    pub drive: DriveUuid,
    /// When, ms since the Unix epoch; for people.
    pub created: u64,
}

impl SegmentHeader {
    /// The whole block, [`SEGMENT_HEADER_BYTES`] long.
    ///
    /// # Errors
    /// None that a value can cause.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let end = out.len().saturating_add(SEGMENT_HEADER_BYTES);
        HEADER.seal(out, |body| {
            body.extend_from_slice(&self.segment.to_be_bytes());
            body.extend_from_slice(&self.drive.0);
            body.extend_from_slice(&self.created.to_be_bytes());
        })?;
        out.resize(end, 0);
        Ok(())
    }

    /// Reads the block. Total.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut body, _length) = HEADER.open(bytes)?;
        let header = Self {
            segment: body.u64()?,
            drive: DriveUuid(body.array()?),
            created: body.u64()?,
        };
        body.end()?;
        Ok(header)
    }
}

/// One record of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterEntry {
    /// Which copy.
    pub token: CopyToken,
    /// Byte offset of the record.
    pub offset: u64,
    /// Bytes of the record, padding included.
    pub length: u32,
}

/// The records of a sealed segment, so that a lost index costs one read a segment and not a scan.
///
/// Encoded it is padded to 4 KiB and ends with a trailer that holds its length: who has the end of
/// the footer finds its start with [`footer_length`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFooter {
    /// The segment it belongs to.
    pub segment: u64,
    /// The drive it was written on.
    pub drive: DriveUuid,
    /// All records, freed ones included, by offset.
    pub entries: Vec<FooterEntry>,
}

impl SegmentFooter {
    /// Appends footer, padding and trailer: a multiple of 4 KiB.
    ///
    /// # Errors
    /// `Invalid` for more than [`FOOTER_ENTRIES_MAX`] entries.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let invalid = |field| FormatError::Invalid {
            what: FOOTER.what,
            field,
        };
        let count = u32::try_from(self.entries.len())
            .ok()
            .filter(|_| self.entries.len() <= FOOTER_ENTRIES_MAX)
            .ok_or_else(|| invalid("entry count"))?;
        let start = out.len();
        FOOTER.seal(out, |body| {
            body.extend_from_slice(&self.segment.to_be_bytes());
            body.extend_from_slice(&self.drive.0);
            body.extend_from_slice(&count.to_be_bytes());
            for entry in &self.entries {
                body.extend_from_slice(&entry.token.0);
                body.extend_from_slice(&entry.offset.to_be_bytes());
                body.extend_from_slice(&entry.length.to_be_bytes());
            }
        })?;
        let used = out.len().saturating_sub(start);
        let whole = round_up(used.saturating_add(TRAILER_BYTES), RECORD_ALIGN);
        let length = u32::try_from(whole).map_err(|_error| invalid("length"))?;
        out.resize(start.saturating_add(whole).saturating_sub(TRAILER_BYTES), 0);
        TRAILER.seal(out, |body| body.extend_from_slice(&length.to_be_bytes()))
    }

    /// Reads a footer that begins at `bytes[0]`. Total.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut body, _length) = FOOTER.open(bytes)?;
        let mut footer = Self {
            segment: body.u64()?,
            drive: DriveUuid(body.array()?),
            entries: Vec::new(),
        };
        let count = usize::try_from(body.u32()?).unwrap_or(usize::MAX);
        if count > FOOTER_ENTRIES_MAX {
            return Err(body.invalid("entry count"));
        }
        for _ in 0..count {
            footer.entries.push(FooterEntry {
                token: CopyToken(body.array()?),
                offset: body.u64()?,
                length: body.u32()?,
            });
        }
        body.end()?;
        Ok(footer)
    }
}

/// Bytes of the footer (padding and trailer included) that ends where `tail` ends; `tail` holds at
/// least [`FOOTER_TRAILER_BYTES`].
pub fn footer_length(tail: &[u8]) -> Result<u32, FormatError> {
    let start = tail.len().saturating_sub(TRAILER_BYTES);
    let (mut body, _length) = TRAILER.open(tail.get(start..).unwrap_or_default())?;
    let length = body.u32()?;
    body.end()?;
    Ok(length)
}
