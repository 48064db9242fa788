//! Known answers, and everything that must not open.

use super::*;
use crate::stripes::FRAME_SEALED;
use engine_types::{BirthId, Stamp};

const NO: BoundContext = BoundContext::NONE;

fn id(n: u8) -> DataId {
    DataId::born(Stamp(1_800_000_000_000), [n; 10])
}

fn key(n: u8) -> DataKey {
    DataKey::from_entropy([n; KEY_BYTES])
}

/// A part of `frames` full frames and a last one of `tail` bytes, sealed.
fn sealed(frames: usize, tail: usize) -> Vec<Vec<u8>> {
    let mut sealer = Sealer::new(key(1), id(1));
    let mut all: Vec<Vec<u8>> = (0..frames).map(|_| vec![0x5a; FRAME_SEALED]).collect();
    all.push(vec![0x5a; tail + FRAME_TAG]);
    for (i, frame) in all.iter_mut().enumerate() {
        sealer.seal(frame, i == frames).unwrap();
    }
    assert_eq!(sealer.frames(), frames as u64 + 1);
    all
}

fn open(
    key: &DataKey,
    data: DataId,
    frame: u64,
    last: bool,
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut copy = sealed.to_vec();
    Opener::new(key, data)
        .open(frame, last, &mut copy)
        .map(|plain| plain.to_vec())
}

#[test]
fn opens_what_it_sealed() {
    for (frames, tail) in [
        (0, 0),
        (0, 1),
        (0, FRAME_PLAIN),
        (2, 0),
        (2, 100),
        (1, FRAME_PLAIN),
    ] {
        for (i, frame) in sealed(frames, tail).iter().enumerate() {
            let plain = open(&key(1), id(1), i as u64, i == frames, frame).unwrap();
            let length = if i == frames { tail } else { FRAME_PLAIN };
            assert_eq!(plain, vec![0x5a; length], "{frames} {tail} {i}");
        }
    }
}

#[test]
fn no_two_frames_share_a_key_stream() {
    let all = sealed(2, FRAME_PLAIN);
    assert_ne!(all[0][..64], all[1][..64]);
    assert_ne!(all[1][..64], all[2][..64]);
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    let mut sealer = Sealer::new(key(7), DataId([9; 16]));
    let mut first = vec![0; FRAME_SEALED];
    sealer.seal(&mut first, false).unwrap();
    let mut second = *b"frame one0123456789abcdef";
    sealer.seal(&mut second, true).unwrap();
    // The same by hand: ring's cipher, nonce and AAD spelled out.
    let plain_key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut expected = b"frame one".to_vec();
    let nonce = Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut aad = vec![9; 16];
    aad.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1]);
    plain_key
        .seal_in_place_append_tag(nonce, Aad::from(aad), &mut expected)
        .unwrap();
    assert_eq!(second[..], expected);
    let wrapped =
        Kek::derive(&[3; 32], WrappedBy::Version(5), DataId([9; 16]), NO).wrap(&key(7), [1; 12]);
    let crc = |bytes: &[u8]| crate::format::crc32c(bytes);
    assert_eq!(
        (crc(&first), crc(&second), crc(wrapped.as_bytes())),
        (2_270_339_159, 669_467_809, 2_738_066_565)
    );
}

#[test]
fn every_flipped_bit_is_seen() {
    let frame = &sealed(0, 40)[0];
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            open(&key(1), id(1), 0, true, &bad),
            Err(SealError::NotAuthentic),
            "{bit}"
        );
    }
}

#[test]
fn a_frame_opens_only_in_its_place() {
    let all = sealed(2, FRAME_PLAIN);
    let no = Err(SealError::NotAuthentic);
    assert_eq!(open(&key(2), id(1), 0, false, &all[0]), no, "another key");
    assert_eq!(open(&key(1), id(2), 0, false, &all[0]), no, "another id");
    assert_eq!(open(&key(1), id(1), 1, false, &all[0]), no, "swapped");
    assert_eq!(open(&key(1), id(1), 0, false, &all[1]), no, "swapped");
    assert_eq!(
        open(&key(1), id(1), 1, true, &all[1]),
        no,
        "cut short at a frame's end"
    );
    assert_eq!(
        open(&key(1), id(1), 2, false, &all[2]),
        no,
        "extended behind the last"
    );
}

#[test]
fn unfit_lengths_and_a_finished_part() {
    let mut sealer = Sealer::new(key(1), id(1));
    let mut seal = |length: usize, last| sealer.seal(&mut vec![0; length], last);
    for (length, last) in [
        (FRAME_SEALED - 1, false),
        (FRAME_SEALED + 1, false),
        (FRAME_SEALED + 1, true),
        (FRAME_TAG - 1, true),
        (0, true),
    ] {
        assert_eq!(
            seal(length, last),
            Err(SealError::Length),
            "{length} {last}"
        );
    }
    assert_eq!(seal(FRAME_TAG, true), Ok(()));
    assert_eq!(seal(FRAME_TAG, true), Err(SealError::Finished));
    assert_eq!(sealer.frames(), 1);
    let whole = sealed(0, 5);
    assert_eq!(
        open(&key(1), id(1), 0, false, &whole[0]),
        Err(SealError::Length)
    );
    assert_eq!(
        open(&key(1), id(1), 0, true, &whole[0][..15]),
        Err(SealError::Length)
    );
}

#[test]
fn keys_unwrap_only_under_what_wrapped_them() {
    let secret = [3; KEY_BYTES];
    let by = WrappedBy::Version(5);
    let wrapped = Kek::derive(&secret, by, id(1), NO).wrap(&key(8), [4; 12]);
    let again = WrappedKey::from_bytes(wrapped.as_bytes()).unwrap();
    let same = Kek::derive(&secret, by, id(1), NO).unwrap(&again).unwrap();
    let mut frame = vec![1; 20];
    Sealer::new(same, id(1)).seal(&mut frame, true).unwrap();
    assert_eq!(open(&key(8), id(1), 0, true, &frame), Ok(vec![1; 4]));

    let refused = |kek: Kek, wrapped: &WrappedKey| {
        assert_eq!(kek.unwrap(wrapped).err(), Some(SealError::NotAuthentic));
    };
    refused(Kek::derive(&[4; KEY_BYTES], by, id(1), NO), &wrapped);
    refused(
        Kek::derive(&secret, WrappedBy::Version(6), id(1), NO),
        &wrapped,
    );
    refused(
        Kek::derive(&secret, WrappedBy::Customer, id(1), NO),
        &wrapped,
    );
    refused(Kek::derive(&secret, by, id(2), NO), &wrapped);
    for bit in 0..WrappedKey::BYTES * 8 {
        let mut bytes = wrapped.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let bad = WrappedKey::from_bytes(&bytes).unwrap();
        refused(Kek::derive(&secret, by, id(1), NO), &bad);
    }
    assert_eq!(WrappedKey::from_bytes(&wrapped.as_bytes()[1..]), None);
    assert_eq!(
        format!("{wrapped:?} {:?}", key(1)),
        "WrappedKey(sealed) DataKey(secret)"
    );
}

#[test]
fn a_key_wrapped_under_a_context_opens_under_that_context_alone() {
    let context = |text: &str| BoundContext::of_header(Some(text));
    let kek = |bound| Kek::derive(&[3; 32], WrappedBy::Version(5), id(1), bound);
    // {"a":"1"}, {"a":"2"}, {}
    let (one, two, empty) = (
        context("eyJhIjoiMSJ9"),
        context("eyJhIjoiMiJ9"),
        context("e30="),
    );
    let wrapped = kek(one).wrap(&key(8), [4; 12]);
    assert!(kek(one).unwrap(&wrapped).is_ok());
    for other in [two, empty, NO] {
        let opened = kek(other).unwrap(&wrapped);
        assert_eq!(opened.err(), Some(SealError::NotAuthentic), "{other:?}");
    }
    let without = kek(NO).wrap(&key(8), [4; 12]);
    assert!(kek(one).unwrap(&without).is_err(), "none was bound");
}

#[test]
fn a_customers_key_is_known_again() {
    let check = CustomerKeyCheck::new([1; 16], &[2; 32]);
    assert!(check.matches(&[2; 32]));
    let other = CustomerKeyCheck::new([2; 16], &[2; 32]);
    assert_ne!(check.mac, other.mac, "salted");
    for bit in 0..256 {
        let mut key = [2; 32];
        key[bit / 8] ^= 1 << (bit % 8);
        assert!(!check.matches(&key), "{bit}");
    }
}
