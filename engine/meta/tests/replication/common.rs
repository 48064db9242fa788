//! Doubles for tests of the replication half: a drive that forgets what was not synced.

pub(crate) use super::real::{Counter, RealClock};
pub(crate) use super::toy::{Toy, put, row_key};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_types::{DriveId, DriveUuid};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
struct Content {
    /// With room.
    bytes: Vec<u8>,
    /// Where what was appended ends, what was synced of it, and the file when that was synced.
    written: usize,
    synced: usize,
    synced_end: usize,
}

impl Content {
    fn found(bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        Self {
            bytes,
            written: length,
            synced: length,
            synced_end: length,
        }
    }
}

type Shared = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct Faults {
    sync_fails: AtomicBool,
    gone: Mutex<Option<String>>,
    syncs: AtomicU64,
    /// No room is given.
    tight: AtomicBool,
    /// Real time a sync takes, ms.
    sync_ms: AtomicU64,
    /// Syncs do not return, and one stands there.
    sync_stands: AtomicBool,
    standing: AtomicBool,
    /// The process has no handle left for a new file.
    starved: AtomicBool,
    /// No log is opened; who tries waits. Those who do.
    hanging: Mutex<(bool, usize)>,
    moves: Condvar,
    /// What cannot be removed.
    stuck: Mutex<Option<String>>,
}

/// A wait without a sleep: a channel nobody sends to.
fn pass(ms: u64) {
    let (_keep, never) = std::sync::mpsc::sync_channel::<()>(0);
    assert!(never.recv_timeout(Duration::from_millis(ms)).is_err());
}

/// A drive in memory; fjall's directory is real and temporary.
#[derive(Debug)]
pub(crate) struct FakeDrive {
    id: DriveId,
    files: Mutex<BTreeMap<String, Shared>>,
    faults: Arc<Faults>,
    /// The drive as a cut right behind each removal of a log file leaves it, once asked for.
    removals: Mutex<Option<Vec<Arc<FakeDrive>>>>,
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct FakeFile {
    content: Shared,
    /// Shared with readers.
    length: Arc<AtomicUsize>,
    faults: Arc<Faults>,
}

impl LogFile for FakeFile {
    fn len(&self) -> u64 {
        self.length.load(Ordering::Relaxed) as u64
    }
    fn append_with_room(&mut self, bytes: &[u8], room: u64) -> Result<(), DriveError> {
        if self.faults.sync_fails.load(Ordering::Relaxed) {
            return Err(DriveError::Failed("EIO".into()));
        }
        let mut content = self.content.lock();
        let from = self.length.load(Ordering::Relaxed);
        let end = from + bytes.len();
        if end > content.bytes.len() {
            let tight = self.faults.tight.load(Ordering::Relaxed);
            let room = if tight { 0 } else { room };
            let grown = end + usize::try_from(room).expect("fits");
            content.bytes.resize(grown, 0);
        }
        content.bytes[from..end].copy_from_slice(bytes);
        content.written = end;
        self.length.store(end, Ordering::Relaxed);
        Ok(())
    }
    fn sync(&mut self) -> Result<(), DriveError> {
        let ms = self.faults.sync_ms.load(Ordering::Relaxed);
        if ms > 0 {
            pass(ms);
        }
        while self.faults.sync_stands.load(Ordering::Relaxed) {
            self.faults.standing.store(true, Ordering::Relaxed);
            pass(1);
        }
        self.faults.standing.store(false, Ordering::Relaxed);
        if self.faults.sync_fails.load(Ordering::Relaxed) {
            return Err(DriveError::Failed("EIO".into()));
        }
        self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        let mut content = self.content.lock();
        (content.synced, content.synced_end) = (content.written, content.bytes.len());
        Ok(())
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        let content = self.content.lock();
        let from = usize::try_from(offset).expect("fits");
        let found = content.bytes.get(from..from + buffer.len());
        buffer.copy_from_slice(found.ok_or(DriveError::Corrupt("short".into()))?);
        Ok(())
    }
    fn truncate(&mut self, length: u64) -> Result<(), DriveError> {
        let length = usize::try_from(length).expect("fits");
        let mut content = self.content.lock();
        content.bytes.truncate(length);
        *content = Content::found(std::mem::take(&mut content.bytes));
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }
    fn reader(&self) -> Result<Box<dyn LogFile>, DriveError> {
        Ok(Box::new(Self {
            content: Arc::clone(&self.content),
            length: Arc::clone(&self.length),
            faults: Arc::clone(&self.faults),
        }))
    }
}

impl FakeDrive {
    pub(crate) fn new(id: u32) -> Arc<Self> {
        Arc::new(Self {
            id: DriveId(id),
            files: Mutex::default(),
            faults: Arc::default(),
            removals: Mutex::default(),
            directory: tempfile::tempdir().expect("a directory"),
        })
    }

    /// The drive after a power cut: unsynced bytes are gone but for `torn` of each file; tables as
    /// their files were, or gone.
    pub(crate) fn after_cut(&self, torn: usize, tables: bool) -> Arc<Self> {
        let drive = Self::new(self.id.0);
        for (name, content) in self.files.lock().iter() {
            let content = content.lock();
            let kept = content.written.min(content.synced + torn);
            let mut bytes = content.bytes[..kept].to_vec();
            bytes.resize(kept.max(content.synced_end), 0);
            let mut found = Content::found(bytes);
            found.written = kept;
            drive
                .files
                .lock()
                .insert(name.clone(), Arc::new(Mutex::new(found)));
        }
        if tables {
            copy_tree(self.directory.path(), drive.directory.path());
        }
        drive
    }

    pub(crate) fn table_directory(&self) -> PathBuf {
        self.directory.path().join("tables")
    }

    pub(crate) fn fail_syncs(&self) {
        self.faults.sync_fails.store(true, Ordering::Relaxed);
    }

    /// As if the owner had found the drive well again.
    pub(crate) fn mend(&self) {
        self.faults.sync_fails.store(false, Ordering::Relaxed);
        *self.faults.gone.lock() = None;
    }

    /// A full drive: logs get no room.
    pub(crate) fn give_no_room(&self) {
        self.faults.tight.store(true, Ordering::Relaxed);
    }

    pub(crate) fn slow_syncs(&self, ms: u64) {
        self.faults.sync_ms.store(ms, Ordering::Relaxed);
    }

    /// Syncs stand until they are let go.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.faults.sync_stands.store(hold, Ordering::Relaxed);
    }

    pub(crate) fn sync_stands(&self) -> bool {
        self.faults.standing.load(Ordering::Relaxed)
    }

    /// No new file opens, though its name appears.
    pub(crate) fn starve(&self, starved: bool) {
        self.faults.starved.store(starved, Ordering::Relaxed);
    }

    /// The drives that cuts right behind removals of log files leave, since the last call.
    pub(crate) fn cuts_at_removals(&self) -> Vec<Arc<Self>> {
        self.removals.lock().replace(Vec::new()).unwrap_or_default()
    }

    pub(crate) fn logs(&self) -> Vec<String> {
        let names = self.names().into_iter();
        names.filter(|name| name.starts_with("log/")).collect()
    }

    /// Opening a log hangs, until it does no more.
    pub(crate) fn hang(&self, hangs: bool) {
        self.faults.hanging.lock().0 = hangs;
        self.faults.moves.notify_all();
    }

    /// How many hang.
    pub(crate) fn hanging(&self) -> usize {
        self.faults.hanging.lock().1
    }

    /// What cannot be removed from now on.
    pub(crate) fn stick(&self, name: Option<&str>) {
        *self.faults.stuck.lock() = name.map(str::to_owned);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::Relaxed)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.lock().keys().cloned().collect()
    }

    /// Changes what was written behind everyone's back; room goes.
    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let content = Arc::clone(&self.files.lock()[name]);
        let mut content = content.lock();
        let written = content.written;
        content.bytes.truncate(written);
        edit(&mut content.bytes);
        *content = Content::found(std::mem::take(&mut content.bytes));
    }

    /// A file's length; 0 where there is none (any more).
    pub(crate) fn length(&self, name: &str) -> usize {
        let files = self.files.lock();
        files.get(name).map_or(0, |file| file.lock().bytes.len())
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let content = Arc::clone(&self.files.lock()[name]);
        let content = content.lock();
        content.bytes[..content.written].to_vec()
    }

    /// Zeros behind what was written.
    pub(crate) fn room(&self, name: &str) -> usize {
        let content = Arc::clone(&self.files.lock()[name]);
        let content = content.lock();
        let room = &content.bytes[content.written..];
        assert!(room.iter().all(|byte| *byte == 0), "room is zeros");
        room.len()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("typed").is_dir() {
            std::fs::create_dir_all(&target).expect("made");
            copy_tree(&entry.path(), &target);
        } else {
            // fjall may delete a file between listing and copying: as a cut would find it.
            drop(std::fs::copy(entry.path(), &target));
        }
    }
}

impl DriveFiles for FakeDrive {
    fn drive(&self) -> DriveId {
        self.id
    }
    fn uuid(&self) -> DriveUuid {
        let mut uuid = [7; 16];
        uuid[..4].copy_from_slice(&self.id.0.to_le_bytes());
        DriveUuid(uuid)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        let files = self.files.lock();
        let content = files.get(name).ok_or(DriveError::NotFound)?;
        Ok(content.lock().bytes.clone())
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        let content = Content::found(bytes.to_vec());
        self.files
            .lock()
            .insert(name.into(), Arc::new(Mutex::new(content)));
        Ok(())
    }
    fn remove(&self, name: &str) -> Result<(), DriveError> {
        if self.faults.stuck.lock().as_deref() == Some(name) {
            return Err(DriveError::Failed("EIO".into()));
        }
        let below = format!("{name}/");
        self.files
            .lock()
            .retain(|file, _| file != name && !file.starts_with(&below));
        if name.starts_with("log/")
            && let Some(cuts) = self.removals.lock().as_mut()
        {
            cuts.push(self.after_cut(0, false));
        }
        match std::fs::remove_dir_all(self.directory.path().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DriveError::Failed(error.to_string()))
            }
            _ => Ok(()),
        }
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        let mut files = self.files.lock();
        let content = files.remove(from).ok_or(DriveError::NotFound)?;
        files.insert(to.into(), content);
        Ok(())
    }
    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        let below = format!("{directory}/");
        let files = self.files.lock();
        let names = files.keys().filter_map(|name| name.strip_prefix(&below));
        Ok(names
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }
    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        let mut hanging = self.faults.hanging.lock();
        hanging.1 += 1;
        while hanging.0 {
            self.faults.moves.wait(&mut hanging);
        }
        hanging.1 -= 1;
        drop(hanging);
        let content = Arc::clone(self.files.lock().entry(name.into()).or_default());
        if self.faults.starved.load(Ordering::Relaxed) && content.lock().bytes.is_empty() {
            return Err(DriveError::Starved("no handle left".into()));
        }
        let length = Arc::new(content.lock().bytes.len().into());
        Ok(Box::new(FakeFile {
            content,
            length,
            faults: Arc::clone(&self.faults),
        }))
    }
    fn directory(&self, name: &str) -> Result<PathBuf, DriveError> {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(&path).map_err(|error| DriveError::Failed(error.to_string()))?;
        Ok(path)
    }
    fn fail(&self, reason: &str) {
        self.faults.gone.lock().get_or_insert(reason.to_owned());
    }
    fn failure(&self) -> Option<String> {
        self.faults.gone.lock().clone()
    }
}

/// Waits for a condition, looking every few milliseconds.
pub(crate) async fn until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
