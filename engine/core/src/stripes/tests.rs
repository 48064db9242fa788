//! Tables for the arithmetic, and properties that tie it together.

use super::*;
use proptest::prelude::*;

fn shape(plain: u64) -> PartShape {
    PartShape::new(plain).unwrap()
}

#[test]
fn lengths_at_the_edges() {
    let frame = FRAME_PLAIN as u64;
    let stripe = STRIPE_PLAIN as u64;
    let full = STRIPE_BYTES_MAX as u64;
    // plaintext, frames, ciphertext, stripes, last stripe's ciphertext
    for (plain, frames, sealed, stripes, last) in [
        (0, 1, 16, 1, 16),
        (1, 1, 17, 1, 17),
        (frame, 1, 65_536, 1, 65_536),
        (frame + 1, 2, 65_553, 1, 65_553),
        (stripe - 1, 128, full - 1, 1, full - 1),
        (stripe, 128, full, 1, full),
        (stripe + 1, 129, full + 17, 2, 17),
        (
            PART_BYTES_MAX,
            81_941,
            PART_BYTES_MAX + 81_941 * 16,
            641,
            1_311_056,
        ),
    ] {
        let s = shape(plain);
        assert_eq!(s.frames(), frames, "{plain}");
        assert_eq!(s.sealed_length(), sealed, "{plain}");
        assert_eq!(s.stripes(), stripes, "{plain}");
        assert_eq!(u64::from(s.stripe_length(stripes - 1)), last, "{plain}");
        assert_eq!(s.stripe_length(stripes), 0, "{plain}");
        assert!(s.is_last(frames - 1) && !s.is_last(frames));
    }
    assert_eq!(PartShape::new(PART_BYTES_MAX + 1), Err(PartTooLong));
    assert!(shape(INLINE_BYTES_MAX as u64).is_inline());
    assert!(!shape(INLINE_BYTES_MAX as u64 + 1).is_inline());
}

#[test]
fn shards_cover_the_stripe() {
    for (stripe, k, shard) in [
        (1, 1, 64),
        (64, 1, 64),
        (65, 1, 128),
        (65_536, 4, 16_384),
        (65_553, 4, 16_448),
        (8 << 20, 1, 8 << 20),
        (8 << 20, 4, 2 << 20),
        (8 << 20, 3, 2_796_224),
        (0, 4, 0),
        (9, 0, 0),
    ] {
        assert_eq!(shard_length(stripe, k), shard, "{stripe} / {k}");
    }
}

#[test]
fn ranges_become_pieces() {
    let piece = |index, range, at| ShardPiece { index, range, at };
    // 1,000 bytes in 4: shards of 256, the last with 232.
    assert_eq!(
        shard_pieces(1000, 4, 250..600),
        [
            piece(0, 250..256, 0),
            piece(1, 0..256, 6),
            piece(2, 0..88, 262)
        ]
    );
    assert_eq!(shard_pieces(1000, 4, 990..2000), [piece(3, 222..232, 0)]);
    assert_eq!(shard_pieces(1000, 4, 1000..2000), []);
    // A short stripe leaves whole shards empty.
    assert_eq!(shard_pieces(17, 4, 0..17), [piece(0, 0..17, 0)]);
    assert_eq!(columns(&(250..256)), 192..256);
    assert_eq!(columns(&(0..65)), 0..128);
    assert_eq!(columns(&(64..64)), 64..64);
}

#[test]
fn a_range_reads_whole_frames() {
    let part = shape(STRIPE_PLAIN as u64 + 100_000);
    let all: Vec<_> = part
        .slices(STRIPE_PLAIN as u64 - 1..STRIPE_PLAIN as u64 + 1)
        .collect();
    assert_eq!(
        all,
        [
            StripeSlice {
                stripe: 0,
                frames: 127..128,
                sealed: 127 * 65_536..128 * 65_536,
                skip: 65_519,
                take: 1
            },
            StripeSlice {
                stripe: 1,
                frames: 128..129,
                sealed: 0..65_536,
                skip: 0,
                take: 1
            },
        ]
    );
    let tail: Vec<_> = part
        .slices(STRIPE_PLAIN as u64 + 99_999..u64::MAX)
        .collect();
    assert_eq!(tail.len(), 1);
    assert_eq!(tail[0].sealed, 65_536..100_032);
    assert_eq!((tail[0].skip, tail[0].take), (34_479, 1));
    assert_eq!(shape(0).slices(0..10).count(), 0);
    assert_eq!(part.slices(5..5).count(), 0);
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "what a careless caller may ask"
    )]
    let reversed = part.slices(9..5);
    assert_eq!(reversed.count(), 0);
}

#[test]
fn geometry_from_the_drives() {
    for (drives, expected) in [
        (0, None),
        (1, Some((1, 0))),
        (2, Some((1, 1))),
        (3, Some((2, 1))),
        (4, Some((2, 2))),
        (5, Some((2, 2))),
        (6, Some((4, 2))),
        (600, Some((4, 2))),
    ] {
        let got = Geometry::for_drives(drives).map(|g| (g.k, g.m));
        assert_eq!(got, expected, "{drives}");
    }
}

#[test]
fn geometry_from_the_drives_that_answer() {
    // drives, writable, out of service → k, m, queued
    for (drives, writable, out, expected) in [
        (6, 6, 0, Some((4, 2, 0))),
        (6, 5, 1, Some((4, 2, 1))),
        (6, 5, 0, Some((2, 2, 0))), // one is full
        (6, 4, 2, Some((2, 2, 0))),
        (6, 4, 1, Some((2, 2, 0))),
        (6, 3, 3, None),
        (6, 3, 2, Some((2, 2, 1))), // two out and one full
        (6, 3, 0, None),
        (6, 0, 6, None),
        (7, 5, 2, Some((4, 2, 1))),
        (7, 4, 3, Some((2, 2, 0))),
        (5, 5, 0, Some((2, 2, 0))),
        (5, 3, 2, Some((2, 2, 1))),
        (5, 2, 3, None),
        (4, 3, 1, Some((2, 2, 1))),
        (4, 3, 0, None), // m does not shrink because a drive is full
        (4, 2, 2, None),
        (3, 3, 0, Some((2, 1, 0))),
        (3, 2, 1, Some((2, 1, 1))),
        (3, 2, 0, Some((1, 1, 0))),
        (3, 1, 2, None),
        (2, 2, 0, Some((1, 1, 0))),
        (2, 1, 1, Some((1, 1, 1))),
        (2, 1, 0, None),
        (1, 1, 0, Some((1, 0, 0))),
        (1, 0, 1, None),
    ] {
        let target = Geometry::for_drives(drives).unwrap();
        let got =
            Geometry::choose(target, writable, out).map(|c| (c.geometry.k, c.geometry.m, c.queued));
        assert_eq!(
            got, expected,
            "{drives} drives, {writable} writable, {out} out"
        );
    }
    let wide = Geometry { k: 8, m: 4 };
    let narrow = Geometry::choose(wide, 10, 2).unwrap();
    assert_eq!(
        (narrow.geometry.k, narrow.geometry.m, narrow.shards()),
        (4, 4, 8)
    );
    assert!(narrow.geometry.falls_short_of(wide));
    assert!(!wide.falls_short_of(wide));
}

proptest! {
    #[test]
    fn slices_tile_the_range(plain in 0..PART_BYTES_MAX, a: u64, b: u64) {
        let part = shape(plain);
        let (a, b) = (a % (plain + 2), b % (plain + 2));
        let (from, to) = (a.min(b), a.max(b));
        let mut position = from.min(plain);
        for slice in part.slices(from..to) {
            let stripe = u64::from(slice.stripe);
            prop_assert_eq!(slice.frames.start * FRAME + slice.skip as u64, position);
            prop_assert!(slice.skip < FRAME_PLAIN && slice.take > 0);
            let sealed: u64 = slice.frames.clone()
                .map(|f| part.frame_plain(f) as u64 + FRAME_TAG as u64).sum();
            prop_assert_eq!(u64::from(slice.sealed.end - slice.sealed.start), sealed);
            let start = stripe * STRIPE_BYTES_MAX as u64 + u64::from(slice.sealed.start);
            prop_assert_eq!(start, slice.frames.start * FRAME_SEALED as u64);
            prop_assert!(slice.sealed.end <= part.stripe_length(slice.stripe));
            position += slice.take as u64;
        }
        prop_assert_eq!(position, to.min(plain));
        let total: u64 = (0..part.stripes()).map(|s| u64::from(part.stripe_length(s))).sum();
        prop_assert_eq!(total, part.sealed_length());
    }

    #[test]
    fn pieces_tile_the_range(stripe in 1_u32..=STRIPE_BYTES_MAX as u32, k in 1_u8..20, a: u32, b: u32) {
        let (a, b) = (a % (stripe + 1), b % (stripe + 1));
        let (from, to) = (a.min(b), a.max(b));
        let shard = shard_length(stripe, k);
        let mut position = from;
        for piece in shard_pieces(stripe, k, from..to) {
            prop_assert_eq!(u32::from(piece.index) * shard + piece.range.start, position);
            prop_assert_eq!(from + piece.at, position);
            prop_assert!(piece.range.end <= shard && piece.range.start < piece.range.end);
            position += piece.range.end - piece.range.start;
        }
        prop_assert_eq!(position, to);
    }
}
