//! Accounts, access keys and their sealed secrets; the first of them all.

use crate::EngineError;
use crate::api::{Credential, Secret};
use crate::engine::{Engine, Inner};
use crate::keyring::{KeyOwner, Keyring};
use engine_core::meta::{
    AccessKeyRow, AccessKeyState, AccountRow, Answer, Bootstrap, Change, Command, ControlChange,
    ControlQuery, ControlReply, KeyVersionId, Refusal,
};
use engine_core::placement::Layout;
use engine_core::ports::{Entropy, Metadata};
use engine_types::{AccountId, BirthId, ClusterId, CommandId, PartitionId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use serde_bytes::ByteBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A credential is looked up again when older than this: changes take effect within it.
pub(crate) const CREDENTIAL_FRESH: Duration = Duration::from_secs(1);
/// While control is out of reach, a credential older than this is denied.
pub(crate) const CREDENTIAL_STALE_MAX: Duration = Duration::from_mins(5);
/// First byte of a sealed secret (**format**).
const SEALED_VERSION: u8 = 1;
const SEALED_HEAD: usize = 1 + 8 + NONCE_LEN;

/// What Bootstrap makes.
#[derive(Debug)]
pub struct NewCluster {
    /// Id, as in the drives' marks.
    pub cluster: ClusterId,
    /// This node's drives.
    pub layout: Layout,
    /// Data partitions.
    pub partitions: u32,
    /// Root account's canonical id, name, e-mail.
    pub root: (String, String, String),
    /// Root's first access key.
    pub access_key: String,
    /// Its secret.
    pub secret: Secret,
}

/// Makes the cluster: root account and key. Repeated with the same cluster id it is done already
/// (and changes nothing); with another it is refused with `OtherCluster`.
pub async fn bootstrap(
    metadata: &dyn Metadata,
    keyring: &Keyring,
    entropy: &dyn Entropy,
    new: NewCluster,
) -> Result<(), EngineError> {
    let sealed = seal_secret(keyring, entropy, &new.access_key, &new.secret).await?;
    let bootstrap = Bootstrap {
        cluster: new.cluster,
        layout: new.layout,
        partitions: new.partitions,
        root: new.root,
        root_key: (new.access_key, sealed),
    };
    let birth = metadata.stamp(PartitionId::CONTROL).await?;
    let mut random = [0; 10];
    entropy.fill(&mut random);
    let change = Change::Control(ControlChange::Bootstrap(Box::new(bootstrap)));
    let command = Command {
        id: CommandId::born(birth, random),
        change,
    };
    match metadata.propose(PartitionId::CONTROL, command).await? {
        Answer::Done => Ok(()),
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Err(EngineError::unexpected("Bootstrap")),
    }
}

fn secret_key(secret: &[u8; 32]) -> Result<LessSafeKey, EngineError> {
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info: [&[u8]; 1] = [b"datamesh access key v1"];
    let key = pseudorandom
        .expand(&info, &AES_256_GCM)
        .map(UnboundKey::from);
    key.map(LessSafeKey::new)
        .map_err(|_never| EngineError::Internal("key derivation".into()))
}

/// Seals a secret under the system key: version byte ‖ key version ‖ nonce ‖ sealed ‖ tag. Bound to
/// its access key, so that a row cannot be given another's secret.
async fn seal_secret(
    keyring: &Keyring,
    entropy: &dyn Entropy,
    access_key: &str,
    secret: &Secret,
) -> Result<ByteBuf, EngineError> {
    let version = keyring.current(&KeyOwner::System).await?;
    let unavailable = || EngineError::KeyUnavailable("system".into());
    let key = secret_key(&*keyring.secret(version).ok_or_else(unavailable)?)?;
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut text = Zeroizing::new(secret.0.as_bytes().to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(access_key),
            &mut text,
        )
        .map_err(|_too_long| EngineError::Internal("secret too long".into()))?;
    let mut sealed = vec![SEALED_VERSION];
    sealed.extend_from_slice(&version.0.to_be_bytes());
    sealed.extend_from_slice(&nonce);
    #[cfg(sabotage)]
    if engine_types::sabotage("log-plain-secret") {
        sealed.extend_from_slice(secret.0.as_bytes());
        return Ok(ByteBuf::from(sealed));
    }
    sealed.extend_from_slice(&text);
    sealed.extend_from_slice(tag.as_ref());
    Ok(ByteBuf::from(sealed))
}

fn open_secret(keyring: &Keyring, row: &AccessKeyRow) -> Result<Secret, EngineError> {
    let damaged = || {
        EngineError::Internal(format!(
            "secret of access key {} is damaged",
            row.access_key
        ))
    };
    let mut sealed = Zeroizing::new(row.sealed_secret.to_vec());
    if sealed.len() < SEALED_HEAD || sealed[0] != SEALED_VERSION {
        return Err(damaged());
    }
    let (head, text) = sealed.split_at_mut(SEALED_HEAD);
    #[cfg(sabotage)]
    if engine_types::sabotage("log-plain-secret") {
        return Ok(Secret(Zeroizing::new(
            String::from_utf8_lossy(text).into_owned(),
        )));
    }
    let mut version = [0; 8];
    version.copy_from_slice(&head[1..9]);
    let version = KeyVersionId(u64::from_be_bytes(version));
    let secret = keyring.secret(version);
    let secret =
        secret.ok_or_else(|| EngineError::KeyUnavailable(format!("system {}", version.0)))?;
    let nonce = Nonce::try_assume_unique_for_key(&head[9..]).map_err(|_length| damaged())?;
    let opened = secret_key(&secret)?.open_in_place(nonce, Aad::from(&row.access_key), text);
    let opened = opened.map_err(|_forged| damaged())?;
    let text = std::str::from_utf8(opened).map_err(|_not_text| damaged())?;
    Ok(Secret(Zeroizing::new(text.to_owned())))
}

impl Inner {
    async fn read_credential(
        &self,
        access_key: &str,
    ) -> Result<Option<Arc<Credential>>, EngineError> {
        let query = ControlQuery::AccessKey(access_key.into());
        let ControlReply::AccessKey(found) = self.ask_control(query).await? else {
            return Err(EngineError::unexpected("AccessKey"));
        };
        let Some((key, account)) = found else {
            return Ok(None);
        };
        let secret = open_secret(&self.keyring, &key)?;
        Ok(Some(Arc::new(Credential {
            key,
            account,
            secret,
        })))
    }

    async fn one_account(&self, query: ControlQuery) -> Result<Option<AccountRow>, EngineError> {
        match self.ask_control(query).await? {
            ControlReply::Account(row) => Ok(row),
            _ => Err(EngineError::unexpected("Account")),
        }
    }
}

impl Engine {
    /// An access key with its secret opened; `None`: unknown. Disabled keys are returned (the
    /// caller answers as AWS does). Cached; a change takes effect within 1 s. While control is out
    /// of reach the last answer holds for five minutes, then it is denied (`Unavailable`).
    pub async fn credential(
        &self,
        access_key: &str,
    ) -> Result<Option<Arc<Credential>>, EngineError> {
        let inner = &self.inner;
        let known = inner.credentials.get(access_key);
        let age = |at: Duration| inner.clock.monotonic().saturating_sub(at);
        if let Some((credential, at)) = &known
            && age(*at) < CREDENTIAL_FRESH
        {
            return Ok(credential.clone());
        }
        // As of before it is read, so that its age is never too young.
        let at = inner.clock.monotonic();
        match inner.read_credential(access_key).await {
            Ok(credential) => {
                inner
                    .credentials
                    .put(access_key.into(), credential.clone(), at);
                Ok(credential)
            }
            Err(error @ (EngineError::Unavailable(_) | EngineError::SlowDown)) => match known {
                Some((credential, at)) if age(at) < CREDENTIAL_STALE_MAX => Ok(credential),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// An account by number.
    pub async fn account(&self, id: AccountId) -> Result<Option<AccountRow>, EngineError> {
        self.inner.one_account(ControlQuery::Account(id)).await
    }

    /// An account by canonical id.
    pub async fn account_by_canonical_id(
        &self,
        id: &str,
    ) -> Result<Option<AccountRow>, EngineError> {
        self.inner
            .one_account(ControlQuery::AccountByCanonicalId(id.into()))
            .await
    }

    /// An account by e-mail.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<AccountRow>, EngineError> {
        self.inner
            .one_account(ControlQuery::AccountByEmail(email.into()))
            .await
    }

    /// All accounts.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, EngineError> {
        match self.inner.ask_control(ControlQuery::Accounts).await? {
            ControlReply::Accounts(rows) => Ok(rows),
            _ => Err(EngineError::unexpected("Accounts")),
        }
    }

    /// Makes or updates an account (from configuration).
    pub async fn put_account(
        &self,
        canonical_id: &str,
        name: &str,
        email: &str,
    ) -> Result<AccountRow, EngineError> {
        let change = ControlChange::PutAccount {
            canonical_id: canonical_id.into(),
            name: name.into(),
            email: email.into(),
        };
        match self.inner.propose_control(change).await? {
            Answer::Account(row) => Ok(row),
            _ => Err(EngineError::unexpected("PutAccount")),
        }
    }

    /// Makes an access key, or updates its secret.
    pub async fn put_access_key(
        &self,
        account: AccountId,
        access_key: &str,
        secret: &Secret,
        description: &str,
    ) -> Result<AccessKeyRow, EngineError> {
        let inner = &self.inner;
        let sealed_secret =
            seal_secret(&inner.keyring, &*inner.entropy, access_key, secret).await?;
        let change = ControlChange::PutAccessKey {
            account,
            access_key: access_key.into(),
            sealed_secret,
            description: description.into(),
        };
        let answer = inner.propose_control(change).await;
        inner.credentials.remove(access_key);
        match answer? {
            Answer::AccessKey(row) => Ok(row),
            _ => Err(EngineError::unexpected("PutAccessKey")),
        }
    }

    /// Enables, disables or (none) deletes an access key.
    pub async fn set_access_key(
        &self,
        access_key: &str,
        state: Option<AccessKeyState>,
    ) -> Result<(), EngineError> {
        let access_key = access_key.to_owned();
        let name = access_key.clone();
        let change = match state {
            Some(state) => ControlChange::SetAccessKey { access_key, state },
            None => ControlChange::DeleteAccessKey { access_key },
        };
        let answer = self.inner.propose_control(change).await;
        self.inner.credentials.remove(&name);
        match answer {
            // Deleted by an earlier try.
            Err(EngineError::Refused(Refusal::NoSuchAccessKey)) if state.is_none() => Ok(()),
            other => other.map(drop),
        }
    }

    /// All access keys.
    pub async fn access_keys(&self) -> Result<Vec<AccessKeyRow>, EngineError> {
        match self.inner.ask_control(ControlQuery::AccessKeys).await? {
            ControlReply::AccessKeys(rows) => Ok(rows),
            _ => Err(EngineError::unexpected("AccessKeys")),
        }
    }
}
