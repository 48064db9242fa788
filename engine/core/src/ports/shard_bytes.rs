//! The bytes of a shard as they were read: still in the drive's own buffer, and the reader's alone.
//!
//! A reader opens them in place and hands them on without a copy; the buffer goes back to its drive
//! with the last slice of them. Shared `Bytes` would be simpler, but cannot be written to, and so cost
//! every reader a copy of all it reads.

use bytes::{Bytes, BytesMut};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};

/// A buffer somebody lends.
pub trait ShardBuffer: Send + Sync + 'static {
    /// All of it.
    fn bytes(&self) -> &[u8];
    /// All of it, to be written to.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl ShardBuffer for BytesMut {
    fn bytes(&self) -> &[u8] {
        self
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// A range of a lent buffer. Not `Clone`: whoever has it may write to it.
pub struct ShardBytes {
    buffer: Box<dyn ShardBuffer>,
    range: Range<usize>,
}

impl ShardBytes {
    /// `range` of `buffer`, clipped to it.
    pub fn new(buffer: impl ShardBuffer, range: Range<usize>) -> Self {
        let end = range.end.min(buffer.bytes().len());
        Self {
            range: range.start.min(end)..end,
            buffer: Box::new(buffer),
        }
    }

    /// The same bytes to be shared, uncopied.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl From<Bytes> for ShardBytes {
    /// Copies only what somebody else holds too.
    fn from(bytes: Bytes) -> Self {
        let bytes = bytes
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let length = bytes.len();
        Self::new(bytes, 0..length)
    }
}

impl Deref for ShardBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer.bytes()[self.range.clone()]
    }
}

impl DerefMut for ShardBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.range.clone()]
    }
}

impl AsRef<[u8]> for ShardBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<T: AsRef<[u8]>> PartialEq<T> for ShardBytes {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

impl fmt::Debug for ShardBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardBytes({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_to_and_shared_without_a_copy() {
        let mut bytes = ShardBytes::new(BytesMut::from(&b"0123456789"[..]), 2..5);
        bytes[0] = b'x';
        let at = bytes.as_ptr();
        let shared = bytes.freeze();
        assert_eq!((&shared[..], shared.as_ptr()), (&b"x34"[..], at));
        let clipped = ShardBytes::new(BytesMut::from(&b"0123"[..]), 3..9);
        assert!(clipped == b"3", "{clipped:?}");
        let beyond = ShardBytes::new(BytesMut::from(&b"0123"[..]), 7..9);
        assert!(beyond.is_empty());
    }

    #[test]
    fn bytes_that_others_hold_are_copied_and_others_are_not() {
        let alone = Bytes::from(b"alone".to_vec());
        let at = alone.as_ptr();
        assert_eq!(ShardBytes::from(alone).as_ptr(), at);
        let held = Bytes::from(b"held".to_vec());
        let mut copy = ShardBytes::from(held.clone());
        copy.fill(0);
        assert_eq!(&held[..], b"held");
    }
}
