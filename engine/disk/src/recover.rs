//! What happens at open, before anything is served.
//!
//! 1. The index is opened; one that does not open is removed and made anew, from all segments.
//! 2. Segments at or above `indexed_below` are read: a sealed one by its footer, another whole, at
//!    4 KiB steps, verifying headers and payloads. Behind a torn or damaged record the search goes
//!    on at the next step: a record that was acknowledged is found whatever lies before it.
//! 3. What lies behind the last record of an unsealed segment is cut off (nobody was told of it);
//!    it is never written again, new records go into a new segment.
//!    A segment of which a block does not read is not cut, and nothing of it is given back but what
//!    is freed: it may hold records that no row names. It is read again at each open, until it reads.
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
use crate::scan::scan;
use crate::segment::{ALIGN, Segments};
use crate::space::Space;
use engine_core::format::{FormatError, RECORD_ALIGN, SegmentHeader};
use engine_core::ports::{DriveError, DriveFiles};
use engine_types::DriveUuid;
use std::collections::BTreeSet;

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
    /// Blocks, and records by their blocks, that did not read.
    pub unreadable: u64,
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
    let mut unread = Vec::new();
    for number in numbers.iter().filter(|number| **number >= below) {
        let missed = report.unreadable;
        recover_segment(files.uuid(), segments, *number, &index, &mut report)?;
        if report.unreadable > missed {
            unread.push(*number);
        }
    }
    if let Some(first) = unread.first() {
        index.hold_below(*first);
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
    let mut space = account(&index, segments, &numbers)?;
    for number in unread {
        space.keep(number);
    }
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
    let missed = report.unreadable;
    refuse_newer(&file)?;
    scan(&file, drive, number, report, |token, place| {
        rows.change(|batch| batch.insert(token, place))
    })?;
    rows.end()?;
    if report.unreadable > missed {
        tracing::warn!(
            segment = number,
            "not all of a segment reads: it is kept as it is"
        );
        return Ok(());
    }
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
    // A header that is damaged takes no records with it: each says itself where it belongs.
    match file.read_at(block.bytes_mut(), 0) {
        Err(DriveError::Corrupt(_)) => return Ok(()),
        other => other?,
    }
    match SegmentHeader::decode(block.bytes()) {
        Err(error @ FormatError::Newer { .. }) => Err(DriveError::Failed(error.to_string())),
        Ok(_) | Err(_) => Ok(()),
    }
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
