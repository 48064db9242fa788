//! Puts the keys of an export on the drives of a store whose lock is lost, while no server runs:
//! `datamesh keyring import --offline`.

use crate::config::Config;
use crate::credentials::Credentials;
use crate::keyring::keyring_lock;
use crate::store::StoreError;
use crate::system::{SystemClock, SystemEntropy};
use engine_core::ports::{DriveError, DriveFiles, LogFile};
use engine_disk::{Opened, open_drives};
use engine_node::keyring::{KEYRING_FILE, KeyringParts, Restored};
use engine_node::{Keyring, KeyringError, KeyringLock};
use engine_types::{BootId, ClusterId, DriveId, DriveUuid};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Opens the drives that the settings name, which locks them, and writes the keyring under the lock
/// that the settings name; a key file that is not there is made.
///
/// # Errors
/// A server runs on the drives, they hold no store, the passphrase is wrong, or fewer than half of
/// the drives that are named could be written: nothing is lost, try again.
pub(crate) fn restore(
    config: &Config,
    export: Vec<u8>,
    passphrase: Zeroizing<String>,
) -> Result<Restored, StoreError> {
    let refused = |why: String| StoreError::Refused(why);
    let standing =
        Credentials::read(&config.credentials_file).map_err(|e| refused(e.to_string()))?;
    let named = standing.map(|c| c.cluster.parse::<ClusterId>()).transpose();
    let named = named.map_err(|_e| {
        refused(format!(
            "{}: names no cluster id",
            config.credentials_file.display()
        ))
    })?;
    let opened = open_drives(&config.drives, &config.witness_path(), named);
    let Opened::Started {
        drives, witness, ..
    } = opened
    else {
        return Err(refused(
            "these drives hold no store yet: start the server, then import without --offline"
                .into(),
        ));
    };
    let (mut open, mut out) = (Vec::new(), Vec::new());
    for drive in drives {
        match drive {
            Ok(drive) => open.push(drive),
            Err(why) => out.push(why.to_string()),
        }
    }
    if open.len() * 2 <= config.drives.len() {
        return Err(refused(format!(
            "most of the drives are needed: {}",
            out.join("; ")
        )));
    }
    // A copy of the keyring lies there too, where it is in use.
    match witness {
        Some(Ok(witness)) => open.push(witness),
        Some(Err(why)) => {
            tracing::warn!(%why, "the witness has no copy of the keyring's latest state");
        }
        None => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| refused(e.to_string()))?;
    let parts = |holders| KeyringParts {
        holders,
        voters: None,
        // Above all that is read is enough: no server writes meanwhile.
        boot: BootId(0),
        entropy: Arc::new(SystemEntropy::new()),
        clock: Arc::new(SystemClock::new()),
    };
    // Before a key file is made: after a wrong passphrase it would be left, and open nothing.
    let opens = runtime.block_on(opens(
        &passphrase,
        parts(vec![Arc::new(Copy(export.clone()))]),
    ));
    opens.map_err(|e| refused(e.to_string()))?;
    let lock = keyring_lock(config, true)?;
    let holders: Vec<Arc<dyn DriveFiles>> = open
        .iter()
        .map(|d| Arc::new(d.files().clone()) as Arc<dyn DriveFiles>)
        .collect();
    let done = runtime.block_on(Keyring::restore(parts(holders), (export, passphrase), lock));
    open.iter().for_each(engine_disk::Drive::release);
    let (_keyring, restored) = done.map_err(|e| refused(e.to_string()))?;
    Ok(restored)
}

/// Whether the passphrase opens the export. That is a keyring's file, so it is opened as the only copy
/// of one ([`Copy`]).
async fn opens(passphrase: &Zeroizing<String>, parts: KeyringParts) -> Result<(), KeyringError> {
    let lock = KeyringLock::Passphrase(passphrase.clone());
    Keyring::open(parts, lock).await.map(drop)
}

/// A keyring's file alone, on no drive. What is written is let go.
#[derive(Debug)]
struct Copy(Vec<u8>);

impl DriveFiles for Copy {
    fn drive(&self) -> DriveId {
        DriveId(0)
    }
    fn uuid(&self) -> DriveUuid {
        DriveUuid([0; 16])
    }
    fn read(&self, name: &str) -> Result<Vec<u8>, DriveError> {
        if name == KEYRING_FILE {
            Ok(self.0.clone())
        } else {
            Err(DriveError::NotFound)
        }
    }
    fn write(&self, _name: &str, _bytes: &[u8]) -> Result<(), DriveError> {
        Ok(())
    }
    fn remove(&self, _name: &str) -> Result<(), DriveError> {
        Ok(())
    }
    fn rename(&self, _from: &str, _to: &str) -> Result<(), DriveError> {
        Ok(())
    }
    fn list(&self, _directory: &str) -> Result<Vec<String>, DriveError> {
        Ok(Vec::new())
    }
    fn open_log(&self, _name: &str) -> Result<Box<dyn LogFile>, DriveError> {
        Err(DriveError::NotFound)
    }
    fn directory(&self, _name: &str) -> Result<PathBuf, DriveError> {
        Err(DriveError::NotFound)
    }
    fn fail(&self, _reason: &str) {}
    fn failure(&self) -> Option<String> {
        None
    }
}
