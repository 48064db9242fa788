//! How far a drive's scrub is, kept on the drive so that a restart goes on where it was: the file
//! `shards/scrub` (**format**): `DMSCRUB\n`, value [`Kept`], CRC32C (4, big-endian) of all before.
//!
//! A file that is missing or damaged costs one pass from the start, nothing else.

use engine_core::format::crc32c;
use engine_core::meta::{decode, encode};
use engine_types::CopyToken;
use serde::{Deserialize, Serialize};

/// Its name on the drive.
pub(crate) const KEPT_FILE: &str = "shards/scrub";
const MAGIC: &[u8; 8] = b"DMSCRUB\n";

/// Where a damaged copy lay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct KeptCopy {
    pub(crate) token: CopyToken,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A segment's last whole reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct KeptSegment {
    pub(crate) segment: u64,
    /// Every record that begins below this offset was read and found right, or is in `open`.
    pub(crate) below: u64,
    /// When, Unix ms.
    pub(crate) at: u64,
}

/// A drive's scrub.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Passes begun.
    pub(crate) pass: u64,
    /// When this one was, Unix ms; 0: never.
    pub(crate) started: u64,
    /// When one last ended whole, Unix ms; 0: never.
    pub(crate) ended: u64,
    /// Asked for by hand: as fast as the foreground allows.
    pub(crate) forced: bool,
    /// Next segment and offset; none: no pass runs.
    pub(crate) at: Option<(u64, u64)>,
    /// Bytes and shards read in this pass, and how many were damaged.
    pub(crate) bytes: u64,
    pub(crate) shards: u64,
    pub(crate) damaged: u64,
    /// When the stripe maps were last held against the drives, Unix ms; 0: never.
    pub(crate) maps_ended: u64,
    /// Segments that were read whole.
    pub(crate) segments: Vec<KeptSegment>,
    /// Damaged copies that stripes still name.
    pub(crate) open: Vec<KeptCopy>,
    /// Whoever used the drive last ended in order: true from then until the next start meets it.
    pub(crate) in_order: bool,
}

impl Kept {
    /// The file's content.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&encode(self));
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// What [`Kept::to_bytes`] gave; none if it is damaged, or a newer build's.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        decode(body.strip_prefix(MAGIC)?).ok()
    }
}

/// For fuzzing: what the file `bytes`, or none, reads as, written once more.
#[doc(hidden)]
pub fn reads_again(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    let kept = bytes.map_or(Some(Kept::default()), Kept::from_bytes)?;
    Some(kept.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_no_flip_goes_unseen() {
        let kept = Kept {
            pass: 3,
            at: Some((7, 4096)),
            segments: vec![KeptSegment {
                segment: 7,
                below: 8192,
                at: 99,
            }],
            open: vec![KeptCopy {
                token: CopyToken([5; 16]),
                segment: 2,
                offset: 4096,
            }],
            ..Kept::default()
        };
        let bytes = kept.to_bytes();
        assert_eq!(Kept::from_bytes(&bytes), Some(kept));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Kept::from_bytes(&flipped), None, "{at}");
        }
        assert_eq!(Kept::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Kept::from_bytes(&[]), None);
    }
}
