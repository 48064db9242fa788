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
//! A record is needed as long as a made-anew index would find its shard: until its segment's file is
//! gone, or the segment has got a footer that does not name it. The log is then written anew without
//! it, under a new generation, beside the one in use: [`mod@crate::shorten`].

use crate::drive_dir::DriveDir;
use crate::index::FreesMark;
use engine_core::format::crc32c;
use engine_core::ports::{ASIDE, DriveError, DriveFiles, LogFile};
use engine_types::CopyToken;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "shards/frees";
const MAGIC: &[u8; 8] = b"DMFREES\n";
const RECORD: &[u8; 4] = b"FREE";
const VERSION: u16 = 1;
/// Bytes of header and record alike.
pub(crate) const FREE_RECORD_BYTES: usize = 32;
/// Where the first record begins, and the step from one to the next.
const FIRST: u64 = FREE_RECORD_BYTES as u64;
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
    /// … at the latest, if it got shorter than that by the last time.
    most: u64,
    /// Least growth from one rewrite to the next.
    grows: u64,
}

/// A rewrite that has begun: what it rests on.
#[derive(Debug)]
pub(crate) struct Begun {
    files: DriveDir,
    log: Box<dyn LogFile>,
    generation: u64,
    /// Where the log ended then: what it says up to there is in the index.
    length: u64,
}

/// The log's next writing, beside the one in use.
#[derive(Debug)]
pub(crate) struct Rewrite {
    begun: Begun,
    new: Box<dyn LogFile>,
    /// Up to here the log in use has been gone through.
    position: u64,
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
            most: u64::MAX,
            grows: REWRITE_BYTES_MIN,
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
        let mut end = FIRST;
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
        records(
            &*self.log,
            (FIRST, self.log.len()),
            |end, token, segment| {
                each(end, token, segment);
                Ok(())
            },
        )
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

    /// Has it rewritten at `most` bytes at the latest, or once it has grown a little beyond that.
    pub(crate) fn bounded(mut self, most: u64) -> Self {
        self.most = most;
        self.grows = self.grows.min(most / 8);
        self.rewrite_at = self.rewrite_at.min(most);
        self
    }

    /// Whether enough has gathered for a rewrite to be worth while.
    pub(crate) fn is_long(&self) -> bool {
        self.log.len() >= self.rewrite_at
    }

    /// A rewrite failed: the next is tried once some more has gathered.
    pub(crate) fn put_off(&mut self) {
        self.rewrite_at = self.log.len().saturating_add(self.grows);
    }

    /// Keeps the records of the segments that `exists` names.
    pub(crate) fn rewrite(&mut self, exists: impl Fn(u64) -> bool) -> Result<(), DriveError> {
        let mut rewrite = self.begin()?.open()?;
        rewrite.copy(exists)?;
        self.finish(rewrite)
    }

    /// Begins a rewrite; nothing of it counts before [`Self::finish`].
    pub(crate) fn begin(&self) -> Result<Begun, DriveError> {
        Ok(Begun {
            files: self.files.clone(),
            log: self.log.reader()?,
            generation: new_generation(self.generation),
            length: self.log.len(),
        })
    }

    /// Puts a rewrite in the log's place, with what was appended since it was made.
    pub(crate) fn finish(&mut self, mut rewrite: Rewrite) -> Result<(), DriveError> {
        rewrite.catch_up()?;
        if let Err(error) = self.files.rename(&format!("{NAME}{ASIDE}"), NAME) {
            // Which of the two has the name is not known, and so not where a free would be durable.
            self.files
                .fail(&format!("replace the log of frees: {error}"));
            return Err(error);
        }
        // By its new name in messages; failing that, by its old one.
        self.log = self.files.open_log(NAME).unwrap_or(rewrite.new);
        self.generation = rewrite.begun.generation;
        let left = self.log.len();
        let doubled = left.saturating_mul(2);
        self.rewrite_at = if doubled <= self.most {
            doubled.max(REWRITE_BYTES_MIN.min(self.most))
        } else {
            self.most.max(left.saturating_add(self.grows))
        };
        Ok(())
    }
}

impl Begun {
    /// Makes its file.
    pub(crate) fn open(self) -> Result<Rewrite, DriveError> {
        let mut new = self.files.open_log(&format!("{NAME}{ASIDE}"))?;
        // What one left that was cut off.
        new.truncate(0)?;
        new.append(&header(self.generation))?;
        Ok(Rewrite {
            begun: self,
            new,
            position: FIRST,
        })
    }

    /// Frees that the log named of each segment then.
    pub(crate) fn count(&self) -> Result<BTreeMap<u64, u64>, DriveError> {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        records(&*self.log, (FIRST, self.length), |_, _, segment| {
            let count = counts.entry(segment).or_default();
            *count = count.saturating_add(1);
            Ok(())
        })?;
        Ok(counts)
    }
}

impl Rewrite {
    /// Takes over what the log said when this began of the segments that `keeps` names.
    pub(crate) fn copy(&mut self, keeps: impl Fn(u64) -> bool) -> Result<(), DriveError> {
        self.copy_until(self.begun.length, keeps)
    }

    /// Takes over all that was appended since, durably.
    pub(crate) fn catch_up(&mut self) -> Result<(), DriveError> {
        self.copy_until(self.begun.log.len(), |_| true)?;
        self.new.sync()
    }

    /// Bytes that were appended to the log since and are not taken over.
    pub(crate) fn behind(&self) -> u64 {
        self.begun.log.len().saturating_sub(self.position)
    }

    fn copy_until(&mut self, end: u64, keeps: impl Fn(u64) -> bool) -> Result<(), DriveError> {
        let mut kept = Vec::new();
        let new = &mut self.new;
        records(
            &*self.begun.log,
            (self.position, end),
            |_, token, segment| {
                if keeps(segment) {
                    kept.extend_from_slice(&encode(token, segment));
                }
                if kept.len() >= CHUNK_BYTES {
                    new.append(&kept)?;
                    kept.clear();
                }
                Ok(())
            },
        )?;
        self.position = self.position.max(end);
        new.append(&kept)
    }
}

/// Calls `each` with the sound records between two bytes.
fn records(
    log: &dyn LogFile,
    (from, to): (u64, u64),
    mut each: impl FnMut(u64, CopyToken, u64) -> Result<(), DriveError>,
) -> Result<(), DriveError> {
    let to = to - to % FIRST;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut position = from;
    while position < to {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX);
        let bytes = chunk.get_mut(..left.min(CHUNK_BYTES)).unwrap_or_default();
        log.read_at(position, bytes)?;
        let (records, _) = bytes.as_chunks::<FREE_RECORD_BYTES>();
        for record in records {
            position = position.saturating_add(FIRST);
            if let Some((token, segment)) = decode(record) {
                each(position, token, segment)?;
            }
        }
    }
    Ok(())
}
