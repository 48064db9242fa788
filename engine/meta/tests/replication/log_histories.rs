//! Histories by chance: a log that is opened again is the one that was left, wherever it rolled.

use super::common::{FakeDrive, until};
use super::log::{entries, entry, open_with};
use engine_meta::log::{DriveLog, GroupLog, LogOptions};
use engine_meta::raft::types::{LogId, log_id, vote};
use engine_types::GroupId;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const GROUPS: u32 = 3;
const SEEDS: u64 = 24;
const BURSTS: u64 = 40;

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// What a group's log must be.
#[derive(Clone, Debug, Default)]
struct Due {
    ballots: u64,
    term: u64,
    purged: Option<LogId>,
    entries: BTreeMap<u64, u64>,
    committed: Option<u64>,
}

impl Due {
    fn next(&self) -> u64 {
        let purged = self.purged.map_or(0, |purged| purged.index() + 1);
        let last = self.entries.last_key_value();
        last.map_or(purged, |(index, _)| index + 1)
    }

    fn id(&self, index: u64) -> LogId {
        log_id(self.entries[&index], index)
    }

    fn last(&self) -> Option<LogId> {
        let last = self.entries.last_key_value();
        last.map_or(self.purged, |(index, term)| Some(log_id(*term, *index)))
    }

    /// What raft may take back begins here.
    fn open(&self) -> u64 {
        self.committed.map_or(0, |index| index + 1)
    }

    async fn append(&mut self, log: &mut GroupLog, chance: &mut Chance, bytes: u64) {
        let first = self.next();
        let count = 1 + chance.below(4);
        let new = (first..first + count).map(|index| {
            let bytes = usize::try_from(chance.below(bytes)).expect("small");
            entry(self.term, index, bytes)
        });
        let new: Vec<_> = new.collect();
        log.append(new, IOFlushed::noop()).await.expect("taken");
        let term = self.term;
        self.entries
            .extend((first..first + count).map(|index| (index, term)));
    }

    async fn commit(&mut self, log: &mut GroupLog, chance: &mut Chance) {
        let (open, next) = (self.open(), self.next());
        if open < next {
            let upto = open + chance.below(next - open);
            self.committed = Some(upto);
            let hint = Some(self.id(upto));
            log.save_committed(hint).await.expect("taken");
        }
    }

    async fn truncate(&mut self, log: &mut GroupLog, chance: &mut Chance) {
        let (open, next) = (self.open(), self.next());
        if open < next {
            let from = open + chance.below(next - open);
            self.entries.split_off(&from);
            self.term += 1;
            let last = self.last();
            log.truncate_after(last).await.expect("taken");
        }
    }

    async fn purge(&mut self, log: &mut GroupLog, chance: &mut Chance) {
        let first = self.entries.first_key_value().map(|(first, _)| *first);
        if let (Some(first), Some(committed)) = (first, self.committed)
            && first <= committed
        {
            let upto = self.id(first + chance.below(committed + 1 - first));
            self.purge_to(log, upto).await;
        }
    }

    /// A snapshot of what this log has not.
    async fn install(&mut self, log: &mut GroupLog, chance: &mut Chance) {
        let upto = log_id(self.term, self.next() + chance.below(9));
        self.committed = Some(upto.index());
        self.purge_to(log, upto).await;
    }

    async fn purge_to(&mut self, log: &mut GroupLog, upto: LogId) {
        self.purged = Some(upto);
        self.entries = self.entries.split_off(&(upto.index() + 1));
        log.purge(upto).await.expect("taken");
    }

    async fn any(&mut self, log: &mut GroupLog, chance: &mut Chance, bytes: u64) {
        match chance.below(20) {
            0..10 => self.append(log, chance, bytes).await,
            10..14 => self.commit(log, chance).await,
            14..16 => self.truncate(log, chance).await,
            16..19 => self.purge(log, chance).await,
            _ => self.install(log, chance).await,
        }
    }

    /// All that was asked for before is durable once this is.
    async fn ballot(&mut self, log: &mut GroupLog) {
        self.ballots += 1;
        let ballot = vote(self.ballots, 1, true);
        log.save_vote(&ballot).await.expect("saved");
    }

    async fn expect(&self, log: &mut GroupLog, what: &str) {
        let ballot = (self.ballots > 0).then(|| vote(self.ballots, 1, true));
        let found = log.read_vote().await.expect("read");
        assert_eq!(found, ballot, "{what}");
        assert_eq!(log.bounds(), (self.purged, self.last()), "{what}");
        let found = entries(log).await;
        let found: Vec<LogId> = found.iter().map(|entry| entry.log_id).collect();
        let due: Vec<LogId> = self.entries.keys().map(|index| self.id(*index)).collect();
        assert_eq!(found, due, "{what}");
        let committed = log.read_committed().await.expect("read");
        assert!(committed <= self.last(), "{what}: {committed:?}");
    }
}

struct Run {
    drive: Arc<FakeDrive>,
    options: LogOptions,
    chance: Chance,
    due: Vec<Due>,
    what: String,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let copies = [0, 2000, 8 << 20];
        let options = LogOptions {
            boot: 0,
            file_bytes_max: 2 << 10,
            files_max: 1 + usize::try_from(chance.below(4)).expect("small"),
            copy_bytes_max: copies[usize::try_from(chance.below(3)).expect("small")],
        };
        Self {
            drive: FakeDrive::new(1),
            options,
            chance,
            due: vec![Due::default(); GROUPS as usize],
            what: String::new(),
        }
    }

    fn open(&self, drive: &Arc<FakeDrive>) -> DriveLog {
        let log = open_with(drive, self.options);
        let damaged = log.damaged();
        assert!(damaged.is_empty(), "{}: {damaged:?}", self.what);
        log
    }

    /// Operations of all groups, some of them behind a sync that takes long, and all durable then.
    async fn burst(&mut self, log: &DriveLog) {
        let stands = self.chance.below(2) == 0;
        if stands {
            self.drive.hold_syncs(true);
            let log = &mut log.group(GroupId(0));
            self.due[0].append(log, &mut self.chance, 3000).await;
            until("a sync", PATIENCE, || self.drive.sync_stands()).await;
        }
        for _ in 0..=self.chance.below(12) {
            // The first is busiest, the last rests.
            let group =
                [0, 0, 0, 0, 0, 1, 1, 2][usize::try_from(self.chance.below(8)).expect("small")];
            let bytes = [900, 300, 40][group];
            let log = &mut log.group(GroupId(u32::try_from(group).expect("small")));
            self.due[group].any(log, &mut self.chance, bytes).await;
        }
        self.drive.hold_syncs(false);
        let one = usize::try_from(self.chance.below(u64::from(GROUPS))).expect("small");
        let log = &mut log.group(GroupId(u32::try_from(one).expect("small")));
        self.due[one].ballot(log).await;
    }

    /// What was durable before the burst outlives a cut at each removal of a file in it.
    async fn expect_at_removals(&self, before: &[Due]) {
        for cut in self.drive.cuts_at_removals() {
            let log = self.open(&cut);
            for (group, due) in (0..).zip(before) {
                let mut log = log.group(GroupId(group));
                let found = log.read_vote().await.expect("read");
                let old = (due.ballots > 0).then(|| vote(due.ballots, 1, true));
                let new = Some(vote(due.ballots + 1, 1, true));
                assert!(found == old || found == new, "{}: {found:?}", self.what);
                let last = log.bounds().1.map(|last| last.index());
                assert!(last >= due.committed, "{}: {last:?}", self.what);
            }
        }
    }

    async fn expect(&self, drive: &Arc<FakeDrive>) {
        let log = self.open(drive);
        for (group, due) in (0..).zip(&self.due) {
            due.expect(&mut log.group(GroupId(group)), &self.what).await;
        }
    }

    async fn history(&mut self, seed: u64) {
        let mut log = self.open(&self.drive);
        self.drive.cuts_at_removals();
        for burst in 0..BURSTS {
            self.what = format!("seed {seed} burst {burst} {:?}", self.options);
            let before = self.due.clone();
            self.burst(&log).await;
            self.expect_at_removals(&before).await;
            self.expect(&self.drive.after_cut(0, false)).await;
            match self.chance.below(12) {
                0 => {
                    let closing = tokio::task::spawn_blocking(move || log.close());
                    closing.await.expect("closed");
                    log = self.open(&self.drive);
                }
                1 => {
                    self.drive = self.drive.after_cut(0, false);
                    self.drive.cuts_at_removals();
                    log = self.open(&self.drive);
                }
                2 => {
                    let group = usize::try_from(self.chance.below(u64::from(GROUPS)));
                    let group = group.expect("small");
                    let id = GroupId(u32::try_from(group).expect("small"));
                    log.destroy(id).await.expect("destroyed");
                    self.due[group] = Due::default();
                    // A cut before it was durable finds it still there.
                    self.drive.cuts_at_removals();
                }
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_opened_again_is_the_one_that_was_left() {
    for seed in 0..SEEDS {
        Run::new(seed).history(seed).await;
    }
}
