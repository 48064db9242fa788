//! Reading shards back. Nothing leaves here whose checksum was not compared.

use crate::aligned::Pooled;
use crate::index::Place;
use crate::store::Shared;
use engine_core::format::{BLOCK_BYTES, FormatError, HEADER_BYTES_MAX, ShardHeader};
use engine_core::ports::{DriveError, DriveFiles, ShardBuffer, ShardBytes, StoredShard};
use engine_types::CopyToken;
use std::ops::Range;

const BLOCK: u64 = BLOCK_BYTES as u64;
const HEAD: u64 = HEADER_BYTES_MAX as u64;

impl ShardBuffer for Pooled {
    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        Self::bytes_mut(self)
    }
}

impl Shared {
    /// Reads and verifies `range` of a shard's payload. Blocking.
    pub(crate) fn read(
        &self,
        token: CopyToken,
        range: &Range<u32>,
    ) -> Result<StoredShard, DriveError> {
        self.read_as(token, range, false)
    }

    fn read_as(
        &self,
        token: CopyToken,
        range: &Range<u32>,
        fresh: bool,
    ) -> Result<StoredShard, DriveError> {
        let place = self.index.get(token)?.ok_or(DriveError::NotFound)?;
        self.read_at(token, place, range, fresh).map_err(|error| {
            self.headers.forget(token);
            self.explain(token, place, error)
        })
    }

    /// Reads and verifies a whole record. Blocking.
    pub(crate) fn verify(&self, token: CopyToken) -> Result<ShardHeader, DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("scrub-skip-payload") {
            return self.read(token, &(0..0)).map(|shard| shard.header);
        }
        #[cfg(sabotage)]
        if engine_types::sabotage("scrub-page-cache") {
            return self.read(token, &(0..u32::MAX)).map(|shard| shard.header);
        }
        self.read_as(token, &(0..u32::MAX), true)
            .map(|shard| shard.header)
    }

    /// A record that was freed and punched while it was being read is not damaged.
    fn explain(&self, token: CopyToken, place: Place, error: DriveError) -> DriveError {
        match (&error, self.index.get(token)) {
            (DriveError::Corrupt(_) | DriveError::NotFound, Ok(None)) => DriveError::NotFound,
            (DriveError::NotFound, Ok(Some(_))) => {
                DriveError::Corrupt(format!("segment {:x} is gone", place.segment))
            }
            _ => error,
        }
    }

    /// The header of the record at `place`.
    pub(crate) fn read_header(
        &self,
        token: CopyToken,
        place: Place,
    ) -> Result<ShardHeader, DriveError> {
        let file = self.segments.open(place.segment)?;
        let mut block = self.pool.take(HEADER_BYTES_MAX);
        file.read_at(block.bytes_mut(), place.offset)?;
        self.check_header(token, place, block.as_ref())
    }

    fn check_header(
        &self,
        token: CopyToken,
        place: Place,
        bytes: &[u8],
    ) -> Result<ShardHeader, DriveError> {
        let header = match ShardHeader::decode(bytes) {
            Ok(header) => header,
            Err(FormatError::Newer { .. }) => {
                return Err(DriveError::Failed(
                    "shard header of a newer release".to_owned(),
                ));
            }
            Err(error) => return Err(DriveError::Corrupt(error.to_string())),
        };
        let expected = (token, self.files.uuid(), place.segment, place.offset);
        let found = (header.token, header.drive, header.segment, header.offset);
        if found != expected || header.record_length() != place.length {
            return Err(DriveError::Corrupt("another record lies there".to_owned()));
        }
        Ok(header)
    }

    /// `fresh`: from the medium, and the header too although it was seen before.
    fn read_at(
        &self,
        token: CopyToken,
        place: Place,
        range: &Range<u32>,
        fresh: bool,
    ) -> Result<StoredShard, DriveError> {
        // What the page cache gives is judged as the medium's is, but nothing is blamed on it. Who wants
        // the header alone, as who looks for orphans does, is no reader to be remembered.
        if !fresh
            && !range.is_empty()
            && self.asked.again(token, range.start)
            && let Ok(Some(file)) = self.segments.open_cached(place.segment)
        {
            let read = |into: &mut [u8], at| file.try_read_at(into, at);
            let found = self.read_with(token, place, range, fresh, read);
            #[cfg(sabotage)]
            if engine_types::sabotage("blame-page-cache") {
                return found;
            }
            if found.is_ok() {
                return found;
            }
        }
        let file = self.segments.open(place.segment)?;
        self.read_with(token, place, range, fresh, |into, at| {
            file.read_at(into, at)
        })
    }

    fn read_with(
        &self,
        token: CopyToken,
        place: Place,
        range: &Range<u32>,
        fresh: bool,
        read: impl Fn(&mut [u8], u64) -> Result<(), DriveError>,
    ) -> Result<StoredShard, DriveError> {
        let whole = u64::from(place.length);
        // Small payloads follow their header closely and are one block: one read gets both.
        let small = whole <= HEAD.saturating_add(BLOCK);
        let known = if fresh || small {
            None
        } else {
            self.headers.get(token, place)
        };
        let span = Span::of(range, whole, (small, known.is_some()));
        let mut buffer = self.pool.take(span.head.saturating_add(span.body));
        span.read(read, place, buffer.bytes_mut())?;
        let header = match known {
            Some(header) => header,
            None => self.check_header(token, place, buffer.as_ref())?,
        };
        // Who wants the header alone reads no further piece: readers' stay.
        if span.more && !small && !range.is_empty() {
            self.headers.keep(place, &header);
        }
        let payload = span.payload(&header, range, buffer.as_ref())?;
        let payload = ShardBytes::new(buffer, payload);
        Ok(StoredShard { header, payload })
    }
}

/// Which bytes of a record are read: its header in front, unless that is known, and the blocks that
/// hold a range of the payload.
struct Span {
    /// Bytes in front that hold the header.
    head: usize,
    /// Bytes of blocks behind it.
    body: usize,
    /// Bytes of blocks before the first that is read.
    skip: u64,
    /// Not all of the payload is read.
    more: bool,
}

impl Span {
    fn of(range: &Range<u32>, whole: u64, (small, known): (bool, bool)) -> Self {
        let first = u64::from(range.start) / BLOCK;
        let last = u64::from(range.end).div_ceil(BLOCK).max(first);
        let (skip, end) = if small {
            (0, whole)
        } else {
            let end = last.saturating_mul(BLOCK).saturating_add(HEAD);
            (first.saturating_mul(BLOCK), end.min(whole))
        };
        let body = end.saturating_sub(skip.saturating_add(HEAD));
        Self {
            head: if known { 0 } else { HEADER_BYTES_MAX },
            body: usize::try_from(body).unwrap_or(0),
            skip,
            more: skip > 0 || end < whole,
        }
    }

    fn read(
        &self,
        read_at: impl Fn(&mut [u8], u64) -> Result<(), DriveError>,
        place: Place,
        into: &mut [u8],
    ) -> Result<(), DriveError> {
        let blocks = place.offset.saturating_add(HEAD).saturating_add(self.skip);
        if self.head == 0 {
            read_at(into, blocks)
        } else if self.skip == 0 {
            read_at(into, place.offset)
        } else {
            let (head, body) = into.split_at_mut(self.head);
            read_at(head, place.offset)?;
            read_at(body, blocks)
        }
    }

    /// Where in what was read `range` is, every block of it compared with its checksum.
    fn payload(
        &self,
        header: &ShardHeader,
        range: &Range<u32>,
        bytes: &[u8],
    ) -> Result<Range<usize>, DriveError> {
        let missing = self
            .skip
            .saturating_add((HEADER_BYTES_MAX.saturating_sub(self.head)) as u64);
        let at = |payload: u64| {
            let at = u64::from(header.payload_offset()).saturating_add(payload);
            usize::try_from(at.saturating_sub(missing))
                .map_or(bytes.len(), |at| at.min(bytes.len()))
        };
        let length = u64::from(header.payload_length);
        let end = u64::from(range.end).min(length);
        let start = u64::from(range.start).min(end);
        for number in self.skip / BLOCK..end.div_ceil(BLOCK) {
            let from = number.saturating_mul(BLOCK);
            let until = from.saturating_add(BLOCK).min(length);
            let sound = bytes.get(at(from)..at(until)).is_some_and(|bytes| {
                usize::try_from(number).is_ok_and(|number| header.block_is_sound(number, bytes))
            });
            if !sound {
                let text = format!("payload block {number} of {}", header.token);
                return Err(DriveError::Corrupt(text));
            }
        }
        Ok(at(start)..at(end))
    }
}
