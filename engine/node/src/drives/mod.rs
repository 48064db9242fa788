//! The drives of this node and how they do: which take writes, which are out of service.
//!
//! A drive goes out of service when it errs or is silent for [`SILENCE`]; it is full or read-only
//! when it says so. Full and read-only drives are left out of writes but are not out of service:
//! nothing on them is in doubt. What is out is looked at again by the drive worker ([`probe`]).
//!
//! Reads and writes are answered by different threads of a drive, and either may hang alone: that it
//! answers the one does not excuse its silence in the other.
//!
//! At most as many drives as stripes bear are out for silence at a time. If more fall silent, the
//! trouble is ours (a stopped process, a starved machine, a stuck queue), and to take the rest out
//! would make an outage of a pause. An error or a mark that is gone takes any drive out.

mod probe;
mod watch;

use crate::EngineError;
use crate::metrics;
use crate::patience::Patience;
use engine_core::placement::{DriveState, Fleet, Layout, LayoutDrive};
use engine_core::ports::{Clock, DriveError, DriveFiles, DriveUsage, ShardStore};
use engine_core::stripes::{Choice, Geometry};
use engine_types::DriveId;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A drive that answers nothing for so long is out of service.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// A drive has room to spare while it has this part of itself free: balancing fills none further.
const ROOMY_PART: u64 = 10;
/// A full drive takes writes again when this much is free, or 2 % of it where that is less.
const FULL_CLEARS_BYTES: u64 = 1 << 30;

/// What may be asked of a drive now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Service {
    /// Everything.
    Up,
    /// Reads and frees.
    Full,
    /// Reads.
    ReadOnly,
    /// Nothing, and why.
    Out(String),
}

/// A drive as operators see it.
#[derive(Clone, Debug)]
pub struct DriveStatus {
    /// Its row in the layout.
    pub row: LayoutDrive,
    /// How it does.
    pub service: Service,
    /// Room; zeros for a drive that is not here.
    pub usage: DriveUsage,
}

/// What is asked of a drive.
#[derive(Clone, Copy, Debug)]
enum Side {
    Reads,
    Writes,
}

/// One drive that is open here.
#[derive(Debug)]
pub(crate) struct Drive {
    pub(crate) row: LayoutDrive,
    pub(crate) store: Arc<dyn ShardStore>,
    pub(crate) files: Arc<dyn DriveFiles>,
    service: Mutex<Service>,
    /// Milliseconds on the monotonic clock when it last answered: reads, writes.
    answered: [AtomicU64; 2],
    /// Somebody waits for a read that its reader has given up.
    watched: AtomicBool,
    /// A write that shows whether it is still read-only is under way.
    trying: AtomicBool,
}

impl Drive {
    fn answered(&self, side: Side) -> &AtomicU64 {
        let [reads, writes] = &self.answered;
        #[cfg(sabotage)]
        if engine_types::sabotage("reads-excuse-writes") {
            return reads;
        }
        match side {
            Side::Reads => reads,
            Side::Writes => writes,
        }
    }
    fn answered_now(&self, side: Side, now_ms: u64) {
        self.answered(side).store(now_ms, Ordering::Relaxed);
    }
    pub(crate) fn service(&self) -> Service {
        self.service.lock().clone()
    }
    pub(crate) fn readable(&self) -> bool {
        !matches!(*self.service.lock(), Service::Out(_))
    }
    fn writable(&self, record_bytes: u64) -> bool {
        *self.service.lock() == Service::Up && self.store.usage().available >= record_bytes
    }
}

/// The registry of drives.
#[derive(Debug)]
pub struct Drives {
    table: RwLock<Table>,
    clock: Arc<dyn Clock>,
    silence: Duration,
    /// Drives that were taken out because they were silent.
    silent: Mutex<BTreeSet<DriveId>>,
}

#[derive(Debug, Default)]
struct Table {
    layout: Arc<Layout>,
    /// Control has told the layout: until then nothing is known of drives that are not here.
    told: bool,
    here: BTreeMap<DriveId, Arc<Drive>>,
}

/// What a writer sees of the drives at one moment.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) layout: Arc<Layout>,
    pub(crate) writable: BTreeSet<DriveId>,
    out: usize,
    full: usize,
}

impl View {
    /// What a stripe should be written in when all is well.
    pub(crate) fn target(&self) -> Option<Geometry> {
        Geometry::for_drives(self.layout.counted())
    }

    /// Geometry to write in, or why not.
    pub(crate) fn choose(&self) -> Result<Choice, EngineError> {
        let counted = self.layout.counted();
        let few = |count: usize| {
            EngineError::Unavailable(format!("{count} of {counted} drives can be written"))
        };
        let target = Geometry::for_drives(counted).ok_or_else(|| few(0))?;
        let writable = self.writable.len();
        let choice = Geometry::choose(target, writable, self.out);
        choice.ok_or_else(|| {
            let with_full = Geometry::choose(target, writable + self.full, self.out);
            if with_full.is_some() {
                EngineError::Full
            } else {
                few(writable)
            }
        })
    }
}

impl Drives {
    pub(crate) fn new(clock: Arc<dyn Clock>, silence: Duration) -> Self {
        Self {
            table: RwLock::default(),
            clock,
            silence,
            silent: Mutex::default(),
        }
    }

    /// Puts a drive into service, or puts it back after it was opened anew.
    pub fn add(&self, row: LayoutDrive, store: Arc<dyn ShardStore>, files: Arc<dyn DriveFiles>) {
        let id = row.id;
        let answered = [(); 2].map(|()| AtomicU64::new(self.now_ms()));
        let drive = Drive {
            row: row.clone(),
            store,
            files,
            service: Mutex::new(Service::Up),
            answered,
            watched: AtomicBool::default(),
            trying: AtomicBool::default(),
        };
        let mut table = self.table.write();
        if !table.told && table.layout.drive(id).is_none() {
            let mut layout = Layout::clone(&table.layout);
            layout.drives.push(row);
            layout.drives.sort_by_key(|drive| drive.id);
            table.layout = Arc::new(layout);
        }
        table.here.insert(id, Arc::new(drive));
    }

    /// Takes a drive away: while the layout names it, it counts as out of service.
    pub fn remove(&self, id: DriveId) {
        self.table.write().here.remove(&id);
    }

    /// Takes a newer layout from control. What it does not name takes no writes, also where it is
    /// open here: it is being added, or has left.
    pub(crate) fn adopt(&self, layout: Layout) {
        let mut table = self.table.write();
        if !table.told || layout.version >= table.layout.version {
            table.told = true;
            table.layout = Arc::new(layout);
        }
    }

    /// The layout as known here.
    pub fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.table.read().layout)
    }

    /// All drives of the layout and how they do.
    pub fn status(&self) -> Vec<DriveStatus> {
        let table = self.table.read();
        let status = |row: &LayoutDrive| match table.here.get(&row.id) {
            Some(drive) => DriveStatus {
                row: row.clone(),
                service: drive.service(),
                usage: drive.store.usage(),
            },
            None => DriveStatus {
                row: row.clone(),
                service: Service::Out(match row.state {
                    DriveState::Gone => "gone for good: its shards are made anew elsewhere".into(),
                    _ => "not here".into(),
                }),
                usage: DriveUsage::default(),
            },
        };
        table.layout.drives.iter().map(status).collect()
    }

    /// A drive that is open here.
    pub(crate) fn get(&self, id: DriveId) -> Option<Arc<Drive>> {
        self.table.read().here.get(&id).cloned()
    }

    /// All drives open here.
    pub(crate) fn here(&self) -> Vec<Arc<Drive>> {
        self.table.read().here.values().cloned().collect()
    }

    /// Whether control's layout, as known here, does not name a drive. An old layout may not know
    /// a drive yet that a newer row names: ask control again before resting on it.
    pub(crate) fn is_absent(&self, id: DriveId) -> bool {
        let table = self.table.read();
        table.told && table.layout.drive(id).is_none()
    }

    /// Whether a drive will not come back: nothing waits for it.
    pub(crate) fn is_gone(&self, id: DriveId) -> bool {
        let table = self.table.read();
        let row = table.layout.drive(id);
        row.is_some_and(|row| row.state == DriveState::Gone)
    }

    /// The drives as a planner sees them, for records of so many bytes.
    pub(crate) fn fleet(&self, record_bytes: u64) -> Fleet {
        let view = self.view(record_bytes);
        let here = self.here();
        let readable = here.iter().filter(|drive| drive.readable());
        let roomy = here.iter().filter(|drive| {
            let usage = drive.store.usage();
            view.writable.contains(&drive.row.id) && usage.available >= usage.capacity / ROOMY_PART
        });
        Fleet {
            readable: readable.map(|drive| drive.row.id).collect(),
            roomy: roomy.map(|drive| drive.row.id).collect(),
            writable: view.writable,
            layout: Layout::clone(&view.layout),
        }
    }

    /// Which drives take a record of so many bytes now, and which are out of service.
    pub(crate) fn view(&self, record_bytes: u64) -> View {
        let table = self.table.read();
        let mut view = View {
            layout: Arc::clone(&table.layout),
            writable: BTreeSet::new(),
            out: 0,
            full: 0,
        };
        for row in &table.layout.drives {
            let here = table.here.get(&row.id);
            let out = here.is_none_or(|drive| !drive.readable());
            if !row.state.counts() {
                continue;
            }
            if out {
                view.out += 1;
            } else if row.state == DriveState::Active
                && here.is_some_and(|d| d.writable(record_bytes))
            {
                view.writable.insert(row.id);
            } else if row.state == DriveState::Full
                || here.is_some_and(|d| {
                    d.service() != Service::ReadOnly && row.state == DriveState::Active
                })
            {
                view.full += 1;
            }
        }
        view
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Does `work`, which reads, on a drive. Errors and silence change its service before they are
    /// returned.
    pub(crate) async fn run<T>(
        &self,
        drive: &Drive,
        op: &'static str,
        work: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, DriveError> {
        self.run_on(drive, (Side::Reads, op), work).await
    }

    /// As [`Self::run`], of work that writes.
    pub(crate) async fn run_write<T>(
        &self,
        drive: &Drive,
        op: &'static str,
        work: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, DriveError> {
        self.run_on(drive, (Side::Writes, op), work).await
    }

    async fn run_on<T>(
        &self,
        drive: &Drive,
        (side, op): (Side, &'static str),
        work: impl Future<Output = Result<T, DriveError>>,
    ) -> Result<T, DriveError> {
        let mut work = pin!(work);
        let started = self.now_ms();
        let silence = u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX);
        let error = DriveError::Failed(format!("silent for {silence} ms"));
        let mut patience = Patience::default();
        loop {
            if let Ok(done) = tokio::time::timeout(self.silence, &mut work).await {
                drive.answered_now(side, self.now_ms());
                if let Err(error) = &done {
                    metrics::shard_error(op, error);
                    note(drive, op, error);
                }
                return done;
            }
            let last = drive.answered(side).load(Ordering::Relaxed).max(started);
            if self.now_ms().saturating_sub(last) < silence && patience.busy() {
                continue;
            }
            if self.take_silent(drive, op, &error) || !patience.spared() {
                break;
            }
        }
        metrics::shard_error(op, &error);
        Err(error)
    }

    /// Takes a silent drive out of service, unless as many as stripes bear are out for silence.
    fn take_silent(&self, drive: &Drive, op: &'static str, error: &DriveError) -> bool {
        let borne = Geometry::for_drives(self.layout().counted()).map_or(0, |g| usize::from(g.m));
        let mut silent = self.silent.lock();
        silent.retain(|id| self.get(*id).is_some_and(|drive| !drive.readable()));
        if !silent.contains(&drive.row.id) && silent.len() >= borne {
            tracing::warn!(drive = %drive.row.id, op, silent = silent.len() + 1, "too many drives are silent at once: it is not taken out of service");
            return false;
        }
        silent.insert(drive.row.id);
        note(drive, op, error);
        true
    }
}

/// What an error says of the drive's service.
fn note(drive: &Drive, op: &'static str, error: &DriveError) {
    let mut service = drive.service.lock();
    let next = match error {
        DriveError::NotFound | DriveError::Corrupt(_) | DriveError::Starved(_) => return,
        DriveError::Full => Service::Full,
        DriveError::ReadOnly => Service::ReadOnly,
        DriveError::Failed(reason) => Service::Out(reason.clone()),
    };
    if matches!(*service, Service::Out(_)) || *service == next {
        return;
    }
    tracing::warn!(drive = %drive.row.id, op, state = ?next, "drive changed service");
    *service = next;
}
