//! Named keys.

use crate::EngineError;
use crate::engine::Engine;
use crate::keyring::KeyOwner;
use engine_core::meta::{ControlChange, ControlQuery, ControlReply, KmsKeyRow};

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
        current: engine_core::meta::KeyVersionId,
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
}
