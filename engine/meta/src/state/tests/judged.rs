//! Changes of tags and of a list: of the version that was judged, and of no other.

use super::{check, refused};
use crate::testing::{Partition, key, version};
use engine_core::meta::{Answer, Change, Judged, Query, Refusal, Reply, VersionRow, Versioning};
use engine_types::VersionId;
use serde_bytes::ByteBuf;

type Tags = Vec<(String, String)>;

impl Partition {
    /// A version as it stands, judged by all there is of it; of none, one that never was.
    pub(crate) fn judged(&self, bucket: u64, name: &str, version: VersionId) -> Judged {
        let query = Query::Version {
            bucket: self.bucket(bucket),
            key: key(name),
            version: Some(version),
            body: false,
        };
        let (order, acl, tags) = match self.ask(&query) {
            Reply::Version(found) => {
                let attributes = found.row.attributes;
                (found.row.order, attributes.acl, attributes.tags)
            }
            _ => Default::default(),
        };
        Judged {
            version,
            order,
            acl: Some(acl),
            tags: Some(tags),
        }
    }
}

fn tag(p: &mut Partition, judged: Judged, tags: Tags) -> Answer {
    let bucket = p.bucket(1);
    p.apply(Change::SetTags {
        bucket,
        key: key("k"),
        judged: Box::new(judged),
        tags,
    })
}

fn list(p: &mut Partition, judged: Judged, acl: &[u8]) -> Answer {
    let bucket = p.bucket(1);
    p.apply(Change::SetAcl {
        bucket,
        key: key("k"),
        judged: Box::new(judged),
        acl: ByteBuf::from(acl),
    })
}

fn current(p: &Partition) -> VersionRow {
    let query = Query::Version {
        bucket: p.bucket(1),
        key: key("k"),
        version: None,
        body: false,
    };
    match p.ask(&query) {
        Reply::Version(found) => found.row,
        other => panic!("{other:?}"),
    }
}

fn red() -> Tags {
    vec![("colour".to_owned(), "red".to_owned())]
}

#[test]
fn tags_are_counted_and_markers_have_none() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    let first = p.put(1, "k", 1, 1);
    p.put(1, "k", 1, 2);
    let judged = p.judged(1, "k", first.version);
    let tagged = version(tag(&mut p, judged, red()));
    assert_eq!(tagged.counted, first.counted + 9);
    assert_eq!((tagged.order, tagged.version), (first.order, first.version));
    check(&p);
    let judged = p.judged(1, "k", first.version);
    version(tag(&mut p, judged.clone(), Vec::new()));
    check(&p);
    let Answer::Deleted { version: made, .. } = p.delete(1, "k", None) else {
        panic!()
    };
    let marker = Judged {
        version: made.unwrap(),
        ..judged
    };
    assert_eq!(tag(&mut p, marker, red()), refused(Refusal::Changed));
    check(&p);
}

/// `null` names one object after another: a change judged for one must not land on the next.
#[test]
fn a_change_judged_for_one_null_version_spares_the_next() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "k", 1, 1);
    let judged = p.judged(1, "k", VersionId::Null);
    p.put(1, "k", 1, 2);
    assert_eq!(
        list(&mut p, judged.clone(), b"all"),
        refused(Refusal::Changed)
    );
    assert_eq!(
        tag(&mut p, judged.clone(), red()),
        refused(Refusal::Changed)
    );
    let row = current(&p);
    assert!(row.attributes.acl.is_empty() && row.attributes.tags.is_empty());
    let judged_anew = p.judged(1, "k", VersionId::Null);
    version(list(&mut p, judged_anew, b"all"));
    assert_eq!(*current(&p).attributes.acl, b"all");
    p.delete(1, "k", None);
    assert_eq!(
        list(&mut p, judged, b"all"),
        refused(Refusal::Changed),
        "gone"
    );
    check(&p);
}

/// A list taken away is not put back by whom it let in, nor by whom the tags did.
#[test]
fn what_the_judgement_rested_on_must_stand() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "k", 1, 1);
    let before = p.judged(1, "k", VersionId::Null);
    version(list(&mut p, before.clone(), b"private"));
    assert_eq!(
        list(&mut p, before.clone(), b"mine"),
        refused(Refusal::Changed)
    );
    let free = Judged {
        acl: None,
        ..before
    };
    version(tag(&mut p, free.clone(), red()));
    assert_eq!(
        tag(&mut p, free.clone(), red()),
        refused(Refusal::Changed),
        "other tags by now"
    );
    let owner = Judged { tags: None, ..free };
    version(tag(&mut p, owner.clone(), Vec::new()));
    version(list(&mut p, owner, b"open"));
    check(&p);
}
