//! Which key wraps a part's data key, and back from a part to its opener.

use crate::EngineError;
use crate::api::CustomerKey;
use crate::engine::{Engine, Inner};
use crate::keyring::KeyOwner;
use engine_core::meta::{ControlQuery, ControlReply, Encryption, KeyVersionId, PartKey};
use engine_core::seal::{CustomerKeyCheck, DataKey, Kek, Opener, Sealer, WrappedBy, WrappedKey};
use engine_types::{AccountId, DataId};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// The secret that wraps the data keys of one write, and its number.
pub(crate) struct Wrap {
    secret: Zeroizing<[u8; 32]>,
    version: Option<KeyVersionId>,
}

impl std::fmt::Debug for Wrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wrap")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn by(version: Option<KeyVersionId>) -> WrappedBy {
    version.map_or(WrappedBy::Customer, |version| WrappedBy::Version(version.0))
}

impl Inner {
    /// What wraps new data keys under `encryption`. The tenant is the bucket's owner.
    pub(crate) async fn wrap(
        &self,
        encryption: &Encryption,
        tenant: AccountId,
        customer_key: Option<&CustomerKey>,
    ) -> Result<Wrap, EngineError> {
        let version = match encryption {
            Encryption::Customer { .. } => {
                if !Engine::customer_key_fits(encryption, customer_key) {
                    return Err(EngineError::CustomerKey);
                }
                let secret = customer_key.ok_or(EngineError::CustomerKey)?.0.clone();
                return Ok(Wrap {
                    secret,
                    version: None,
                });
            }
            Encryption::Tenant | Encryption::S3 => {
                self.keyring.current(&KeyOwner::Account(tenant)).await?
            }
            Encryption::Kms { key_id, .. } => self.kms_version(key_id).await?,
        };
        let unavailable = || EngineError::KeyUnavailable(version.0.to_string());
        let secret = self.keyring.secret(version).ok_or_else(unavailable)?;
        Ok(Wrap {
            secret,
            version: Some(version),
        })
    }

    async fn kms_version(&self, name: &str) -> Result<KeyVersionId, EngineError> {
        match self.ask_control(ControlQuery::KmsKey(name.into())).await? {
            ControlReply::KmsKey(Some(row)) => Ok(row.current),
            ControlReply::KmsKey(None) => Err(EngineError::KeyUnavailable(name.into())),
            _ => Err(EngineError::unexpected("KmsKey")),
        }
    }

    /// A new data key for `data`: as it is stored, and what seals with it.
    pub(crate) fn data_key(&self, wrap: &Wrap, data: DataId) -> (PartKey, Sealer) {
        let key = DataKey::from_entropy(self.entropy());
        let wrapped = Kek::derive(&wrap.secret, by(wrap.version), data).wrap(&key, self.entropy());
        let stored = PartKey {
            version: wrap.version,
            wrapped: ByteBuf::from(wrapped.as_bytes()),
        };
        (stored, Sealer::new(key, data))
    }

    /// What opens a part.
    pub(crate) fn opener(
        &self,
        data: DataId,
        key: &PartKey,
        customer_key: Option<&CustomerKey>,
    ) -> Result<Opener, EngineError> {
        let secret = match key.version {
            None => customer_key.ok_or(EngineError::CustomerKey)?.0.clone(),
            Some(version) => self
                .keyring
                .secret(version)
                .ok_or_else(|| EngineError::KeyUnavailable(version.0.to_string()))?,
        };
        let wrapped = WrappedKey::from_bytes(&key.wrapped)
            .ok_or_else(|| EngineError::Internal(format!("data key of {data} is malformed")))?;
        let opened = Kek::derive(&secret, by(key.version), data).unwrap(&wrapped);
        let damaged = |error| match key.version {
            None => EngineError::CustomerKey,
            Some(_) => EngineError::Internal(format!("data key of {data}: {error}")),
        };
        Ok(Opener::new(&opened.map_err(damaged)?, data))
    }

    /// Fills salt and HMAC of an SSE-C request.
    pub(crate) fn bind_customer_key(
        &self,
        encryption: &mut Encryption,
        customer_key: Option<&CustomerKey>,
    ) -> Result<(), EngineError> {
        if let Encryption::Customer { salt, hmac, .. } = encryption {
            let key = customer_key.ok_or(EngineError::CustomerKey)?;
            let check = CustomerKeyCheck::new(self.entropy(), &key.0);
            (*salt, *hmac) = (check.salt, check.mac);
        }
        Ok(())
    }
}

impl Engine {
    /// Is `key` the key this SSE-C object or upload was written with? For what is not SSE-C: yes,
    /// if no key was sent.
    pub fn customer_key_fits(encryption: &Encryption, key: Option<&CustomerKey>) -> bool {
        match (encryption, key) {
            (Encryption::Customer { salt, hmac, .. }, Some(key)) => CustomerKeyCheck {
                salt: *salt,
                mac: *hmac,
            }
            .matches(&key.0),
            (Encryption::Customer { .. }, None) => false,
            (_, key) => key.is_none(),
        }
    }
}
