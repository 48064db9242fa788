//! The ring's key pair, to which every secret is sealed.

use super::KeyringError;
use super::file::Entry;
use engine_core::meta::encode;
use engine_core::ports::Entropy;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{CryptoRng, RngCore};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

const INFO: &[u8] = b"datamesh keyring v1";

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The ring's key pair.
pub(super) struct Pair {
    pub(super) seed: Zeroizing<[u8; 32]>,
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

pub(super) fn random<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

impl Pair {
    pub(super) fn of(seed: Zeroizing<[u8; 32]>) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(&*seed);
        Self {
            seed,
            private,
            public,
        }
    }
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed);
        Self::of(seed)
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
        let mut secret = Zeroizing::new([0; 32]);
        if opened.len() != secret.len() {
            return Err(damaged());
        }
        secret.copy_from_slice(&opened);
        Ok(secret)
    }
}

fn aad(entry: &Entry) -> Vec<u8> {
    encode(&(entry.id, &entry.owner, entry.created_ms))
}
