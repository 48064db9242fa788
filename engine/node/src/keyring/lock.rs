//! What opens a keyring: a passphrase (Argon2id) or a key file (HKDF).
//!
//! What Argon2id shall cost stands in the file, which nobody has authenticated yet when it is read:
//! authenticating it takes the key that it costs. So each figure is bounded, and one past a bound is
//! damage. At the bounds an opening takes some seconds and 256 MiB.

use super::KeyringError;
use super::pair::{Pair, random};
use engine_core::ports::Entropy;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// Argon2id as written by this build (RFC 9106's second choice): 64 MiB, 3 passes, 4 lanes.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 4;
/// Most memory a file may ask for, KiB: four times what is written.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Most passes.
pub const ARGON2_PASSES_MAX: u32 = 10;
/// Most lanes.
pub const ARGON2_LANES_MAX: u32 = 16;
/// Least bytes of a key file.
pub const KEY_FILE_BYTES_MIN: usize = 32;

/// How the lock key is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum LockKind {
    Passphrase { cost: Cost, salt: [u8; 16] },
    KeyFile { salt: [u8; 16] },
}

/// What Argon2id takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// As this build writes it.
    const OURS: Self = Self {
        memory_kib: ARGON2_MEMORY_KIB,
        passes: ARGON2_PASSES,
        lanes: ARGON2_LANES,
    };

    /// The parameters, where they are within the bounds.
    fn params(self) -> Result<argon2::Params, KeyringError> {
        for (what, asked, most) in [
            ("memory", self.memory_kib, ARGON2_MEMORY_KIB_MAX),
            ("passes", self.passes, ARGON2_PASSES_MAX),
            ("lanes", self.lanes, ARGON2_LANES_MAX),
        ] {
            if asked > most {
                let text = format!("asks for {asked} of {what}, at most {most} are allowed");
                return Err(KeyringError::Damaged(text));
            }
        }
        argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| KeyringError::Damaged(error.to_string()))
    }

    fn derive(self, words: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
        let mut key = Zeroizing::new([0; 32]);
        argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            self.params()?,
        )
        .hash_password_into(words.as_bytes(), salt, &mut *key)
        .map_err(|error| KeyringError::Internal(error.to_string()))?;
        Ok(key)
    }
}

/// What opens a keyring.
#[derive(Clone)]
pub enum KeyringLock {
    /// Typed by somebody, or from a secret store.
    Passphrase(Zeroizing<String>),
    /// Content of a key file that does not lie on a drive of the node; ≥ 32 bytes.
    KeyFile(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for KeyringLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "KeyringLock(passphrase)",
            Self::KeyFile(_) => "KeyringLock(key file)",
        })
    }
}

/// Made from a lock; seals the ring's private key and authenticates the file.
#[derive(Clone)]
pub(super) struct LockKey {
    pub(super) kind: LockKind,
    key: Zeroizing<[u8; 32]>,
}

impl LockKind {
    /// Of a new file.
    pub(super) fn new(lock: &KeyringLock, entropy: &dyn Entropy) -> Self {
        let salt = random(entropy);
        match lock {
            KeyringLock::Passphrase(_) => Self::Passphrase {
                cost: Cost::OURS,
                salt,
            },
            KeyringLock::KeyFile(_) => Self::KeyFile { salt },
        }
    }
}

impl LockKey {
    /// Derives it; slow on purpose for passphrases.
    pub(super) fn derive(lock: &KeyringLock, kind: LockKind) -> Result<Self, KeyringError> {
        let key = match (lock, kind) {
            (KeyringLock::Passphrase(words), LockKind::Passphrase { cost, salt }) => {
                cost.derive(words, &salt)?
            }
            (KeyringLock::KeyFile(bytes), LockKind::KeyFile { salt }) => {
                if bytes.len() < KEY_FILE_BYTES_MIN {
                    return Err(KeyringError::KeyFileTooShort);
                }
                derive(bytes, &salt, b"datamesh keyring lock v1")?
            }
            (KeyringLock::Passphrase(_), LockKind::KeyFile { .. }) => {
                return Err(KeyringError::LockKind {
                    needs: "a key file",
                });
            }
            (KeyringLock::KeyFile(_), LockKind::Passphrase { .. }) => {
                return Err(KeyringError::LockKind {
                    needs: "a passphrase",
                });
            }
        };
        Ok(Self { kind, key })
    }

    /// Whether `signed` was written, with this `mac`, by a holder of the lock.
    pub(super) fn verify(&self, signed: &[u8], mac: &[u8]) -> Result<(), KeyringError> {
        hmac::verify(&self.mac_key()?, signed, mac).map_err(|_forged| KeyringError::Forged)
    }

    /// The HMAC of a file.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<hmac::Tag, KeyringError> {
        Ok(hmac::sign(&self.mac_key()?, bytes))
    }

    fn mac_key(&self) -> Result<hmac::Key, KeyringError> {
        let key = derive(&*self.key, &[], b"datamesh keyring mac v1")?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &*key))
    }

    fn aead(&self) -> Result<LessSafeKey, KeyringError> {
        let key = derive(&*self.key, &[], b"datamesh keyring wrap v1")?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).map_err(|_length| internal("key"))?;
        Ok(LessSafeKey::new(key))
    }

    pub(super) fn seal_seed(
        &self,
        pair: &Pair,
        entropy: &dyn Entropy,
    ) -> Result<ByteBuf, KeyringError> {
        let nonce: [u8; NONCE_LEN] = random(entropy);
        let mut seed = Zeroizing::new(pair.seed.to_vec());
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut seed,
            )
            .map_err(|_length| internal("seal"))?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&seed);
        sealed.extend_from_slice(tag.as_ref());
        Ok(ByteBuf::from(sealed))
    }

    /// The pair, or `WrongLock`.
    pub(super) fn open_seed(&self, sealed: &[u8]) -> Result<Pair, KeyringError> {
        let mut bytes = Zeroizing::new(sealed.to_vec());
        if bytes.len() < NONCE_LEN {
            return Err(KeyringError::Damaged("no private key".into()));
        }
        let (nonce, text) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_length| internal("nonce"))?;
        let opened = self.aead()?.open_in_place(nonce, Aad::empty(), text);
        let opened = opened.map_err(|_forged| KeyringError::WrongLock)?;
        let mut seed = Zeroizing::new([0; 32]);
        if opened.len() != seed.len() {
            return Err(KeyringError::Damaged(
                "private key of another length".into(),
            ));
        }
        seed.copy_from_slice(opened);
        Ok(Pair::of(seed))
    }
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = pseudorandom.expand(&info, hkdf::HKDF_SHA256);
    let mut key = Zeroizing::new([0; 32]);
    expanded
        .and_then(|okm| okm.fill(&mut *key))
        .map_err(|_never| internal("derivation"))?;
    Ok(key)
}

pub(super) fn internal(what: &str) -> KeyringError {
    KeyringError::Internal(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(memory_kib: u32, passes: u32, lanes: u32) -> bool {
        let cost = Cost {
            memory_kib,
            passes,
            lanes,
        };
        cost.params().is_ok()
    }

    #[test]
    fn what_a_file_may_cost_is_bounded() {
        let (memory, passes, lanes) = (ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES);
        assert!(asks(memory, passes, lanes));
        assert!(asks(ARGON2_MEMORY_KIB_MAX, passes, lanes));
        assert!(!asks(ARGON2_MEMORY_KIB_MAX + 1, passes, lanes));
        assert!(asks(memory, ARGON2_PASSES_MAX, lanes));
        assert!(!asks(memory, ARGON2_PASSES_MAX + 1, lanes));
        assert!(asks(memory, passes, ARGON2_LANES_MAX));
        assert!(!asks(memory, passes, ARGON2_LANES_MAX + 1));
        assert!(!asks(0, passes, lanes) && !asks(memory, 0, lanes) && !asks(memory, passes, 0));
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused_before_it_costs_anything() {
        let greedy = LockKind::Passphrase {
            cost: Cost {
                memory_kib: 8,
                passes: u32::MAX,
                lanes: 1,
            },
            salt: [1; 16],
        };
        let words = KeyringLock::Passphrase(Zeroizing::new("words".into()));
        let refused = LockKey::derive(&words, greedy).err();
        assert!(
            matches!(refused, Some(KeyringError::Damaged(_))),
            "{refused:?}"
        );
    }
}
