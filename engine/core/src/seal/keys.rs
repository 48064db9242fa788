//! Keys: the data key, what wraps it, and the check of a customer's key.

use super::{BoundContext, SealError, unbound};
use engine_types::DataId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of every key: AES-256.
pub const KEY_BYTES: usize = 32;
/// Bytes of the salt of a [`CustomerKeyCheck`].
pub const CUSTOMER_SALT_BYTES: usize = 16;

const TAG_BYTES: usize = 16;
/// Data id, what wraps, its version, then whether there is a context and its digest.
const AAD_BYTES: usize = 16 + 1 + 8 + 1 + 32;
const WRAPPED_BYTES: usize = NONCE_LEN + KEY_BYTES + TAG_BYTES;

/// Seals the frames of one data id. Wiped when dropped; not `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_BYTES]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(secret)")
    }
}

impl DataKey {
    /// From fresh entropy. Drawn anew for every data id: see the module's header.
    pub fn from_entropy(entropy: [u8; KEY_BYTES]) -> Self {
        Self(entropy)
    }
    pub(super) fn unbound(&self) -> UnboundKey {
        unbound(&self.0)
    }
}

/// A data key as it is stored: nonce ‖ sealed key ‖ tag (**format**).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WrappedKey([u8; WRAPPED_BYTES]);

impl WrappedKey {
    /// Bytes of a wrapped key.
    pub const BYTES: usize = WRAPPED_BYTES;
    /// As stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// From storage; `None` for another length than [`Self::BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey(sealed)")
    }
}

/// Which key wraps; bound into the wrapping, so that none can pass for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrappedBy {
    /// A version of a tenant's or named key.
    Version(u64),
    /// The customer's own (SSE-C).
    Customer,
}

/// The key that wraps one part's data key: HKDF-SHA-256 of a key version's secret, or of the
/// customer's key, with the data id, so that no two data keys are wrapped under one.
pub struct Kek {
    key: LessSafeKey,
    aad: [u8; AAD_BYTES],
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(secret)")
    }
}

impl Kek {
    /// Derives it (**format**: no salt, info = "datamesh kek v1" ‖ data id).
    #[expect(
        clippy::missing_panics_doc,
        reason = "cannot: HKDF refuses only lengths above 255 hashes"
    )]
    pub fn derive(
        secret: &[u8; KEY_BYTES],
        by: WrappedBy,
        data: DataId,
        context: BoundContext,
    ) -> Self {
        let info: [&[u8]; 2] = [b"datamesh kek v1", &data.0];
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
        #[expect(
            clippy::expect_used,
            reason = "fails only above 255 hash lengths; this is one"
        )]
        let key = pseudorandom
            .expand(&info, &AES_256_GCM)
            .map(UnboundKey::from)
            .expect("32 bytes");
        Self {
            key: LessSafeKey::new(key),
            aad: aad(by, data, context),
        }
    }

    /// Wraps `key`; `nonce` is fresh entropy.
    #[expect(
        clippy::missing_panics_doc,
        reason = "cannot: GCM refuses only texts above 64 GiB"
    )]
    pub fn wrap(&self, key: &DataKey, nonce: [u8; NONCE_LEN]) -> WrappedKey {
        let mut bytes = [0; WRAPPED_BYTES];
        let (head, sealed) = bytes.split_at_mut(NONCE_LEN);
        head.copy_from_slice(&nonce);
        let (text, room) = sealed.split_at_mut(KEY_BYTES);
        text.copy_from_slice(&key.0);
        let nonce = Nonce::assume_unique_for_key(nonce);
        #[expect(clippy::expect_used, reason = "fails only above 64 GiB")]
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(self.aad), text)
            .expect("32 bytes");
        room.copy_from_slice(tag.as_ref());
        WrappedKey(bytes)
    }

    /// Unwraps.
    ///
    /// # Errors
    /// `NotAuthentic`: another key, another id, or damaged.
    pub fn unwrap(&self, wrapped: &WrappedKey) -> Result<DataKey, SealError> {
        let mut bytes = Zeroizing::new(wrapped.0);
        let (head, sealed) = bytes.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(head)
            .map_err(|ring::error::Unspecified| SealError::NotAuthentic)?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(self.aad), sealed)
            .map_err(|ring::error::Unspecified| SealError::NotAuthentic)?;
        let mut key = DataKey([0; KEY_BYTES]);
        key.0.copy_from_slice(plain);
        Ok(key)
    }
}

/// What a wrapping is bound to beside its key.
fn aad(by: WrappedBy, data: DataId, context: BoundContext) -> [u8; AAD_BYTES] {
    let mut aad = [0; AAD_BYTES];
    aad[..16].copy_from_slice(&data.0);
    if let WrappedBy::Version(version) = by {
        aad[16] = 1;
        aad[17..25].copy_from_slice(&version.to_be_bytes());
    }
    #[cfg(sabotage)]
    if engine_types::sabotage("wrap-skip-context") {
        return aad;
    }
    if let Some(digest) = context.stored() {
        aad[25] = 1;
        aad[26..].copy_from_slice(&digest);
    }
    aad
}

/// A salted HMAC-SHA-256 of a customer's key: tells later whether the same key is presented, and
/// nothing else. An unsalted hash (S3's key MD5) would show which objects share a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CustomerKeyCheck {
    /// From entropy, one an object version.
    pub salt: [u8; CUSTOMER_SALT_BYTES],
    /// HMAC-SHA-256(salt, key).
    pub mac: [u8; 32],
}

impl CustomerKeyCheck {
    /// Of `key`, with fresh `salt`.
    pub fn new(salt: [u8; CUSTOMER_SALT_BYTES], key: &[u8; KEY_BYTES]) -> Self {
        let mut mac = [0; 32];
        let made = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), key);
        mac.copy_from_slice(made.as_ref());
        Self { salt, mac }
    }

    /// Whether `key` is the one; in constant time.
    pub fn matches(&self, key: &[u8; KEY_BYTES]) -> bool {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, &self.salt);
        hmac::verify(&salt, key, &self.mac).is_ok()
    }
}
