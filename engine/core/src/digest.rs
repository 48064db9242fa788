//! S3's five checksums, incrementally, MD5 of what is whole, and how those of parts make those of objects.

use crc_fast::CrcAlgorithm;
use engine_types::{Checksum, ChecksumAlgorithm, ChecksumType, ETag};
use md5::Digest as _;
use std::fmt;

/// A running digest. `update` in any pieces, then `finish`.
pub enum Hasher {
    /// CRC-32, CRC-32C or CRC-64/NVME, and the bytes of its value.
    Crc(crc_fast::Digest, usize),
    /// SHA-1. The `sha1` crate's: ring's does not use the processor's SHA instructions (a third the speed).
    Sha1(sha1::Sha1),
    /// SHA-256, ring's.
    Sha256(ring::digest::Context),
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc(..) => "Hasher(CRC)",
            Self::Sha1(_) => "Hasher(SHA-1)",
            Self::Sha256(_) => "Hasher(SHA-256)",
        })
    }
}

fn crc_algorithm(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

/// The low `bytes` of a CRC, big-endian, as S3 prints it (in base64).
fn crc_value(crc: u64, bytes: usize) -> Vec<u8> {
    let wide = crc.to_be_bytes();
    wide[wide.len().saturating_sub(bytes)..].to_vec()
}

impl Hasher {
    /// One of the five.
    pub fn checksum(algorithm: ChecksumAlgorithm) -> Self {
        match (crc_algorithm(algorithm), algorithm) {
            (Some(crc), _) => Self::Crc(crc_fast::Digest::new(crc), algorithm.bytes()),
            (None, ChecksumAlgorithm::Sha1) => Self::Sha1(sha1::Sha1::default()),
            (None, _) => Self::Sha256(ring::digest::Context::new(&ring::digest::SHA256)),
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc, _) => crc.update(bytes),
            Self::Sha1(sha1) => sha1::Digest::update(sha1, bytes),
            Self::Sha256(sha256) => sha256.update(bytes),
        }
    }

    /// The value: [`ChecksumAlgorithm::bytes`] of it, CRCs big-endian.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(crc, bytes) => crc_value(crc.finalize(), bytes),
            Self::Sha1(sha1) => sha1::Digest::finalize(sha1).to_vec(),
            Self::Sha256(sha256) => sha256.finish().as_ref().to_vec(),
        }
    }
}

/// MD5 of `bytes`.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

/// The value of `algorithm` over `bytes`.
pub fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::checksum(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Why parts' checksums make no object's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CombineError {
    /// Hashes do not combine: SHA-1 and SHA-256 have composite values only.
    #[error("only CRCs combine to a full-object checksum")]
    NotCrc,
    /// A value of another length than the algorithm's.
    #[error("checksum value of the wrong length")]
    Length,
    /// No parts, or more than a u32 counts.
    #[error("no parts, or too many")]
    Parts,
}

/// The checksum of the whole object from its parts' (value, plaintext bytes), in order, without
/// reading a byte. Parts of 0 bytes are fine.
///
/// # Errors
/// See [`CombineError`].
pub fn full_object<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl IntoIterator<Item = (&'a [u8], u64)>,
) -> Result<Checksum, CombineError> {
    let crc = crc_algorithm(algorithm).ok_or(CombineError::NotCrc)?;
    let mut whole = None;
    for (value, length) in parts {
        if value.len() != algorithm.bytes() {
            return Err(CombineError::Length);
        }
        let value = value
            .iter()
            .fold(0, |wide: u64, &byte| wide << 8 | u64::from(byte));
        whole = Some(match whole {
            None => value,
            Some(before) if length == 0 => before,
            Some(before) => crc_fast::checksum_combine(crc, before, value, length),
        });
    }
    let whole = whole.ok_or(CombineError::Parts)?;
    Ok(Checksum {
        algorithm,
        kind: ChecksumType::FullObject,
        value: crc_value(whole, algorithm.bytes()),
        parts: 0,
    })
}

/// The composite checksum: `algorithm` over the parts' values, in order.
///
/// # Errors
/// See [`CombineError`].
pub fn composite<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Checksum, CombineError> {
    let mut hasher = Hasher::checksum(algorithm);
    let mut count = 0_u32;
    for value in parts {
        if value.len() != algorithm.bytes() {
            return Err(CombineError::Length);
        }
        hasher.update(value);
        count = count.checked_add(1).ok_or(CombineError::Parts)?;
    }
    if count == 0 {
        return Err(CombineError::Parts);
    }
    Ok(Checksum {
        algorithm,
        kind: ChecksumType::Composite,
        value: hasher.finish(),
        parts: count,
    })
}

/// The entity tag of a multipart object: MD5 of its parts' MD5s, and their number.
///
/// # Errors
/// `Parts` for none.
pub fn multipart_etag<'a>(
    parts: impl IntoIterator<Item = &'a [u8; 16]>,
) -> Result<ETag, CombineError> {
    let mut hasher = md5::Md5::new();
    let mut count = 0_u32;
    for part in parts {
        hasher.update(part);
        count = count.checked_add(1).ok_or(CombineError::Parts)?;
    }
    if count == 0 {
        return Err(CombineError::Parts);
    }
    Ok(ETag {
        md5: hasher.finalize().into(),
        parts: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
    use proptest::prelude::*;

    const ALL: [ChecksumAlgorithm; 5] = [Crc32, Crc32c, Crc64Nvme, Sha1, Sha256];

    fn hex(bytes: &[u8]) -> String {
        bytes
            .iter()
            .fold(String::new(), |text, b| text + &format!("{b:02x}"))
    }

    #[test]
    fn known_vectors() {
        let nine = b"123456789";
        for (algorithm, empty, value) in [
            (Crc32, "00000000", "cbf43926"),
            (Crc32c, "00000000", "e3069283"),
            (Crc64Nvme, "0000000000000000", "ae8b14860a799888"),
            (
                Sha1,
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
            ),
            (
                Sha256,
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ] {
            assert_eq!(hex(&checksum(algorithm, b"")), empty, "{algorithm:?}");
            assert_eq!(hex(&checksum(algorithm, nine)), value, "{algorithm:?}");
        }
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        let fox = md5(b"The quick brown fox jumps over the lazy dog");
        assert_eq!(hex(&fox), "9e107d9d372bb6826bd81d3542a419d6");
    }

    #[test]
    fn a_multipart_etag() {
        let parts = [md5(b"a"), md5(b"b")];
        let tag = multipart_etag(&parts).unwrap();
        assert_eq!((tag.md5, tag.parts), (md5(&parts.concat()), 2));
        assert_eq!(multipart_etag(&[]), Err(CombineError::Parts));
    }

    #[test]
    fn what_does_not_combine() {
        assert_eq!(full_object(Sha1, []), Err(CombineError::NotCrc));
        assert_eq!(full_object(Crc32, []), Err(CombineError::Parts));
        assert_eq!(composite(Sha1, []), Err(CombineError::Parts));
        let short: &[u8] = &[0; 3];
        assert_eq!(full_object(Crc32, [(short, 1)]), Err(CombineError::Length));
        assert_eq!(composite(Crc32, [short]), Err(CombineError::Length));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parts_make_the_whole(parts in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..300), 1..8)) {
            let whole = parts.concat();
            for algorithm in ALL {
                let mut hasher = Hasher::checksum(algorithm);
                for part in &parts {
                    hasher.update(part);
                }
                prop_assert_eq!(hasher.finish(), checksum(algorithm, &whole));
                let values: Vec<_> = parts.iter().map(|p| checksum(algorithm, p)).collect();
                let pairs = values.iter().zip(&parts).map(|(v, p)| (&v[..], p.len() as u64));
                match full_object(algorithm, pairs) {
                    Ok(full) => prop_assert_eq!(full.value, checksum(algorithm, &whole)),
                    Err(error) => prop_assert_eq!(error, CombineError::NotCrc),
                }
                let made = composite(algorithm, values.iter().map(Vec::as_slice)).unwrap();
                prop_assert_eq!(made.value, checksum(algorithm, &values.concat()));
                prop_assert_eq!(made.parts as usize, parts.len());
            }
        }
    }
}
