//! One record of a drive's log (**format**).
//!
//! 56 bytes of header, payload, zeros to the next multiple of 8; all numbers little-endian:
//! `magic u32, crc u32, prev u32, length u32, sequence u64, durable u64, boot u64, group u32,
//! kind u8, version u8, 0 u16, group sequence u64`.
//!
//! - `crc` is CRC32C over everything after it, so a record proves itself wherever it is found;
//!   `prev`, the predecessor's `crc`, makes the chain. One sum over both was turned down: it could
//!   not be checked after a broken predecessor, and the search behind a broken record is what tells
//!   a tear from damage.
//! - `durable` is the last sequence known to be synced when the record was written: the witness
//!   that a broken record below it had been whole.
//! - `crc` is mixed with a salt made of the drive's uuid: another drive's log is not taken for this
//!   one's, and nobody can upload bytes that look like a record.
//! - `group sequence` counts the records of one group, so that after damage the groups that lost
//!   nothing are known to have lost nothing.

use crate::raft::codec::COUNT_MAX;
use crc_fast::{CrcAlgorithm, checksum};
use engine_types::DriveUuid;

/// First bytes of every record.
pub const MAGIC: u32 = u32::from_le_bytes(*b"DMLr");
/// Version this build writes and reads.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 56;
/// Records begin at multiples of this.
pub const ALIGN: usize = 8;
/// Longest payload. A command is at most a few MiB; larger is a bug and refused before it is written.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// `group` of records that belong to the drive.
pub const NO_GROUP: u32 = u32::MAX;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First record of a file: drive uuid, file number.
    Begin = 1,
    /// One entry.
    Append = 2,
    /// The replica's vote.
    Vote = 3,
    /// Entries after an index are gone.
    Truncate = 4,
    /// Entries up to a log id are gone, inclusive.
    Purge = 5,
    /// Committed up to a log id; a hint, never waited for.
    Committed = 6,
    /// A group's live state follows, copied forward: vote, purged, committed.
    CopyBegin = 7,
    /// One copied entry.
    CopyEntry = 8,
    /// The copy is whole and replaces what came before.
    CopyEnd = 9,
    /// The group's replica has left this drive.
    Destroy = 10,
    /// Nothing but the durable mark.
    Mark = 11,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Begin,
            2 => Self::Append,
            3 => Self::Vote,
            4 => Self::Truncate,
            5 => Self::Purge,
            6 => Self::Committed,
            7 => Self::CopyBegin,
            8 => Self::CopyEntry,
            9 => Self::CopyEnd,
            10 => Self::Destroy,
            11 => Self::Mark,
            _ => return None,
        })
    }
}

/// The header, without magic, sums and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Place in the drive's log, from 1, without gaps.
    pub sequence: u64,
    /// Last sequence synced when this was written.
    pub durable: u64,
    /// Boot count of the writer.
    pub boot: u64,
    /// Whose, or [`NO_GROUP`].
    pub group: u32,
    /// What.
    pub kind: Kind,
    /// Place among the group's records, from 1; 0 for the drive's own.
    pub group_sequence: u64,
}

/// A record found whole.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Header.
    pub header: Header,
    /// Its own sum: the successor's `prev`.
    pub crc: u32,
    /// The predecessor's sum.
    pub prev: u32,
    /// Payload.
    pub payload: &'a [u8],
    /// Bytes to the next record.
    pub span: usize,
}

/// The salt of a drive's records.
pub fn salt_of(uuid: DriveUuid) -> u32 {
    crc32c(&uuid.0)
}

/// CRC32C.
pub fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes) & 0xffff_ffff).unwrap_or(0)
}

/// Appends a record whose payload `fill` writes; returns its sum. `out` must be at a multiple of
/// [`ALIGN`].
pub fn put(
    out: &mut Vec<u8>,
    salt: u32,
    prev: u32,
    header: &Header,
    fill: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    fill(out);
    let length = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX);
    let mut fields = Vec::with_capacity(HEADER_BYTES - 8);
    fields.extend_from_slice(&prev.to_le_bytes());
    fields.extend_from_slice(&length.to_le_bytes());
    fields.extend_from_slice(&header.sequence.to_le_bytes());
    fields.extend_from_slice(&header.durable.to_le_bytes());
    fields.extend_from_slice(&header.boot.to_le_bytes());
    fields.extend_from_slice(&header.group.to_le_bytes());
    fields.extend_from_slice(&[header.kind as u8, VERSION, 0, 0]);
    fields.extend_from_slice(&header.group_sequence.to_le_bytes());
    out[start + 8..start + HEADER_BYTES].copy_from_slice(&fields);
    out[start..start + 4].copy_from_slice(&MAGIC.to_le_bytes());
    let crc = crc32c(&out[start + 8..]) ^ salt;
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    crc
}

/// The version of a whole record at the front of `bytes` that a newer build wrote. Every version
/// keeps magic, sum, length and version where they stand, so that a newer one is not taken for damage.
pub fn newer(bytes: &[u8], salt: u32) -> Option<u8> {
    let head = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    if word(0)? != MAGIC || head[45] <= VERSION {
        return None;
    }
    let length = usize::try_from(word(12)?).ok()?;
    let end = HEADER_BYTES.checked_add(length)?;
    let whole = bytes.get(8..end)?;
    (crc32c(whole) ^ salt == word(4)?).then_some(head[45])
}

/// The record at the front of `bytes`, if whole.
pub fn parse(bytes: &[u8], salt: u32) -> Option<Record<'_>> {
    let head = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    if word(0)? != MAGIC {
        return None;
    }
    let (crc, prev, length) = (word(4)?, word(8)?, usize::try_from(word(12)?).ok()?);
    if length > PAYLOAD_BYTES_MAX || head[45] != VERSION {
        return None;
    }
    let whole = bytes.get(8..HEADER_BYTES + length)?;
    if crc32c(whole) ^ salt != crc {
        return None;
    }
    let header = Header {
        sequence: long(16)?,
        durable: long(24)?,
        boot: long(32)?,
        group: word(40)?,
        kind: Kind::from_byte(head[44])?,
        group_sequence: long(48)?,
    };
    let counts = [
        header.sequence,
        header.durable,
        header.boot,
        header.group_sequence,
    ];
    if counts.iter().any(|count| *count > COUNT_MAX) {
        return None;
    }
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    Some(Record {
        header,
        crc,
        prev,
        payload,
        span: (HEADER_BYTES + length).next_multiple_of(ALIGN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(payload: &[u8]) -> (Vec<u8>, Header) {
        let header = Header {
            sequence: 5,
            durable: 4,
            boot: 3,
            group: 2,
            kind: Kind::Append,
            group_sequence: 1,
        };
        let mut bytes = Vec::new();
        put(&mut bytes, 1, 77, &header, |out| {
            out.extend_from_slice(payload);
        });
        (bytes, header)
    }

    #[test]
    fn a_record_round_trips_padded() {
        for length in 0..20 {
            let payload = vec![9; length];
            let (bytes, header) = sample(&payload);
            let record = parse(&bytes, 1).expect("whole");
            assert_eq!(
                (record.header, record.prev, record.payload),
                (header, 77, payload.as_slice())
            );
            assert_eq!(record.span, bytes.len());
            assert_eq!(bytes.len() % ALIGN, 0);
        }
    }

    #[test]
    fn a_newer_record_is_told_from_a_broken_one() {
        let (mut bytes, _) = sample(b"from the future");
        assert_eq!(newer(&bytes, 1), None, "our own");
        bytes[45] = VERSION + 1;
        assert_eq!(newer(&bytes, 1), None, "a flipped version");
        let end = HEADER_BYTES + b"from the future".len();
        let crc = crc32c(&bytes[8..end]) ^ 1;
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(newer(&bytes, 1), Some(VERSION + 1));
        assert!(parse(&bytes, 1).is_none());
        assert_eq!(newer(&bytes[..end - 1], 1), None, "cut");
    }

    #[test]
    fn counts_nobody_reached_are_no_record() {
        let (_, header) = sample(b"");
        for (sequence, good) in [(COUNT_MAX, true), (COUNT_MAX + 1, false)] {
            let mut bytes = Vec::new();
            put(&mut bytes, 1, 77, &Header { sequence, ..header }, |_| {});
            assert_eq!(parse(&bytes, 1).is_some(), good);
        }
    }

    #[test]
    fn any_flipped_bit_of_header_or_payload_is_seen() {
        let (bytes, _) = sample(b"payload!");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(parse(&broken, 1).is_none(), "byte {at} bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut], 1).is_none(), "cut at {cut}");
        }
        assert!(parse(&bytes, 2).is_none(), "another drive's");
    }
}
