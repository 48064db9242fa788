//! Opening a drive's log, and handles on its groups.

use super::index::{GroupIndex, GroupState, Place};
use super::recover::{Scan, scan};
use super::store::GroupLog;
use super::writer::{Change, Op, QUEUE_OPS_MAX, Writer};
use super::written::Done;
use super::{COPY_BYTES_MAX, FILE_BYTES_MAX, LogError, file_name, record};
use crate::raft::codec::entry_from;
use crate::raft::types::Entry;
use engine_core::ports::{DriveFiles, LogFile};
use engine_types::GroupId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Settings of a drive's log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Boot count of this process; one more than the log's last where smaller.
    pub boot: u64,
    /// A file is closed at this length.
    pub file_bytes_max: u64,
    /// Beyond so many files, groups that keep the oldest alive are copied forward, or asked for a
    /// snapshot. Half as many more may lie there until two are written.
    pub files_max: usize,
    /// Groups whose live entries are at most this are copied forward; larger ones must snapshot.
    pub copy_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            boot: 0,
            file_bytes_max: FILE_BYTES_MAX,
            files_max: 6,
            copy_bytes_max: COPY_BYTES_MAX,
        }
    }
}

pub(super) type Reader = Arc<Mutex<Box<dyn LogFile>>>;

/// What the writer and the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub groups: Mutex<BTreeMap<GroupId, Arc<GroupIndex>>>,
    pub readers: Mutex<BTreeMap<u64, Reader>>,
    /// Groups that should snapshot, so that the oldest file can go.
    pub pressure: Mutex<BTreeSet<GroupId>>,
    failed: Mutex<Option<LogError>>,
    syncs: AtomicU64,
    /// Last sequence known to be durable.
    end: AtomicU64,
    salt: u32,
}

impl Shared {
    pub(super) fn indexes(&self) -> Vec<Arc<GroupIndex>> {
        self.groups.lock().values().cloned().collect()
    }

    pub(super) fn oldest_file(&self) -> Option<u64> {
        self.readers
            .lock()
            .first_key_value()
            .map(|(number, _)| *number)
    }

    /// A sync is done: all up to `sequence` is durable.
    pub(super) fn synced(&self, sequence: u64) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.end.store(sequence, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, error: &LogError) {
        *self.failed.lock() = Some(error.clone());
        for index in self.indexes() {
            index
                .durable
                .send_modify(|durable| durable.failed = Some(error.to_string()));
        }
    }

    /// Forgets a group that was destroyed, unless another stands in its place already.
    pub(super) fn forget(&self, index: &Arc<GroupIndex>) {
        let mut groups = self.groups.lock();
        if groups
            .get(&index.group)
            .is_some_and(|known| Arc::ptr_eq(known, index))
        {
            groups.remove(&index.group);
        }
    }

    /// Reads of a file go on through this once the file is removed.
    pub(super) fn reader(&self, file: u64) -> Result<Reader, LogError> {
        let reader = self.readers.lock().get(&file).cloned();
        reader.ok_or(LogError::Malformed("place: no such file"))
    }

    /// Reads an entry's record and verifies it. Blocking.
    pub(super) fn read_back(&self, place: Place, reader: &Reader) -> Result<Entry, LogError> {
        let mut bytes = vec![0; place.span as usize];
        reader.lock().read_at(place.offset, &mut bytes)?;
        let record =
            record::parse(&bytes, self.salt).ok_or(LogError::Malformed("record read back"))?;
        Ok(entry_from(record.payload)?)
    }
}

/// The log of one drive. Dropping it without [`DriveLog::close`] is a crash: nothing more is
/// written, and nothing acknowledged is lost.
#[derive(Debug)]
pub struct DriveLog {
    pub(super) shared: Arc<Shared>,
    queue: mpsc::Sender<Op>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    damaged: Mutex<BTreeMap<GroupId, String>>,
    /// Damage found at open …
    damage: Option<String>,
    /// … and the groups of which the log knew then, or that were destroyed since.
    known: Mutex<BTreeSet<GroupId>>,
    boot: u64,
    recovered: u64,
}

impl DriveLog {
    /// Recovers and starts the writer. Blocking. A tear is cut; damage is told by
    /// [`DriveLog::damaged`] and cut by nobody.
    pub fn open(files: Arc<dyn DriveFiles>, options: LogOptions) -> Result<Self, LogError> {
        let scan = scan(files.as_ref())?;
        let boot = options.boot.max(scan.boot + 1);
        for unbegun in &scan.unbegun {
            files.remove(&file_name(*unbegun))?;
        }
        let number = scan.files.last().copied().unwrap_or(1);
        let mut file = files.open_log(&file_name(number))?;
        if let Some(torn) = scan.torn {
            if scan.tear {
                tracing::info!(drive = %files.drive(), file = number, torn, "log: torn end cut");
            }
            file.truncate(torn)?;
        } else if !scan.files.is_empty() {
            // What the dead process wrote but did not sync is about to be built upon.
            #[cfg(sabotage)]
            if !engine_types::sabotage("skip-recovered-fsync") {
                file.sync()?;
            }
            #[cfg(not(sabotage))]
            file.sync()?;
        }
        for damage in &scan.damage {
            tracing::error!(drive = %files.drive(), %damage, "log damaged");
        }
        let salt = record::salt_of(files.uuid());
        let (shared, damaged, group_sequences) = share(files.as_ref(), &scan, number, salt)?;
        let fresh = file.is_empty();
        let mut writer = Writer {
            files,
            shared: Arc::clone(&shared),
            file,
            number,
            salt,
            boot,
            sequence: scan.sequence,
            durable: scan.sequence,
            prev: scan.prev,
            group_sequences,
            file_bytes_max: options.file_bytes_max,
            files_max: options.files_max,
            copy_bytes_max: options.copy_bytes_max,
            pressed: BTreeMap::new(),
            buffer: Vec::new(),
        };
        if fresh {
            writer.begin()?;
        }
        let (queue, receiver) = mpsc::channel(QUEUE_OPS_MAX);
        let thread = std::thread::Builder::new()
            .name("meta-log".into())
            .spawn(move || writer.run(receiver))
            .map_err(|error| LogError::Failed(error.to_string()))?;
        let known = scan.groups.keys().map(|group| GroupId(*group)).collect();
        let damage = (!scan.damage.is_empty()).then(|| scan.damage.join("; "));
        let (thread, damaged) = (Mutex::new(Some(thread)), Mutex::new(damaged));
        Ok(Self {
            shared,
            queue,
            thread,
            recovered: scan.sequence,
            damaged,
            damage,
            known: Mutex::new(known),
            boot,
        })
    }

    /// The boot count records carry.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Groups with records on this drive.
    pub fn groups(&self) -> Vec<GroupId> {
        self.shared.groups.lock().keys().copied().collect()
    }

    /// Groups whose replica must not go on, and why: [`DriveLog::destroy`] them, and make a replica
    /// anew under a new id.
    pub fn damaged(&self) -> BTreeMap<GroupId, String> {
        self.damaged.lock().clone()
    }

    /// Why the replica of `group`, which the drive is known to hold, must not go on. Where the log
    /// is damaged and knows nothing of the group, all it knew may have been in the damaged part.
    pub fn damage_of(&self, group: GroupId) -> Option<String> {
        let mut damaged = self.damaged.lock();
        if let Some(told) = damaged.get(&group) {
            return Some(told.clone());
        }
        let why = self.damage.as_ref()?;
        if self.known.lock().contains(&group) {
            return None;
        }
        // From now on it keeps the files that tell it, as the others do.
        damaged.insert(group, why.clone());
        let mut groups = self.shared.groups.lock();
        groups.entry(group).or_insert_with(|| {
            let mut state = GroupState::default();
            state.hold_all();
            Arc::new(GroupIndex::new(group, state))
        });
        Some(why.clone())
    }

    /// Groups that should snapshot and purge, so that old files can go. Taken once.
    pub fn take_pressure(&self) -> BTreeSet<GroupId> {
        std::mem::take(&mut self.shared.pressure.lock())
    }

    /// Syncs so far: how well commits share them.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// The last sequence known to be durable: a later open of this drive that finds less has found an
    /// older copy of it.
    pub fn end(&self) -> u64 {
        self.shared.end.load(Ordering::Relaxed)
    }

    /// The last sequence that was found whole when the log was opened.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// Why the log no longer takes writes.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failed.lock().clone()
    }

    /// A handle on a group's log; empty if new.
    pub fn group(&self, group: GroupId) -> GroupLog {
        let mut groups = self.shared.groups.lock();
        let index = groups
            .entry(group)
            .or_insert_with(|| Arc::new(GroupIndex::new(group, GroupState::default())));
        GroupLog::new(
            Arc::clone(index),
            Arc::clone(&self.shared),
            self.queue.clone(),
        )
    }

    /// Forgets a group, durably. Until that is done [`DriveLog::group`] gives the old one; its handles
    /// write nothing any more afterwards.
    pub async fn destroy(&self, group: GroupId) -> Result<(), LogError> {
        let index = self.shared.groups.lock().get(&group).cloned();
        let index =
            index.unwrap_or_else(|| Arc::new(GroupIndex::new(group, GroupState::default())));
        let (sender, waiter) = oneshot::channel();
        let op = Op::Change {
            index,
            ticket: 0,
            change: Change::Destroy,
            done: Done::Waiter(sender),
        };
        self.queue
            .send(op)
            .await
            .map_err(|_closed| LogError::Failed("closed".into()))?;
        waiter
            .await
            .map_err(|_closed| LogError::Failed("closed".into()))??;
        self.known.lock().insert(group);
        self.damaged.lock().remove(&group);
        Ok(())
    }

    /// Writes what is queued and a last mark, and ends the writer. Blocking.
    pub fn close(&self) {
        // A failed writer has closed its queue already.
        drop(self.queue.blocking_send(Op::Close));
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("log writer panicked");
        }
    }
}

type Opened = (
    Arc<Shared>,
    BTreeMap<GroupId, String>,
    std::collections::HashMap<u32, u64>,
);

fn share(files: &dyn DriveFiles, scan: &Scan, number: u64, salt: u32) -> Result<Opened, LogError> {
    let mut readers = BTreeMap::new();
    for number in scan
        .files
        .iter()
        .copied()
        .chain([number])
        .collect::<BTreeSet<_>>()
    {
        let reader: Reader = Arc::new(Mutex::new(files.open_log(&file_name(number))?.reader()?));
        readers.insert(number, reader);
    }
    let (mut groups, mut damaged) = (BTreeMap::new(), BTreeMap::new());
    let mut sequences = std::collections::HashMap::new();
    for (group, recovered) in &scan.groups {
        let id = GroupId(*group);
        sequences.insert(*group, recovered.group_sequence);
        let mut state = recovered.state.clone();
        if let Some(why) = &recovered.damaged {
            damaged.insert(id, why.clone());
            state.hold_all();
        }
        groups.insert(id, Arc::new(GroupIndex::new(id, state)));
    }
    let shared = Shared {
        groups: Mutex::new(groups),
        readers: Mutex::new(readers),
        pressure: Mutex::default(),
        failed: Mutex::default(),
        syncs: AtomicU64::new(0),
        end: AtomicU64::new(scan.sequence),
        salt,
    };
    Ok((Arc::new(shared), damaged, sequences))
}
