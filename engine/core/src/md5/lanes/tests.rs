//! The lanes against the reference, block by block.

use super::*;

fn differ(engine: impl Fn(&mut [[u32; 4]], &[&[u8]], usize), lanes: usize) {
    let bytes: Vec<u8> = (0..=255).cycle().take(lanes * 5 * BLOCK_BYTES).collect();
    let runs: Vec<&[u8]> = bytes.chunks(5 * BLOCK_BYTES).collect();
    let mut states: Vec<[u32; 4]> = (0..u32::try_from(lanes).unwrap()).map(|i| [i; 4]).collect();
    let mut due = states.clone();
    engine(&mut states, &runs, 5);
    for (state, run) in due.iter_mut().zip(&runs) {
        one(state, run);
    }
    assert_eq!(states, due);
}

#[test]
fn each_engine_makes_what_the_scalar_one_makes() {
    if std::arch::is_x86_feature_detected!("avx512f") {
        for lanes in [1, 2, 7, LANES_MAX] {
            // SAFETY: the processor has it; the runs are as long as said.
            differ(
                |states, runs, blocks| unsafe { avx512::many(states, runs, blocks) },
                lanes,
            );
        }
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        for lanes in [1, 3, 8] {
            // SAFETY: the same.
            differ(
                |states, runs, blocks| unsafe { avx2::many(states, runs, blocks) },
                lanes,
            );
        }
    }
}
