//! The keyring: named keys, rotation, export and import, destruction.

use super::error::AdminError;
use super::routes::Given;
use super::shapes::{Destroyed, Imported, KeyName, KeyOf, KeyVersionInfo, Rewrap, Sealed};
use super::{Admin, Running};
use crate::config::PASSPHRASE_BYTES_MIN;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_core::meta::AccountRow;
use engine_node::keyring::{KeyOwner, KeyState, KeyVersion, RewrapPhase, RewrapStatus};
use zeroize::Zeroizing;

/// Longest name of a key: KMS's.
pub(super) const KEY_NAME_BYTES_MAX: usize = 256;

pub(super) async fn list(
    State(admin): State<Admin>,
) -> Result<Json<Vec<KeyVersionInfo>>, AdminError> {
    let engine = &admin.running()?.engine;
    let accounts = engine.accounts().await?;
    let status = engine.keyring().rewrap_status();
    let not_erased: Vec<u32> = engine.not_erased().iter().map(|drive| drive.0).collect();
    let info = |version: &KeyVersion| {
        let mut info = info(version, &accounts);
        match version.state {
            KeyState::Current => {}
            KeyState::Retired => info.rewrap = Some(rewrap(version, &status)),
            KeyState::Destroyed => info.not_erased.clone_from(&not_erased),
        }
        info
    };
    Ok(Json(engine.keyring().list().iter().map(info).collect()))
}

pub(super) async fn create(
    State(admin): State<Admin>,
    Given(KeyName { name }): Given<KeyName>,
) -> Result<(StatusCode, Json<KeyVersionInfo>), AdminError> {
    check_name(&name)?;
    let running = admin.running()?;
    if running.engine.kms_key(&name).await?.is_some() {
        return Err(AdminError::conflict(
            "KeyExists",
            format!("there is a key {name} already; rotate it for a new version"),
        ));
    }
    running.engine.create_kms_key(&name).await?;
    let made = newest(running, &KeyOwner::Kms(name), &[])?;
    Ok((StatusCode::CREATED, made))
}

pub(super) async fn rotate(
    State(admin): State<Admin>,
    Given(whose): Given<KeyOf>,
) -> Result<Json<KeyVersionInfo>, AdminError> {
    let running = admin.running()?;
    let owner = owner(running, whose).await?;
    match &owner {
        KeyOwner::Kms(name) => drop(running.engine.rotate_kms_key(name).await?),
        other => drop(running.engine.keyring().rotate(other).await?),
    }
    newest(running, &owner, &running.engine.accounts().await?)
}

pub(super) async fn export(
    State(admin): State<Admin>,
    Given(sealed): Given<Sealed>,
) -> Result<Json<Sealed>, AdminError> {
    let passphrase = Zeroizing::new(sealed.passphrase);
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(AdminError::invalid(format!(
            "passphrase: at least {PASSPHRASE_BYTES_MIN} bytes"
        )));
    }
    let bytes = admin.running()?.engine.keyring().export(passphrase).await?;
    Ok(Json(Sealed {
        keyring: STANDARD.encode(bytes),
        ..Sealed::default()
    }))
}

pub(super) async fn import(
    State(admin): State<Admin>,
    Given(sealed): Given<Sealed>,
) -> Result<Json<Imported>, AdminError> {
    let passphrase = Zeroizing::new(sealed.passphrase);
    let bytes = STANDARD
        .decode(&sealed.keyring)
        .map_err(|e| AdminError::invalid(format!("keyring: {e}")))?;
    let running = admin.running()?;
    let new = running.engine.import_keys(bytes, passphrase).await?;
    Ok(Json(Imported { new }))
}

pub(super) async fn destroy(
    State(admin): State<Admin>,
    Given(whose): Given<KeyOf>,
) -> Result<Json<Destroyed>, AdminError> {
    let running = admin.running()?;
    let owner = owner(running, whose).await?;
    if !running
        .engine
        .keyring()
        .list()
        .iter()
        .any(|v| v.owner == owner && v.state != KeyState::Destroyed)
    {
        return Err(AdminError::missing("there is no key of it to destroy"));
    }
    tracing::warn!(
        ?owner,
        "key destroyed: what it sealed can never be read again"
    );
    running.engine.destroy_key(&owner).await?;
    let not_erased: Vec<u32> = running
        .engine
        .not_erased()
        .iter()
        .map(|drive| drive.0)
        .collect();
    Ok(Json(Destroyed {
        everywhere: not_erased.is_empty(),
        not_erased,
    }))
}

fn check_name(name: &str) -> Result<(), AdminError> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_/.:".contains(&b));
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || !plain {
        let text = format!("name: 1-{KEY_NAME_BYTES_MAX} of A-Z a-z 0-9 - _ / . :");
        return Err(AdminError::invalid(text));
    }
    Ok(())
}

async fn owner(running: &Running, whose: KeyOf) -> Result<KeyOwner, AdminError> {
    match (whose.name, whose.account) {
        (Some(name), None) => Ok(KeyOwner::Kms(name)),
        (None, Some(account)) => Ok(KeyOwner::Account(running.account(Some(&account)).await?.id)),
        _ => Err(AdminError::invalid("exactly one of name and account")),
    }
}

fn newest(
    running: &Running,
    owner: &KeyOwner,
    accounts: &[AccountRow],
) -> Result<Json<KeyVersionInfo>, AdminError> {
    let versions = running.engine.keyring().list();
    let found = versions
        .iter()
        .find(|v| v.owner == *owner && v.state == KeyState::Current);
    found
        .map(|v| Json(info(v, accounts)))
        .ok_or_else(|| AdminError::internal("the new version is not in the keyring"))
}

fn rewrap(version: &KeyVersion, status: &RewrapStatus) -> Rewrap {
    let progress = status
        .versions
        .get(&version.id)
        .copied()
        .unwrap_or_default();
    let phase = match status.phase {
        RewrapPhase::Waiting => "waiting",
        RewrapPhase::Walking => "walking",
        RewrapPhase::Done => "done",
    };
    Rewrap {
        phase: phase.into(),
        moved: progress.moved,
        left: progress.left,
    }
}

fn info(version: &KeyVersion, accounts: &[AccountRow]) -> KeyVersionInfo {
    KeyVersionInfo {
        id: format!("{:016x}", version.id.0),
        owner: match &version.owner {
            KeyOwner::System => "system".into(),
            KeyOwner::Kms(name) => format!("name {name}"),
            KeyOwner::Account(id) => {
                let name = accounts
                    .iter()
                    .find(|a| a.id == *id)
                    .map(|a| a.name.clone());
                format!("account {}", name.unwrap_or_else(|| id.0.to_string()))
            }
        },
        state: match version.state {
            KeyState::Current => "current".into(),
            KeyState::Retired => "retired".into(),
            KeyState::Destroyed => "destroyed".into(),
        },
        created_ms: version.created_ms,
        rewrap: None,
        not_erased: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_limit_and_one_past_it() {
        assert!(check_name("team/photos:2026.v1-a_b").is_ok());
        assert!(check_name(&"k".repeat(KEY_NAME_BYTES_MAX)).is_ok());
        assert!(check_name(&"k".repeat(KEY_NAME_BYTES_MAX + 1)).is_err());
        assert!(check_name("").is_err());
        assert!(check_name("a b").is_err());
    }
}
