//! The event log of this process, and which files are watched.

use crate::event::{Kind, header};
use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

struct Recorder {
    root: String,
    state: Mutex<State>,
}

struct State {
    log: i32,
    watched: HashSet<(u64, u64)>,
}

/// `None`: the variables are not set; nothing is recorded.
fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let root = std::env::var("RECORD_ROOT").ok()?;
            let log = std::ffi::CString::new(std::env::var("RECORD_LOG").ok()?).ok()?;
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
            let log = crate::calls::open_unrecorded(&log, flags, 0o600);
            (log >= 0).then(|| Recorder {
                root,
                state: Mutex::new(State {
                    log,
                    watched: HashSet::new(),
                }),
            })
        })
        .as_ref()
}

/// Is the path below the root?
pub(crate) fn below(path: &str) -> bool {
    recorder().is_some_and(|r| {
        path.strip_prefix(&r.root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// From now on writes to this file are recorded.
pub(crate) fn watch(file: (u64, u64)) {
    if let Some(recorder) = recorder() {
        recorder
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .watched
            .insert(file);
    }
}

/// Are they?
pub(crate) fn watched(file: (u64, u64)) -> bool {
    recorder().is_some_and(|r| {
        r.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .watched
            .contains(&file)
    })
}

/// Is anything recorded at all?
pub(crate) fn on() -> bool {
    recorder().is_some()
}

/// Appends one event. A log that cannot be written ends the process: a proof with holes is none.
pub(crate) fn append(kind: Kind, inode: u64, offset: u64, thread: u32, data: &[&[u8]]) {
    let Some(recorder) = recorder() else { return };
    let length = data.iter().map(|d| d.len()).sum();
    let mut bytes = Vec::with_capacity(crate::event::HEADER + length);
    bytes.extend(header(kind, inode, offset, thread, length));
    for piece in data {
        bytes.extend_from_slice(piece);
    }
    let state = recorder
        .state
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if !crate::calls::write_unrecorded(state.log, &bytes) {
        std::process::abort();
    }
}
