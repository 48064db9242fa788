//! Digests: of rows, and of changes.

use crate::rows::Changes;

/// Adds one row to a digest; lengths keep key and value apart.
pub(super) fn sum_row(sum: &mut crc_fast::Digest, key: &[u8], value: Option<&[u8]>) {
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(
        &value
            .map_or(u64::MAX, |value| value.len() as u64)
            .to_le_bytes(),
    );
    sum.update(value.unwrap_or_default());
}

/// The digest after a command's changes: the same on every replica at one index.
pub(super) fn chain(digest: u64, index: u64, changes: &Changes) -> u64 {
    let mut sum = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    sum.update(&digest.to_le_bytes());
    sum.update(&index.to_le_bytes());
    for (key, value) in &changes.0 {
        sum_row(&mut sum, key, value.as_deref());
    }
    sum.finalize()
}
