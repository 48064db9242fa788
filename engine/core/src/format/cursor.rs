//! Reading and writing fields; the frame that every structure shares.

use super::FormatError;

/// Bytes of the frame's head: magic, version.
const HEAD_BYTES: usize = 10;

/// CRC32C, as in every checksum of the formats.
pub fn crc32c(bytes: &[u8]) -> u32 {
    // crc-fast returns 32-bit CRCs in the low half.
    (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) & 0xffff_ffff) as u32
}

/// Takes fields off the front of a slice; errors instead of panicking.
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as a `what`.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }
    /// The error for a field that holds nonsense.
    pub(super) fn invalid(&self, field: &'static str) -> FormatError {
        FormatError::Invalid {
            what: self.what,
            field,
        }
    }
    /// The next `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.invalid("length"))?;
        self.rest = rest;
        Ok(head)
    }
    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.invalid("length"))?;
        self.rest = rest;
        Ok(*head)
    }
    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_be_bytes(self.array()?))
    }
    pub(super) fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    /// Ends; bytes left over mean a length that lies.
    pub(super) fn end(self) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.invalid("length"))
        }
    }
}

/// One kind of structure.
pub(super) struct Kind {
    /// What messages call it.
    pub(super) what: &'static str,
    /// Its first eight bytes.
    pub(super) magic: [u8; 8],
    /// The version this build writes, and the newest it reads.
    pub(super) version: u16,
    /// Longest, bytes.
    pub(super) bytes_max: usize,
}

impl Kind {
    /// Appends head, body and CRC to `out`. The length field counts all of it.
    pub(super) fn seal(
        &self,
        out: &mut Vec<u8>,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), FormatError> {
        let too_long = || FormatError::Invalid {
            what: self.what,
            field: "length",
        };
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        body(&mut bytes);
        let length = bytes.len().saturating_add(4);
        let field = u32::try_from(length).map_err(|_error| too_long())?;
        if length > self.bytes_max {
            return Err(too_long());
        }
        if let Some(slot) = bytes.get_mut(HEAD_BYTES..LENGTH_END) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Checks magic, length, CRC and version of what begins at `bytes[0]`; gives a reader over the
    /// body and the whole length.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<(Reader<'a>, usize), FormatError> {
        let what = self.what;
        let truncated = |needed| FormatError::Truncated { what, needed };
        let prefix = bytes.get(..self.magic.len().min(bytes.len()));
        if prefix != self.magic.get(..self.magic.len().min(bytes.len())) {
            return Err(FormatError::Magic(what));
        }
        let mut head = Reader::new(what, bytes.get(8..).unwrap_or_default());
        let (Ok(version), Ok(length)) = (head.u16(), head.u32()) else {
            return Err(truncated(LENGTH_END));
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < LENGTH_END.saturating_add(4) || length > self.bytes_max {
            return Err(head.invalid("length"));
        }
        let whole = bytes.get(..length).ok_or_else(|| truncated(length))?;
        let (rest, crc) = whole.split_last_chunk().ok_or_else(|| truncated(length))?;
        let sound = crc32c(rest) == u32::from_be_bytes(*crc);
        #[cfg(sabotage)]
        let sound = sound || engine_types::sabotage("skip-header-crc");
        if !sound {
            return Err(FormatError::Checksum(what));
        }
        if version > self.version {
            return Err(FormatError::Newer {
                what,
                found: version,
                known: self.version,
            });
        }
        if version == 0 {
            return Err(head.invalid("version"));
        }
        let body = rest.get(LENGTH_END..).unwrap_or_default();
        Ok((Reader::new(what, body), length))
    }
}

/// Where the length field ends and the body begins.
const LENGTH_END: usize = HEAD_BYTES + 4;

/// `length` rounded up to `align` (a power of two); saturates.
pub(super) const fn round_up(length: usize, align: usize) -> usize {
    let mask = align.wrapping_sub(1);
    length.saturating_add(mask) & !mask
}
