//! Which key wraps a part's data key, and back from a part to its opener.

use crate::EngineError;
use crate::api::CustomerKey;
use crate::engine::{Engine, Inner};
use crate::keyring::KeyOwner;
use engine_core::meta::{ControlQuery, ControlReply, Encryption, KeyVersionId, PartKey};
use engine_core::seal::{
    BoundContext, CustomerKeyCheck, DataKey, Kek, Opener, Sealer, WrappedBy, WrappedKey,
};
use engine_types::{AccountId, DataId};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// The secret that wraps the data keys of one write, and its number.
pub(crate) struct Wrap {
    secret: Zeroizing<[u8; 32]>,
    version: Option<KeyVersionId>,
    context: BoundContext,
}

impl std::fmt::Debug for Wrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wrap")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What the wrapping is bound to beside the key.
pub(crate) fn context(encryption: &Encryption) -> BoundContext {
    match encryption {
        Encryption::Kms { context, .. } => BoundContext::of_header(context.as_deref()),
        Encryption::Tenant | Encryption::S3 | Encryption::Customer { .. } => BoundContext::NONE,
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
                    context: BoundContext::NONE,
                });
            }
            Encryption::Tenant | Encryption::S3 => {
                self.keyring.current(&KeyOwner::Account(tenant)).await?
            }
            Encryption::Kms { key_id, .. } => self.kms_version(key_id).await?,
        };
        let unavailable = || EngineError::KeyUnavailable(self.keyring.name(version));
        let secret = self.keyring.secret(version).ok_or_else(unavailable)?;
        Ok(Wrap {
            secret,
            version: Some(version),
            context: context(encryption),
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
        (self.wrapped(wrap, &key, data), Sealer::new(key, data))
    }

    fn wrapped(&self, wrap: &Wrap, key: &DataKey, data: DataId) -> PartKey {
        let kek = Kek::derive(&wrap.secret, by(wrap.version), data, wrap.context);
        PartKey {
            version: wrap.version,
            wrapped: ByteBuf::from(kek.wrap(key, self.entropy()).as_bytes()),
            context: wrap.context.stored(),
        }
    }

    /// The same data key wrapped by the version that wraps its owner's now; none where it is wrapped
    /// so, or by a customer's key, or by a version that is not known or destroyed here.
    pub(crate) async fn rewrapped(
        &self,
        data: DataId,
        key: &PartKey,
    ) -> Result<Option<PartKey>, EngineError> {
        let Some(owner) = key
            .version
            .and_then(|version| self.keyring.retired(version))
        else {
            return Ok(None);
        };
        let current = match &owner {
            KeyOwner::Kms(name) => self.kms_version(name).await?,
            KeyOwner::System | KeyOwner::Account(_) => self.keyring.current(&owner).await?,
        };
        let Some(secret) = self.keyring.secret(current) else {
            return Ok(None);
        };
        if key.version == Some(current) {
            return Ok(None);
        }
        let context = BoundContext::from_stored(key.context);
        let opened = self.unwrap(data, key, None, context)?;
        let wrap = Wrap {
            secret,
            version: Some(current),
            context,
        };
        Ok(Some(self.wrapped(&wrap, &opened, data)))
    }

    /// What opens a part of a version that is encrypted as `context` says.
    pub(crate) fn opener(
        &self,
        data: DataId,
        key: &PartKey,
        customer_key: Option<&CustomerKey>,
        context: BoundContext,
    ) -> Result<Opener, EngineError> {
        let opened = self.unwrap(data, key, customer_key, context)?;
        Ok(Opener::new(&opened, data))
    }

    fn unwrap(
        &self,
        data: DataId,
        key: &PartKey,
        customer_key: Option<&CustomerKey>,
        context: BoundContext,
    ) -> Result<DataKey, EngineError> {
        let secret = match key.version {
            None => customer_key.ok_or(EngineError::CustomerKey)?.0.clone(),
            Some(version) => self
                .keyring
                .secret(version)
                .ok_or_else(|| EngineError::KeyUnavailable(self.keyring.name(version)))?,
        };
        let wrapped = WrappedKey::from_bytes(&key.wrapped)
            .ok_or_else(|| EngineError::Internal(format!("data key of {data} is malformed")))?;
        let opened = Kek::derive(&secret, by(key.version), data, context).unwrap(&wrapped);
        let damaged = |error| match key.version {
            None => EngineError::CustomerKey,
            Some(_) => EngineError::Internal(format!("data key of {data}: {error}")),
        };
        opened.map_err(damaged)
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
        #[cfg(sabotage)]
        if engine_types::sabotage("any-customer-key") {
            return true;
        }
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
