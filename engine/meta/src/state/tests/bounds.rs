//! The largest command: an upload of 10,000 parts, completed, replaced, collected.

use super::{check, counters};
use crate::keys::Table;
use crate::testing::{Partition, key, version};
use engine_core::meta::{Change, Query, Reply};

#[test]
fn ten_thousand_parts_complete_at_once_and_die_a_chunk_at_a_time() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    for number in 1..=10_000 {
        p.put_part(1, "k", upload, number, 20);
    }
    let numbers: Vec<u16> = (1..=10_000).collect();
    let chosen = p.complete_of(1, "k", upload, &numbers);
    assert_eq!(
        version(p.apply(Change::CompleteUpload(Box::new(chosen)))).size,
        200_000
    );
    check(&p);
    let chunk = |chunk| {
        let query = Query::Manifest {
            bucket: p.bucket(1).id,
            key: key("k"),
            upload,
            chunk,
        };
        match p.ask(&query) {
            Reply::Manifest(entries) => entries.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((chunk(0), chunk(39), chunk(40)), (256, 16, 0));
    p.delete(1, "k", None);
    assert_eq!(p.count(Table::Dead), 1);
    assert_eq!(counters(&p), []);
    check(&p);
    let dead = p.dead().remove(0);
    for chunks in 1..=40 {
        p.apply(Change::Freed {
            bucket: dead.0,
            key: dead.1.clone(),
            dead: upload.0,
        });
        let manifest = usize::from(chunks < 40);
        assert_eq!(p.count(Table::Dead), (chunks * 256).min(10_000) + manifest);
    }
    check(&p);
}
