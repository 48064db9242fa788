//! Being written.

/// Ciphertext of a whole stripe, bytes.
pub const STRIPE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Shards are multiples of this.
pub const SHARD_ALIGN: u32 = 64;

/// Bytes of each shard of a stripe of `stripe_length` ciphertext bytes cut in `k`: the quotient,
/// rounded up to [`SHARD_ALIGN`].
pub const fn shard_length(stripe_length: u32, k: u8) -> u32 {
    if k == 0 {
        return 0;
    }
    stripe_length
        .div_ceil(k as u32)
        .div_ceil(SHARD_ALIGN)
        .saturating_mul(SHARD_ALIGN)
}
