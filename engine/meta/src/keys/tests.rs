//! Order, round trips, exact prefix scans.

use super::*;
use engine_types::Stamp;
use proptest::prelude::*;

/// Keys that try the escapes: NULs, the highest bytes UTF-8 has, shared prefixes.
fn key() -> impl Strategy<Value = ObjectKey> {
    let piece = prop::sample::select(vec![
        "\0",
        "\u{1}",
        "a",
        "b",
        "/",
        "\u{7f}",
        "é",
        "\u{10ffff}",
    ]);
    let pieces = prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat());
    pieces.prop_map(|key| ObjectKey::parse(&key).unwrap())
}

proptest! {
    #[test]
    fn rows_are_in_the_order_of_keys(a in key(), b in key(), i in any::<[u8; 16]>(), j in any::<[u8; 16]>(), x in 0..3u64, y in 0..3u64) {
        let row = |bucket, key, id| part(BucketId(bucket), key, DataId(id));
        prop_assert_eq!(row(x, &a, i).cmp(&row(y, &b, j)), (x, &a, i).cmp(&(y, &b, j)));
    }

    #[test]
    fn decoding_gives_back_what_was_encoded(key in key(), bucket in any::<u64>(), id in any::<[u8; 16]>(), number in any::<u16>(), ms in 0..1u64 << 48, seq in any::<u32>()) {
        let bucket = BucketId(bucket);
        let order = Order { stamp: Stamp(ms), seq };
        prop_assert_eq!(split_version(&version(bucket, &key, order)).unwrap(), (bucket, key.clone(), order));
        let row = upload_part(bucket, &key, UploadId(id), number);
        prop_assert_eq!(split_part_number(&row).unwrap(), number);
        let row = repair(bucket, &key, DataId(id), seq);
        prop_assert_eq!(split_repair(&row).unwrap(), (bucket, key.clone(), DataId(id), seq));
        let row = dead(bucket, &key, &id);
        let (found, found_id) = split_id(Table::Dead, &row).unwrap();
        prop_assert_eq!((found.bucket, found.key, found_id), (bucket, key, id));
        let class = StorageClass::standard();
        for scope in [Scope::Account(AccountId(ms)), Scope::Key(KeyId(ms)), Scope::Bucket(bucket)] {
            prop_assert_eq!(split_counter(&counter(scope, &class)).unwrap(), (scope, class.clone()));
        }
    }

    #[test]
    fn a_prefix_scan_finds_exactly_the_keys_with_it(keys in prop::collection::vec(key(), 1..30), prefix in key()) {
        let start = [of_bucket(Table::Objects, BucketId(1)), escaped(prefix.as_str())].concat();
        let (_, end) = within(&start);
        for key in keys {
            let row = object(BucketId(1), &key);
            let inside = row >= start && row < end;
            prop_assert_eq!(inside, key.as_str().starts_with(prefix.as_str()));
            let whole = of_key(Table::Parts, BucketId(1), &key);
            let row = part(BucketId(1), &prefix, DataId([255; 16]));
            prop_assert_eq!(row >= whole && row < above(&whole), key == prefix);
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for table in [Table::Parts, Table::Versions, Table::Dead] {
            if let Ok(found) = split(table, &bytes) {
                let again = [of_key(table, found.bucket, &found.key), found.rest.to_vec()].concat();
                prop_assert_eq!(again, bytes.clone());
            }
        }
        let (_, _, _) = (split_version(&bytes), split_counter(&bytes), split_repair(&bytes));
    }
}

#[test]
fn bytes_of_a_row_are_fixed() {
    let key = ObjectKey::parse("a\0b").unwrap();
    let want = [2, 0, 0, 0, 0, 0, 0, 0, 7, b'a', 0, 0xFF, b'b', 0, 1];
    assert_eq!(object(BucketId(7), &key), want);
}

#[test]
fn above_carries() {
    assert_eq!(above(&[1, 0xFF]), [2]);
    assert_eq!(above(&[0xFF]), [0xFF, 0xFF]);
}
