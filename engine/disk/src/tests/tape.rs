//! Records what the file layer writes and syncs, so that drives can be rebuilt as a power cut may
//! leave them.

use parking_lot::Mutex;

/// One effect on the file system. Names are relative to the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Created(String),
    DirectoryMade(String),
    Wrote(String, u64, Vec<u8>),
    Resized(String, u64),
    Synced(String),
    Renamed(String, String),
    Removed(String),
    DirectorySynced(String),
}

/// Off until started.
#[derive(Debug, Default)]
pub(crate) struct Tape(Mutex<Option<Vec<Event>>>);

impl Tape {
    pub(crate) fn start(&self) {
        *self.0.lock() = Some(Vec::new());
    }
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().clone().unwrap_or_default()
    }
    fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = self.0.lock().as_mut() {
            events.push(event());
        }
    }
    pub(crate) fn created(&self, name: &str) {
        self.note(|| Event::Created(name.to_owned()));
    }
    pub(crate) fn directory_made(&self, name: &str) {
        self.note(|| Event::DirectoryMade(name.to_owned()));
    }
    pub(crate) fn wrote(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.note(|| Event::Wrote(name.to_owned(), offset, bytes.to_vec()));
    }
    pub(crate) fn resized(&self, name: &str, length: u64) {
        self.note(|| Event::Resized(name.to_owned(), length));
    }
    pub(crate) fn synced(&self, name: &str) {
        self.note(|| Event::Synced(name.to_owned()));
    }
    pub(crate) fn renamed(&self, from: &str, to: &str) {
        self.note(|| Event::Renamed(from.to_owned(), to.to_owned()));
    }
    pub(crate) fn removed(&self, name: &str) {
        self.note(|| Event::Removed(name.to_owned()));
    }
    pub(crate) fn directory_synced(&self, name: &str) {
        self.note(|| Event::DirectorySynced(name.to_owned()));
    }
}
