//! The mark's encoding.

use super::drives::mark;
use crate::mark::{FEATURE_LEVEL, MARK_BYTES_MAX, Mark, MarkDecodeError};

#[test]
fn a_mark_reads_back_and_no_flipped_bit_goes_unseen() {
    let bytes = mark().encode().expect("encodes");
    assert_eq!(Mark::decode(&bytes, FEATURE_LEVEL), Ok(mark()));
    for at in 0..bytes.len() - 1 {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(read) = Mark::decode(&flipped, FEATURE_LEVEL) {
                assert_eq!(read, mark(), "byte {at} bit {bit}");
            }
        }
    }
    for length in 0..bytes.len() - 1 {
        assert!(Mark::decode(&bytes[..length], FEATURE_LEVEL).is_err());
    }
}

#[test]
fn the_longest_mark_reads_and_one_byte_more_does_not() {
    let mut bytes = mark().encode().expect("encodes");
    bytes.resize(MARK_BYTES_MAX, b' ');
    assert_eq!(Mark::decode(&bytes, FEATURE_LEVEL), Ok(mark()));
    bytes.push(b' ');
    let too_long = Err(MarkDecodeError::Damaged("too long".to_owned()));
    assert_eq!(Mark::decode(&bytes, FEATURE_LEVEL), too_long);
}
