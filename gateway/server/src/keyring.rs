//! Opens the keyring at a start: its lock as the settings name it, its copies once enough drives answer.

use crate::admin::{Health, Phase};
use crate::config::Config;
use crate::credentials::key_file;
use crate::keeper::Keeper;
use crate::majority::Waiting;
use crate::paths::Opening;
use crate::shelf::Shelf;
use crate::store::StoreError;
use engine_node::keyring::KeyringParts;
use engine_node::{Keyring, KeyringError, KeyringLock};
use std::future::Future;

/// `may_make`: a key file that is not there is made.
pub(crate) fn keyring_lock(config: &Config, may_make: bool) -> Result<KeyringLock, StoreError> {
    if let Some(file) = &config.key_file {
        return Ok(KeyringLock::KeyFile(
            key_file(file, may_make).map_err(StoreError::because)?,
        ));
    }
    let words = config.passphrase().map_err(StoreError::because)?;
    words
        .map(KeyringLock::Passphrase)
        .ok_or_else(|| StoreError::Refused("key_file: not set".into()))
}

/// Opens the keyring over the drives in service. Only a first start may make one: elsewhere its absence
/// must be an error, not a new key.
pub(crate) async fn open_keyring(
    opening: &Opening,
    parts: KeyringParts,
    lock: KeyringLock,
) -> Result<Keyring, KeyringError> {
    if opening.forming() {
        Keyring::open_or_create(parts, lock).await
    } else {
        Keyring::open(parts, lock).await
    }
}

/// Until so many drives have read their copies that the newest is known: keys that are on the others
/// alone must not be erased there for an older copy.
pub(crate) async fn wait_for_keyring<F>(
    keeper: &mut Keeper,
    shelf: &Shelf,
    health: &Health,
    mut open: impl FnMut() -> F,
) -> Result<Keyring, StoreError>
where
    F: Future<Output = Result<Keyring, KeyringError>>,
{
    let mut waiting = Waiting::new(keeper, shelf, health);
    let mut told = false;
    loop {
        // No look meanwhile: what it put in service would hold shards and not be a holder of the keyring.
        let error = match open().await {
            Ok(keyring) => return Ok(keyring),
            Err(error @ KeyringError::NotRead { .. }) => error,
            Err(error) => return Err(StoreError::because(error)),
        };
        let doing = error.to_string();
        if !std::mem::replace(&mut told, true) {
            tracing::error!(reason = doing, left_out = ?shelf.left_out(), "not ready yet");
        }
        health.set(Phase::Starting { doing });
        waiting.look().await;
    }
}
