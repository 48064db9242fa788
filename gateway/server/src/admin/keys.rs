//! Accounts and access keys. A secret is told once, in the answer that made it.

use super::error::AdminError;
use super::routes::{Given, Signer};
use super::shapes::{AccountInfo, KeyInfo, KeyMade, NewKey};
use super::{Admin, Running};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use engine_core::meta::{AccessKeyRow, AccessKeyState, AccountRow, Refusal};
use engine_node::{Credential, EngineError, Secret};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A look-up of a signer that takes longer is answered from memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// For so long at most: what the engine holds itself to.
const STALE: Duration = Duration::from_mins(5);
/// Longest note of a key.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 256;

pub(super) async fn accounts(
    State(admin): State<Admin>,
) -> Result<Json<Vec<AccountInfo>>, AdminError> {
    let info = |row: AccountRow| AccountInfo {
        id: row.id.0,
        name: row.name,
        canonical_id: row.canonical_id,
        root: row.root,
    };
    Ok(Json(
        admin
            .running()?
            .engine
            .accounts()
            .await?
            .into_iter()
            .map(info)
            .collect(),
    ))
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<KeyInfo>>, AdminError> {
    let engine = &admin.running()?.engine;
    let accounts = engine.accounts().await?;
    Ok(Json(
        engine
            .access_keys()
            .await?
            .iter()
            .map(|row| info(row, &accounts))
            .collect(),
    ))
}

pub(super) async fn create(
    State(admin): State<Admin>,
    Given(new): Given<NewKey>,
) -> Result<(StatusCode, Json<KeyMade>), AdminError> {
    check_description(&new.description)?;
    let running = admin.running()?;
    let account = running.account(new.account.as_deref()).await?;
    let (access_key, secret) =
        crate::credentials::generated_pair().map_err(AdminError::internal)?;
    let secret = Secret(Zeroizing::new(secret));
    let row = running
        .engine
        .put_access_key(account.id, &access_key, &secret, &new.description)
        .await?;
    let made = KeyMade {
        key: info(&row, &[account]),
        secret_key: secret.0.to_string(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

pub(super) async fn enable(
    State(admin): State<Admin>,
    Path(key): Path<String>,
) -> Result<Json<KeyInfo>, AdminError> {
    set(&admin, &key, AccessKeyState::Active).await
}

pub(super) async fn disable(
    State(admin): State<Admin>,
    signer: Signer,
    Path(key): Path<String>,
) -> Result<Json<KeyInfo>, AdminError> {
    not_own(&signer, &key)?;
    set(&admin, &key, AccessKeyState::Disabled).await
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    signer: Signer,
    Path(key): Path<String>,
) -> Result<StatusCode, AdminError> {
    not_own(&signer, &key)?;
    let engine = &admin.running()?.engine;
    if engine.credential(&key).await?.is_none() {
        return Err(EngineError::from(Refusal::NoSuchAccessKey).into());
    }
    engine.set_access_key(&key, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_description(text: &str) -> Result<(), AdminError> {
    if text.len() > DESCRIPTION_BYTES_MAX {
        return Err(AdminError::invalid(format!(
            "description: at most {DESCRIPTION_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

/// The key that signs stays: so root always has one that works.
fn not_own(signer: &Signer, key: &str) -> Result<(), AdminError> {
    if signer.0 == key {
        return Err(AdminError::conflict(
            "OwnKey",
            "this key signed the request: use another key of root to do that",
        ));
    }
    Ok(())
}

async fn set(admin: &Admin, key: &str, state: AccessKeyState) -> Result<Json<KeyInfo>, AdminError> {
    let engine = &admin.running()?.engine;
    engine.set_access_key(key, Some(state)).await?;
    let accounts = engine.accounts().await?;
    let row = engine
        .access_keys()
        .await?
        .into_iter()
        .find(|row| row.access_key == key);
    row.map(|row| Json(info(&row, &accounts)))
        .ok_or_else(|| AdminError::missing("the key was deleted meanwhile"))
}

fn info(row: &AccessKeyRow, accounts: &[AccountRow]) -> KeyInfo {
    let account = accounts.iter().find(|account| account.id == row.account);
    KeyInfo {
        access_key: row.access_key.clone(),
        account: account.map_or_else(|| row.account.0.to_string(), |account| account.name.clone()),
        state: match row.state {
            AccessKeyState::Active => "active".into(),
            AccessKeyState::Disabled => "disabled".into(),
        },
        created_ms: row.created.0,
        description: row.description.clone(),
    }
}

impl Running {
    /// A signer. Where control does not answer soon, the one last known to us for [`STALE`]: status
    /// and drives must be seen just then.
    pub(super) async fn credential(
        &self,
        access_key: &str,
    ) -> Result<Option<Arc<Credential>>, AdminError> {
        let looked = tokio::time::timeout(PATIENCE, self.engine.credential(access_key)).await;
        let why = match looked {
            Ok(Ok(found)) => {
                if let Some(found) = &found {
                    *self.signer.lock() = Some((Instant::now(), Arc::clone(found)));
                }
                return Ok(found);
            }
            Ok(Err(error @ (EngineError::Unavailable(_) | EngineError::SlowDown))) => {
                error.to_string()
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(late) => late.to_string(),
        };
        let known = self.signer.lock().clone();
        match known.filter(|(at, known)| at.elapsed() < STALE && known.key.access_key == access_key)
        {
            Some((_, known)) => Ok(Some(known)),
            None => Err(AdminError::unavailable(format!(
                "control cannot be read, so the key cannot be checked ({why}); /health/ready names what is missing"
            ))),
        }
    }

    /// An account by name or canonical id; none: root.
    pub(super) async fn account(&self, which: Option<&str>) -> Result<AccountRow, AdminError> {
        let mut accounts = self.engine.accounts().await?;
        accounts.retain(|row| which.map_or(row.root, |w| row.name == w || row.canonical_id == w));
        match accounts.len() {
            1 => Ok(accounts.remove(0)),
            0 => Err(AdminError::missing(
                "no such account; accounts beside root come from the settings",
            )),
            _ => Err(AdminError::invalid(
                "several accounts have this name: use the canonical id",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_at_the_limit_and_one_past_it() {
        assert!(check_description(&"d".repeat(DESCRIPTION_BYTES_MAX)).is_ok());
        assert!(check_description(&"d".repeat(DESCRIPTION_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn the_key_that_signs_cannot_end_itself() {
        let signer = Signer("ROOT".into());
        assert!(not_own(&signer, "ROOT").is_err());
        assert!(not_own(&signer, "OTHER").is_ok());
    }
}
