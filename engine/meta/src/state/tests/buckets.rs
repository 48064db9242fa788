//! Buckets at their home.

use super::{check, counters, refused};
use crate::keys::Table;
use crate::testing::{Partition, bucket_row};
use engine_core::meta::{
    Answer, BucketDocument, BucketRef, BucketRow, Change, Refusal, Versioning,
};
use engine_types::BucketId;
use serde_bytes::ByteBuf;

impl Partition {
    /// Sets a bucket's versioning.
    pub(crate) fn versioning(&mut self, id: u64, versioning: Versioning) {
        let BucketRef { id, epoch, .. } = self.bucket(id);
        let answer = self.apply(Change::SetVersioning {
            id,
            epoch,
            versioning,
        });
        assert!(matches!(answer, Answer::Bucket(_)), "{answer:?}");
    }
}

fn row(answer: Answer) -> BucketRow {
    match answer {
        Answer::Bucket(row) => *row,
        other => panic!("{other:?}"),
    }
}

#[test]
fn created_once_and_changed_with_its_epoch() {
    let mut p = Partition::with_buckets(1);
    let enable = |epoch| Change::SetVersioning {
        id: BucketId(1),
        epoch,
        versioning: Versioning::Enabled,
    };
    assert_eq!(row(p.apply(enable(1))).epoch, 2);
    assert_eq!(
        p.apply(enable(1)),
        refused(Refusal::StaleBucket),
        "judged by what the bucket was"
    );
    assert_eq!(row(p.apply(enable(2))).epoch, 2, "nothing changed");
    let again = row(p.apply(Change::CreateBucket(Box::new(bucket_row(1)))));
    assert_eq!(
        (again.epoch, again.versioning),
        (2, Versioning::Enabled),
        "made already"
    );
    let never = Change::SetVersioning {
        id: BucketId(1),
        epoch: 2,
        versioning: Versioning::Unversioned,
    };
    assert_eq!(row(p.apply(never)).versioning, Versioning::Suspended);
    let set = |epoch, content| Change::SetDocument {
        id: BucketId(1),
        epoch,
        kind: BucketDocument::Cors,
        content,
    };
    assert_eq!(
        row(p.apply(set(3, Some(ByteBuf::from(vec![1])))))
            .documents
            .len(),
        1
    );
    assert_eq!(p.apply(set(3, None)), refused(Refusal::StaleBucket));
    assert_eq!(row(p.apply(set(4, None))).documents.len(), 0);
    let gone = Change::SetVersioning {
        id: BucketId(9),
        epoch: 1,
        versioning: Versioning::Enabled,
    };
    assert_eq!(p.apply(gone), refused(Refusal::NoSuchBucket));
}

#[test]
fn deleted_only_without_versions_and_uploads_die_with_it() {
    let mut p = Partition::with_buckets(2);
    let delete = || Change::DeleteBucket { id: BucketId(1) };
    p.put(2, "other", 1, 1);
    p.versioning(1, Versioning::Enabled);
    p.delete(1, "k", None);
    assert_eq!(
        p.apply(delete()),
        refused(Refusal::BucketNotEmpty),
        "a marker is a version"
    );
    let known = p.bucket(1);
    let marker = super::all_versions(&p)
        .into_iter()
        .find(|v| v.0 == BucketId(1))
        .unwrap()
        .2
        .version;
    p.delete(1, "k", Some(marker));
    p.put(1, "k", 1, 1);
    assert_eq!(p.apply(delete()), refused(Refusal::BucketNotEmpty));
    assert_eq!(p.bucket(1), known, "it stays open");
    let only = super::all_versions(&p)
        .into_iter()
        .find(|v| v.0 == BucketId(1))
        .unwrap()
        .2
        .version;
    p.delete(1, "k", Some(only));
    let upload = p.upload(1, "k");
    p.put_part(1, "k", upload, 1, 500);
    let mut late = p.put_of(1, "k", 1, 1);
    assert_eq!(p.apply(delete()), Answer::Done);
    assert_eq!(p.apply(delete()), Answer::Done, "gone already");
    late.bucket = known;
    assert_eq!(
        p.apply(Change::PutVersion(Box::new(late))),
        refused(Refusal::StaleBucket)
    );
    check(&p);
    p.collect();
    check(&p);
    assert_eq!((p.count(Table::Parts), p.count(Table::Buckets)), (1, 1));
    assert!(
        counters(&p).iter().all(|(_, _, delta)| delta.objects == 1),
        "bucket 2's alone"
    );
}

#[test]
fn many_uploads_die_a_bounded_number_at_a_time() {
    let mut p = Partition::with_buckets(1);
    for upload in 0..=crate::state::BUCKET_ABORT_ROWS {
        p.upload(1, &format!("k{}", upload % 7));
    }
    let before = p.bucket(1);
    let closed = row(p.apply(Change::DeleteBucket { id: BucketId(1) }));
    assert!(closed.closed && closed.epoch == before.epoch + 1);
    assert_eq!(p.count(Table::Uploads), 1);
    check(&p);
    let put = p.put_of(1, "k", 1, 1);
    assert_eq!(
        p.apply(Change::PutVersion(Box::new(put))),
        refused(Refusal::NoSuchBucket),
        "closed"
    );
    let change = Change::SetVersioning {
        id: BucketId(1),
        epoch: closed.epoch,
        versioning: Versioning::Enabled,
    };
    assert_eq!(p.apply(change), refused(Refusal::NoSuchBucket));
    assert_eq!(
        p.apply(Change::DeleteBucket { id: BucketId(1) }),
        Answer::Done
    );
    assert_eq!((p.count(Table::Uploads), p.count(Table::Buckets)), (0, 0));
}
