//! Reading shards back. Nothing leaves here whose checksum was not compared.

use crate::index::Place;
use crate::store::Shared;
use bytes::Bytes;
use engine_core::format::{BLOCK_BYTES, FormatError, HEADER_BYTES_MAX, ShardHeader};
use engine_core::ports::{DriveError, DriveFiles, StoredShard};
use engine_types::CopyToken;
use std::ops::Range;

impl Shared {
    /// Reads and verifies `range` of a shard's payload. Blocking.
    pub(crate) fn read(
        &self,
        token: CopyToken,
        range: &Range<u32>,
    ) -> Result<StoredShard, DriveError> {
        let place = self.index.get(token)?.ok_or(DriveError::NotFound)?;
        self.read_at(token, place, range)
            .map_err(|error| self.explain(token, place, error))
    }

    /// Reads and verifies a whole record. Blocking.
    pub(crate) fn verify(&self, token: CopyToken) -> Result<ShardHeader, DriveError> {
        #[cfg(sabotage)]
        if engine_types::sabotage("scrub-skip-payload") {
            return self.read(token, &(0..0)).map(|shard| shard.header);
        }
        self.read(token, &(0..u32::MAX)).map(|shard| shard.header)
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

    fn read_at(
        &self,
        token: CopyToken,
        place: Place,
        range: &Range<u32>,
    ) -> Result<StoredShard, DriveError> {
        let file = self.segments.open(place.segment)?;
        let whole = usize::try_from(place.length).unwrap_or(usize::MAX);
        let block = BLOCK_BYTES as u64;
        // Small payloads follow their header closely and are one block: one read gets both. For
        // large ones the first block asked for decides whether one read or two.
        let first = u64::from(range.start) / block;
        let last = u64::from(range.end).div_ceil(block).max(first);
        let small = whole <= HEADER_BYTES_MAX + BLOCK_BYTES;
        let (skip, end) = if small {
            (0, whole as u64)
        } else {
            let end = last
                .saturating_mul(block)
                .saturating_add(HEADER_BYTES_MAX as u64);
            (first.saturating_mul(block), end.min(whole as u64))
        };
        let begin = skip.saturating_add(HEADER_BYTES_MAX as u64);
        let body = usize::try_from(end.saturating_sub(begin)).unwrap_or(0);
        let mut buffer = self.pool.take(HEADER_BYTES_MAX.saturating_add(body));
        if skip == 0 {
            file.read_at(buffer.bytes_mut(), place.offset)?;
        } else {
            let (head, blocks) = buffer.bytes_mut().split_at_mut(HEADER_BYTES_MAX);
            file.read_at(head, place.offset)?;
            file.read_at(blocks, place.offset.saturating_add(begin))?;
        }
        let header = self.check_header(token, place, buffer.as_ref())?;
        // `skip` bytes of the payload are not in the buffer.
        let payload_at = u64::from(header.payload_offset());
        let end = range.end.min(header.payload_length);
        let start = range.start.min(end);
        let bytes = Bytes::from_owner(buffer);
        let at = |payload: u64| {
            let at = payload_at.saturating_add(payload).saturating_sub(skip);
            usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len())
        };
        let length = u64::from(header.payload_length);
        for number in first..u64::from(end).div_ceil(block) {
            let from = number.saturating_mul(block);
            let until = from.saturating_add(block).min(length);
            let sound = bytes.get(at(from)..at(until)).is_some_and(|bytes| {
                usize::try_from(number).is_ok_and(|number| header.block_is_sound(number, bytes))
            });
            if !sound {
                let text = format!("payload block {number} of {token}");
                return Err(DriveError::Corrupt(text));
            }
        }
        let payload = bytes.slice(at(u64::from(start))..at(u64::from(end)));
        Ok(StoredShard { header, payload })
    }
}
