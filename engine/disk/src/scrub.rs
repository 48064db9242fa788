//! What the scrub asks of a drive beside reading its shards: the order they lie in, whether the
//! index holds them, what segments say of themselves, and where every byte of them is.
//!
//! The index is held against itself on the way: a shard has a row by its token and one by its place,
//! written in one piece. Where one is without the other the index has lost something silently, so it
//! is marked to be made anew and the drive goes out of service until it is opened again. Turned
//! down: putting the missing row back, which would leave whatever else was lost with it.

use crate::aligned::AlignedBuffer;
use crate::drive_file::DriveFile;
use crate::index::Place;
use crate::segment::{ALIGN, footer_block};
use crate::store::Shared;
use engine_core::format::{
    FOOTER_TRAILER_BYTES, FooterEntry, FormatError, RECORD_ALIGN, SegmentFooter, SegmentHeader,
};
use engine_core::ports::{
    DriveError, DriveFiles, FooterCheck, SegmentCheck, SegmentUse, ShardEntry, SpaceAccount,
};
use engine_types::CopyToken;
use std::collections::HashSet;

/// What a trailer begins with, and how many bytes of that make a damaged one: a flip leaves seven.
const TRAILER_MAGIC: &[u8; 8] = b"DMSEGTR\n";
const TRAILER_LIKENESS: usize = 5;

impl Shared {
    /// All segments as the accounts in memory have them.
    pub(crate) fn uses(&self) -> Vec<SegmentUse> {
        let size = self.options.segment_bytes;
        self.space.lock().uses(size).collect()
    }

    /// Live shards by place. Blocking.
    pub(crate) fn placed(
        &self,
        (segment, offset): (u64, u64),
        limit: usize,
    ) -> Result<Vec<ShardEntry>, DriveError> {
        let mut entries = Vec::new();
        self.index.by_place(segment, offset, |token, place| {
            let take = entries.len() < limit;
            if take {
                entries.push(ShardEntry {
                    token,
                    segment: place.segment,
                    offset: place.offset,
                    length: place.length,
                });
            }
            take
        })?;
        for entry in &entries {
            let place = Place {
                segment: entry.segment,
                offset: entry.offset,
                length: entry.length,
            };
            self.index.agrees(entry.token, Some(place))?;
        }
        Ok(entries)
    }

    /// Tokens that are not live. Blocking.
    pub(crate) fn absent(&self, tokens: &[CopyToken]) -> Result<Vec<CopyToken>, DriveError> {
        let mut absent = Vec::new();
        for token in tokens {
            if !self.index.agrees(*token, None)? {
                absent.push(*token);
            }
        }
        Ok(absent)
    }

    /// Header and footer of a segment. Blocking.
    pub(crate) fn check_segment(&self, segment: u64) -> Result<SegmentCheck, DriveError> {
        let file = self.segments.open(segment)?;
        let length = file.length()?;
        let header_sound = length >= ALIGN && self.header_is_sound(segment, &file)?;
        let open = {
            let space = self.space.lock();
            space.is_active(segment) || space.is_kept(segment)
        };
        let footer = if open {
            FooterCheck::Open
        } else if self.footer_is_whole(segment, &file)? {
            FooterCheck::Sound
        } else if looks_sealed(&file, length)? {
            FooterCheck::Damaged
        } else {
            FooterCheck::Written
        };
        Ok(SegmentCheck {
            header_sound,
            footer,
        })
    }

    fn header_is_sound(&self, segment: u64, file: &DriveFile) -> Result<bool, DriveError> {
        let mut block = AlignedBuffer::new(RECORD_ALIGN);
        match file.read_at(block.bytes_mut(), 0) {
            Err(DriveError::Corrupt(_)) => return Ok(false),
            other => other?,
        }
        match SegmentHeader::decode(block.bytes()) {
            Ok(header) => Ok(header.segment == segment && header.drive == self.files.uuid()),
            Err(error @ FormatError::Newer { .. }) => Err(DriveError::Failed(error.to_string())),
            Err(_) => Ok(false),
        }
    }

    /// A footer that reads and names every live record: what a lost index would be made anew from.
    fn footer_is_whole(&self, segment: u64, file: &DriveFile) -> Result<bool, DriveError> {
        let Some((footer, start)) = self.segments.footer(segment, file)? else {
            return Ok(false);
        };
        let entry = |entry: &FooterEntry| (entry.offset, entry.token, entry.length);
        let named: HashSet<_> = footer.entries.iter().map(entry).collect();
        let mut whole = true;
        self.index.by_place(segment, 0, |token, place| {
            if place.segment == segment {
                whole &=
                    place.end() <= start && named.contains(&(place.offset, token, place.length));
            }
            whole && place.segment == segment
        })?;
        Ok(whole)
    }

    /// Writes a footer of the live records behind the end of a settled segment, durably: no range is
    /// written twice. What lies between is given back by the reclaimer. False: it is not settled, or
    /// gone.
    pub(crate) fn reseal(&self, segment: u64) -> Result<bool, DriveError> {
        let _one = self.resealing.lock();
        if self.space.lock().is_active(segment) || !self.space.lock().has(segment) {
            return Ok(false);
        }
        let mut entries = Vec::new();
        self.index.by_place(segment, 0, |token, place| {
            if place.segment != segment {
                return false;
            }
            entries.push(FooterEntry {
                token,
                offset: place.offset,
                length: place.length,
            });
            true
        })?;
        let footer = footer_block(&SegmentFooter {
            segment,
            drive: self.files.uuid(),
            entries,
        })?;
        let file = self.segments.open(segment)?;
        let end = file.length()?.next_multiple_of(ALIGN);
        let last = self.segments.footer(segment, &file)?;
        file.write_at(footer.bytes(), end)?;
        file.sync()?;
        let mut space = self.space.lock();
        space.hold(segment, footer.bytes().len() as u64);
        match last.map(|(_, start)| (start, u32::try_from(end.saturating_sub(start)))) {
            Some((offset, Ok(length))) => space.waste(Place {
                segment,
                offset,
                length,
            }),
            // Where it was is not known.
            Some((_, Err(_))) | None => space.suspect(segment),
        }
        drop(space);
        self.wake_reclaimer();
        Ok(true)
    }

    /// Every byte of every segment. Blocking.
    pub(crate) fn account(&self) -> Result<SpaceAccount, DriveError> {
        let mut account = SpaceAccount::default();
        let mut odd = false;
        for of in self.uses() {
            match self.account_one(&of, &mut account) {
                Ok(explained) => odd |= !explained,
                // Deleted since it was listed.
                Err(DriveError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        if odd {
            self.wake_reclaimer();
        }
        Ok(account)
    }

    /// Adds one segment; false: it holds more than is known of, and is to be gone over.
    fn account_one(&self, of: &SegmentUse, sum: &mut SpaceAccount) -> Result<bool, DriveError> {
        let file = self.segments.open(of.segment)?;
        let (length, allocated) = file.stat()?;
        let written = file.written(length)?.unwrap_or(allocated);
        let footer = match self.segments.footer(of.segment, &file)? {
            Some((_, start)) => length.saturating_sub(start),
            None => 0,
        };
        let dead = self.space.lock().dead_bytes(of.segment);
        sum.segments = sum.segments.saturating_add(1);
        sum.records = sum.records.saturating_add(of.records);
        sum.live = sum.live.saturating_add(of.live);
        sum.headers = sum.headers.saturating_add(ALIGN.min(length));
        sum.footers = sum.footers.saturating_add(footer);
        sum.dead = sum.dead.saturating_add(dead);
        sum.written = sum.written.saturating_add(written);
        sum.allocated = sum.allocated.saturating_add(allocated);
        let known = of
            .live
            .saturating_add(ALIGN)
            .saturating_add(footer)
            .saturating_add(dead);
        let explained = written <= known || !of.settled;
        if !explained {
            self.space.lock().suspect(of.segment);
        }
        Ok(explained)
    }
}

/// Whether a segment's end was a footer's once, or may have been.
fn looks_sealed(file: &DriveFile, length: u64) -> Result<bool, DriveError> {
    if length < ALIGN.saturating_mul(2) || !length.is_multiple_of(ALIGN) {
        return Ok(false);
    }
    let mut tail = AlignedBuffer::new(RECORD_ALIGN);
    match file.read_at(tail.bytes_mut(), length.saturating_sub(ALIGN)) {
        Err(DriveError::Corrupt(_)) => return Ok(true),
        other => other?,
    }
    let at = RECORD_ALIGN.saturating_sub(FOOTER_TRAILER_BYTES);
    let trailer = tail.bytes().get(at..).unwrap_or_default();
    let like = trailer.iter().zip(TRAILER_MAGIC).filter(|(a, b)| a == b);
    Ok(like.count() >= TRAILER_LIKENESS)
}
