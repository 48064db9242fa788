//! MD5 (RFC 1321), for many streams at once.
//!
//! One stream's blocks depend on each other: a core makes 0.6 GB/s of it whatever its vectors can do,
//! and that was two thirds of a PUT's work. Independent streams (concurrent uploads, parts of one)
//! do not: their blocks go through one vector unit side by side, 16 (AVX-512) or 8 (AVX2) at a time,
//! in hardly more time than one takes alone. [`update_together`] is that.
//!
//! Looked at first: the `md-5` crate and AWS-LC hash one stream; Intel's isa-l_crypto has lanes, in C
//! and assembly with its own job manager and build. What remains to be written is [`lanes`].

mod lanes;

pub use lanes::LANES_MAX;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 64;
/// Where the announced length (in bits) begins in the last block.
const LENGTH_AT: usize = BLOCK_BYTES - 8;
/// State before the first block.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// A running digest. `update` in any pieces, alone or together with others, then `finish`.
#[derive(Clone, Debug)]
pub struct Md5 {
    state: [u32; 4],
    /// Bytes short of a block.
    carry: [u8; BLOCK_BYTES],
    carried: usize,
    length: u64,
}

impl Default for Md5 {
    fn default() -> Self {
        Self {
            state: INITIAL,
            carry: [0; BLOCK_BYTES],
            carried: 0,
            length: 0,
        }
    }
}

impl Md5 {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        let rest = self.fill(bytes);
        let whole = rest.len() - rest.len() % BLOCK_BYTES;
        if self.carried == BLOCK_BYTES {
            lanes::one(&mut self.state, &self.carry);
            self.carried = 0;
        }
        lanes::one(&mut self.state, &rest[..whole]);
        self.keep(&rest[whole..]);
    }

    /// The value.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        self.carry[self.carried] = 0x80;
        self.carry[self.carried + 1..].fill(0);
        if self.carried >= LENGTH_AT {
            lanes::one(&mut self.state, &self.carry);
            self.carry.fill(0);
        }
        self.carry[LENGTH_AT..].copy_from_slice(&bits.to_le_bytes());
        lanes::one(&mut self.state, &self.carry);
        let mut value = [0; 16];
        for (to, word) in value.chunks_exact_mut(4).zip(self.state) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        value
    }

    /// Adds to what is short of a block, if anything is; what is left of `bytes`. A block made whole
    /// is still to be taken.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.carried == 0 {
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.carried));
        self.carry[self.carried..self.carried + now.len()].copy_from_slice(now);
        self.carried += now.len();
        rest
    }

    fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.carry[..rest.len()].copy_from_slice(rest);
            self.carried = rest.len();
        }
    }
}

/// Each digest of `streams` takes the bytes beside it; as [`Md5::update`] one after another would,
/// but up to [`LANES_MAX`] of them at a time. Best where all have about the same length.
pub fn update_together(streams: &mut [(&mut Md5, &[u8])]) {
    for group in streams.chunks_mut(LANES_MAX) {
        if let [(md5, bytes)] = group {
            md5.update(bytes);
            continue;
        }
        for (md5, bytes) in group.iter_mut() {
            md5.length = md5.length.wrapping_add(bytes.len() as u64);
            *bytes = md5.fill(bytes);
        }
        carries(group);
        runs(group);
        for (md5, bytes) in group {
            md5.keep(bytes);
        }
    }
}

/// Takes the blocks that were short before.
fn carries(group: &mut [(&mut Md5, &[u8])]) {
    let mut states = [INITIAL; LANES_MAX];
    let mut blocks: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
    let mut used = 0;
    for (md5, _) in group.iter().filter(|(md5, _)| md5.carried == BLOCK_BYTES) {
        states[used] = md5.state;
        blocks[used] = &md5.carry;
        used += 1;
    }
    lanes::many(&mut states[..used], &blocks[..used], 1);
    let full = group
        .iter_mut()
        .filter(|(md5, _)| md5.carried == BLOCK_BYTES);
    for ((md5, _), state) in full.zip(states) {
        md5.state = state;
        md5.carried = 0;
    }
}

/// Takes all whole blocks, as long as any stream has one; what is left is short of a block.
fn runs(group: &mut [(&mut Md5, &[u8])]) {
    loop {
        let mut states = [INITIAL; LANES_MAX];
        let mut runs: [&[u8]; LANES_MAX] = [&[]; LANES_MAX];
        let (mut used, mut blocks) = (0, usize::MAX);
        for (md5, bytes) in group.iter().filter(|(_, bytes)| bytes.len() >= BLOCK_BYTES) {
            states[used] = md5.state;
            runs[used] = bytes;
            blocks = blocks.min(bytes.len() / BLOCK_BYTES);
            used += 1;
        }
        if used == 0 {
            return;
        }
        lanes::many(&mut states[..used], &runs[..used], blocks);
        let taken = group
            .iter_mut()
            .filter(|(_, bytes)| bytes.len() >= BLOCK_BYTES);
        for ((md5, bytes), state) in taken.zip(states) {
            md5.state = state;
            *bytes = &bytes[blocks * BLOCK_BYTES..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alone(bytes: &[u8]) -> [u8; 16] {
        <md5::Md5 as md5::Digest>::digest(bytes).into()
    }

    #[test]
    fn every_length_around_the_padding_is_as_the_reference() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * BLOCK_BYTES + 1).collect();
        for end in 0..bytes.len() {
            let mut md5 = Md5::default();
            md5.update(&bytes[..end]);
            assert_eq!(md5.finish(), alone(&bytes[..end]), "{end}");
        }
    }

    #[test]
    fn more_streams_than_lanes() {
        let bodies: Vec<Vec<u8>> = (0..=2 * LANES_MAX)
            .map(|i| vec![u8::try_from(i).unwrap(); 1000 + i])
            .collect();
        let mut sums = vec![Md5::default(); bodies.len()];
        let mut streams: Vec<_> = sums
            .iter_mut()
            .zip(bodies.iter().map(Vec::as_slice))
            .collect();
        update_together(&mut streams);
        for (sum, body) in sums.into_iter().zip(&bodies) {
            assert_eq!(sum.finish(), alone(body));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn together_is_as_alone(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..20),
            cuts in prop::collection::vec(0..300_usize, 1..6),
        ) {
            let mut sums = vec![Md5::default(); bodies.len()];
            let mut at = 0;
            for cut in cuts.iter().chain([&usize::MAX]) {
                let pieces: Vec<&[u8]> = bodies.iter().map(|body| {
                    let from = at.min(body.len());
                    &body[from..from.saturating_add(*cut).min(body.len())]
                }).collect();
                let mut streams: Vec<_> = sums.iter_mut().zip(pieces).collect();
                update_together(&mut streams);
                at = at.saturating_add(*cut);
            }
            for (sum, body) in sums.into_iter().zip(&bodies) {
                prop_assert_eq!(sum.finish(), alone(body));
            }
        }
    }
}
