//! What a drive's log says after a stop of any kind.
//!
//! A record that is not whole is a *tear* if nothing shows that it was ever synced: it is cut, with
//! all behind it. Room behind the last record (zeros) is cut the same way. It is *damage* if a whole
//! record further on carries a durable mark at or above it, or if a later file exists (a file is begun
//! only when the one before is synced). Damage is never cut: the records behind it are acknowledged
//! too. Each group's own sequence then tells which groups lost a record; a group with no record behind
//! the damage may have lost its last one, so it counts as damaged. A replica of a damaged group has
//! forgotten a vote or an entry it promised to remember, so it must not vote again under its id.
//!
//! **From the middle.** Where older files are gone, a group's records begin anywhere: with entries
//! that were purged before the files went, with purges of entries that went with them, with an entry
//! whose predecessors did. All that lives lies in what is left, in its order. So such a group's first
//! entry may have any index (also after a truncation of all that was read), and only the end tells
//! whether its entries follow on what is purged. From its first record, a whole copy or its end on, a
//! group is read as strictly as it was written.

use super::index::{GroupState, Place, Slot, committed_within};
use super::record::{self, ALIGN, Header, Kind, NO_GROUP, Record};
use super::{LogError, file_name, file_number};
use crate::raft::codec::{entry_from, take_log_id, take_option_log_id, take_u64, take_vote};
use crate::raft::types::{Entry, term_of};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use std::collections::BTreeMap;

/// A group as the log tells it.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub state: GroupState,
    pub group_sequence: u64,
    /// Why its replica may not go on.
    pub damaged: Option<String>,
    /// A copy being read; takes effect at its end.
    copy: Option<GroupState>,
    /// What was wrong above the copy being read: no matter once the copy is whole.
    damaged_above: Option<String>,
    /// The group's last record lies before the latest damage.
    before_damage: bool,
    /// Read from its beginning, not from the middle.
    whole: bool,
}

/// All of the log.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub groups: BTreeMap<u32, Recovered>,
    /// File numbers, ascending.
    pub files: Vec<u64>,
    /// Empty files behind these, which the writer went on without: to be removed.
    pub unbegun: Vec<u64>,
    /// Last whole record's sequence and sum.
    pub sequence: u64,
    pub prev: u32,
    pub boot: u64,
    /// Where the last file is to be cut, if it is …
    pub torn: Option<u64>,
    /// … and whether that takes more than room.
    pub tear: bool,
    /// Damaged places, for people.
    pub damage: Vec<String>,
    started: bool,
    salt: u32,
}

/// What lies behind a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// No file.
    Nothing,
    /// Files that are empty.
    Empty,
    /// A file that was begun.
    Begun,
}

/// Reads every file. Does not write; the caller cuts the tear.
pub(super) fn scan(files: &dyn DriveFiles) -> Result<Scan, LogError> {
    let mut scan = Scan {
        salt: record::salt_of(files.uuid()),
        ..Scan::default()
    };
    for name in files.list(super::DIRECTORY)? {
        if let Some(number) = file_number(&name) {
            scan.files.push(number);
        }
    }
    scan.files.sort_unstable();
    let numbers = scan.files.clone();
    let begun = begun(files, &numbers)?;
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 && numbers[at - 1] + 1 != *number {
            scan.damaged(format!(
                "log files between {} and {number} are missing",
                numbers[at - 1]
            ));
        }
        let bytes = read_whole(files, *number)?;
        let behind = match at + 1 {
            next if next == numbers.len() => Behind::Nothing,
            next if next >= begun => Behind::Empty,
            _ => Behind::Begun,
        };
        scan.file(*number, &bytes, behind)?;
    }
    if scan.torn.is_some() && begun > 0 {
        scan.unbegun = scan.files.split_off(begun);
    }
    for group in scan.groups.values_mut() {
        group.finish();
    }
    Ok(scan)
}

/// How many files there are up to the last that is not empty.
fn begun(files: &dyn DriveFiles, numbers: &[u64]) -> Result<usize, DriveError> {
    for (at, number) in numbers.iter().enumerate().rev() {
        if !files.open_log(&file_name(*number))?.is_empty() {
            return Ok(at + 1);
        }
    }
    Ok(0)
}

fn read_whole(files: &dyn DriveFiles, number: u64) -> Result<Vec<u8>, DriveError> {
    let file: Box<dyn LogFile> = files.open_log(&file_name(number))?;
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or(0)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

impl Scan {
    fn file(&mut self, number: u64, bytes: &[u8], behind: Behind) -> Result<(), LogError> {
        let last = behind == Behind::Nothing;
        let mut at = 0;
        while at < bytes.len() {
            let found = record::parse(&bytes[at..], self.salt);
            if let Some(record) = found.filter(|record| self.follows(record)) {
                self.take(number, at, &record);
                at += record.span;
                continue;
            }
            if let Some(version) = record::newer(&bytes[at..], self.salt) {
                let (file, known) = (file_name(number), record::VERSION);
                return Err(LogError::Newer {
                    file,
                    version,
                    known,
                });
            }
            let Some(next) = self.resume(bytes, at, last) else {
                let room = bytes[at..].iter().all(|byte| *byte == 0);
                // A file that could not be begun stayed behind while the one before grew on.
                if last || (room && behind == Behind::Empty) {
                    self.torn = Some(at as u64);
                    self.tear = !room;
                } else {
                    self.damaged(format!("file {number}: damaged from byte {at} to its end"));
                }
                break;
            };
            self.damaged(format!("file {number}: bytes {at} to {next} are damaged"));
            at = next;
        }
        Ok(())
    }

    /// The first record sets the chain (older files are gone); later ones continue it.
    fn follows(&self, record: &Record<'_>) -> bool {
        if !self.started {
            return true;
        }
        record.header.sequence == self.sequence + 1
            && record.prev == self.prev
            && record.header.boot >= self.boot
    }

    /// Where whole records go on behind a break at `at`, if they prove the broken one was synced.
    fn resume(&self, bytes: &[u8], at: usize, last: bool) -> Option<usize> {
        #[cfg(sabotage)]
        if engine_types::sabotage("accept-damaged-log") {
            return None;
        }
        let broken = self.sequence + 1;
        let mut next = at.next_multiple_of(ALIGN);
        let mut first = None;
        let mut proven = !last;
        while next < bytes.len() {
            if let Some(record) = record::parse(&bytes[next..], self.salt)
                && record.header.sequence >= broken
            {
                first = first.or(Some(next));
                proven |= record.header.durable >= broken;
                if proven {
                    return first;
                }
                next += record.span;
            } else {
                next += ALIGN;
            }
        }
        None
    }

    fn damaged(&mut self, why: String) {
        self.damage.push(why);
        // The chain starts anew behind the break; the group sequences tell who lost what.
        self.started = false;
        for group in self.groups.values_mut() {
            group.before_damage = true;
        }
    }

    fn take(&mut self, file: u64, at: usize, record: &Record<'_>) {
        let header = record.header;
        self.started = true;
        self.sequence = header.sequence;
        self.prev = record.crc;
        self.boot = self.boot.max(header.boot);
        if header.group == NO_GROUP {
            return;
        }
        let damage_seen = !self.damage.is_empty();
        let known = self.groups.contains_key(&header.group);
        let group = self.groups.entry(header.group).or_default();
        group.chain(&header, known, damage_seen);
        let place = Place {
            file,
            offset: at as u64,
            span: u32::try_from(record.span).unwrap_or(u32::MAX),
        };
        if let Err(error) = group.apply(&header, record.payload, place) {
            group
                .damaged
                .get_or_insert(format!("record {}: {error}", header.sequence));
        }
    }
}

impl Recovered {
    /// Checks the group's own sequence. A group first seen after older files were deleted may begin
    /// anywhere; one first seen behind damage may have lost everything before.
    fn chain(&mut self, header: &Header, known: bool, damage_seen: bool) {
        let expected = self.group_sequence + 1;
        let broken = if known {
            header.group_sequence != expected
        } else {
            damage_seen && header.group_sequence != 1
        };
        self.whole |= header.group_sequence == 1;
        if broken {
            self.damaged.get_or_insert(format!(
                "group record {} found where {expected} was due",
                header.group_sequence
            ));
        }
        self.before_damage = false;
        self.group_sequence = header.group_sequence;
    }

    fn apply(&mut self, header: &Header, payload: &[u8], place: Place) -> Result<(), LogError> {
        let mut rest = payload;
        match header.kind {
            Kind::Begin | Kind::Mark => {}
            Kind::Append => {
                let entry = entry_from(payload)?;
                // Purged while it waited to be written, and the purge written before it.
                if self.state.is_above_purged(&entry.log_id) {
                    append(&mut self.state, entry, place, self.whole)?;
                }
            }
            Kind::Vote => {
                self.state.vote = Some(take_vote(&mut rest)?);
                self.state.vote_file = Some(place.file);
            }
            Kind::Truncate => {
                let after = match take_u64(&mut rest)? {
                    0 => None,
                    next => Some(next - 1),
                };
                self.state.truncate_after(after);
            }
            Kind::Purge => {
                self.state.purge(take_log_id(&mut rest)?);
                self.state.purge_file = Some(place.file);
            }
            Kind::Committed => self.state.committed = Some(take_log_id(&mut rest)?),
            Kind::CopyBegin => {
                let mut copy = GroupState {
                    vote_file: Some(place.file),
                    purge_file: Some(place.file),
                    ..GroupState::default()
                };
                let (flag, mut rest) = rest.split_first().ok_or(LogError::Malformed("copy"))?;
                if *flag == 1 {
                    copy.vote = Some(take_vote(&mut rest)?);
                }
                if let Some(purged) = take_option_log_id(&mut rest)? {
                    copy.purge(purged);
                }
                copy.committed = take_option_log_id(&mut rest)?;
                self.copy = Some(copy);
                let above = self.damaged.take();
                self.damaged_above = self.damaged_above.take().or(above);
            }
            Kind::CopyEntry => {
                let copy = self
                    .copy
                    .as_mut()
                    .ok_or(LogError::Malformed("copy without beginning"))?;
                append(copy, entry_from(payload)?, place, true)?;
            }
            Kind::CopyEnd => {
                self.state = self
                    .copy
                    .take()
                    .ok_or(LogError::Malformed("copy without beginning"))?;
                // Whatever is wrong further up, this is the group as its writer held it. What is wrong
                // since the copy began is missing from the copy.
                self.damaged_above = None;
                self.whole = true;
            }
            Kind::Destroy => {
                // A new replica may follow under a new id; what the old one lost no longer matters.
                *self = Self {
                    group_sequence: self.group_sequence,
                    whole: true,
                    ..Self::default()
                };
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.damaged = self.damaged.take().or(self.damaged_above.take());
        if self.before_damage {
            self.damaged
                .get_or_insert("its last record may have been lost".into());
        }
        let state = &mut self.state;
        let due = state.purged.map_or(0, |purged| purged.index() + 1);
        if state.slots.is_empty() {
            state.first = due;
        } else if state.first > due {
            let first = state.first;
            self.damaged
                .get_or_insert(format!("entries from {due} on are gone, up to {first}"));
        }
        state.committed = committed_within(state.committed, state.last());
        state.trim_cache();
    }
}

fn append(state: &mut GroupState, entry: Entry, place: Place, whole: bool) -> Result<(), LogError> {
    let id = entry.log_id;
    if state.slots.is_empty() && !whole {
        state.first = id.index();
    }
    state.check_next(&id)?;
    let slot = Slot::new(term_of(&id), 0, Some(place));
    state.push(entry, slot, u64::from(place.span));
    state.trim_cache();
    Ok(())
}
