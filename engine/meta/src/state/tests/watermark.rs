//! Each sentence of the watermark's rule.

use super::refused;
use crate::state::{STAMP_AGE_MS, WATERMARK_LAG_MS};
use crate::testing::{BEGIN, Partition, key};
use engine_core::meta::{Answer, Change, NewPlace, Query, Refusal, Reply};
use engine_types::{BirthId, BootId, CopyToken, DataId, NodeId, Stamp};

fn report(p: &mut Partition, boot: u64, oldest: Option<Stamp>) -> Answer {
    p.apply(Change::Report {
        node: NodeId(1),
        boot: BootId(boot),
        oldest,
    })
}
fn advance(p: &mut Partition) -> Stamp {
    match p.apply(Change::AdvanceWatermark) {
        Answer::Watermark(stamp) => stamp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_boots_it_follows_a_minute_behind_and_never_goes_back() {
    let mut p = Partition::with_buckets(1);
    assert_eq!(advance(&mut p), BEGIN.minus_ms(WATERMARK_LAG_MS));
    p.now = BEGIN.minus_ms(500_000);
    assert_eq!(advance(&mut p), BEGIN.minus_ms(WATERMARK_LAG_MS));
    p.now = BEGIN.plus_ms(1);
    assert_eq!(advance(&mut p), BEGIN.plus_ms(1).minus_ms(WATERMARK_LAG_MS));
    let clock = Reply::Clock {
        stamp: p.now,
        watermark: p.now.minus_ms(WATERMARK_LAG_MS),
        applied: 4,
    };
    assert_eq!(p.ask(&Query::Clock), clock);
}

#[test]
fn a_late_report_of_an_older_write_does_not_take_it_back() {
    let mut p = Partition::with_buckets(1);
    let before = advance(&mut p);
    report(&mut p, 1, Some(before.minus_ms(3_600_000)));
    assert_eq!(advance(&mut p), before);
    let Reply::Clock { watermark, .. } = p.ask(&Query::Clock) else {
        panic!()
    };
    assert_eq!(watermark, before);
}

#[test]
fn an_open_write_holds_it_for_hours() {
    let mut p = Partition::with_buckets(1);
    let open = BEGIN.minus_ms(5);
    for hour in 0..7 {
        p.now = BEGIN.plus_ms(hour * 3_600_000);
        report(&mut p, 1, Some(open));
        assert!(advance(&mut p) <= open);
    }
    assert_eq!(advance(&mut p), open);
    report(&mut p, 1, None);
    assert_eq!(advance(&mut p), p.now.minus_ms(WATERMARK_LAG_MS));
}

#[test]
fn a_silent_boot_holds_it_at_its_last_report_until_it_is_fenced() {
    let mut p = Partition::with_buckets(1);
    report(&mut p, 1, None);
    p.now = BEGIN.plus_ms(3_600_000);
    // It may have begun a write right after that report, with the stamp it knew then.
    assert_eq!(advance(&mut p), BEGIN.minus_ms(STAMP_AGE_MS));
    assert_eq!(
        p.apply(Change::Fence {
            node: NodeId(1),
            boot: BootId(1)
        }),
        Answer::Done
    );
    assert_eq!(advance(&mut p), p.now.minus_ms(WATERMARK_LAG_MS));
    assert_eq!(
        report(&mut p, 1, None),
        refused(Refusal::Fenced),
        "it takes a new id"
    );
    assert!(matches!(report(&mut p, 2, None), Answer::Watermark(_)));
    let Reply::Boots(boots) = p.ask(&Query::Boots) else {
        panic!()
    };
    assert_eq!(
        (boots.len(), boots[0].1.boot, boots[0].1.fenced),
        (1, BootId(2), false)
    );
}

#[test]
fn a_starting_node_fences_its_predecessor_and_all_before() {
    let mut p = Partition::with_buckets(1);
    report(&mut p, 4, Some(BEGIN.minus_ms(900_000)));
    p.apply(Change::Fence {
        node: NodeId(1),
        boot: BootId(6),
    });
    assert_eq!(advance(&mut p), BEGIN.minus_ms(WATERMARK_LAG_MS));
    for boot in [3, 4, 5, 6] {
        assert_eq!(
            report(&mut p, boot, None),
            refused(Refusal::Fenced),
            "{boot}"
        );
    }
    report(&mut p, 7, None);
    p.apply(Change::Fence {
        node: NodeId(1),
        boot: BootId(6),
    });
    assert!(
        matches!(report(&mut p, 7, None), Answer::Watermark(_)),
        "an old fence does not hit it"
    );
    assert_eq!(report(&mut p, 6, None), refused(Refusal::Fenced));
}

#[test]
fn every_unfenced_boot_of_every_node_holds_it() {
    let mut p = Partition::with_buckets(1);
    for (node, age) in [(1, 100_000), (2, 300_000), (3, 200_000)] {
        let oldest = Some(BEGIN.minus_ms(age));
        p.apply(Change::Report {
            node: NodeId(node),
            boot: BootId(1),
            oldest,
        });
    }
    assert_eq!(advance(&mut p), BEGIN.minus_ms(300_000));
    p.apply(Change::Fence {
        node: NodeId(2),
        boot: BootId(1),
    });
    assert_eq!(advance(&mut p), BEGIN.minus_ms(200_000));
}

#[test]
fn ids_at_the_watermark_and_one_before_it() {
    let mut p = Partition::with_buckets(1);
    let watermark = advance(&mut p);
    let before = watermark.minus_ms(1);
    let with = |p: &mut Partition, data, token| {
        let mut put = p.put_of(1, "k", 500, 1);
        put.part.data = DataId::born(data, p.entropy());
        let NewPlace::Stripes(stripes) = &mut put.part.place else {
            panic!()
        };
        stripes[1].slots[0].as_mut().unwrap().token = CopyToken::born(token, [1; 10]);
        p.apply(Change::PutVersion(Box::new(put)))
    };
    assert_eq!(
        with(&mut p, before, watermark),
        refused(Refusal::TooOld),
        "data id"
    );
    assert_eq!(
        with(&mut p, watermark, before),
        refused(Refusal::TooOld),
        "copy token"
    );
    assert!(matches!(
        with(&mut p, watermark, watermark),
        Answer::Version(_)
    ));
    let upload = p.upload(1, "k");
    let mut part = p.part(10);
    part.data = DataId::born(before, [1; 10]);
    let put = engine_core::meta::PutPart {
        bucket: p.bucket(1),
        key: key("k"),
        upload,
        number: 1,
        part,
        checksum: None,
        declared: None,
        charged_to: crate::testing::attributes().charged_to,
    };
    assert_eq!(
        p.apply(Change::PutPart(Box::new(put))),
        refused(Refusal::TooOld)
    );
}
