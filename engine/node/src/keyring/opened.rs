//! From files to opened secrets.

use super::KeyringError;
use super::file::Entry;
use super::file::{KeyOwner, KeyState, Ring};
use super::lock::{KeyringLock, LockKey};
use super::pair::Pair;
use engine_core::meta::KeyVersionId;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Ring and opened secrets.
pub(super) struct Opened {
    pub(super) ring: Ring,
    pub(super) secrets: BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>,
    /// Asked for by every write.
    pub(super) current: BTreeMap<KeyOwner, KeyVersionId>,
    /// Asked for by whoever wraps anew, for every part.
    pub(super) retired: BTreeMap<KeyVersionId, KeyOwner>,
    /// A drive that holds an older generation may hold a destroyed key.
    pub(super) destroyed_at: Option<u64>,
}

impl Opened {
    pub(super) fn new(ring: Ring, secrets: BTreeMap<KeyVersionId, Zeroizing<[u8; 32]>>) -> Self {
        let destroyed = |entry: &Entry| entry.state == KeyState::Destroyed;
        let mut opened = Self {
            destroyed_at: ring
                .entries
                .iter()
                .any(destroyed)
                .then_some(ring.generation),
            ring: ring.clone(),
            secrets,
            current: BTreeMap::new(),
            retired: BTreeMap::new(),
        };
        opened.set(ring);
        opened
    }
    pub(super) fn set(&mut self, ring: Ring) {
        let of = |state| {
            ring.entries
                .iter()
                .filter(move |entry| entry.state == state)
        };
        let current = of(KeyState::Current).map(|entry| (entry.owner.clone(), entry.id));
        self.current = current.collect();
        let retired = of(KeyState::Retired).map(|entry| (entry.id, entry.owner.clone()));
        self.retired = retired.collect();
        self.ring = ring;
    }
}

/// A keyring file, opened.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) opened: Opened,
    pub(super) pair: Pair,
    pub(super) lock: LockKey,
}

/// The newest authentic copy, opened. Blocking.
pub(super) fn newest(copies: &[Vec<u8>], lock: &KeyringLock) -> Result<Found, KeyringError> {
    let mut worst = KeyringError::Absent;
    let mut rings: Vec<(Ring, &Vec<u8>)> = Vec::new();
    for bytes in copies {
        match Ring::decode(bytes) {
            Ok(ring) => rings.push((ring, bytes)),
            Err(error) => worst = error,
        }
    }
    rings.sort_by_key(|(ring, _)| std::cmp::Reverse(ring.generation));
    let mut derived: Vec<LockKey> = Vec::new();
    for (ring, bytes) in rings {
        let known = derived.iter().find(|key| key.kind == ring.lock);
        let key = match known {
            Some(key) => Ok(key.clone()),
            None => LockKey::derive(lock, ring.lock),
        };
        let opened = key.and_then(|key| {
            derived.push(key.clone());
            let (opened, pair) = open(ring, bytes, &key)?;
            Ok(Found {
                bytes: bytes.clone(),
                opened,
                pair,
                lock: key,
            })
        });
        match opened {
            Ok(found) => return Ok(found),
            Err(error) => worst = error,
        }
    }
    Err(worst)
}

fn open(ring: Ring, bytes: &[u8], key: &LockKey) -> Result<(Opened, Pair), KeyringError> {
    let pair = key.open_seed(&ring.seed)?;
    Ring::authenticate(bytes, key)?;
    let mut secrets = BTreeMap::new();
    for entry in ring
        .entries
        .iter()
        .filter(|entry| entry.state != KeyState::Destroyed)
    {
        secrets.insert(entry.id, pair.open(entry)?);
    }
    Ok((Opened::new(ring, secrets), pair))
}

/// Reads a keyring file as [`Keyring::open`] does, but does not ask whether a holder of `lock` wrote
/// it: for fuzzing, behind whose mutations no HMAC would ever hold. Whether it was undamaged.
#[doc(hidden)]
pub fn open_unauthenticated(bytes: &[u8], lock: &KeyringLock) -> bool {
    let Ok(ring) = Ring::decode(bytes) else {
        return false;
    };
    let pair = LockKey::derive(lock, ring.lock).and_then(|key| key.open_seed(&ring.seed));
    if let Ok(pair) = pair {
        let opened = ring.entries.iter().filter(|entry| pair.open(entry).is_ok());
        let _opened = opened.count();
    }
    true
}
