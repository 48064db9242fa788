//! Writes of the keyring that hang in a drive while later ones are made.

use crate::keyring::{account, drives, ids, open};
use crate::support::{key_file, keyring_parts};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_node::Keyring;
use engine_node::keyring::{KEYRING_FILE, OLD_FILE};
use engine_sim::FakeDrive;
use engine_types::{BootId, DriveId, DriveUuid};
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Gate {
    /// The next replacement of the keyring waits.
    shut: bool,
    waiting: bool,
}

/// A drive in which one replacement of the keyring's file can be made to hang.
#[derive(Debug)]
struct Gated {
    drive: FakeDrive,
    gate: Mutex<Gate>,
    opened: Condvar,
}

impl Gated {
    fn shut(&self) {
        self.gate.lock().shut = true;
    }
    fn waits(&self) -> bool {
        self.gate.lock().waiting
    }
    fn open(&self) {
        *self.gate.lock() = Gate::default();
        self.opened.notify_all();
    }
    fn pass(&self) {
        let mut gate = self.gate.lock();
        if std::mem::take(&mut gate.shut) {
            gate.waiting = true;
            let long = Duration::from_mins(1);
            self.opened
                .wait_while_for(&mut gate, |gate| gate.waiting, long);
        }
    }
}

impl DriveFiles for Gated {
    fn drive(&self) -> DriveId {
        self.drive.drive()
    }
    fn uuid(&self) -> DriveUuid {
        self.drive.uuid()
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        self.drive.read(name)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DriveError> {
        self.drive.write(name, bytes)
    }
    fn remove(&self, name: &str) -> Result<(), DriveError> {
        self.drive.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DriveError> {
        self.pass();
        self.drive.rename(from, to)
    }
    fn list(&self, directory: &str) -> Result<Vec<String>, DriveError> {
        self.drive.list(directory)
    }
    fn open_log(&self, name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        self.drive.open_log(name)
    }
    fn directory(&self, name: &str) -> Result<PathBuf, DriveError> {
        self.drive.directory(name)
    }
    fn fail(&self, reason: &str) {
        self.drive.fail(reason);
    }
    fn failure(&self) -> Option<String> {
        self.drive.failure()
    }
}

fn gated(drives: &[FakeDrive]) -> Vec<Arc<Gated>> {
    let gated = |drive: &FakeDrive| Gated {
        drive: drive.clone(),
        gate: Mutex::default(),
        opened: Condvar::new(),
    };
    drives.iter().map(gated).map(Arc::new).collect()
}

async fn create(gated: &[Arc<Gated>]) -> Arc<Keyring> {
    let files = gated.iter().map(Arc::clone);
    let holders = files.map(|files| files as Arc<dyn DriveFiles>).collect();
    let keyring = Keyring::create(keyring_parts(holders, BootId(1)), key_file());
    Arc::new(keyring.await.unwrap())
}

fn contents(drives: &[FakeDrive]) -> Vec<Option<Vec<u8>>> {
    let read = |drive: &FakeDrive| drive.read(KEYRING_FILE).ok();
    drives.iter().map(read).collect()
}

/// Waits until drives hold another copy and no older one beside it: threads take their time while the
/// clock stands still.
async fn written(drives: &[FakeDrive], before: &[Option<Vec<u8>>]) {
    until("the others are written", || {
        let alone = drives.iter().all(|drive| drive.read(OLD_FILE).is_err());
        let now = contents(drives);
        let mut pairs = now.iter().zip(before);
        alone && pairs.all(|(now, old)| now.is_some() && now != old)
    })
    .await;
}

/// Waits, on a clock that stands still as well.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

/// Until no write holds the drive: the test and the keyring do.
async fn idle(drive: &Arc<Gated>) {
    until("its writes end", || Arc::strong_count(drive) == 2).await;
}

/// An upload that is cut off makes a version; another one follows at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_asker_is_gone_lands_behind_no_later_one() {
    let drives = drives(3);
    let gated = gated(&drives);
    let keyring = create(&gated).await;
    for drive in &gated {
        drive.shut();
    }
    let asking = Arc::clone(&keyring);
    let first = tokio::spawn(async move { asking.current(&account(1)).await });
    until("it is under way", || gated.iter().all(|d| d.waits())).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let asking = Arc::clone(&keyring);
    let second = tokio::spawn(async move { asking.current(&account(2)).await });
    // Where it does not wait for the first it is over before the gates open.
    for _ in 0..100_000 {
        if second.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    for drive in &gated {
        drive.open();
    }
    let id = second.await.unwrap().unwrap();
    for drive in &gated {
        idle(drive).await;
    }
    let again = open(&drives, key_file()).await.unwrap();
    assert!(again.secret(id).is_some(), "what it seals was acknowledged");
    assert_eq!(again.list(), keyring.list());
    assert_eq!(again.list().len(), 2, "and the first was not lost");
}

#[tokio::test(start_paused = true)]
async fn a_drive_that_wakes_up_later_does_not_bring_a_destroyed_key_back_unnoticed() {
    let drives = drives(3);
    let gated = gated(&drives);
    let keyring = create(&gated).await;
    let before = contents(&drives);
    gated[2].shut();
    let asking = Arc::clone(&keyring);
    let first = tokio::spawn(async move { asking.current(&account(1)).await });
    until("it hangs", || gated[2].waits()).await;
    written(&drives[..2], &before).await;
    let before = contents(&drives);
    while !first.is_finished() {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let id = first.await.unwrap().unwrap();
    let asking = Arc::clone(&keyring);
    let destroyed = tokio::spawn(async move { asking.destroy(&account(1)).await });
    written(&drives[..2], &before).await;
    while !destroyed.is_finished() {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(destroyed.await.unwrap().unwrap(), [id]);
    assert_eq!(keyring.not_erased(&ids(&drives)), [DriveId(3)]);
    gated[2].open();
    idle(&gated[2]).await;
    assert_eq!(
        keyring.not_erased(&ids(&drives)),
        [DriveId(3)],
        "it holds the key since it woke up"
    );
    keyring.mend().await;
    assert!(keyring.not_erased(&ids(&drives)).is_empty());
    let [_, other, woken] = &drives[..] else {
        panic!("three drives")
    };
    assert!(woken.read(KEYRING_FILE).unwrap() == other.read(KEYRING_FILE).unwrap());
}
