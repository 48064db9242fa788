//! The keyring file (**format**) and how it is locked.
//!
//! ```text
//! "DMKEYRNG" ‖ length u32 ‖ ring (postcard behind a version byte) ‖ HMAC-SHA-256 ‖ CRC32C
//! ```
//! Passphrase (Argon2id) or key file (HKDF) give the lock key; it seals the ring's private key and
//! keys the HMAC; every secret is sealed by HPKE to the ring's public key, bound to its number,
//! owner and age. So a new lock seals one key anew and no secret. The CRC tells damage from a wrong
//! passphrase; the HMAC keeps whoever writes to a drive from slipping in a secret they know.

use super::KeyringError;
use super::lock::{LockKey, LockKind, internal};
use engine_core::format::crc32c;
use engine_core::meta::{DecodeError, KeyVersionId, decode, encode};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const MAGIC: &[u8; 8] = b"DMKEYRNG";
const HEAD: usize = 12;
const MAC: usize = 32;
const FOOT: usize = MAC + 4;
/// Largest keyring file, bytes: some hundred thousand key versions.
pub const KEYRING_BYTES_MAX: usize = 64 << 20;

/// Whose secret a key version is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum KeyOwner {
    /// The cluster: seals access keys' secrets.
    System,
    /// A tenant: wraps its data keys.
    Account(engine_types::AccountId),
    /// A named key.
    Kms(String),
}

/// What a key version is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KeyState {
    /// Wraps and unwraps.
    Current,
    /// Unwraps.
    Retired,
    /// Its secret is erased; only the number is kept, so that no import brings it back.
    Destroyed,
}

/// One key version as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: KeyVersionId,
    pub(super) owner: KeyOwner,
    pub(super) created_ms: u64,
    pub(super) state: KeyState,
    /// Encapsulated key ‖ ciphertext; empty once destroyed.
    pub(super) sealed: ByteBuf,
}

/// The file's content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Ring {
    /// Raised by every write: the newest copy is the true one.
    pub(super) generation: u64,
    pub(super) lock: LockKind,
    /// Nonce ‖ sealed seed of the private key ‖ tag.
    pub(super) seed: ByteBuf,
    pub(super) entries: Vec<Entry>,
}

impl Ring {
    /// The file's bytes.
    pub(super) fn encode(&self, lock: &LockKey) -> Result<Vec<u8>, KeyringError> {
        let body = encode(self);
        if HEAD + body.len() + FOOT > KEYRING_BYTES_MAX {
            return Err(KeyringError::TooLong);
        }
        let length = u32::try_from(body.len()).map_err(|_long| internal("keyring too long"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        let mac = lock.sign(&bytes)?;
        bytes.extend_from_slice(mac.as_ref());
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        Ok(bytes)
    }

    /// What a file says, undamaged, but not authentic before [`Self::authenticate`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KeyringError> {
        let damaged = |what: &str| KeyringError::Damaged(what.into());
        if bytes.len() < HEAD + FOOT || bytes.len() > KEYRING_BYTES_MAX || &bytes[..8] != MAGIC {
            return Err(damaged("not a keyring"));
        }
        let (covered, crc) = bytes.split_at(bytes.len() - 4);
        if crc32c(covered).to_be_bytes() != crc {
            return Err(damaged("checksum mismatch"));
        }
        let body = &covered[HEAD..covered.len() - MAC];
        if u32::try_from(body.len())
            .map(u32::to_be_bytes)
            .ok()
            .as_ref()
            .map(|l| &l[..])
            != Some(&covered[8..HEAD])
        {
            return Err(damaged("length"));
        }
        decode(body).map_err(|error| match error {
            DecodeError::Newer(version) => KeyringError::Newer(version),
            DecodeError::Malformed(what) => KeyringError::Damaged(what),
        })
    }

    /// Whether `bytes`, from which this was decoded, were written by a holder of the lock.
    pub(super) fn authenticate(bytes: &[u8], lock: &LockKey) -> Result<(), KeyringError> {
        let (covered, _crc) = bytes.split_at(bytes.len().saturating_sub(4));
        let (signed, mac) = covered.split_at(covered.len().saturating_sub(MAC));
        lock.verify(signed, mac)
    }
}
