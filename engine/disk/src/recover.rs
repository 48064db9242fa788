//! What happens at open, before anything is served.
//!
//! 1. The index is opened; one that does not open is removed and made anew, from all segments.
//! 2. Segments at or above `indexed_below` are read: a sealed one by its footer, another whole, at
//!    4 KiB steps, verifying headers and payloads. Behind a torn or damaged record the search goes
//!    on at the next step: a record that was acknowledged is found whatever lies before it.
//! 3. What lies behind the last record of an unsealed segment is cut off (nobody was told of it);
//!    it is never written again, new records go into a new segment.
//! 4. The log of frees is replayed. The order matters: footers and scans bring freed records back.
//! 5. The accounts are made from the index.
//!
//! Records that were written but never acknowledged may come to life here; nothing refers to them,
//! the orphan collector frees them. A record whose payload does not verify is not taken up; if the
//! index has it already it stays, reads answer `Corrupt` and the repair finds it.

use crate::aligned::AlignedBuffer;
use crate::drive_dir::DriveDir;
use crate::drive_file::DriveFile;
use crate::free_log::FreeLog;
use crate::index::{Batch, INDEX, Index, IndexOpen, Place, REBUILD};
use crate::options::Options;
use crate::segment::{ALIGN, Segments, corrupt};
use crate::space::Space;
use engine_core::format::{
    BLOCK_BYTES, FormatError, HEADER_BYTES_MAX, RECORD_ALIGN, SegmentHeader, ShardHeader,
};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::{CopyToken, DriveUuid};
use std::collections::BTreeSet;

/// Bytes read at a time by a scan: a multiple of both block sizes.
const WINDOW_BYTES: usize = 1024 * 1024;
/// Rows in one batch.
const BATCH_ROWS: usize = 4096;
/// Held blocks beyond what live records explain, from which a segment's gaps are punched.
const SLACK_BYTES: u64 = 64 * 1024;

/// What an open found, for the log and the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The index did not open, or was marked as damaged, and was made anew.
    pub index_rebuilt: bool,
    /// Segments read by their footer.
    pub footers: u64,
    /// Segments scanned.
    pub scanned: u64,
    /// Records put in the index.
    pub indexed: u64,
    /// Records whose header was sound and whose payload was not: torn, or damaged.
    pub damaged: u64,
    /// Frees applied.
    pub frees: u64,
    /// Rows whose segment was gone.
    pub lost: u64,
}

/// An index and what goes with it, ready to serve.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) frees: FreeLog,
    pub(crate) space: Space,
    /// The number the next segment gets.
    pub(crate) next_segment: u64,
    pub(crate) report: Recovery,
}

/// Opens the shard store of a drive. Blocking; takes as long as it reads.
pub(crate) fn recover(
    files: &DriveDir,
    segments: &Segments,
    options: &Options,
) -> Result<Recovered, DriveError> {
    let (index, rebuilt) = open_index(files, options)?;
    let mut report = Recovery {
        index_rebuilt: rebuilt,
        ..Recovery::default()
    };
    let numbers = segments.list()?;
    let below = index.indexed_below()?;
    for number in numbers.iter().filter(|number| **number >= below) {
        recover_segment(files.uuid(), segments, *number, &index, &mut report)?;
    }
    let present: BTreeSet<u64> = numbers.iter().copied().collect();
    drop_lost(&index, &present, &mut report)?;
    let frees = FreeLog::open(files)?;
    apply_frees(&index, &frees, below, &mut report)?;
    let highest = numbers.last().copied().unwrap_or(0);
    let next_segment = highest.saturating_add(1).max(below);
    let mut batch = index.batch();
    batch.set_indexed_below(next_segment);
    batch.set_frees_applied(frees.mark());
    batch.commit()?;
    let space = account(&index, segments, &numbers)?;
    if rebuilt {
        // Else the next power cut may cost the same again.
        index.persist()?;
        files.remove(REBUILD)?;
    }
    Ok(Recovered {
        index,
        frees,
        space,
        next_segment,
        report,
    })
}

fn open_index(files: &DriveDir, options: &Options) -> Result<(Index, bool), DriveError> {
    let marked = match files.read(REBUILD) {
        Ok(_) => true,
        Err(DriveError::NotFound) => false,
        Err(error) => return Err(error),
    };
    let fatal = |error| match error {
        IndexOpen::Fatal(error) => error,
        IndexOpen::Damaged(text) => DriveError::Failed(format!("shard index: {text}")),
    };
    let reason = if marked {
        "marked as damaged".to_owned()
    } else {
        match Index::open(files, options.index_cache_bytes) {
            Ok(index) => match (index.indexed_below(), index.frees_applied()) {
                (Ok(_), Ok(_)) => return Ok((index, false)),
                (Err(error), _) | (_, Err(error)) => return Err(error),
            },
            Err(IndexOpen::Fatal(error)) => return Err(error),
            Err(IndexOpen::Damaged(reason)) => reason,
        }
    };
    tracing::warn!(drive = %files.uuid(), reason, "shard index is made anew from the segments");
    // From here on a cut must not leave a half-filled index that looks whole.
    files.write(REBUILD, reason.as_bytes())?;
    files.remove(INDEX)?;
    let index = Index::open(files, options.index_cache_bytes).map_err(fatal)?;
    Ok((index, true))
}

/// Puts rows into the index a batch at a time.
struct Rows<'a> {
    index: &'a Index,
    batch: Option<(Batch<'a>, usize)>,
}

impl<'a> Rows<'a> {
    fn new(index: &'a Index) -> Self {
        Self { index, batch: None }
    }

    fn change(&mut self, change: impl FnOnce(&mut Batch<'a>)) -> Result<(), DriveError> {
        let index = self.index;
        let (batch, rows) = self.batch.get_or_insert_with(|| (index.batch(), 0));
        change(batch);
        *rows = rows.saturating_add(1);
        if *rows >= BATCH_ROWS {
            return self.end();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), DriveError> {
        self.batch
            .take()
            .map_or(Ok(()), |(batch, _)| batch.commit())
    }
}

/// Indexes what one segment holds.
fn recover_segment(
    drive: DriveUuid,
    segments: &Segments,
    number: u64,
    index: &Index,
    report: &mut Recovery,
) -> Result<(), DriveError> {
    let file = segments.open(number)?;
    file.sync_found()?;
    let mut rows = Rows::new(index);
    if let Some((footer, start)) = segments.footer(number, &file)? {
        report.footers = report.footers.saturating_add(1);
        for entry in footer.entries {
            let place = Place {
                segment: number,
                offset: entry.offset,
                length: entry.length,
            };
            if entry.offset >= ALIGN && place.end() <= start {
                report.indexed = report.indexed.saturating_add(1);
                rows.change(|batch| batch.insert(entry.token, place))?;
            }
        }
        return rows.end();
    }
    report.scanned = report.scanned.saturating_add(1);
    refuse_newer(&file)?;
    scan(&file, drive, number, report, |token, place| {
        rows.change(|batch| batch.insert(token, place))
    })?;
    rows.end()?;
    let mut end = ALIGN;
    index.by_place(number, 0, |_, place| {
        if place.segment == number {
            end = end.max(place.end());
        }
        place.segment == number
    })?;
    if end < file.length()? {
        file.set_length(end)?;
        file.sync()?;
    }
    Ok(())
}

/// A segment of a newer release is not to be cut at what this one understands.
fn refuse_newer(file: &DriveFile) -> Result<(), DriveError> {
    if file.length()? < ALIGN {
        return Ok(());
    }
    let mut block = AlignedBuffer::new(RECORD_ALIGN);
    file.read_at(block.bytes_mut(), 0)?;
    match SegmentHeader::decode(block.bytes()) {
        Err(error @ FormatError::Newer { .. }) => Err(DriveError::Failed(error.to_string())),
        // A header that is damaged takes no records with it: each says itself where it belongs.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Finds the sound records of a segment, in order of place.
pub(crate) fn scan(
    file: &DriveFile,
    drive: DriveUuid,
    number: u64,
    report: &mut Recovery,
    mut found: impl FnMut(CopyToken, Place) -> Result<(), DriveError>,
) -> Result<(), DriveError> {
    let length = file.length()?;
    let length = length - length % ALIGN;
    let mut window = Window {
        file,
        length,
        buffer: AlignedBuffer::new(WINDOW_BYTES),
        start: 0,
        filled: 0,
    };
    let mut offset = ALIGN;
    while offset < length {
        let block = window.block(offset)?;
        let header = if block.starts_with(&ShardHeader::MAGIC) {
            ShardHeader::decode(block)
        } else {
            Err(FormatError::Magic("shard header"))
        };
        let header = match header {
            Ok(header) => header,
            Err(error @ FormatError::Newer { .. }) => return Err(corrupt_newer(&error)),
            Err(_) => {
                offset = offset.saturating_add(ALIGN);
                continue;
            }
        };
        let place = Place {
            segment: number,
            offset,
            length: header.record_length(),
        };
        let ours = (header.drive, header.segment, header.offset) == (drive, number, offset);
        if !ours || place.end() > length {
            offset = offset.saturating_add(ALIGN);
        } else if payload_is_sound(&mut window, &header, place)? {
            report.indexed = report.indexed.saturating_add(1);
            found(header.token, place)?;
            offset = place.end();
        } else {
            report.damaged = report.damaged.saturating_add(1);
            offset = offset.saturating_add(ALIGN);
        }
    }
    Ok(())
}

fn corrupt_newer(error: &FormatError) -> DriveError {
    let DriveError::Corrupt(text) = corrupt(error) else {
        return DriveError::Failed(error.to_string());
    };
    DriveError::Failed(text)
}

/// A part of a segment in memory.
struct Window<'a> {
    file: &'a DriveFile,
    /// Of the file, whole blocks.
    length: u64,
    buffer: AlignedBuffer,
    start: u64,
    filled: usize,
}

impl Window<'_> {
    /// The header block at `offset`.
    fn block(&mut self, offset: u64) -> Result<&[u8], DriveError> {
        let filled = self.filled as u64;
        if offset < self.start || offset.saturating_add(ALIGN) > self.start.saturating_add(filled) {
            let left = self.length.saturating_sub(offset);
            self.filled = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(WINDOW_BYTES);
            self.start = offset;
            let (bytes, _) = self.buffer.bytes_mut().split_at_mut(self.filled);
            self.file.read_at(bytes, offset)?;
        }
        let at = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let end = at.saturating_add(HEADER_BYTES_MAX);
        Ok(self.buffer.bytes().get(at..end).unwrap_or_default())
    }
}

fn payload_is_sound(
    window: &mut Window<'_>,
    header: &ShardHeader,
    place: Place,
) -> Result<bool, DriveError> {
    let length = usize::try_from(place.length).unwrap_or(0);
    let mut record = AlignedBuffer::new(length);
    window.file.read_at(record.bytes_mut(), place.offset)?;
    let from = usize::try_from(header.payload_offset()).unwrap_or(usize::MAX);
    let until = from.saturating_add(usize::try_from(header.payload_length).unwrap_or(usize::MAX));
    let payload = record.bytes().get(from..until).unwrap_or_default();
    let mut blocks = payload.chunks(BLOCK_BYTES).enumerate();
    Ok(blocks.all(|(number, bytes)| header.block_is_sound(number, bytes)))
}

/// Rows of segments whose file is gone: deleted when all in them was dead, while the removal of
/// their rows was lost with the index's unsynced end.
fn drop_lost(
    index: &Index,
    present: &BTreeSet<u64>,
    report: &mut Recovery,
) -> Result<(), DriveError> {
    let mut lost = Vec::new();
    let mut from = Some(0);
    while let Some(segment) = from.take() {
        // One look a segment, not one a row.
        index.by_place(segment, 0, |token, place| {
            if present.contains(&place.segment) {
                from = place.segment.checked_add(1);
                return false;
            }
            lost.push((token, place));
            true
        })?;
    }
    let mut rows = Rows::new(index);
    for (token, place) in lost {
        report.lost = report.lost.saturating_add(1);
        rows.change(|batch| batch.remove(token, place))?;
    }
    rows.end()
}

/// Takes out again what was freed. Frees that the index has seen are skipped, except for records
/// that may just have been put back.
fn apply_frees(
    index: &Index,
    frees: &FreeLog,
    below: u64,
    report: &mut Recovery,
) -> Result<(), DriveError> {
    let applied = index.frees_applied()?;
    let same = applied.generation == frees.mark().generation;
    let mut rows = Rows::new(index);
    let mut result = Ok(());
    frees.replay(|end, token, segment| {
        let seen = same && end <= applied.bytes && segment < below;
        if seen || result.is_err() {
            return;
        }
        result = index.get(token).and_then(|place| {
            place.map_or(Ok(()), |place| {
                report.frees = report.frees.saturating_add(1);
                rows.change(|batch| batch.remove(token, place))
            })
        });
    })?;
    result?;
    rows.end()
}

/// The accounts, from the index and the files' blocks.
fn account(index: &Index, segments: &Segments, numbers: &[u64]) -> Result<Space, DriveError> {
    let mut space = Space::default();
    for number in numbers {
        let (_, blocks) = segments.open(*number)?.stat()?;
        space.add(*number, blocks);
    }
    index.by_place(0, 0, |_, place| {
        space.live(place, false);
        true
    })?;
    let suspects: Vec<u64> = space
        .settled()
        .filter(|(_, segment)| segment.held > segment.live.saturating_add(SLACK_BYTES))
        .map(|(number, _)| number)
        .collect();
    for number in suspects {
        space.suspect(number);
    }
    Ok(space)
}
