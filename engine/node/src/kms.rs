//! Named keys, and what control must know of the keyring: what was destroyed.

use crate::EngineError;
use crate::engine::{Engine, Inner};
use crate::keyring::{KeyOwner, KeyState, KeyringError};
use engine_core::meta::{ControlChange, ControlQuery, ControlReply, KeyVersionId, KmsKeyRow};
use engine_core::placement::{DriveState, Voters};
use engine_types::DriveId;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Key versions that one command notes as destroyed.
const DESTROYED_AT_ONCE: usize = 1_000;

impl Engine {
    /// A named key.
    pub async fn kms_key(&self, name: &str) -> Result<Option<KmsKeyRow>, EngineError> {
        match self
            .inner
            .ask_control(ControlQuery::KmsKey(name.into()))
            .await?
        {
            ControlReply::KmsKey(row) => Ok(row),
            _ => Err(EngineError::unexpected("KmsKey")),
        }
    }

    /// All named keys.
    pub async fn kms_keys(&self) -> Result<Vec<KmsKeyRow>, EngineError> {
        match self.inner.ask_control(ControlQuery::KmsKeys).await? {
            ControlReply::KmsKeys(rows) => Ok(rows),
            _ => Err(EngineError::unexpected("KmsKeys")),
        }
    }

    /// Makes a named key if there is none of that name. Its secret is durable in the keyring before
    /// control names it.
    pub async fn create_kms_key(&self, name: &str) -> Result<KmsKeyRow, EngineError> {
        if let Some(row) = self.kms_key(name).await? {
            return Ok(row);
        }
        let current = self
            .inner
            .keyring
            .current(&KeyOwner::Kms(name.into()))
            .await?;
        self.point_kms_key(name, current).await
    }

    /// Moves a named key to a new version; older ones still open what they wrapped.
    pub async fn rotate_kms_key(&self, name: &str) -> Result<KmsKeyRow, EngineError> {
        if self.kms_key(name).await?.is_none() {
            return Err(EngineError::KeyUnavailable(name.into()));
        }
        let current = self
            .inner
            .keyring
            .rotate(&KeyOwner::Kms(name.into()))
            .await?;
        self.point_kms_key(name, current).await
    }

    async fn point_kms_key(
        &self,
        name: &str,
        current: KeyVersionId,
    ) -> Result<KmsKeyRow, EngineError> {
        let change = ControlChange::PutKmsKey {
            name: name.into(),
            current,
        };
        self.inner.propose_control(change).await?;
        self.kms_key(name)
            .await?
            .ok_or_else(|| EngineError::unexpected("PutKmsKey"))
    }

    /// Destroys every version of a key, and with it all it sealed. Control is told first: from then
    /// on no import brings them back, and a drive that was away erases before it is used. Done once
    /// this returns and [`Self::not_erased`] names no drive.
    pub async fn destroy_key(&self, owner: &KeyOwner) -> Result<(), EngineError> {
        let inner = &self.inner;
        let mine = inner.keyring.list().into_iter();
        let mine = mine.filter(|v| v.owner == *owner && v.state != KeyState::Destroyed);
        let told: Vec<KeyVersionId> = mine.map(|version| version.id).collect();
        inner.note_destroyed(&told).await?;
        // Versions made meanwhile are erased too; the next settling tells control of those.
        inner.keyring.destroy(owner).await?;
        inner.settle_keyring().await
    }

    /// Drives, and the witness where there is one, that may still hold a key that was destroyed: those
    /// out of service since. They erase it before they are used again.
    pub fn not_erased(&self) -> Vec<DriveId> {
        let layout = self.inner.drives.layout();
        let there = layout.drives.iter().filter(|d| d.state != DriveState::Gone);
        let voters = Voters::for_drives(layout.counted());
        let holders: Vec<DriveId> = voters.homes(there.map(|d| d.id)).into_iter().collect();
        self.inner.keyring.not_erased(&holders)
    }

    /// Takes the keys of an export that are unknown here, none that control says was destroyed. Named
    /// keys that control does not know get their names. How many versions came.
    pub async fn import_keys(
        &self,
        bytes: Vec<u8>,
        passphrase: Zeroizing<String>,
    ) -> Result<usize, ImportError> {
        let destroyed = self.inner.destroyed_keys().await?;
        let keyring = &self.inner.keyring;
        let came = keyring.import(bytes, passphrase, &destroyed).await?;
        let new: BTreeSet<KeyVersionId> = came.iter().copied().collect();
        for version in keyring.list() {
            let usable = new.contains(&version.id) && version.state == KeyState::Current;
            let KeyOwner::Kms(name) = version.owner else {
                continue;
            };
            if usable && self.kms_key(&name).await?.is_none() {
                self.point_kms_key(&name, version.id).await?;
            }
        }
        Ok(came.len())
    }
}

/// Why an import came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The export or its passphrase.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Inner {
    async fn destroyed_keys(&self) -> Result<BTreeSet<KeyVersionId>, EngineError> {
        match self.ask_control(ControlQuery::DestroyedKeys).await? {
            ControlReply::DestroyedKeys(versions) => Ok(versions.into_iter().collect()),
            _ => Err(EngineError::unexpected("DestroyedKeys")),
        }
    }

    async fn note_destroyed(&self, versions: &[KeyVersionId]) -> Result<(), EngineError> {
        for some in versions.chunks(DESTROYED_AT_ONCE) {
            self.propose_control(ControlChange::DestroyKeys(some.to_vec()))
                .await?;
        }
        Ok(())
    }

    /// Erases what control says is destroyed, tells control what the keyring says is, and writes the
    /// keyring's file again where an earlier write failed.
    pub(crate) async fn settle_keyring(&self) -> Result<(), EngineError> {
        let destroyed = self.destroyed_keys().await?;
        self.keyring.destroy_versions(&destroyed).await?;
        let here = self.keyring.list().into_iter();
        let here = here.filter(|version| version.state == KeyState::Destroyed);
        let untold: Vec<KeyVersionId> = here
            .map(|version| version.id)
            .filter(|id| !destroyed.contains(id))
            .collect();
        self.note_destroyed(&untold).await?;
        self.keyring.mend().await;
        Ok(())
    }
}
