//! Multipart uploads.

use super::{check, refused};
use crate::keys::Table;
use crate::state::uploads::PART_NUMBER_MAX;
use crate::testing::{Partition, attributes, key, version};
use engine_core::meta::{
    Answer, Change, CompleteUpload, Condition, DeadThing, EtagMatch, PutPart, Query, Refusal,
    Reply, Versioning,
};
use engine_types::UploadId;

fn complete(p: &mut Partition, complete: CompleteUpload) -> Answer {
    p.apply(Change::CompleteUpload(Box::new(complete)))
}

fn abort(p: &mut Partition, upload: UploadId) -> Answer {
    let bucket = p.bucket(1);
    p.apply(Change::AbortUpload {
        bucket,
        key: key("k"),
        upload,
    })
}

#[test]
fn complete_takes_the_chosen_and_buries_the_rest() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    for (number, size) in [(1, 500), (2, 10), (7, 300), (9, 200)] {
        assert!(matches!(
            p.put_part(1, "k", upload, number, size),
            Answer::Part(_)
        ));
    }
    check(&p);
    let chosen = p.complete_of(1, "k", upload, &[1, 2, 9]);
    let made = version(complete(&mut p, chosen.clone()));
    check(&p);
    assert_eq!(made.size, 710);
    assert_eq!(p.dead().len(), 1, "part 7");
    assert_eq!(
        (p.count(Table::Uploads), p.count(Table::UploadParts)),
        (0, 0)
    );
    let query = Query::Version {
        bucket: p.bucket(1),
        key: key("k"),
        version: None,
        body: true,
    };
    let Reply::Version(found) = p.ask(&query) else {
        panic!()
    };
    let Some(engine_core::meta::BodyStart::Manifest(entries)) = found.body else {
        panic!()
    };
    assert_eq!(entries, chosen.parts);
    assert_eq!(
        complete(&mut p, chosen.clone()),
        Answer::Version(Box::new(made)),
        "repeated"
    );
    assert_eq!(abort(&mut p, upload), refused(Refusal::NoSuchUpload));
    p.put(1, "k", 1, 1);
    check(&p);
    assert_eq!(
        complete(&mut p, chosen),
        refused(Refusal::NoSuchUpload),
        "its version is gone"
    );
    p.collect();
    check(&p);
    assert_eq!((p.count(Table::Parts), p.count(Table::Manifests)), (1, 0));
}

#[test]
fn a_repeated_complete_finds_its_version_below_others() {
    let mut p = Partition::with_buckets(1);
    p.versioning(1, Versioning::Enabled);
    let upload = p.upload(1, "k");
    p.put_part(1, "k", upload, 1, 500);
    let chosen = p.complete_of(1, "k", upload, &[1]);
    let made = version(complete(&mut p, chosen.clone()));
    p.put(1, "k", 1, 1);
    assert_eq!(
        version(complete(&mut p, chosen.clone())).version,
        made.version
    );
    p.delete(1, "k", Some(made.version));
    assert_eq!(complete(&mut p, chosen), refused(Refusal::NoSuchUpload));
    check(&p);
}

#[test]
fn complete_is_compare_and_set() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    p.put_part(1, "k", upload, 1, 500);
    p.put_part(1, "k", upload, 2, 600);
    let read = p.complete_of(1, "k", upload, &[1, 2]);
    let mut wrongs = Vec::new();
    let mut wrong = |change: &dyn Fn(&mut CompleteUpload)| {
        let mut complete = read.clone();
        change(&mut complete);
        wrongs.push(complete);
    };
    wrong(&|c| c.parts.clear());
    wrong(&|c| c.parts.reverse());
    wrong(&|c| c.parts[1].number = 1);
    wrong(&|c| c.parts[1].number = 3);
    wrong(&|c| c.parts[1].offset += 1);
    wrong(&|c| c.parts[1].size += 1);
    wrong(&|c| c.size += 1);
    wrong(&|c| c.parts[0].data = c.parts[1].data);
    for complete_wrong in wrongs {
        assert_eq!(complete(&mut p, complete_wrong), refused(Refusal::Changed));
    }
    p.put_part(1, "k", upload, 2, 600);
    assert_eq!(
        complete(&mut p, read),
        refused(Refusal::Changed),
        "part 2 was replaced meanwhile"
    );
    assert_eq!(p.dead().len(), 1);
    check(&p);
    let read = p.complete_of(1, "k", upload, &[1, 2]);
    assert_eq!(version(complete(&mut p, read)).size, 1_100);
    check(&p);
}

#[test]
fn conditions_hold_at_completion_and_leave_the_upload() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    p.put_part(1, "k", upload, 1, 500);
    p.put(1, "k", 1, 1);
    let mut read = p.complete_of(1, "k", upload, &[1]);
    read.condition = Condition {
        if_none_match: Some(EtagMatch::Any),
        ..Condition::default()
    };
    assert_eq!(
        complete(&mut p, read.clone()),
        refused(Refusal::PreconditionFailed)
    );
    assert_eq!(p.count(Table::Uploads), 1);
    p.delete(1, "k", None);
    assert!(matches!(complete(&mut p, read.clone()), Answer::Version(_)));
    assert!(
        matches!(complete(&mut p, read), Answer::Version(_)),
        "repeated, whatever its condition"
    );
    check(&p);
}

#[test]
fn abort_gives_everything_back() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    for number in 1..=300 {
        p.put_part(
            1,
            "k",
            upload,
            number,
            if number % 2 == 0 { 10 } else { 200 },
        );
    }
    check(&p);
    let late = p.complete_of(1, "k", upload, &[1, 2]);
    assert_eq!(abort(&mut p, upload), Answer::Done);
    check(&p);
    assert_eq!(super::counters(&p), []);
    assert_eq!(complete(&mut p, late), refused(Refusal::NoSuchUpload));
    assert_eq!(
        p.put_part(1, "k", upload, 1, 10),
        refused(Refusal::NoSuchUpload)
    );
    assert_eq!(abort(&mut p, upload), refused(Refusal::NoSuchUpload));
    let dead = p.dead();
    assert_eq!(dead.len(), 1, "one row whatever it held");
    assert_eq!(dead[0].2.thing, DeadThing::Manifest(upload));
    p.apply(Change::Freed {
        bucket: dead[0].0,
        key: key("k"),
        dead: upload.0,
    });
    check(&p);
    assert_eq!(
        p.dead().len(),
        1 + 128,
        "256 at once, half of them inline and gone"
    );
    assert!(
        p.dead()
            .iter()
            .all(|(_, _, row)| (row.since, row.index) == (dead[0].2.since, dead[0].2.index))
    );
    p.collect();
    for table in [
        Table::Parts,
        Table::Inline,
        Table::Dead,
        Table::UploadParts,
        Table::Uploads,
    ] {
        assert_eq!(p.count(table), 0, "{table:?}");
    }
}

#[test]
fn ids_in_use_are_refused() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    p.put_part(1, "k", upload, 1, 500);
    let create = |p: &mut Partition| {
        let create = engine_core::meta::CreateUpload {
            bucket: p.bucket(1),
            key: key("k"),
            upload,
            attributes: attributes(),
            initiator_name: String::new(),
            initiator: engine_types::AccountId(1),
            checksum: None,
        };
        p.apply(Change::CreateUpload(Box::new(create)))
    };
    assert_eq!(create(&mut p), refused(Refusal::TooOld));
    abort(&mut p, upload);
    assert_eq!(
        create(&mut p),
        refused(Refusal::TooOld),
        "its parts are not collected yet"
    );
    let mut put = p.put_of(1, "other", 500, 1);
    let part = put.part.clone();
    assert!(matches!(
        p.apply(Change::PutVersion(Box::new(put.clone()))),
        Answer::Version(_)
    ));
    put.part = part;
    assert_eq!(
        p.apply(Change::PutVersion(Box::new(put))),
        refused(Refusal::TooOld),
        "data id in use"
    );
    check(&p);
}

#[test]
fn part_numbers_at_the_limit_and_one_past_it() {
    let mut p = Partition::with_buckets(1);
    let upload = p.upload(1, "k");
    let last = PART_NUMBER_MAX;
    for (number, fits) in [(0, false), (1, true), (last, true), (last + 1, false)] {
        let put = PutPart {
            bucket: p.bucket(1),
            key: key("k"),
            upload,
            number,
            part: p.part(1),
            checksum: None,
            declared: None,
            charged_to: attributes().charged_to,
        };
        let answer = p.apply(Change::PutPart(Box::new(put)));
        assert_eq!(matches!(answer, Answer::Part(_)), fits, "{number}");
    }
}
