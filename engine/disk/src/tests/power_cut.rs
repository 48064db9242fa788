//! Power cuts: the drive is rebuilt from a recording of its writes and syncs, at many points, with
//! every block that was not synced kept, dropped or torn, and every name that was not synced there
//! or not. What had been acknowledged by then must stand. The index is lost whole each time: it is
//! never synced, and what it would add is in `recovery.rs`.

use super::tape::Event;
use super::{UUID, new_drive, open, open_dir, options, read};
use crate::file::parent;
use crate::{Options, Root, SegmentStore};
use engine_core::ports::{ASIDE, DriveError, ShardStore};
use engine_sim::contracts::shard_store::shard;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const BLOCK: usize = 4096;

/// One file: what is safe, and what happened to it since.
#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
}

/// A file system as POSIX promises it, and no better.
#[derive(Default)]
pub(super) struct Disk {
    inodes: Vec<Inode>,
    /// Names now, and names that are safe.
    names: BTreeMap<String, usize>,
    safe: BTreeMap<String, usize>,
    directories: BTreeSet<String>,
}

impl Disk {
    /// As it is after these.
    pub(super) fn after(events: &[Event]) -> Self {
        let mut disk = Self::default();
        for event in events {
            disk.apply(event);
        }
        disk
    }

    /// None: its name is gone, and with it what is still written to it.
    fn inode(&mut self, name: &str) -> Option<&mut Inode> {
        let number = *self.names.get(name)?;
        self.inodes.get_mut(number)
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Created(name) => {
                let aside = name.ends_with(ASIDE);
                if aside || !self.names.contains_key(name) {
                    self.inodes.push(Inode::default());
                    self.names.insert(name.clone(), self.inodes.len() - 1);
                }
            }
            Event::DirectoryMade(name) => {
                self.directories.insert(name.clone());
            }
            Event::Wrote(name, offset, bytes) => {
                let Some(inode) = self.inode(name) else {
                    return;
                };
                let content = &mut inode.current;
                let from = usize::try_from(*offset).expect("small");
                let length = content.len().max(from + bytes.len());
                content.resize(length, 0);
                content[from..from + bytes.len()].copy_from_slice(bytes);
            }
            Event::Resized(name, length) => {
                let length = usize::try_from(*length).expect("small");
                if let Some(inode) = self.inode(name) {
                    inode.current.resize(length, 0);
                }
            }
            Event::Synced(name) => {
                if let Some(inode) = self.inode(name) {
                    inode.durable = inode.current.clone();
                }
            }
            Event::Renamed(from, to) => {
                let number = self.names.remove(from).expect("was there");
                self.names.insert(to.clone(), number);
            }
            Event::Removed(name) => {
                self.names.remove(name);
                self.directories.remove(name);
            }
            Event::DirectorySynced(directory) => {
                self.safe.retain(|name, _| parent(name) != directory);
                for (name, number) in &self.names {
                    if parent(name) == directory {
                        self.safe.insert(name.clone(), *number);
                    }
                }
            }
        }
    }

    /// Writes down what a cut may leave.
    pub(super) fn leave(&self, at: &Path, dice: &mut impl FnMut(u64) -> u64) {
        for directory in &self.directories {
            std::fs::create_dir_all(at.join(directory)).expect("creates");
        }
        let all: BTreeSet<&String> = self.names.keys().chain(self.safe.keys()).collect();
        for name in all {
            let (now, safe) = (self.names.get(name), self.safe.get(name));
            let chosen = if now == safe || dice(2) == 0 {
                safe
            } else {
                now
            };
            if let Some(number) = chosen {
                let content = tear(&self.inodes[*number], dice);
                std::fs::write(at.join(name), content).expect("writes");
            }
        }
    }
}

/// Of the blocks that differ each one is old, new, or half of both.
fn tear(inode: &Inode, dice: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
    let (old, new) = (&inode.durable, &inode.current);
    if old == new {
        return old.clone();
    }
    let length = if dice(2) == 0 { old.len() } else { new.len() };
    let mut content = old.clone();
    content.resize(old.len().max(new.len()), 0);
    for start in (0..new.len()).step_by(BLOCK) {
        let end = new.len().min(start + BLOCK);
        match dice(3) {
            0 => {}
            1 => content[start..end].copy_from_slice(&new[start..end]),
            _ => {
                let middle = start + usize::try_from(dice((end - start) as u64)).expect("small");
                content[start..middle].copy_from_slice(&new[start..middle]);
            }
        }
    }
    content.truncate(length);
    content
}

pub(super) struct Acked {
    /// Events on the tape when the answer was here.
    by: usize,
    shard: super::Shard,
    /// … and when it was freed: begun, answered.
    freed: Option<(usize, usize)>,
}

/// Appends, in groups and alone, over several segments; frees; deletes of dead segments.
pub(super) async fn workload(path: &Path) -> (Vec<Event>, Vec<Acked>) {
    workload_with(path, options()).await
}

pub(super) async fn workload_with(path: &Path, options: Options) -> (Vec<Event>, Vec<Acked>) {
    let dir = open_dir(path).await;
    let root = std::sync::Arc::clone(dir.root());
    root.tape.start();
    let (store, _) = SegmentStore::open(dir, options).expect("opens");
    let store = std::sync::Arc::new(store);
    let mut acked: Vec<Acked> = Vec::new();
    for round in 0..5_u64 {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let length = [64, 5000, 70_000, 300_000][usize::try_from(number % 4).expect("small")];
            let one = shard(UUID, 10, round * 100 + number, length);
            let (store, root) = (std::sync::Arc::clone(&store), std::sync::Arc::clone(&root));
            tasks.spawn(async move {
                super::put(&store, &one).await;
                Acked {
                    by: root.tape.events().len(),
                    shard: one,
                    freed: None,
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            acked.push(done.expect("no task fails"));
        }
        let begun = root.tape.events().len();
        let dead: Vec<_> = acked
            .iter_mut()
            .filter(|one| one.freed.is_none() && one.shard.0.token.0[15] % 3 != 0)
            .collect();
        let tokens: Vec<_> = dead.iter().map(|one| one.shard.0.token).collect();
        store.free(&tokens).await.expect("frees");
        let by = root.tape.events().len();
        for one in dead {
            one.freed = Some((begun, by));
        }
    }
    store.close().await;
    (root.tape.events(), acked)
}

/// How many acknowledged things stood, and how many did not, over cuts at `points` places.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    held: usize,
    freed: usize,
    pub(super) lost: usize,
    pub(super) undead: usize,
}

pub(super) fn dice() -> impl FnMut(u64) -> u64 {
    let mut seed = 0x1234_5678_9ABC_DEF1_u64;
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

pub(super) async fn judge(events: &[Event], acked: &[Acked], points: usize) -> Verdict {
    let mut dice = dice();
    let mut verdict = Verdict::default();
    let step = (events.len() / points).max(1);
    for cut in (0..=events.len()).rev().step_by(step) {
        let disk = Disk::after(&events[..cut]);
        let drive = new_drive();
        disk.leave(drive.path(), &mut dice);
        let (store, _) = open(drive.path()).await;
        for one in acked {
            let found = read(&store, &one.shard).await;
            let absent = matches!(found, Err(DriveError::NotFound));
            match one.freed {
                Some((_, answered)) if answered <= cut && absent => verdict.freed += 1,
                Some((_, answered)) if answered <= cut => verdict.undead += 1,
                // Asked and not answered: either.
                Some((begun, _)) if begun <= cut => {}
                _ if one.by <= cut && found.is_ok() => verdict.held += 1,
                _ if one.by <= cut => verdict.lost += 1,
                _ => {}
            }
        }
        // And it takes new ones.
        super::put(&store, &shard(UUID, 11, 9_999, 5000)).await;
    }
    verdict
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_power_cut_at_any_point() {
    let recorded = new_drive();
    let (events, acked) = workload(recorded.path()).await;
    assert!(events.len() > 60, "{}", events.len());
    let verdict = judge(&events, &acked, 40).await;
    assert_eq!((verdict.lost, verdict.undead), (0, 0), "{verdict:?}");
    assert!(verdict.held > 100 && verdict.freed > 100, "{verdict:?}");
}

type Kept = fn(&Event) -> bool;

/// The test above would notice each sync that is left out.
#[tokio::test]
async fn no_sync_can_be_left_out_unnoticed() {
    let recorded = new_drive();
    let (events, acked) = workload(recorded.path()).await;
    let without: [(&str, Kept); 3] = [
        (
            "segments",
            |event| !matches!(event, Event::Synced(name) if name.contains("segments")),
        ),
        (
            "frees",
            |event| !matches!(event, Event::Synced(name) if name.ends_with("frees")),
        ),
        ("directories", |event| {
            !matches!(event, Event::DirectorySynced(_))
        }),
    ];
    for (what, kept) in without {
        let events: Vec<Event> = events
            .iter()
            .map(|event| {
                if kept(event) {
                    event.clone()
                } else {
                    // Places on the tape stay.
                    Event::DirectoryMade("shards".to_owned())
                }
            })
            .collect();
        let verdict = judge(&events, &acked, 8).await;
        assert!(verdict.lost + verdict.undead > 0, "{what}: {verdict:?}");
    }
}

/// A file that is replaced whole is the old one or the new one, and the new one once answered.
#[test]
fn a_mark_is_old_or_new_and_new_once_written() {
    let recorded = new_drive();
    let root = Root::lock(recorded.path()).expect("locks");
    root.tape.start();
    let contents: Vec<Vec<u8>> = (1..6_u8).map(|n| vec![n; 3000 * usize::from(n)]).collect();
    let mut written = Vec::new();
    for content in &contents {
        root.write("drive.json", content).expect("writes");
        written.push(root.tape.events().len());
    }
    let events = root.tape.events();
    let mut dice = dice();
    for cut in 0..=events.len() {
        for _ in 0..8 {
            let disk = Disk::after(&events[..cut]);
            let drive = new_drive();
            disk.leave(drive.path(), &mut dice);
            let found = std::fs::read(drive.path().join("drive.json")).ok();
            let done = written.iter().filter(|by| **by <= cut).count();
            let new = contents.get(done);
            let old = done.checked_sub(1).map(|last| &contents[last]);
            assert!(
                found.as_ref() == old || found.as_ref() == new,
                "cut at {cut}, {done} written"
            );
        }
    }
}
