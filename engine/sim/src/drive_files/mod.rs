//! A drive's files in memory: what was not synced is lost in a power cut.

use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_types::{DriveId, DriveUuid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

#[derive(Clone, Debug, Default)]
struct File {
    /// With room.
    bytes: Vec<u8>,
    /// Where what was appended ends, what of it a power cut leaves alone, and where the file ends then.
    written: usize,
    durable: usize,
    durable_end: usize,
}

impl File {
    fn found(bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        Self {
            bytes,
            written: length,
            durable: length,
            durable_end: length,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    failure: Option<String>,
    full: bool,
    fail_syncs: bool,
    /// Raised by each power cut: handles from before it are dead.
    epoch: u64,
    /// Where libraries may put directories of their own.
    scratch: Option<PathBuf>,
    directories: BTreeSet<String>,
}

/// [`DriveFiles`] in memory. Clones are the same drive.
#[derive(Clone, Debug)]
pub struct FakeDrive {
    drive: DriveId,
    uuid: DriveUuid,
    state: Arc<Mutex<State>>,
}

impl FakeDrive {
    /// An empty drive.
    pub fn new(drive: DriveId, uuid: DriveUuid) -> Self {
        Self {
            drive,
            uuid,
            state: Arc::default(),
        }
    }

    /// Loses every unsynced byte; open handles are dead; the drive is then open again.
    pub fn power_cut(&self) {
        self.power_cut_keeping(|_, _| 0);
    }

    /// As [`Self::power_cut`], but `keep(name, unsynced bytes)` says how many of the unsynced bytes
    /// of each file stay: a torn end.
    pub fn power_cut_keeping(&self, mut keep: impl FnMut(&str, usize) -> usize) {
        let mut state = self.state.lock();
        for (name, file) in &mut state.files {
            let unsynced = file.written.saturating_sub(file.durable);
            let kept = file.durable + keep(name, unsynced).min(unsynced);
            let mut bytes = std::mem::take(&mut file.bytes);
            bytes.truncate(kept);
            bytes.resize(kept.max(file.durable_end), 0);
            *file = File::found(bytes);
        }
        state.epoch = state.epoch.saturating_add(1);
        state.failure = None;
        state.fail_syncs = false;
    }

    /// Appends and writes answer `Full` while set.
    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// The next sync errs, which fails the drive until a power cut.
    pub fn fail_next_sync(&self) {
        self.state.lock().fail_syncs = true;
    }

    /// Flips a bit; false if there is no such byte.
    pub fn damage(&self, name: &str, at: usize) -> bool {
        let mut state = self.state.lock();
        let file = state.files.get_mut(name);
        let byte = file.and_then(|file| file.bytes.get_mut(at));
        byte.map(|byte| *byte ^= 1).is_some()
    }
}

impl State {
    fn working(&self) -> Result<(), DriveError> {
        match &self.failure {
            Some(reason) => Err(DriveError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), DriveError> {
        if self.fail_syncs {
            self.failure = Some("sync failed".to_owned());
        }
        self.working()
    }
}

fn checked(name: &str) -> Result<(), DriveError> {
    let fit = |part: &str| !part.is_empty() && part != "." && part != "..";
    if name.split('/').all(fit) {
        Ok(())
    } else {
        Err(DriveError::Failed(format!(
            "file name {name:?} is not below the drive"
        )))
    }
}

impl DriveFiles for FakeDrive {
    fn drive(&self) -> DriveId {
        self.drive
    }

    fn uuid(&self) -> DriveUuid {
        self.uuid
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        checked(name)?;
        let state = self.state.lock();
        state.working()?;
        let file = state.files.get(name).ok_or(DriveError::NotFound)?;
        Ok(file.bytes.clone())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        checked(name)?;
        let mut state = self.state.lock();
        state.working()?;
        if state.full {
            return Err(DriveError::Full);
        }
        state.sync()?;
        let file = File::found(bytes.to_vec());
        state.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), DriveError> {
        checked(name)?;
        let mut state = self.state.lock();
        state.working()?;
        let inside = format!("{name}/");
        let stays = |other: &String| other != name && !other.starts_with(&inside);
        state.files.retain(|other, _| stays(other));
        state.directories.retain(|other| stays(other));
        let real = state.scratch.as_ref().map(|scratch| scratch.join(name));
        if let Some(real) = real.filter(|real| real.exists()) {
            let failed = |error| DriveError::Failed(format!("remove {name}: {error}"));
            std::fs::remove_dir_all(real).map_err(failed)?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        checked(from)?;
        checked(to)?;
        let mut state = self.state.lock();
        state.working()?;
        let inside = format!("{from}/");
        let moved: Vec<String> = state
            .files
            .keys()
            .filter(|name| *name == from || name.starts_with(&inside))
            .cloned()
            .collect();
        if moved.is_empty() {
            return Err(DriveError::NotFound);
        }
        for name in moved {
            let new = format!("{to}{}", name.get(from.len()..).unwrap_or_default());
            if let Some(file) = state.files.remove(&name) {
                state.files.insert(new, file);
            }
        }
        Ok(())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        let state = self.state.lock();
        state.working()?;
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            checked(directory)?;
            format!("{directory}/")
        };
        let names = state.files.keys().chain(&state.directories);
        let below = names.filter_map(|name| name.strip_prefix(&prefix)?.split('/').next());
        let names: BTreeSet<&str> = below.collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        checked(name)?;
        let mut state = self.state.lock();
        state.working()?;
        let file = state.files.entry(name.to_owned()).or_default();
        *file = File::found(std::mem::take(&mut file.bytes));
        Ok(Box::new(FakeLog {
            name: name.to_owned(),
            length: Arc::new(AtomicUsize::new(file.bytes.len())),
            epoch: state.epoch,
            writer: true,
            state: Arc::clone(&self.state),
        }))
    }

    fn directory(&self, name: &str) -> Result<PathBuf, DriveError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        checked(name)?;
        let mut state = self.state.lock();
        state.working()?;
        let scratch = state.scratch.get_or_insert_with(|| {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let unique = format!("datamesh-sim-{}-{count}", std::process::id());
            std::env::temp_dir().join(unique)
        });
        let path = scratch.join(name);
        std::fs::create_dir_all(&path)
            .map_err(|error| DriveError::Failed(format!("create {name}: {error}")))?;
        state.directories.insert(name.to_owned());
        Ok(path)
    }

    fn fail(&self, reason: &str) {
        let mut state = self.state.lock();
        state.failure.get_or_insert_with(|| reason.to_owned());
    }

    fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            // A left-over directory in the temporary directory harms nobody.
            drop(std::fs::remove_dir_all(scratch));
        }
    }
}

/// A log of a [`FakeDrive`].
#[derive(Debug)]
struct FakeLog {
    name: String,
    /// Shared with readers.
    length: Arc<AtomicUsize>,
    epoch: u64,
    writer: bool,
    state: Arc<Mutex<State>>,
}

impl FakeLog {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut File) -> Result<T, DriveError>,
    ) -> Result<T, DriveError> {
        let mut state = self.state.lock();
        state.working()?;
        if state.epoch != self.epoch {
            return Err(DriveError::Failed(
                "handle from before the power cut".to_owned(),
            ));
        }
        let file = state
            .files
            .get_mut(&self.name)
            .ok_or(DriveError::NotFound)?;
        work(file)
    }

    fn writable(&self) -> Result<(), DriveError> {
        if self.writer {
            Ok(())
        } else {
            Err(DriveError::Failed(format!(
                "{} is open for reading",
                self.name
            )))
        }
    }
}

impl LogFile for FakeLog {
    fn len(&self) -> u64 {
        self.length.load(Ordering::Relaxed) as u64
    }

    fn append_with_room(&mut self, bytes: &[u8], room: u64) -> Result<(), DriveError> {
        self.writable()?;
        if self.state.lock().full {
            return Err(DriveError::Full);
        }
        let from = self.length.load(Ordering::Relaxed);
        let end = from.saturating_add(bytes.len());
        self.with(|file| {
            if end > file.bytes.len() {
                let room = usize::try_from(room).unwrap_or(0);
                file.bytes.resize(end.saturating_add(room), 0);
            }
            if let Some(place) = file.bytes.get_mut(from..end) {
                place.copy_from_slice(bytes);
            }
            file.written = end;
            Ok(())
        })?;
        self.length.store(end, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DriveError> {
        self.writable()?;
        self.state.lock().sync()?;
        self.with(|file| {
            (file.durable, file.durable_end) = (file.written, file.bytes.len());
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        self.with(|file| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = file.bytes.get(from..from.saturating_add(buffer.len()));
            let bytes =
                bytes.ok_or_else(|| DriveError::Corrupt("the file ends before".to_owned()))?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn truncate(&mut self, length: u64) -> Result<(), DriveError> {
        self.writable()?;
        self.state.lock().sync()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.length.load(Ordering::Relaxed) {
            return Err(DriveError::Failed("longer than the file".to_owned()));
        }
        self.with(|file| {
            file.bytes.truncate(length);
            *file = File::found(std::mem::take(&mut file.bytes));
            Ok(())
        })?;
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn LogFile>, DriveError> {
        self.with(|_| Ok(()))?;
        Ok(Box::new(Self {
            name: self.name.clone(),
            length: Arc::clone(&self.length),
            epoch: self.epoch,
            writer: false,
            state: Arc::clone(&self.state),
        }))
    }
}

#[cfg(test)]
mod tests;
