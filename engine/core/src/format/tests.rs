//! Round trips, every flipped bit, arbitrary bytes, newer versions, limits.

use super::cursor::crc32c as crc;
use super::shard::{BLOCKS_MAX, FIXED_BYTES_MAX};
use super::*;
use crate::erasure::Codec;
use crate::stripes::{STRIPE_BYTES_MAX, shard_length};
use engine_types::{BucketId, CopyToken, DataId, DriveUuid, ObjectKey, PackId, PartitionId};
use proptest::prelude::*;

fn header(owner: ShardOwner, k: u8, stripe_length: u32) -> ShardHeader {
    let payload_length = shard_length(stripe_length, k);
    ShardHeader {
        codec: Codec::Cauchy,
        drive: DriveUuid([1; 16]),
        segment: 7,
        offset: 8192,
        partition: PartitionId(3),
        owner,
        data: DataId([2; 16]),
        part: 9,
        stripe: 11,
        k,
        m: 2,
        index: k + 1,
        token: CopyToken([3; 16]),
        stripe_length,
        payload_length,
        block_crcs: block_checksums(&vec![0x77; payload_length as usize]),
    }
}

fn object(key: &str) -> ShardOwner {
    ShardOwner::Object {
        bucket: BucketId(5),
        key: ObjectKey::parse(key).unwrap(),
    }
}

fn pack() -> ShardOwner {
    ShardOwner::Pack {
        partition: PartitionId(4),
        pack: PackId([6; 16]),
    }
}

fn encoded(header: &ShardHeader) -> Vec<u8> {
    let mut out = vec![0xaa; 3];
    header.encode(&mut out).unwrap();
    out.split_off(3)
}

/// Changes bytes of a structure and makes its CRC right again.
fn forged(bytes: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    change(&mut bad);
    let length = u32::from_be_bytes(bad[10..14].try_into().unwrap()) as usize;
    let sum = crc(&bad[..length - 4]);
    bad[length - 4..length].copy_from_slice(&sum.to_be_bytes());
    bad
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    let mut all = encoded(&header(object("a/b"), 4, 1_000_000));
    all.extend(encoded(&header(pack(), 1, 64)));
    let mut segment = Vec::new();
    SegmentHeader {
        segment: 1,
        drive: DriveUuid([2; 16]),
        created: 3,
    }
    .encode(&mut segment)
    .unwrap();
    let mut footer = Vec::new();
    footer_of(2).encode(&mut footer).unwrap();
    assert_eq!(
        (crc(&all), crc(&segment), crc(&footer)),
        (1_683_968_274, 775_150_768, 2_859_394_904)
    );
    assert_eq!(all[..14], *b"DMSHARD\n\0\x01\0\0\0\x88");
}

#[test]
fn small_shards_take_one_block_and_large_ones_are_aligned() {
    let small = header(object("k"), 1, 3000);
    assert_eq!(small.payload_offset() % 64, 0);
    assert_eq!(small.record_length(), 4096);
    assert_eq!(
        header(object("k"), 1, 65_536).record_length(),
        65_536 + 4096
    );
    let large = header(object("k"), 1, 65_537);
    assert_eq!(
        (large.payload_offset(), large.record_length()),
        (4096, 73_728)
    );
    assert_eq!(encoded(&large).len(), 4096);
    assert_eq!(encoded(&small).len(), small.payload_offset() as usize);
}

#[test]
fn the_longest_header_fits_its_block() {
    let stripe = u32::try_from(STRIPE_BYTES_MAX).unwrap();
    let longest = header(object(&"k".repeat(1024)), 1, stripe);
    assert_eq!(longest.block_crcs.len(), BLOCKS_MAX);
    assert!(longest.encoded_length() <= FIXED_BYTES_MAX + 1024 + 4 * BLOCKS_MAX);
    assert_eq!(ShardHeader::decode(&encoded(&longest)), Ok(longest.clone()));
    let mut longer = longest;
    longer.stripe_length += 1;
    longer.payload_length = shard_length(longer.stripe_length, 1);
    longer.block_crcs.push(0);
    let field = "stripe length";
    let what = "shard header";
    assert_eq!(
        longer.encode(&mut Vec::new()),
        Err(FormatError::Invalid { what, field })
    );
}

#[test]
fn every_flipped_bit_in_the_header_is_seen() {
    for header in [
        header(object("some/key"), 4, 1_000_000),
        header(pack(), 1, 100),
    ] {
        let bytes = encoded(&header);
        for bit in 0..header.encoded_length() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ShardHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for length in 0..header.encoded_length() {
            assert!(ShardHeader::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert!(ShardHeader::decode(&bytes[..header.encoded_length()]).is_ok());
    }
}

#[test]
fn every_flipped_bit_in_the_payload_is_seen() {
    let header = header(pack(), 1, 65_536 + 128);
    let payload = vec![0x77; 65_536 + 128];
    assert!(header.block_is_sound(0, &payload[..65_536]));
    assert!(header.block_is_sound(1, &payload[65_536..]));
    assert!(!header.block_is_sound(1, &payload[65_537..]));
    assert!(!header.block_is_sound(2, &[]));
    for bit in 0..128 * 8 {
        let mut bad = payload[65_536..].to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!header.block_is_sound(1, &bad), "bit {bit}");
    }
}

#[test]
fn newer_versions_are_refused_by_name_and_damage_is_not_called_newer() {
    let bytes = encoded(&header(pack(), 1, 100));
    let newer = forged(&bytes, |b| b[9] = 2);
    let error = ShardHeader::decode(&newer).unwrap_err();
    assert_eq!(
        error,
        FormatError::Newer {
            what: "shard header",
            found: 2,
            known: 1
        }
    );
    assert!(error.to_string().contains("version 2"));
    let mut damaged = bytes;
    damaged[9] = 2;
    assert_eq!(
        ShardHeader::decode(&damaged),
        Err(FormatError::Checksum("shard header"))
    );
    let other = ShardHeader::decode(&[0; 4096]);
    assert_eq!(other, Err(FormatError::Magic("shard header")));
    let needed = 14;
    let what = "shard header";
    assert_eq!(
        ShardHeader::decode(b"DMSH"),
        Err(FormatError::Truncated { what, needed })
    );
}

#[test]
fn contradictions_are_refused_behind_a_right_checksum() {
    let bytes = encoded(&header(object("key"), 4, 1000));
    // version 0; codec; k = 0; k + m > 255; index; stripe length; payload length; owner.
    for (at, value, field) in [
        (9, 0, "version"),
        (14, 99, "codec"),
        (15, 0, "geometry"),
        (16, 252, "geometry"),
        (17, 6, "shard index"),
        (94, 255, "stripe length"),
        (100, 2, "payload length"),
        (102, 9, "owner"),
        (111, 255, "length"),
        (113, 255, "key"),
    ] {
        let bad = forged(&bytes, |b| b[at] = value);
        let error = ShardHeader::decode(&bad).unwrap_err();
        assert_eq!(
            error,
            FormatError::Invalid {
                what: "shard header",
                field
            },
            "{at}"
        );
    }
}

fn footer_of(entries: usize) -> SegmentFooter {
    let entry = |i: usize| FooterEntry {
        token: CopyToken([i as u8; 16]),
        offset: i as u64 * 4096,
        length: 4096,
    };
    SegmentFooter {
        segment: 12,
        drive: DriveUuid([3; 16]),
        entries: (0..entries).map(entry).collect(),
    }
}

#[test]
fn segment_blocks_round_trip() {
    let header = SegmentHeader {
        segment: u64::MAX,
        drive: DriveUuid([9; 16]),
        created: 5,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes).unwrap();
    assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    for bit in 0..50 * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit}");
    }
    // 143 entries fill a block with frame and trailer; one more takes a second block.
    for (entries, length) in [(0, 4096), (1, 4096), (143, 4096), (144, 8192)] {
        let footer = footer_of(entries);
        let mut bytes = vec![1; 4096];
        footer.encode(&mut bytes).unwrap();
        assert_eq!(footer_length(&bytes), Ok(length), "{entries}");
        let start = bytes.len() - length as usize;
        assert_eq!(start, 4096);
        assert_eq!(SegmentFooter::decode(&bytes[start..]), Ok(footer));
        let end = bytes.len() - 1;
        assert!(footer_length(&bytes[..end]).is_err());
    }
}

#[test]
fn a_footer_at_its_limit_and_one_past_it() {
    let mut footer = footer_of(0);
    footer.entries = vec![footer_of(2).entries[1]; FOOTER_ENTRIES_MAX];
    let mut bytes = Vec::new();
    footer.encode(&mut bytes).unwrap();
    assert!(SegmentFooter::decode(&bytes).is_ok_and(|f| f == footer));
    footer.entries.push(footer.entries[0]);
    let (what, field) = ("segment footer", "entry count");
    assert_eq!(
        footer.encode(&mut Vec::new()),
        Err(FormatError::Invalid { what, field })
    );
}

proptest! {
    #[test]
    fn headers_round_trip(
        key in "\\PC{1,200}", is_pack: bool, k in 1_u8..20, m in 0_u8..6, index: u8,
        stripe_length in 1_u32..=STRIPE_BYTES_MAX as u32, ids: [u8; 16], numbers: [u64; 4],
        wide: bool,
    ) {
        let mut header = header(if is_pack { pack() } else { object(&key) }, k, stripe_length);
        header.m = m;
        header.index = index % (k + m);
        header.codec = if wide { Codec::Wide } else { Codec::Cauchy };
        header.token = CopyToken(ids);
        header.segment = numbers[0];
        header.offset = numbers[1];
        header.part = numbers[2] as u32;
        header.stripe = numbers[3] as u32;
        let bytes = encoded(&header);
        prop_assert!(bytes.len() <= HEADER_BYTES_MAX);
        prop_assert_eq!(bytes.len(), header.payload_offset() as usize);
        prop_assert!((header.record_length() as usize).is_multiple_of(RECORD_ALIGN));
        prop_assert_eq!(ShardHeader::decode(&bytes), Ok(header));
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(
        noise in prop::collection::vec(any::<u8>(), 0..600), kind in 0_usize..4,
        version in 0_u16..3, length: u16,
    ) {
        // Noise behind a right frame reaches the field decoders.
        let magic = [*b"DMSHARD\n", *b"DMSEGHD\n", *b"DMSEGFT\n", *b"DMSEGTR\n"][kind];
        let mut bytes = magic.to_vec();
        bytes.extend(version.to_be_bytes());
        bytes.extend(u32::from(length).to_be_bytes());
        bytes.extend(&noise);
        let right = bytes.len() as u32 + 4;
        for framed in [false, true] {
            if framed {
                bytes[10..14].copy_from_slice(&right.to_be_bytes());
                let sum = crc(&bytes);
                bytes.extend(sum.to_be_bytes());
            }
            let _any = (ShardHeader::decode(&bytes), SegmentHeader::decode(&bytes));
            let _any = (SegmentFooter::decode(&bytes), footer_length(&bytes));
        }
        let _any = (ShardHeader::decode(&noise), SegmentHeader::decode(&noise));
        let _any = (SegmentFooter::decode(&noise), footer_length(&noise));
    }
}
