//! At most once.

use super::refused;
use crate::keys::Table;
use crate::state::tx::Clock;
use crate::state::{DONE_KEPT_MS, clock};
use crate::testing::{BEGIN, Partition, version};
use engine_core::meta::{Answer, Change, Command, Condition, EtagMatch, Refusal};
use engine_types::{BirthId, BucketId, CommandId, Order};

#[test]
fn a_replayed_command_answers_the_same_and_changes_nothing() {
    let mut p = Partition::with_buckets(1);
    let put = p.put_of(1, "k", 500, 1);
    let command = Command {
        id: p.id(),
        change: Change::PutVersion(Box::new(put)),
    };
    let first = p.again(command.clone());
    p.put(1, "k", 1, 2);
    p.now = p.now.plus_ms(1_000);
    let mut before = p.rows.clone();
    assert_eq!(p.again(command), first);
    let mut after = p.rows.clone();
    for rows in [&mut before, &mut after] {
        rows.0.retain(|key, _| key[0] != Table::Clock as u8);
    }
    assert_eq!(before, after);
}

#[test]
fn a_refusal_is_final_for_its_command() {
    let mut p = Partition::with_buckets(1);
    p.put(1, "k", 1, 1);
    let mut put = p.put_of(1, "k", 500, 2);
    put.condition = Condition {
        if_none_match: Some(EtagMatch::Any),
        ..Condition::default()
    };
    let command = Command {
        id: p.id(),
        change: Change::PutVersion(Box::new(put)),
    };
    assert_eq!(
        p.again(command.clone()),
        refused(Refusal::PreconditionFailed)
    );
    p.delete(1, "k", None);
    // Its writer has deleted the shards by now: a second copy in the log must not commit them.
    assert_eq!(p.again(command), refused(Refusal::PreconditionFailed));
}

#[test]
fn too_old_at_the_limit_and_one_past_it() {
    let mut p = Partition::with_buckets(1);
    let at = |p: &mut Partition, age| {
        let id = CommandId::born(p.now.minus_ms(age), p.entropy());
        p.again(Command {
            id,
            change: Change::DeleteBucket { id: BucketId(9) },
        })
    };
    assert_eq!(at(&mut p, DONE_KEPT_MS), Answer::Done);
    assert_eq!(at(&mut p, DONE_KEPT_MS + 1), refused(Refusal::TooOld));
}

#[test]
fn old_answers_are_removed_a_few_at_a_time_and_never_needed_again() {
    let mut p = Partition::with_buckets(1);
    for n in 0..2_000 {
        p.put(1, &format!("k{n}"), 1, 1);
    }
    let command = p.log.last().unwrap().command.clone();
    p.now = BEGIN.plus_ms(DONE_KEPT_MS + 1);
    let before = p.count(Table::Done);
    assert!(before >= 2_000);
    for n in 0..31 {
        p.put(1, &format!("k{n}"), 1, 1);
    }
    for n in 0..1_100 {
        let had = p.count(Table::Done);
        p.put(1, &format!("k{n}"), 1, 1);
        assert!(had + 1 - p.count(Table::Done) <= 64);
    }
    assert!(
        p.count(Table::Done) < 1_131 + 64,
        "they catch up: {}",
        p.count(Table::Done)
    );
    assert_eq!(p.again(command), refused(Refusal::TooOld));
}

#[test]
fn ticks_move_the_stamp_and_leave_nothing() {
    let mut p = Partition::with_buckets(1);
    let done = p.count(Table::Done);
    p.now = p.now.plus_ms(50);
    assert_eq!(p.apply(Change::Tick), Answer::Done);
    assert_eq!(p.count(Table::Done), done);
    p.now = BEGIN;
    let made = p.put(1, "k", 1, 1);
    assert_eq!(
        made.order.stamp,
        BEGIN.plus_ms(50),
        "a leader's clock behind is not followed"
    );
    let put = p.put_of(1, "k", 1, 1);
    let id = CommandId::born(BEGIN, [3; 10]);
    let next = version(p.again(Command {
        id,
        change: Change::PutVersion(Box::new(put)),
    }));
    assert!(next.order > made.order);
}

#[test]
fn an_order_never_comes_twice_when_its_count_runs_out() {
    let mut p = Partition::with_buckets(1);
    let full = Clock {
        order: Order {
            stamp: BEGIN,
            seq: u32::MAX - 1,
        },
        ..clock(&p.rows).unwrap()
    };
    let row = engine_core::meta::encode(&full);
    p.rows.0.insert(vec![Table::Clock as u8], row);
    let last = p.put(1, "k", 1, 1).order;
    let next = p.put(1, "k", 1, 1).order;
    assert_eq!((last.seq, next.seq), (u32::MAX, 0));
    assert!(next > last);
}
