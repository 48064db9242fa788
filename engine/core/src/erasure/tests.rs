//! Every erasure pattern of every geometry we use; refusals; the bytes on disk.

use super::*;
use proptest::prelude::*;

fn shards(k: u8, m: u8, length: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed | 1;
    let mut all: Vec<Vec<u8>> = (0..k)
        .map(|_| {
            (0..length)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(7);
                    (state >> 56) as u8
                })
                .collect()
        })
        .collect();
    all.resize(usize::from(k + m), vec![0; length]);
    let (data, parity) = all.split_at_mut(usize::from(k));
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    encode(Codec::for_data_shards(k), (k, m), &data, &mut parity).unwrap();
    all
}

fn rebuilds(all: &[Vec<u8>], (k, m): (u8, u8), lost: &[u8]) {
    let present: Vec<(u8, &[u8])> = (0..k + m)
        .filter(|i| !lost.contains(i))
        .map(|i| (i, all[usize::from(i)].as_slice()))
        .collect();
    let mut made: Vec<Vec<u8>> = lost.iter().map(|_| vec![0; all[0].len()]).collect();
    let mut wanted: Vec<(u8, &mut [u8])> = lost
        .iter()
        .copied()
        .zip(made.iter_mut().map(Vec::as_mut_slice))
        .collect();
    reconstruct(Codec::for_data_shards(k), (k, m), &present, &mut wanted).unwrap();
    for (&index, shard) in lost.iter().zip(&made) {
        assert!(
            *shard == all[usize::from(index)],
            "{k}+{m}, lost {lost:?}: shard {index}"
        );
    }
}

#[test]
fn any_k_of_the_shards_give_all() {
    for (k, m) in [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (4, 2),
        (8, 4),
        (15, 3),
    ] {
        let all = shards(k, m, 192, 42);
        for pattern in 0_u32..1 << (k + m) {
            if pattern.count_ones() <= u32::from(m) && (k + m < 18 || pattern % 7 == 0) {
                let lost: Vec<u8> = (0..k + m).filter(|i| pattern >> i & 1 == 1).collect();
                rebuilds(&all, (k, m), &lost);
            }
        }
    }
}

#[test]
fn wide_code_too() {
    let all = shards(17, 3, 128, 43);
    for a in 0..20 {
        for b in a + 1..20 {
            rebuilds(&all, (17, 3), &[a, b]);
            if let Some(c) = (b + 1..20).next() {
                rebuilds(&all, (17, 3), &[a, b, c]);
            }
        }
    }
}

#[test]
fn one_data_shard_is_copied() {
    let all = shards(1, 2, 100, 9);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    let all = shards(4, 2, 256, 1);
    let narrow: Vec<u32> = all.iter().map(|s| crate::format::crc32c(s)).collect();
    let all = shards(17, 3, 256, 1);
    let wide: Vec<u32> = all[17..].iter().map(|s| crate::format::crc32c(s)).collect();
    assert_eq!(
        (narrow[4..].to_vec(), wide),
        (
            vec![516_867_673, 3_073_421_396],
            vec![2_179_401_853, 440_366_587, 2_523_115_073]
        )
    );
}

#[test]
fn refuses_what_it_cannot_do() {
    let all = shards(4, 2, 64, 3);
    let at = |i: u8| (i, all[usize::from(i)].as_slice());
    let mut out = vec![0; 64];
    let mut run = |geometry, present: &[(u8, &[u8])], index| {
        reconstruct(Codec::Cauchy, geometry, present, &mut [(index, &mut out)])
    };
    assert_eq!(
        run((4, 2), &[at(0), at(1), at(1), at(5)], 2),
        Err(ErasureError::TooFew { present: 3, k: 4 })
    );
    let four = [at(0), at(1), at(3), at(5)];
    assert_eq!(run((4, 2), &four, 6), Err(ErasureError::Index));
    assert_eq!(
        run((0, 2), &four, 1),
        Err(ErasureError::Geometry { k: 0, m: 2 })
    );
    assert_eq!(
        run((16, 2), &four, 1),
        Err(ErasureError::Geometry { k: 16, m: 2 })
    );
    assert_eq!(
        run((4, 252), &four, 1),
        Err(ErasureError::Geometry { k: 4, m: 252 })
    );
    let short = [at(0), at(1), at(3), (5, &all[5][..63])];
    assert_eq!(run((4, 2), &short, 2), Err(ErasureError::Length));
    let foreign = [at(0), at(1), at(3), (9, &all[5][..])];
    assert_eq!(run((4, 2), &foreign, 2), Err(ErasureError::Index));
    assert_eq!(run((4, 2), &four, 2), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn columns_rebuild_alone(
        seed: u64, blocks in 1_usize..40, from in 0_usize..40, to in 1_usize..40,
        wide: bool, lost in 0_u8..3,
    ) {
        let (k, m) = if wide { (17, 3) } else { (4, 2) };
        let all = shards(k, m, blocks * 64, seed);
        let (from, to) = (from.min(blocks - 1) * 64, to.min(blocks) * 64);
        prop_assume!(from < to);
        let present: Vec<(u8, &[u8])> = (0..k + m).rev().filter(|i| *i != lost)
            .map(|i| (i, &all[usize::from(i)][from..to])).collect();
        let mut out = vec![0; to - from];
        reconstruct(Codec::for_data_shards(k), (k, m), &present, &mut [(lost, &mut out)]).unwrap();
        prop_assert_eq!(&out[..], &all[usize::from(lost)][from..to]);
    }
}
