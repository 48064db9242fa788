//! Restores damaged records of a drive's log, byte for byte, where it can be proven.
//!
//! The record behind a damaged one carries the damaged one's sum (`prev`), and both neighbours its
//! place. So any guess at its bytes can be proven or thrown away, and a proven one is what the writer
//! synced. Guesses are:
//!
//! 1. the bytes as they lie, with what the neighbours tell (magic, sum, `prev`, sequence) put right;
//! 2. the same with one bit turned, in the header or at the front of the payload;
//! 3. for an entry, the payload that a sibling's whole record of the same group, term and index has:
//!    raft gives these three one payload.
//!
//! **Why this is safe.** Raft is not concerned: it never sees that a record was gone, because the
//! file is again what its writer made durable, votes, truncations and all. What lies is not believed
//! in any part, only the sum is. A false guess passes with a chance of 2^-32 each, and fewer than a
//! thousand are made; bit by bit through a whole entry was turned down, because damage that is no
//! flipped bit would then find a false match once in ten thousand times. Only where one record is
//! missing between two whole ones is anything guessed: a tear, a hole or two broken neighbours stay
//! damage. And it is done only for groups that would be lost without it: where redundancy is left
//! the replica is made anew from the others, which rests on no sum.

use super::record::{self, ALIGN, HEADER_BYTES, Kind, MAGIC, NO_GROUP};
use super::{LogError, file_name, file_number};
use crate::raft::codec::COUNT_MAX;
use engine_core::ports::{DriveError, DriveFiles};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a payload's front in which single bits are tried: all of a vote, and an entry's log id.
const TRIED_BYTES_MAX: usize = 64;
/// Bytes of an entry that name it: term and index.
const LOG_ID_BYTES: usize = 16;

/// A log file's number and bytes.
type File = (u64, Vec<u8>);

/// A record proven, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    file: u64,
    at: usize,
    bytes: Vec<u8>,
}

/// One record that is broken between two whole ones.
#[derive(Debug)]
struct Broken {
    file: u64,
    at: usize,
    bytes: Vec<u8>,
    /// What its neighbours say of it.
    sum: u32,
    prev: u32,
    sequence: u64,
}

/// What can be restored of a drive's log; `siblings` may hold the same entries. Reads only. Blocking.
pub fn restorable(
    files: &dyn DriveFiles,
    siblings: &[Arc<dyn DriveFiles>],
) -> Result<Vec<Restored>, LogError> {
    let salt = record::salt_of(files.uuid());
    let (mut done, mut entries) = (Vec::new(), Vec::new());
    for broken in find(&read_all(files)?, salt) {
        match broken.alone(salt) {
            Some(restored) => done.push(restored),
            None => entries.push(broken),
        }
    }
    for sibling in siblings {
        if entries.is_empty() {
            break;
        }
        // A sibling that does not read has nothing to give.
        let Ok(theirs) = read_all(sibling.as_ref()) else {
            continue;
        };
        let theirs = Entries::of(&theirs, record::salt_of(sibling.uuid()), &entries);
        entries.retain(|broken| match theirs.restore(broken, salt) {
            Some(restored) => {
                done.push(restored);
                false
            }
            None => true,
        });
    }
    Ok(done)
}

/// Writes what was restored. Each file is replaced whole, atomically and durably. Nobody may have
/// the log open. Blocking.
pub fn restore(files: &dyn DriveFiles, restored: &[Restored]) -> Result<(), LogError> {
    let mut of_file: BTreeMap<u64, Vec<&Restored>> = BTreeMap::new();
    for one in restored {
        of_file.entry(one.file).or_default().push(one);
    }
    for (number, all) in of_file {
        let mut bytes = read_whole(files, &file_name(number))?;
        for one in all {
            let place = bytes.get_mut(one.at..one.at + one.bytes.len());
            place
                .ok_or(LogError::Malformed("place of a restored record"))?
                .copy_from_slice(&one.bytes);
        }
        files.write(&file_name(number), &bytes)?;
    }
    Ok(())
}

fn read_whole(files: &dyn DriveFiles, name: &str) -> Result<Vec<u8>, DriveError> {
    let file = files.open_log(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or(0)];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn read_all(files: &dyn DriveFiles) -> Result<Vec<File>, DriveError> {
    let names = files.list(super::DIRECTORY)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| file_number(name)).collect();
    numbers.sort_unstable();
    let read = |number| Ok((number, read_whole(files, &file_name(number))?));
    numbers.into_iter().map(read).collect()
}

/// The whole records of a file and where each begins.
fn records(bytes: &[u8], salt: u32) -> impl Iterator<Item = (usize, record::Record<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let Some(found) = record::parse(&bytes[at..], salt) else {
                at += ALIGN;
                continue;
            };
            let here = at;
            at += found.span;
            return Some((here, found));
        }
        None
    })
}

/// Every place where exactly one record is missing between two whole ones.
fn find(files: &[File], salt: u32) -> Vec<Broken> {
    let mut found = Vec::new();
    // The last whole record: file, end, sequence, sum.
    let mut before: Option<(u64, usize, u64, u32)> = None;
    for (number, bytes) in files {
        for (at, record) in records(bytes, salt) {
            let next = record.header.sequence;
            if let Some((file, end, sequence, prev)) = before
                && next == sequence + 2
            {
                // At the end of a file its successor is the first of the next.
                let (from, region) = if file == *number {
                    (end, bytes.get(end..at))
                } else {
                    let old = files.iter().find(|(other, _)| *other == file);
                    (end, old.and_then(|(_, bytes)| bytes.get(end..)))
                };
                found.extend(
                    region
                        .filter(|region| region.len() >= HEADER_BYTES)
                        .map(|region| Broken {
                            file,
                            at: from,
                            bytes: region.to_vec(),
                            sum: record.prev,
                            prev,
                            sequence: sequence + 1,
                        }),
                );
            }
            before = Some((*number, at + record.span, next, record.crc));
        }
    }
    found
}

impl Broken {
    /// The bytes with what the neighbours tell put right.
    fn base(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.sum.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.prev.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    fn proves(&self, guess: &[u8], salt: u32) -> bool {
        record::parse(guess, salt).is_some_and(|record| {
            record.crc == self.sum
                && record.prev == self.prev
                && record.header.sequence == self.sequence
                && record.span == self.bytes.len()
        })
    }

    fn restored(&self, bytes: Vec<u8>) -> Restored {
        let (file, at) = (self.file, self.at);
        Restored { file, at, bytes }
    }

    /// Without anybody's help.
    fn alone(&self, salt: u32) -> Option<Restored> {
        let mut guess = self.base();
        if self.proves(&guess, salt) {
            return Some(self.restored(guess));
        }
        let tried = guess.len().min(HEADER_BYTES + TRIED_BYTES_MAX);
        for bit in 8 * 8..tried * 8 {
            guess[bit / 8] ^= 1 << (bit % 8);
            if self.proves(&guess, salt) {
                return Some(self.restored(guess));
            }
            guess[bit / 8] ^= 1 << (bit % 8);
        }
        None
    }

    /// Group and log id of the entry it seems to hold.
    fn entry(&self) -> Option<(u32, [u8; LOG_ID_BYTES])> {
        let group = u32::from_le_bytes(self.bytes.get(40..44)?.try_into().ok()?);
        let id = self.bytes.get(HEADER_BYTES..HEADER_BYTES + LOG_ID_BYTES)?;
        (group != NO_GROUP).then_some((group, id.try_into().ok()?))
    }
}

/// Payloads of a sibling's entries, those that are wanted.
#[derive(Debug, Default)]
struct Entries(BTreeMap<(u32, [u8; LOG_ID_BYTES]), Vec<u8>>);

impl Entries {
    fn of(files: &[File], salt: u32, wanted: &[Broken]) -> Self {
        let wanted: Vec<_> = wanted.iter().filter_map(Broken::entry).collect();
        let mut all = Self::default();
        for (_, record) in files.iter().flat_map(|(_, bytes)| records(bytes, salt)) {
            let id = record.payload.first_chunk::<LOG_ID_BYTES>();
            let Some(key) = id.map(|id| (record.header.group, *id)) else {
                continue;
            };
            let entry = matches!(record.header.kind, Kind::Append | Kind::CopyEntry);
            if entry && wanted.contains(&key) {
                all.0.insert(key, record.payload.to_vec());
            }
        }
        all
    }

    fn restore(&self, broken: &Broken, salt: u32) -> Option<Restored> {
        let payload = self.0.get(&broken.entry()?)?;
        let mut guess = broken.base();
        let end = HEADER_BYTES + payload.len();
        guess.get_mut(HEADER_BYTES..end)?.copy_from_slice(payload);
        guess[end..].fill(0);
        broken.proves(&guess, salt).then(|| broken.restored(guess))
    }
}

const _: () = assert!(COUNT_MAX < u64::MAX - 2, "a sequence's next but one");

#[cfg(test)]
mod tests;
