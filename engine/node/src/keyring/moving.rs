//! The keyring leaves and comes: export, import, and the start of a store whose lock is lost.
//!
//! An export is a keyring file under a passphrase of its own, with the private key to which the
//! entries are sealed. So it opens the copies on the drives too, also versions made after it, and
//! with the drives and a new lock it restores the store ([`Keyring::restore`]).

use super::file::{Entry, Ring};
use super::lock::{LockKey, LockKind};
use super::opened::{Opened, newest};
use super::pair::Pair;
use super::reading::{files, read_copies};
use super::write::Secrets;
use super::{KeyState, Keyring, KeyringError, KeyringLock, KeyringParts, blocking};
use engine_core::meta::KeyVersionId;
use engine_core::ports::Entropy;
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// What a restore found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Versions that can be used.
    pub versions: usize,
    /// Of those: made after the export, taken from the drives.
    pub from_drives: usize,
    /// Versions on the drives that the export does not open: of another keyring, or damaged.
    pub lost: usize,
}

impl Keyring {
    /// All secrets, locked with a passphrase: for a safe place elsewhere.
    pub async fn export(&self, passphrase: Zeroizing<String>) -> Result<Vec<u8>, KeyringError> {
        let ring = self.opened.read().ring.clone();
        let lock = KeyringLock::Passphrase(passphrase);
        let (ring, lock) = locked_anew(ring, &self.pair, lock, &*self.entropy).await?;
        ring.encode(&lock)
    }

    /// Takes the versions of an export that are unknown here, but none that is destroyed here or in
    /// `destroyed`: control's word. Those that came.
    pub async fn import(
        &self,
        bytes: Vec<u8>,
        passphrase: Zeroizing<String>,
        destroyed: &BTreeSet<KeyVersionId>,
    ) -> Result<Vec<KeyVersionId>, KeyringError> {
        let lock = KeyringLock::Passphrase(passphrase);
        let found = blocking(move || newest(&[bytes], &lock)).await??;
        let turn = self.turn().await;
        let mut ring = self.opened.read().ring.clone();
        let mut new = BTreeMap::new();
        for mut entry in found.opened.ring.entries {
            let known = ring.entries.iter().any(|known| known.id == entry.id);
            if known || refused(entry.id, destroyed) {
                continue;
            }
            let Some(secret) = found.opened.secrets.get(&entry.id) else {
                continue;
            };
            let has_current =
                |known: &Entry| known.owner == entry.owner && known.state == KeyState::Current;
            if ring.entries.iter().any(has_current) {
                entry.state = KeyState::Retired;
            }
            entry.sealed = self.pair.seal(&entry, secret, &*self.entropy)?;
            new.insert(entry.id, secret.clone());
            ring.entries.push(entry);
        }
        let came = new.keys().copied().collect();
        if !new.is_empty() {
            self.write(turn, ring, Secrets::Come(new)).await?;
        }
        Ok(came)
    }

    /// Puts the keys of an export on drives whose keyring's lock is lost, under a new `lock`. Their
    /// own copies are opened with it too: what they hold beyond it is kept, and what they say is
    /// destroyed stays so. For a store that is not running. Durable on a majority once Ok; the other
    /// drives take it at their next start.
    pub async fn restore(
        parts: KeyringParts,
        (export, passphrase): (Vec<u8>, Zeroizing<String>),
        lock: KeyringLock,
    ) -> Result<(Self, Restored), KeyringError> {
        let words = KeyringLock::Passphrase(passphrase);
        let found = blocking(move || newest(&[export], &words)).await??;
        let (mut ring, pair) = (found.opened.ring, found.pair);
        let mut secrets = found.opened.secrets;
        let exported: BTreeSet<_> = secrets.keys().copied().collect();
        let mut lost = BTreeSet::new();
        for copy in files(read_copies(&parts.holders).await) {
            let there = match Ring::decode(&copy) {
                Ok(there) => there,
                Err(error @ KeyringError::Newer(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "keyring copy passed over");
                    continue;
                }
            };
            merge(&mut ring, &mut secrets, &pair, there, &mut lost);
        }
        lost.retain(|id| !secrets.contains_key(id));
        let restored = Restored {
            versions: secrets.len(),
            from_drives: secrets.keys().filter(|id| !exported.contains(id)).count(),
            lost: lost.len(),
        };
        let (ring, lock) = locked_anew(ring, &pair, lock, &*parts.entropy).await?;
        let opened = Opened::new(ring.clone(), secrets);
        let keyring = Self::over(parts, opened, (pair, lock));
        let turn = keyring.turn().await;
        keyring.write(turn, ring, Secrets::Same).await?;
        Ok((keyring, restored))
    }
}

fn refused(id: KeyVersionId, destroyed: &BTreeSet<KeyVersionId>) -> bool {
    #[cfg(sabotage)]
    if engine_types::sabotage("import-destroyed") {
        return false;
    }
    destroyed.contains(&id)
}

/// The same ring and pair under another lock.
async fn locked_anew(
    ring: Ring,
    pair: &Pair,
    lock: KeyringLock,
    entropy: &dyn Entropy,
) -> Result<(Ring, LockKey), KeyringError> {
    let kind = LockKind::new(&lock, entropy);
    let lock = blocking(move || LockKey::derive(&lock, kind)).await??;
    let seed = lock.seal_seed(pair, entropy)?;
    let ring = Ring {
        lock: kind,
        seed,
        ..ring
    };
    Ok((ring, lock))
}

/// Adds what a drive's copy knows beyond the export. Its HMAC cannot be judged without its lock; a
/// secret that opens was sealed by who knew the ring's public key, which is written nowhere.
fn merge(
    ring: &mut Ring,
    secrets: &mut BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>,
    pair: &Pair,
    there: Ring,
    lost: &mut BTreeSet<KeyVersionId>,
) {
    ring.generation = ring.generation.max(there.generation);
    for entry in there.entries {
        let known = ring.entries.iter_mut().find(|known| known.id == entry.id);
        match (known, entry.state) {
            (Some(known), KeyState::Destroyed) => {
                known.state = KeyState::Destroyed;
                known.sealed.clear();
                secrets.remove(&entry.id);
            }
            (Some(_), KeyState::Current | KeyState::Retired) => {}
            (None, KeyState::Destroyed) => ring.entries.push(entry),
            (None, KeyState::Current | KeyState::Retired) => match pair.open(&entry) {
                Ok(secret) => {
                    secrets.insert(entry.id, secret);
                    if entry.state == KeyState::Current {
                        retire(ring, &entry);
                    }
                    ring.entries.push(entry);
                }
                Err(_) => drop(lost.insert(entry.id)),
            },
        }
    }
}

/// What wrapped before `current` was made only unwraps.
fn retire(ring: &mut Ring, current: &Entry) {
    let same = ring.entries.iter_mut().filter(|e| e.owner == current.owner);
    for entry in same.filter(|entry| entry.state == KeyState::Current) {
        entry.state = KeyState::Retired;
    }
}
