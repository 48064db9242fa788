//! What makes a free durable: `shards/frees` (**format**), one 32-byte record a freed shard.
//!
//! The index is not synced, so a removal from it may be undone by a power cut, and the footer of a
//! sealed segment lists freed records for ever. Hence a log of its own, fdatasync'ed before a free
//! is acknowledged, replayed over the index at open. Turned down: trusting the punched hole (it
//! comes later, and not every file system punches), and overwriting the header (a range is written
//! once).
//!
//! ```text
//! header  "DMFREES\n" version:u16 0:u16 generation:u64 0:u64 crc32c:u32
//! record  "FREE" token:16 segment:u64 crc32c:u32
//! ```
//! A record is needed as long as its segment's file exists; the log is rewritten (atomically, under
//! a new generation) once most of it speaks of deleted segments.

use crate::drive_dir::DriveDir;
use crate::index::FreesMark;
use engine_core::format::crc32c;
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_types::CopyToken;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "shards/frees";
const MAGIC: &[u8; 8] = b"DMFREES\n";
const RECORD: &[u8; 4] = b"FREE";
const VERSION: u16 = 1;
/// Bytes of header and record alike.
pub(crate) const FREE_RECORD_BYTES: usize = 32;
/// Bytes read at a time; a multiple of the record.
const CHUNK_BYTES: usize = 1024 * 1024;
/// A log shorter than this is not worth rewriting, bytes.
pub(crate) const REWRITE_BYTES_MIN: u64 = 1024 * 1024;

type Record = [u8; FREE_RECORD_BYTES];

/// The open log. One writer: the appender.
#[derive(Debug)]
pub(crate) struct FreeLog {
    files: DriveDir,
    log: Box<dyn LogFile>,
    generation: u64,
    /// Length at which to rewrite.
    rewrite_at: u64,
}

fn seal(mut record: Record) -> Record {
    let crc = crc32c(&record[..28]);
    record[28..].copy_from_slice(&crc.to_be_bytes());
    record
}

fn sound(record: &Record) -> bool {
    let crc = record.last_chunk().map(|crc| u32::from_be_bytes(*crc));
    crc == Some(crc32c(&record[..28]))
}

fn header(generation: u64) -> Record {
    let mut record = [0; FREE_RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..10].copy_from_slice(&VERSION.to_be_bytes());
    record[12..20].copy_from_slice(&generation.to_be_bytes());
    seal(record)
}

fn encode(token: CopyToken, segment: u64) -> Record {
    let mut record = [0; FREE_RECORD_BYTES];
    record[..4].copy_from_slice(RECORD);
    record[4..20].copy_from_slice(&token.0);
    record[20..28].copy_from_slice(&segment.to_be_bytes());
    seal(record)
}

fn decode(record: &Record) -> Option<(CopyToken, u64)> {
    if !sound(record) || !record.starts_with(RECORD) {
        return None;
    }
    let token = record.get(4..)?.first_chunk().copied()?;
    let segment = record.get(20..)?.first_chunk().copied()?;
    Some((CopyToken(token), u64::from_be_bytes(segment)))
}

/// Above every earlier one: the time, which a clock set back may only repeat, never with the same
/// length and content behind it.
fn new_generation(previous: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_micros()).unwrap_or(0));
    now.max(previous.saturating_add(1))
}

impl FreeLog {
    /// Opens or creates it; a torn end is cut off.
    pub(crate) fn open(files: &DriveDir) -> Result<Self, DriveError> {
        let mut this = Self {
            files: files.clone(),
            log: files.open_log(NAME)?,
            generation: 0,
            rewrite_at: REWRITE_BYTES_MIN,
        };
        let length = this.log.len();
        let whole = length - length % FREE_RECORD_BYTES as u64;
        let mut first = [0; FREE_RECORD_BYTES];
        if whole > 0 {
            this.log.read_at(0, &mut first)?;
        }
        if sound(&first) && first.starts_with(MAGIC) {
            let field = |at: usize| first.get(at..).unwrap_or_default();
            let version = field(8).first_chunk().map_or(0, |f| u16::from_be_bytes(*f));
            if version > VERSION {
                let text = format!("log of frees has version {version}; upgrade this build");
                return Err(DriveError::Failed(text));
            }
            let generation = field(12).first_chunk();
            this.generation = generation.map_or(0, |f| u64::from_be_bytes(*f));
            this.cut_torn_end(length)?;
        } else {
            // New, torn in its first write, or damaged: the records stand for themselves.
            this.rewrite(|_| true)?;
        }
        this.rewrite_at = this.rewrite_at.max(this.log.len().saturating_mul(2));
        Ok(this)
    }

    fn cut_torn_end(&mut self, length: u64) -> Result<(), DriveError> {
        let mut end = FREE_RECORD_BYTES as u64;
        self.replay(|mark, _, _| end = mark)?;
        if end < length {
            self.log.truncate(end)?;
        }
        Ok(())
    }

    /// How long the log is.
    pub(crate) fn mark(&self) -> FreesMark {
        FreesMark {
            generation: self.generation,
            bytes: self.log.len(),
        }
    }

    /// Calls `each` with every record: the byte behind it, the token, the segment. Damaged records
    /// are skipped: a shard that comes back so is found again by the orphan collector.
    pub(crate) fn replay(
        &self,
        mut each: impl FnMut(u64, CopyToken, u64),
    ) -> Result<(), DriveError> {
        let length = self.log.len();
        let length = length - length % FREE_RECORD_BYTES as u64;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut position = FREE_RECORD_BYTES as u64;
        while position < length {
            let left = usize::try_from(length - position).unwrap_or(usize::MAX);
            let bytes = chunk.get_mut(..left.min(CHUNK_BYTES)).unwrap_or_default();
            self.log.read_at(position, bytes)?;
            let (records, _) = bytes.as_chunks::<FREE_RECORD_BYTES>();
            for record in records {
                position = position.saturating_add(FREE_RECORD_BYTES as u64);
                if let Some((token, segment)) = decode(record) {
                    each(position, token, segment);
                }
            }
        }
        Ok(())
    }

    /// Appends and syncs: when Ok, the frees outlive a power cut.
    pub(crate) fn append(&mut self, frees: &[(CopyToken, u64)]) -> Result<(), DriveError> {
        let records = frees
            .iter()
            .map(|(token, segment)| encode(*token, *segment));
        let bytes: Vec<u8> = records.flatten().collect();
        self.log.append(&bytes)?;
        #[cfg(sabotage)]
        if engine_types::sabotage("skip-free-fsync") {
            return Ok(());
        }
        self.log.sync()
    }

    /// Whether enough has gathered for a rewrite to be worth while.
    pub(crate) fn is_long(&self) -> bool {
        self.log.len() >= self.rewrite_at
    }

    /// Keeps the records of the segments that `exists` names.
    pub(crate) fn rewrite(&mut self, exists: impl Fn(u64) -> bool) -> Result<(), DriveError> {
        let generation = new_generation(self.generation);
        let mut bytes = header(generation).to_vec();
        self.replay(|_, token, segment| {
            if exists(segment) {
                bytes.extend_from_slice(&encode(token, segment));
            }
        })?;
        self.files.write(NAME, &bytes)?;
        self.log = self.files.open_log(NAME)?;
        self.generation = generation;
        self.rewrite_at = REWRITE_BYTES_MIN.max(self.log.len().saturating_mul(2));
        Ok(())
    }
}
