//! Reads a snapshot, verifying as it goes.

use super::{
    Applied, BLOCK_BYTES_MAX, FOOT, HEAD, MAGIC, ROWS, SnapshotError, VERSION, crc32c, summer,
};
use crate::rows::Row;
use engine_core::ports::{DriveFiles, LogFile};
use engine_types::GroupId;

/// Reads a snapshot's rows in order, verifying as it goes; the last item is an error unless the
/// foot agrees with all that came before.
pub struct Reader {
    file: Box<dyn LogFile>,
    name: String,
    at: u64,
    sum: crc_fast::Digest,
    count: u64,
    block: Vec<u8>,
    inside: usize,
    done: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.name)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a snapshot and reads its head.
    pub fn open(
        files: &dyn DriveFiles,
        group: GroupId,
        name: &str,
    ) -> Result<(Self, Applied), SnapshotError> {
        let mut reader = Self {
            file: files.open_log(name)?,
            name: name.to_owned(),
            at: 0,
            sum: summer(),
            count: 0,
            block: Vec::new(),
            inside: 0,
            done: false,
        };
        let (kind, head) = reader.next_block()?;
        let head = head.strip_prefix(MAGIC.as_slice()).filter(|_| kind == HEAD);
        if let Some(version) = head.and_then(|head| head.first()).filter(|v| **v > VERSION) {
            return Err(SnapshotError::Newer(reader.name, *version));
        }
        let applied = head
            .and_then(|head| head.strip_prefix(&[VERSION]))
            .and_then(|head| head.strip_prefix(&group.0.to_le_bytes()))
            .and_then(|head| Applied::decode(head).ok());
        match applied {
            Some(applied) => Ok((reader, applied)),
            None => Err(reader.damaged("head")),
        }
    }

    fn damaged(&self, why: &'static str) -> SnapshotError {
        SnapshotError::Damaged(self.name.clone(), why)
    }

    fn next_block(&mut self) -> Result<(u8, Vec<u8>), SnapshotError> {
        let left = self.file.len().saturating_sub(self.at);
        if left < 9 {
            return Err(self.damaged("ends early"));
        }
        let mut head = [0; 8];
        self.file.read_at(self.at, &mut head)?;
        let (length, crc) = (u32_at(&head, 0), u32_at(&head, 4));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 || length > BLOCK_BYTES_MAX || length as u64 > left - 8 {
            return Err(self.damaged("block length"));
        }
        let mut payload = vec![0; length];
        self.file.read_at(self.at + 8, &mut payload)?;
        if crc32c(&payload) != crc {
            return Err(self.damaged("block checksum"));
        }
        self.at += 8 + length as u64;
        let kind = payload[0];
        if kind != FOOT {
            self.sum.update(&head);
            self.sum.update(&payload);
        }
        payload.remove(0);
        Ok((kind, payload))
    }

    fn refill(&mut self) -> Result<bool, SnapshotError> {
        let (kind, payload) = self.next_block()?;
        if kind == ROWS {
            (self.block, self.inside) = (payload, 0);
            return Ok(true);
        }
        let mut expected = self.count.to_le_bytes().to_vec();
        let total = u32::try_from(self.sum.finalize() & 0xffff_ffff).unwrap_or(0);
        expected.extend_from_slice(&total.to_le_bytes());
        if kind != FOOT || payload != expected || self.at != self.file.len() {
            return Err(self.damaged("foot"));
        }
        Ok(false)
    }

    fn take_row(&mut self) -> Result<Option<Row>, SnapshotError> {
        if self.inside == self.block.len() && !self.refill()? {
            return Ok(None);
        }
        let rest = &self.block[self.inside..];
        let row = (rest.len() >= 8)
            .then(|| {
                let (key, value) = (u32_at(rest, 0) as usize, u32_at(rest, 4) as usize);
                let key_bytes = rest.get(8..8 + key)?;
                let value_bytes = rest.get(8 + key..8 + key + value)?;
                Some((key_bytes.to_vec(), value_bytes.to_vec()))
            })
            .flatten();
        let Some((key, value)) = row else {
            return Err(self.damaged("row"));
        };
        self.inside += 8 + key.len() + value.len();
        self.count += 1;
        Ok(Some((key, value)))
    }
}

impl Iterator for Reader {
    type Item = Result<Row, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.take_row().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
