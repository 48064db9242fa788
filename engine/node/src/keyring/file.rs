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
use engine_core::format::crc32c;
use engine_core::meta::{DecodeError, KeyVersionId, decode, encode};
use engine_core::ports::Entropy;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{CryptoRng, RngCore};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"DMKEYRNG";
const HEAD: usize = 12;
const MAC: usize = 32;
const FOOT: usize = MAC + 4;
/// Largest keyring file, bytes: some hundred thousand key versions.
pub const KEYRING_BYTES_MAX: usize = 64 << 20;
/// Argon2id as written by this build (RFC 9106's second choice): 64 MiB, 3 passes, 4 lanes.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 4;
/// More memory than this a file may not ask for: it is not authentic yet when it asks.
const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Least bytes of a key file.
pub const KEY_FILE_BYTES_MIN: usize = 32;
const INFO: &[u8] = b"datamesh keyring v1";

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

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

/// How the lock key is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum LockKind {
    Passphrase {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: [u8; 16],
    },
    KeyFile {
        salt: [u8; 16],
    },
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

/// The ring's key pair.
pub(super) struct Pair {
    seed: Zeroizing<[u8; 32]>,
    private: PrivateKey,
    public: PublicKey,
}

struct Random<'a>(&'a dyn Entropy);

impl RngCore for Random<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}
impl CryptoRng for Random<'_> {}

fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

fn internal(what: &str) -> KeyringError {
    KeyringError::Internal(what.into())
}

impl LockKind {
    /// Of a new file.
    pub(super) fn new(lock: &KeyringLock, entropy: &dyn Entropy) -> Self {
        let salt = random(entropy);
        match lock {
            KeyringLock::Passphrase(_) => Self::Passphrase {
                memory_kib: ARGON2_MEMORY_KIB,
                passes: ARGON2_PASSES,
                lanes: ARGON2_LANES,
                salt,
            },
            KeyringLock::KeyFile(_) => Self::KeyFile { salt },
        }
    }
}

impl LockKey {
    /// Derives it; slow on purpose for passphrases.
    pub(super) fn derive(lock: &KeyringLock, kind: LockKind) -> Result<Self, KeyringError> {
        let mut key = Zeroizing::new([0; 32]);
        match (lock, kind) {
            (
                KeyringLock::Passphrase(words),
                LockKind::Passphrase {
                    memory_kib,
                    passes,
                    lanes,
                    salt,
                },
            ) => {
                if memory_kib > ARGON2_MEMORY_KIB_MAX {
                    return Err(KeyringError::Damaged("asks for too much memory".into()));
                }
                let params = argon2::Params::new(memory_kib, passes, lanes, Some(32));
                let params = params.map_err(|error| KeyringError::Damaged(error.to_string()))?;
                argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
                    .hash_password_into(words.as_bytes(), &salt, &mut *key)
                    .map_err(|error| KeyringError::Internal(error.to_string()))?;
            }
            (KeyringLock::KeyFile(bytes), LockKind::KeyFile { salt }) => {
                if bytes.len() < KEY_FILE_BYTES_MIN {
                    return Err(KeyringError::KeyFileTooShort);
                }
                *key = derive(bytes, &salt, b"datamesh keyring lock v1")?;
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
        }
        Ok(Self { kind, key })
    }

    fn mac_key(&self) -> Result<hmac::Key, KeyringError> {
        let key = derive(&*self.key, &[], b"datamesh keyring mac v1")?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    fn aead(&self) -> Result<LessSafeKey, KeyringError> {
        let key = derive(&*self.key, &[], b"datamesh keyring wrap v1")?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_length| internal("key"))?;
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

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<[u8; 32], KeyringError> {
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = pseudorandom.expand(&info, hkdf::HKDF_SHA256);
    let mut key = [0; 32];
    expanded
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_never| internal("derivation"))?;
    Ok(key)
}

impl Pair {
    fn of(seed: Zeroizing<[u8; 32]>) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(&*seed);
        Self {
            seed,
            private,
            public,
        }
    }
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        Self::of(Zeroizing::new(random(entropy)))
    }

    /// A secret as an entry holds it.
    pub(super) fn seal(
        &self,
        entry: &Entry,
        secret: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<ByteBuf, KeyringError> {
        let mut rng = Random(entropy);
        let sealed = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &self.public,
            INFO,
            secret,
            &aad(entry),
            &mut rng,
        );
        let (encapped, text) = sealed.map_err(|error| KeyringError::Internal(error.to_string()))?;
        let mut bytes = encapped.to_bytes().to_vec();
        bytes.extend_from_slice(&text);
        Ok(ByteBuf::from(bytes))
    }

    /// The secret of an entry.
    pub(super) fn open(&self, entry: &Entry) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
        let damaged = || KeyringError::Damaged(format!("key version {}", entry.id.0));
        let split = EncappedKey::size();
        if entry.sealed.len() < split {
            return Err(damaged());
        }
        let (encapped, text) = entry.sealed.split_at(split);
        let encapped = EncappedKey::from_bytes(encapped).map_err(|_malformed| damaged())?;
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &encapped,
            INFO,
            text,
            &aad(entry),
        );
        let opened = Zeroizing::new(opened.map_err(|_forged| damaged())?);
        let secret: [u8; 32] = opened[..].try_into().map_err(|_length| damaged())?;
        Ok(Zeroizing::new(secret))
    }
}

fn aad(entry: &Entry) -> Vec<u8> {
    encode(&(entry.id, &entry.owner, entry.created_ms))
}

impl Ring {
    /// The file's bytes.
    pub(super) fn encode(&self, lock: &LockKey) -> Result<Vec<u8>, KeyringError> {
        let body = encode(self);
        let length = u32::try_from(body.len()).map_err(|_long| internal("keyring too long"))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        let mac = hmac::sign(&lock.mac_key()?, &bytes);
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
        hmac::verify(&lock.mac_key()?, signed, mac).map_err(|_forged| KeyringError::Forged)
    }
}
