//! The fake keeps the contract, and loses what a power cut may lose.

use super::*;
use crate::contracts::drive_files::{DriveUnderTest, all};

struct Fake(FakeDrive);

impl DriveUnderTest for Fake {
    fn open(&mut self) -> Arc<dyn DriveFiles> {
        Arc::new(self.0.clone())
    }
    fn crash(&mut self, files: Arc<dyn DriveFiles>) {
        drop(files);
        self.0.power_cut();
    }
}

fn fake() -> FakeDrive {
    FakeDrive::new(DriveId(3), DriveUuid([7; 16]))
}

#[test]
fn the_fake_keeps_the_contract() {
    all(&|| Box::new(Fake(fake())));
}

#[test]
fn a_power_cut_takes_what_was_not_synced() -> Result<(), DriveError> {
    let drive = fake();
    let mut log = drive.open_log("a/log")?;
    log.append(b"kept")?;
    log.sync()?;
    log.append(b"lost")?;
    drive.power_cut_keeping(|_, unsynced| unsynced / 2);
    assert!(log.append(b"dead handle").is_err());
    assert_eq!(drive.read("a/log")?, b"keptlo");
    let mut log = drive.open_log("a/log")?;
    log.append(b"x")?;
    drive.power_cut();
    assert_eq!(drive.read("a/log")?, b"keptlo");
    Ok(())
}

#[test]
fn a_failed_sync_fails_the_drive() -> Result<(), DriveError> {
    let drive = fake();
    let mut log = drive.open_log("log")?;
    drive.fail_next_sync();
    assert!(matches!(log.sync(), Err(DriveError::Failed(_))));
    assert!(drive.failure().is_some());
    assert!(matches!(log.append(b"x"), Err(DriveError::Failed(_))));
    Ok(())
}
