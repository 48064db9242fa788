//! MD5's compression function, over one stream or several side by side.
//!
//! All `unsafe` of MD5 is here. It rests on two things, both checked in [`many`]: every run holds at
//! least `blocks` blocks, and an engine is only used where the processor has its features.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "std::arch loads of blocks; checked against the md-5 crate by proptest"
    )
)]

use super::BLOCK_BYTES;

/// Streams that go side by side at most.
pub const LANES_MAX: usize = 16;

/// floor(2^32 · |sin(i + 1)|), RFC 1321 section 3.4.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// One step of RFC 1321 section 3.4: `a = b + rol(a + f(b, c, d) + word + sine, s)`.
macro_rules! step {
    ($v:ident, $f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $word:expr, $sine:expr, $s:literal) => {
        let sum = $v::add($a, $v::add($word, $v::splat($sine)));
        $a = $v::add($b, $v::rol::<$s>($v::$f(sum, $b, $c, $d)));
    };
}

/// Sixteen steps: word `(m·i + n) mod 16`, sines from `16·r`, four shifts in turn.
macro_rules! round {
    ($v:ident, $f:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $w:ident, $r:literal, $m:literal, $n:literal,
     $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        for j in 0..4 {
            let (i, k) = (4 * j, 16 * $r + 4 * j);
            step!(
                $v,
                $f,
                $a,
                $b,
                $c,
                $d,
                $w[($m * i + $n) % 16],
                SINES[k],
                $s0
            );
            step!(
                $v,
                $f,
                $d,
                $a,
                $b,
                $c,
                $w[($m * (i + 1) + $n) % 16],
                SINES[k + 1],
                $s1
            );
            step!(
                $v,
                $f,
                $c,
                $d,
                $a,
                $b,
                $w[($m * (i + 2) + $n) % 16],
                SINES[k + 2],
                $s2
            );
            step!(
                $v,
                $f,
                $b,
                $c,
                $d,
                $a,
                $w[($m * (i + 3) + $n) % 16],
                SINES[k + 3],
                $s3
            );
        }
    };
}

/// One block into the state, in whatever vectors `$v` works on.
macro_rules! compress {
    ($v:ident, $state:ident, $words:ident) => {{
        let [mut a, mut b, mut c, mut d] = $state;
        round!($v, f, (a, b, c, d), $words, 0, 1, 0, 7, 12, 17, 22);
        round!($v, g, (a, b, c, d), $words, 1, 5, 1, 5, 9, 14, 20);
        round!($v, h, (a, b, c, d), $words, 2, 3, 5, 4, 11, 16, 23);
        round!($v, i, (a, b, c, d), $words, 3, 7, 0, 6, 10, 15, 21);
        [
            $v::add($state[0], a),
            $v::add($state[1], b),
            $v::add($state[2], c),
            $v::add($state[3], d),
        ]
    }};
}

/// Whole blocks into one state.
pub(super) fn one(state: &mut [u32; 4], blocks: &[u8]) {
    for block in blocks.chunks_exact(BLOCK_BYTES) {
        let mut words = [0_u32; 16];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let before = *state;
        *state = compress!(scalar, before, words);
    }
}

/// `blocks` blocks of each run into the state beside it.
///
/// # Panics
/// Where there are more runs than [`LANES_MAX`] or than states, or a run is too short: a bug here.
pub(super) fn many(states: &mut [[u32; 4]], runs: &[&[u8]], blocks: usize) {
    assert!(runs.len() <= LANES_MAX && states.len() == runs.len());
    assert!(runs.iter().all(|run| run.len() / BLOCK_BYTES >= blocks));
    #[cfg(target_arch = "x86_64")]
    if runs.len() > 1 {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it; the runs are long enough, as asserted.
            return unsafe { avx512::many(states, runs, blocks) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            for (states, runs) in states.chunks_mut(8).zip(runs.chunks(8)) {
                // SAFETY: as above; eight at most.
                unsafe { avx2::many(states, runs, blocks) };
            }
            return;
        }
    }
    for (state, run) in states.iter_mut().zip(runs) {
        one(state, &run[..blocks * BLOCK_BYTES]);
    }
}

mod scalar {
    pub(super) fn add(x: u32, y: u32) -> u32 {
        x.wrapping_add(y)
    }
    pub(super) fn splat(x: u32) -> u32 {
        x
    }
    pub(super) fn rol<const S: u32>(x: u32) -> u32 {
        x.rotate_left(S)
    }
    pub(super) fn f(sum: u32, x: u32, y: u32, z: u32) -> u32 {
        add(sum, z ^ (x & (y ^ z)))
    }
    /// The two halves of the choice have no bit in common, so they may be added one after the other:
    /// only one of them waits for the step before.
    pub(super) fn g(sum: u32, x: u32, y: u32, z: u32) -> u32 {
        add(add(sum, y & !z), x & z)
    }
    pub(super) fn h(sum: u32, x: u32, y: u32, z: u32) -> u32 {
        add(sum, x ^ (y ^ z))
    }
    pub(super) fn i(sum: u32, x: u32, y: u32, z: u32) -> u32 {
        add(sum, y ^ (x | !z))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{BLOCK_BYTES, LANES_MAX, SINES};
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32,
        _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_ternarylogic_epi32,
        _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };

    mod v {
        use super::{
            __m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32,
            _mm512_ternarylogic_epi32,
        };

        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn add(x: __m512i, y: __m512i) -> __m512i {
            _mm512_add_epi32(x, y)
        }
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn splat(x: u32) -> __m512i {
            _mm512_set1_epi32(x.cast_signed())
        }
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn rol<const S: i32>(x: __m512i) -> __m512i {
            _mm512_rol_epi32::<S>(x)
        }
        /// x ? y : z
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn f(sum: __m512i, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
            add(sum, _mm512_ternarylogic_epi32::<0xca>(x, y, z))
        }
        /// z ? x : y
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn g(sum: __m512i, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
            add(sum, _mm512_ternarylogic_epi32::<0xca>(z, x, y))
        }
        /// x ^ y ^ z
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn h(sum: __m512i, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
            add(sum, _mm512_ternarylogic_epi32::<0x96>(x, y, z))
        }
        /// y ^ (x | !z)
        #[target_feature(enable = "avx512f")]
        #[inline]
        pub(super) fn i(sum: __m512i, x: __m512i, y: __m512i, z: __m512i) -> __m512i {
            add(sum, _mm512_ternarylogic_epi32::<0x39>(x, y, z))
        }
    }

    /// # Safety
    /// The processor has AVX-512F; at most [`LANES_MAX`] runs, each of `blocks` blocks or more.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn many(states: &mut [[u32; 4]], runs: &[&[u8]], blocks: usize) {
        let mut columns = [[0_u32; LANES_MAX]; 4];
        for (lane, state) in states.iter().enumerate() {
            for (column, word) in columns.iter_mut().zip(state) {
                column[lane] = *word;
            }
        }
        // SAFETY: sixteen words each, as declared.
        let mut state = columns
            .each_ref()
            .map(|column| unsafe { _mm512_loadu_si512(column.as_ptr().cast()) });
        for block in 0..blocks {
            let mut rows = [_mm512_setzero_si512(); LANES_MAX];
            for (row, run) in rows.iter_mut().zip(runs) {
                // SAFETY: (block + 1) · 64 ≤ run.len(); the load needs no alignment.
                *row = unsafe { _mm512_loadu_si512(run.as_ptr().add(block * BLOCK_BYTES).cast()) };
            }
            let words = transposed(&rows);
            state = compress!(v, state, words);
        }
        for (column, words) in columns.iter_mut().zip(state) {
            // SAFETY: sixteen words, as declared.
            unsafe { _mm512_storeu_si512(column.as_mut_ptr().cast(), words) };
        }
        for (lane, state) in states.iter_mut().enumerate() {
            *state = columns.map(|column| column[lane]);
        }
    }

    /// Rows of sixteen words into columns: pairs, fours, then quarters of the register twice.
    #[target_feature(enable = "avx512f")]
    fn transposed(r: &[__m512i; LANES_MAX]) -> [__m512i; LANES_MAX] {
        let mut t = *r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        let mut u = t;
        for i in 0..4 {
            u[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
            u[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
            u[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
            u[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
        }
        let mut out = u;
        for i in 0..4 {
            let low = _mm512_shuffle_i32x4::<0x88>(u[i], u[4 + i]);
            let high = _mm512_shuffle_i32x4::<0xdd>(u[i], u[4 + i]);
            let low_too = _mm512_shuffle_i32x4::<0x88>(u[8 + i], u[12 + i]);
            let high_too = _mm512_shuffle_i32x4::<0xdd>(u[8 + i], u[12 + i]);
            out[i] = _mm512_shuffle_i32x4::<0x88>(low, low_too);
            out[8 + i] = _mm512_shuffle_i32x4::<0xdd>(low, low_too);
            out[4 + i] = _mm512_shuffle_i32x4::<0x88>(high, high_too);
            out[12 + i] = _mm512_shuffle_i32x4::<0xdd>(high, high_too);
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK_BYTES, SINES};
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256,
        _mm256_or_si256, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_sllv_epi32,
        _mm256_srlv_epi32, _mm256_storeu_si256, _mm256_xor_si256,
    };

    /// Lanes of this engine.
    const LANES: usize = 8;

    mod v {
        use super::{
            __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_or_si256,
            _mm256_set1_epi32, _mm256_sllv_epi32, _mm256_srlv_epi32, _mm256_xor_si256,
        };

        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn add(x: __m256i, y: __m256i) -> __m256i {
            _mm256_add_epi32(x, y)
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn splat(x: u32) -> __m256i {
            _mm256_set1_epi32(x.cast_signed())
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn rol<const S: i32>(x: __m256i) -> __m256i {
            let left = _mm256_sllv_epi32(x, _mm256_set1_epi32(S));
            _mm256_or_si256(left, _mm256_srlv_epi32(x, _mm256_set1_epi32(32 - S)))
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn f(sum: __m256i, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
            add(
                sum,
                _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z))),
            )
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn g(sum: __m256i, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
            add(add(sum, _mm256_andnot_si256(z, y)), _mm256_and_si256(x, z))
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn h(sum: __m256i, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
            add(sum, _mm256_xor_si256(x, _mm256_xor_si256(y, z)))
        }
        #[target_feature(enable = "avx2")]
        #[inline]
        pub(super) fn i(sum: __m256i, x: __m256i, y: __m256i, z: __m256i) -> __m256i {
            let not = _mm256_xor_si256(z, _mm256_set1_epi32(-1));
            add(sum, _mm256_xor_si256(y, _mm256_or_si256(x, not)))
        }
    }

    /// # Safety
    /// The processor has AVX2; at most eight runs, each of `blocks` blocks or more.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn many(states: &mut [[u32; 4]], runs: &[&[u8]], blocks: usize) {
        let mut columns = [[0_u32; LANES]; 4];
        for (lane, state) in states.iter().enumerate() {
            for (column, word) in columns.iter_mut().zip(state) {
                column[lane] = *word;
            }
        }
        // SAFETY: eight words each, as declared.
        let mut state = columns
            .each_ref()
            .map(|column| unsafe { _mm256_loadu_si256(column.as_ptr().cast()) });
        for block in 0..blocks {
            // Words are put in place one by one: half of the transposition a 16-lane engine saves is
            // not worth a second one by hand.
            let mut table = [[0_u32; LANES]; 16];
            for (lane, run) in runs.iter().enumerate() {
                let bytes = &run[block * BLOCK_BYTES..][..BLOCK_BYTES];
                for (words, bytes) in table.iter_mut().zip(bytes.chunks_exact(4)) {
                    words[lane] = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
            let mut words = [_mm256_setzero_si256(); 16];
            for (word, row) in words.iter_mut().zip(&table) {
                // SAFETY: eight words, as declared.
                *word = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
            }
            state = compress!(v, state, words);
        }
        for (column, words) in columns.iter_mut().zip(state) {
            // SAFETY: eight words, as declared.
            unsafe { _mm256_storeu_si256(column.as_mut_ptr().cast(), words) };
        }
        for (lane, state) in states.iter_mut().enumerate() {
            *state = columns.map(|column| column[lane]);
        }
    }
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests;
