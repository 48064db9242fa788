//! Sealing: AES-256-GCM in frames, and the wrapping of the keys that do it (**format**).
//!
//! A frame is sealed with nonce = its number (12 bytes, big-endian) and AAD = data id ‖ frame
//! (u64, big-endian) ‖ last flag. Counting nonces are safe because a data key seals one data id's
//! bytes once: every attempt to write a part draws a new id and a new key, and [`Sealer`] owns the
//! counter, so no code can seal two frames under one number. The AAD ties a frame to its place:
//! frames of another part, swapped frames, and a part cut short at a frame's end all fail to open.
//! Random nonces were turned down: they would have to be stored, and collide after 2^32 frames.

mod context;
mod keys;

pub use context::BoundContext;
pub use keys::{
    CUSTOMER_SALT_BYTES, CustomerKeyCheck, DataKey, KEY_BYTES, Kek, WrappedBy, WrappedKey,
};

use crate::stripes::{FRAME_PLAIN, FRAME_TAG};
use engine_types::DataId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;

/// Why bytes were not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not what was sealed under this key, id, frame number and last flag.
    #[error("bytes are not authentic")]
    NotAuthentic,
    /// A frame of a length that cannot be: only the last may be short; none is longer than
    /// [`FRAME_PLAIN`] and its tag.
    #[error("frame of an unfit length")]
    Length,
    /// The last frame has been sealed.
    #[error("nothing is sealed behind the last frame")]
    Finished,
}

/// A data key's schedule, made once a part; opens frames in any order.
pub struct Opener {
    key: LessSafeKey,
    data: DataId,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl Opener {
    /// For the part `data`, sealed under `key`.
    pub fn new(key: &DataKey, data: DataId) -> Self {
        Self {
            key: LessSafeKey::new(key.unbound()),
            data,
        }
    }

    /// Opens `sealed` (ciphertext, then tag) in place and gives the plaintext, its front.
    ///
    /// # Errors
    /// `Length`, or `NotAuthentic`: then the bytes are overwritten with rubbish, never plaintext.
    pub fn open<'b>(
        &self,
        frame: u64,
        last: bool,
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], SealError> {
        let plain = sealed
            .len()
            .checked_sub(FRAME_TAG)
            .ok_or(SealError::Length)?;
        check_length(plain, last)?;
        self.key
            .open_in_place(nonce(frame), aad(self.data, frame, last), sealed)
            .map_err(|ring::error::Unspecified| SealError::NotAuthentic)
    }
}

/// Seals one part's frames in order. Not `Clone`: a copy would use its numbers twice.
pub struct Sealer {
    opener: Opener,
    next: u64,
    finished: bool,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("data", &self.opener.data)
            .field("next", &self.next)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// Takes the key: it seals nothing else. The key comes back wrapped, from [`Kek::wrap`],
    /// which is called before.
    pub fn new(key: DataKey, data: DataId) -> Self {
        let opener = Opener::new(&key, data);
        drop(key);
        Self {
            opener,
            next: 0,
            finished: false,
        }
    }

    /// Frames sealed so far: the number of the next.
    pub fn frames(&self) -> u64 {
        self.next
    }

    /// Seals the next frame in place: `buffer` holds the plaintext and [`FRAME_TAG`] bytes of room
    /// for the tag. All but the last hold exactly [`FRAME_PLAIN`].
    ///
    /// # Errors
    /// `Length` or `Finished`; nothing is then sealed and the number is not used up.
    pub fn seal(&mut self, buffer: &mut [u8], last: bool) -> Result<(), SealError> {
        if self.finished {
            return Err(SealError::Finished);
        }
        let plain = buffer
            .len()
            .checked_sub(FRAME_TAG)
            .ok_or(SealError::Length)?;
        check_length(plain, last)?;
        let frame = self.next;
        // The number is used up before it is used: an error below must not bring it back.
        self.next = frame.checked_add(1).ok_or(SealError::Finished)?;
        self.finished = last;
        let (text, room) = buffer.split_at_mut(plain);
        let tag = self
            .opener
            .key
            .seal_in_place_separate_tag(nonce(frame), aad(self.opener.data, frame, last), text)
            .map_err(|ring::error::Unspecified| SealError::Length)?;
        room.copy_from_slice(tag.as_ref());
        Ok(())
    }
}

fn check_length(plain: usize, last: bool) -> Result<(), SealError> {
    if plain == FRAME_PLAIN || (last && plain < FRAME_PLAIN) {
        Ok(())
    } else {
        Err(SealError::Length)
    }
}

fn nonce(frame: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    #[cfg(sabotage)]
    if engine_types::sabotage("seal-same-nonce") {
        return Nonce::assume_unique_for_key(bytes);
    }
    bytes[NONCE_LEN - 8..].copy_from_slice(&frame.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn aad(data: DataId, frame: u64, last: bool) -> Aad<[u8; 25]> {
    let mut bytes = [0; 25];
    #[cfg(sabotage)]
    if engine_types::sabotage("seal-skip-aad") {
        return Aad::from(bytes);
    }
    bytes[..16].copy_from_slice(&data.0);
    bytes[16..24].copy_from_slice(&frame.to_be_bytes());
    bytes[24] = u8::from(last);
    Aad::from(bytes)
}

/// The cipher's key from its bytes.
fn unbound(bytes: &[u8; KEY_BYTES]) -> UnboundKey {
    #[expect(
        clippy::expect_used,
        reason = "fails only for another length than AES-256's"
    )]
    UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes")
}

#[cfg(test)]
mod tests;
