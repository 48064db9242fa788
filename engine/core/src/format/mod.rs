//! What lies on a drive, byte for byte (**format**): the shard record and the segment's own blocks.
//!
//! All integers are big-endian. Every structure begins with an 8-byte magic, a 2-byte version and
//! its length, and ends with a CRC32C of all that precedes it; that frame is the same in every
//! version, so that damage is told from novelty: the CRC is checked first, and a sound structure
//! of a newer version is refused by name. Decoding is total: any bytes give a value or an error.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod cursor;
mod segment;
mod shard;

pub use cursor::crc32c;
pub use segment::{
    FOOTER_ENTRIES_MAX, FOOTER_TRAILER_BYTES, FooterEntry, SEGMENT_HEADER_BYTES, SegmentFooter,
    SegmentHeader, footer_length,
};
pub use shard::{
    BLOCK_BYTES, HEADER_BYTES_MAX, RECORD_ALIGN, ShardHeader, ShardOwner, block_checksums,
};

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The magic is another's: nothing of this kind begins here.
    #[error("not a {0}")]
    Magic(&'static str),
    /// Fewer bytes than the structure says it has; the whole needs this many.
    #[error("{what} cut short: {needed} bytes needed")]
    Truncated {
        /// Which structure.
        what: &'static str,
        /// Bytes needed.
        needed: usize,
    },
    /// The checksum does not match: damaged.
    #[error("{0} damaged: checksum mismatch")]
    Checksum(&'static str),
    /// Sound, but written by a newer build. Nothing may be concluded from it.
    #[error("{what} has version {found}; this build reads up to {known}: upgrade it")]
    Newer {
        /// Which structure.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The newest version this build reads.
        known: u16,
    },
    /// A field holds what no writer writes, or what cannot be written.
    #[error("{what} has an invalid {field}")]
    Invalid {
        /// Which structure.
        what: &'static str,
        /// Which field.
        field: &'static str,
    },
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test may panic; its numbers are small"
)]
mod tests;
