//! One file as a disk may hold it: what is durable, and what was written since.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Unit that is kept or dropped: a page.
pub(crate) const BLOCK: u64 = BLOCK_BYTES as u64;
const BLOCK_BYTES: usize = 4096;
/// Unit within which a disk does not tear.
pub(crate) const SECTOR: usize = 512;

/// By number; shared with the states that cuts are made from.
pub(crate) type Blocks = BTreeMap<u64, Arc<[u8; BLOCK_BYTES]>>;

/// A change not yet synced.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// New length.
    Truncate(u64),
    /// Zeroes (punched) from offset, so many.
    Punch(u64, u64),
    /// Length at least this.
    Extend(u64),
}

/// What a cut did to the unsynced blocks of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Toll {
    pub(crate) dropped: u64,
    pub(crate) torn: u64,
    pub(crate) reordered: u64,
    pub(crate) kept: u64,
}

impl Toll {
    /// Blocks were lost in every way.
    pub(crate) fn all(&self) -> bool {
        [self.dropped, self.torn, self.reordered]
            .iter()
            .all(|count| *count > 0)
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    blocks: Blocks,
    length: u64,
    pending: Vec<Change>,
    /// How many changes ever left `pending`: marks count from the beginning of the file's life.
    settled: u64,
    /// Per thread: the change count when its sync began.
    marks: BTreeMap<u32, u64>,
}

fn write(blocks: &mut Blocks, length: &mut u64, offset: u64, data: &[u8]) {
    let mut at = offset;
    let mut rest = data;
    while !rest.is_empty() {
        let within = usize::try_from(at % BLOCK).unwrap_or(0);
        let take = rest.len().min(BLOCK_BYTES - within);
        let block = blocks
            .entry(at / BLOCK)
            .or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
        Arc::make_mut(block)[within..within + take].copy_from_slice(&rest[..take]);
        rest = &rest[take..];
        at += take as u64;
    }
    *length = (*length).max(at);
}

fn zero(blocks: &mut Blocks, from: u64, to: u64) {
    let inside: Vec<u64> = blocks
        .range(from / BLOCK..to.div_ceil(BLOCK))
        .map(|(n, _)| *n)
        .collect();
    for number in inside {
        let begin = number * BLOCK;
        if from <= begin && begin + BLOCK <= to {
            blocks.remove(&number);
        } else if let Some(block) = blocks.get_mut(&number) {
            let low = usize::try_from(from.saturating_sub(begin)).unwrap_or(0);
            let high = usize::try_from((to - begin).min(BLOCK)).unwrap_or(BLOCK_BYTES);
            Arc::make_mut(block)[low..high].fill(0);
        }
    }
}

fn apply(blocks: &mut Blocks, length: &mut u64, change: &Change) {
    match change {
        Change::Write(offset, data) => write(blocks, length, *offset, data),
        Change::Truncate(to) => {
            if to < length {
                zero(blocks, *to, *length);
            }
            *length = *to;
        }
        Change::Punch(from, count) => zero(blocks, *from, from + count),
        Change::Extend(to) => *length = (*length).max(*to),
    }
}

impl File {
    pub(crate) fn change(&mut self, change: Change) {
        self.pending.push(change);
    }

    pub(crate) fn sync_begins(&mut self, thread: u32) {
        self.marks
            .insert(thread, self.settled + self.pending.len() as u64);
    }

    pub(crate) fn sync_ended(&mut self, thread: u32) {
        let Some(mark) = self.marks.remove(&thread) else {
            return;
        };
        let count = usize::try_from(mark.saturating_sub(self.settled)).unwrap_or(0);
        for change in self.pending.drain(..count.min(self.pending.len())) {
            apply(&mut self.blocks, &mut self.length, &change);
            self.settled += 1;
        }
    }

    /// The file as a power cut may leave it now.
    pub(crate) fn cut(&self, random: &mut StdRng, toll: &mut Toll) -> (Blocks, u64) {
        let (mut blocks, mut length) = (self.blocks.clone(), self.length);
        // Some cuts lose all or nothing: the extremes are states of their own.
        let chance = [0.0, 0.25, 0.5, 0.75, 1.0][random.random_range(0..5)];
        let mut lost_before = false;
        for change in &self.pending {
            let Change::Write(offset, data) = change else {
                if random.random_bool(chance) {
                    apply(&mut blocks, &mut length, change);
                }
                continue;
            };
            let mut at = *offset;
            let end = offset + data.len() as u64;
            while at < end {
                let next = ((at / BLOCK + 1) * BLOCK).min(end);
                let piece = |a: u64, b: u64| {
                    let index = |x: u64| usize::try_from(x - offset).unwrap_or(0);
                    &data[index(a)..index(b)]
                };
                if !random.random_bool(chance) {
                    toll.dropped += 1;
                    lost_before = true;
                } else if next - at > SECTOR as u64 && random.random_ratio(1, 8) {
                    toll.torn += 1;
                    let mut sector = at;
                    while sector < next {
                        let stop = (sector + SECTOR as u64).min(next);
                        if random.random_bool(0.5) {
                            write(&mut blocks, &mut length, sector, piece(sector, stop));
                        }
                        sector = stop;
                    }
                } else {
                    toll.kept += 1;
                    toll.reordered += u64::from(lost_before);
                    write(&mut blocks, &mut length, at, piece(at, next));
                }
                at = next;
            }
        }
        (blocks, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn byte(state: &(Blocks, u64), at: u64) -> u8 {
        state
            .0
            .get(&(at / BLOCK))
            .map_or(0, |b| b[usize::try_from(at % BLOCK).unwrap()])
    }

    #[test]
    fn what_was_written_before_a_sync_began_always_stays() {
        let mut file = File::default();
        file.change(Change::Write(10, vec![7; 5000]));
        file.sync_begins(1);
        file.change(Change::Write(20_000, vec![9; 1]));
        file.sync_ended(1);
        let (mut seen_kept, mut seen_lost) = (false, false);
        for seed in 0..64 {
            let state = file.cut(&mut StdRng::seed_from_u64(seed), &mut Toll::default());
            assert_eq!(
                (byte(&state, 10), byte(&state, 5009), byte(&state, 9)),
                (7, 7, 0)
            );
            seen_kept |= byte(&state, 20_000) == 9;
            seen_lost |= byte(&state, 20_000) == 0;
        }
        assert!(seen_kept && seen_lost);
    }

    #[test]
    fn a_sync_that_did_not_end_keeps_nothing_for_sure() {
        let mut file = File::default();
        file.change(Change::Write(0, vec![7; 1]));
        file.sync_begins(1);
        let lost = (0..64).any(|seed| {
            byte(
                &file.cut(&mut StdRng::seed_from_u64(seed), &mut Toll::default()),
                0,
            ) == 0
        });
        assert!(lost);
    }

    #[test]
    fn truncation_and_punching_zero_what_they_cover() {
        let mut file = File::default();
        file.change(Change::Write(0, vec![1; 3 * 4096]));
        file.change(Change::Punch(4096, 4096));
        file.change(Change::Truncate(9000));
        file.change(Change::Extend(20_000));
        file.sync_begins(1);
        file.sync_ended(1);
        let state = file.cut(&mut StdRng::seed_from_u64(0), &mut Toll::default());
        assert_eq!(
            (
                byte(&state, 0),
                byte(&state, 5000),
                byte(&state, 8999),
                byte(&state, 9001),
                state.1
            ),
            (1, 0, 1, 0, 20_000)
        );
    }
}
