//! Every bit between two whole records; siblings; what is not tried.

use super::*;
use record::{Header, put};

const SALT: u32 = 5;
const OTHER_SALT: u32 = 9;

/// A vote, `entries` of 900 bytes, a truncation: of one group, in one file.
fn log(salt: u32, first: u64) -> Vec<u8> {
    let (mut bytes, mut prev) = (Vec::new(), 0);
    let entry = |index: u64| {
        let head = [3_u64.to_le_bytes(), index.to_le_bytes()].concat();
        [head, vec![u8::try_from(index).expect("few"); 900]].concat()
    };
    let payloads = [
        (Kind::Begin, vec![1; 24]),
        (Kind::Vote, vec![2; 17]),
        (Kind::Append, entry(1)),
        (Kind::Append, entry(2)),
        (Kind::Truncate, vec![3; 8]),
        (Kind::Mark, Vec::new()),
    ];
    for (sequence, (kind, payload)) in (first..).zip(payloads) {
        let header = Header {
            sequence,
            durable: sequence - 1,
            boot: 4,
            group: if matches!(kind, Kind::Begin | Kind::Mark) {
                NO_GROUP
            } else {
                7
            },
            kind,
            group_sequence: sequence,
        };
        prev = put(&mut bytes, salt, prev, &header, |out| {
            out.extend_from_slice(&payload);
        });
    }
    bytes
}

fn mended(broken: &[u8], sibling: &[u8]) -> Vec<u8> {
    let mut bytes = broken.to_vec();
    for broken in find(&[(1, broken.to_vec())], SALT) {
        let restored = broken.alone(SALT).or_else(|| {
            let theirs = [(1, sibling.to_vec())];
            Entries::of(&theirs, OTHER_SALT, std::slice::from_ref(&broken)).restore(&broken, SALT)
        });
        if let Some(restored) = restored {
            bytes[restored.at..restored.at + restored.bytes.len()].copy_from_slice(&restored.bytes);
        }
    }
    bytes
}

#[test]
fn single_bits_are_tried_at_the_front_of_a_payload_only() {
    let whole = log(SALT, 1);
    let entry = records(&whole, SALT).nth(2).expect("an entry").0;
    for (byte, back) in [(TRIED_BYTES_MAX - 1, true), (TRIED_BYTES_MAX, false)] {
        let mut broken = whole.clone();
        broken[entry + HEADER_BYTES + byte] ^= 1;
        assert_eq!(mended(&broken, &[]) == whole, back, "{byte}");
    }
}

#[test]
fn any_turned_bit_between_two_whole_records_is_turned_back() {
    let (whole, sibling) = (log(SALT, 1), log(OTHER_SALT, 40));
    let places: Vec<usize> = records(&whole, SALT).map(|(at, _)| at).collect();
    for at in places[1]..places[5] {
        for bit in [at % 8, (at + 3) % 8] {
            let mut broken = whole.clone();
            broken[at] ^= 1 << bit;
            let padding = records(&broken, SALT).count() == places.len();
            assert!(
                padding || mended(&broken, &sibling) == whole,
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn more_damage_in_an_entry_needs_a_sibling_that_has_it() {
    let (whole, sibling) = (log(SALT, 1), log(OTHER_SALT, 40));
    let third = records(&whole, SALT).nth(2).expect("an entry").0;
    let mut broken = whole.clone();
    broken[third + 300..third + 400].fill(0xee);
    assert_eq!(mended(&broken, &sibling), whole);
    assert_eq!(mended(&broken, &[]), broken);
    let mut other = sibling;
    let there = records(&other, OTHER_SALT).nth(2).expect("an entry").0;
    other[there + 300] ^= 1;
    assert_eq!(mended(&broken, &other), broken, "theirs is damaged too");
}

#[test]
fn nothing_is_guessed_at_a_tear_a_hole_or_two_broken_neighbours() {
    let (whole, sibling) = (log(SALT, 1), log(OTHER_SALT, 40));
    let places: Vec<usize> = records(&whole, SALT).map(|(at, _)| at).collect();
    let mut torn = whole.clone();
    torn[places[5] + 20] ^= 1;
    assert_eq!(mended(&torn, &sibling), torn);
    let mut two = whole.clone();
    two[places[2] + 300] ^= 1;
    two[places[3] + 300] ^= 1;
    assert_eq!(mended(&two, &sibling), two);
    let mut hole = whole[..places[3]].to_vec();
    hole.extend_from_slice(&whole[places[4]..]);
    assert_eq!(mended(&hole, &sibling), hole);
}

#[test]
fn an_entry_that_another_history_put_in_its_place_is_not_taken() {
    let whole = log(SALT, 1);
    let third = records(&whole, SALT).nth(2).expect("an entry").0;
    let mut broken = whole.clone();
    broken[third + 300..third + 400].fill(0xee);
    // Same group, term and index, other bytes: cannot be, and would not be believed.
    let (mut other, mut prev) = (Vec::new(), 0);
    for index in 1..=2_u64 {
        let header = Header {
            sequence: index,
            durable: 0,
            boot: 4,
            group: 7,
            kind: Kind::Append,
            group_sequence: index,
        };
        prev = put(&mut other, OTHER_SALT, prev, &header, |out| {
            out.extend_from_slice(&3_u64.to_le_bytes());
            out.extend_from_slice(&index.to_le_bytes());
            out.extend_from_slice(&[0x44; 900]);
        });
    }
    assert_eq!(mended(&broken, &other), broken);
}
