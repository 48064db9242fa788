//! Drives that go and come: rebuilding, emptying, re-striping. A program of its own, because its
//! walks take the machine's cores from tests that count on their time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: they stop where something is not as it must be"
)]

#[path = "../engine/support.rs"]
#[expect(dead_code, reason = "shared with the other program")]
mod support;

mod departed;
mod layout;
mod liars;

use engine_core::meta::{
    Change, Command, Condition, NewPart, NewPlace, PartKey, PutVersion, STRIPE_CHUNK, Slot, Stripe,
};
use engine_core::placement::LayoutChange;
use engine_core::ports::Metadata;
use engine_node::{Engine, EngineOptions, EngineParts, RebuildPhase};
use engine_sim::Fault;
use engine_types::{
    BirthId, BootId, CommandId, CopyToken, DataId, DriveId, ETag, NodeId, PartitionId,
};
use layout::{
    at_rest, busy, change, dead, fill, join, layout, leave, reads_all, replace, stay, stripes,
    stripes_of,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Cluster, bytes, clock, make_bucket, open_drive, quick, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_drives_shards_are_rebuilt_on_its_replacement() {
    let mut cluster = Cluster::with(6, busy()).await;
    let sent = fill(&cluster).await;
    cluster.drives[2].store.fail("dead");
    cluster.engine.drives().remove(DriveId(3));
    replace(&mut cluster, 3, true).await;
    at_rest(&cluster, 4, 2).await;
    let stripes = stripes(&cluster).await.len();
    assert_eq!(cluster.drives[6].store.tokens().len(), stripes);
    // Two others may go now.
    cluster.drives[0].store.fail("gone");
    cluster.drives[5].store.fail("gone");
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_majority_does_not_keep_the_others_from_being_rebuilt() {
    let mut cluster = Cluster::with(6, busy()).await;
    let sent = fill(&cluster).await;
    for n in 0..20 {
        let bucket = make_bucket(&cluster.engine, &format!("other-{n}")).await;
        let (bucket, body) = (bucket.unwrap(), bytes(20_000, n));
        let put = request(&bucket, "k", &body);
        cluster.engine.put(put).await.unwrap();
    }
    let all = stripes(&cluster).await.len();
    let (mut silent, mut held) = (PartitionId::CONTROL, 0);
    for partition in cluster.metadata.partitions() {
        let here = stripes_of(&cluster, partition).await.len();
        if here > 0 && held == 0 {
            (silent, held) = (partition, here);
        }
    }
    assert!(held > 0 && held < all, "{held} of {all}");
    cluster.metadata.set_majority(silent, false);
    cluster.drives[2].store.fail("dead");
    cluster.engine.drives().remove(DriveId(3));
    replace(&mut cluster, 3, true).await;
    cluster
        .until("the others are rebuilt", |c| {
            c.drives[6].store.tokens().len() == all - held
        })
        .await;
    cluster.metadata.set_majority(silent, true);
    // A walk that left it out is made again by itself, though not at once.
    cluster.engine.start_rebuild();
    at_rest(&cluster, 4, 2).await;
    assert_eq!(cluster.drives[6].store.tokens().len(), all);
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_has_departed_only_when_no_write_can_name_it_any_more() {
    let mut cluster = Cluster::with(6, busy()).await;
    fill(&cluster).await;
    replace(&mut cluster, 3, false).await;
    at_rest(&cluster, 4, 2).await;
    cluster
        .until("emptied", |c| c.drives[2].store.tokens().is_empty())
        .await;
    let walks = cluster.engine.rebuild_status().walks;
    cluster.engine.start_rebuild();
    cluster
        .until("walked", |c| c.engine.rebuild_status().walks > walks)
        .await;
    let departed = |c: &Cluster| c.engine.rebuild_status().departed.contains(&DriveId(3));
    assert!(!departed(&cluster), "a write may still be under way");
    cluster.metadata.advance(120_000);
    cluster.until("departed", departed).await;
    change(&cluster, LayoutChange::Drop(DriveId(3))).await;
    assert_eq!(layout(&cluster).await.counted(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_drive_has_departed_while_a_partition_does_not_say_what_it_names() {
    let mut cluster = Cluster::with(6, busy()).await;
    fill(&cluster).await;
    replace(&mut cluster, 3, false).await;
    at_rest(&cluster, 4, 2).await;
    cluster.metadata.advance(120_000);
    let departed = |c: &Cluster| c.engine.rebuild_status().departed.contains(&DriveId(3));
    cluster.until("departed", departed).await;
    let silent = PartitionId(1);
    cluster.metadata.set_majority(silent, false);
    cluster.engine.start_rebuild();
    cluster.until("unsaid", |c| !departed(c)).await;
    cluster.metadata.set_majority(silent, true);
    cluster.engine.start_rebuild();
    cluster.until("departed again", departed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_is_emptied_onto_the_others() {
    let cluster = Cluster::with(8, busy()).await;
    let sent = fill(&cluster).await;
    leave(&cluster, 4).await;
    at_rest(&cluster, 4, 2).await;
    cluster
        .until("emptied", |c| c.drives[3].store.tokens().is_empty())
        .await;
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_joins_takes_its_share_and_nothing_else_moves() {
    let mut cluster = Cluster::with(6, busy()).await;
    let mut sent = fill(&cluster).await;
    for n in 0..30 {
        let (name, body) = (format!("more-{n}"), bytes(30_000, n));
        cluster.put(&name, &body).await.unwrap();
        sent.push((name, body));
    }
    at_rest(&cluster, 4, 2).await;
    let before = stripes(&cluster).await;
    join(&mut cluster).await;
    let joined = cluster.drives[6].row.id;
    let wanted = |stripe: &Stripe| {
        let mut slots = stripe.slots.iter().flatten();
        slots.any(|slot| slot.drive == joined)
    };
    cluster
        .until("it has some, and a walk finds nothing more", |c| {
            let status = c.engine.rebuild_status();
            !c.drives[6].store.tokens().is_empty() && status.phase == RebuildPhase::Idle
        })
        .await;
    at_rest(&cluster, 4, 2).await;
    let after = stripes(&cluster).await;
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let slots = before.slots.iter().zip(&after.slots);
        let moved = slots.filter(|(before, after)| before != after).count();
        assert_eq!(moved, usize::from(wanted(after)), "{before:?} {after:?}");
    }
    let share = after.iter().filter(|stripe| wanted(stripe)).count();
    assert!(
        share > after.len() / 2,
        "six sevenths are due: {share} of {}",
        after.len()
    );
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_called_off_leaves_the_drive_in_use_and_may_be_asked_for_again() {
    let cluster = Cluster::with(8, busy()).await;
    let mut sent = fill(&cluster).await;
    leave(&cluster, 4).await;
    let walks = cluster.engine.rebuild_status().walks;
    stay(&cluster, 4).await;
    cluster.metadata.advance(120_000);
    cluster.engine.start_rebuild();
    cluster
        .until("walked", |c| c.engine.rebuild_status().walks > walks)
        .await;
    at_rest(&cluster, 4, 2).await;
    assert_eq!(cluster.engine.rebuild_status().departed, [].into());
    for n in 0..20 {
        let (name, body) = (format!("again-{n}"), bytes(30_000, n));
        cluster.put(&name, &body).await.unwrap();
        sent.push((name, body));
    }
    assert!(
        cluster.drives[3].store.tokens().len() > 5,
        "it takes shards again: three of four stripes have one there"
    );
    leave(&cluster, 4).await;
    at_rest(&cluster, 4, 2).await;
    cluster
        .until("emptied", |c| c.drives[3].store.tokens().is_empty())
        .await;
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fewer_drives_all_is_striped_anew() {
    let cluster = Cluster::with(6, busy()).await;
    let sent = fill(&cluster).await;
    leave(&cluster, 1).await;
    at_rest(&cluster, 2, 2).await;
    cluster.drives[1].store.fail("gone");
    cluster.drives[2].store.fail("gone");
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_narrow_is_striped_anew_when_the_drives_are_back() {
    let cluster = Cluster::with(6, busy()).await;
    for n in [1, 4] {
        cluster.drives[n].store.fail("out");
    }
    cluster
        .until("seen", |c| {
            let out = c.engine.drives().status();
            out.iter()
                .filter(|d| matches!(d.service, engine_node::Service::Out(_)))
                .count()
                <= 2
        })
        .await;
    let sent = fill(&cluster).await;
    assert!(stripes(&cluster).await.iter().all(|s| (s.k, s.m) == (2, 2)));
    for n in [1, 4] {
        cluster.drives[n].store.reopen();
    }
    at_rest(&cluster, 4, 2).await;
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_dead_waits_for_a_drive_that_is_gone() {
    let mut cluster = Cluster::with(6, busy()).await;
    fill(&cluster).await;
    cluster.drives[2].store.fail("dead");
    for n in 0..5 {
        cluster
            .put(&format!("k{n}"), &bytes(50_000, 9))
            .await
            .unwrap();
    }
    cluster.metadata.advance(10);
    let waits = Instant::now() + Duration::from_millis(200);
    while Instant::now() < waits {
        assert!(dead(&cluster).await > 0, "the drive may come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    replace(&mut cluster, 3, true).await;
    at_rest(&cluster, 4, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_whose_commit_was_never_heard_of_are_orphans() {
    let options = EngineOptions {
        proposal_patience: Duration::ZERO,
        ..busy()
    };
    let mut cluster = Cluster::with(6, options).await;
    let sent = fill(&cluster).await;
    let stripes = stripes(&cluster).await.len();
    cluster.metadata.inject(vec![Fault::Lost; stripes]);
    replace(&mut cluster, 3, false).await;
    cluster
        .until("written, not committed", |c| {
            c.drives[6].store.tokens().len() == stripes
        })
        .await;
    let named = cluster.drives[2].store.tokens().len();
    assert_eq!(named, stripes, "what the maps still name is there");
    cluster.engine.start_rebuild();
    cluster
        .until("written twice", |c| {
            c.drives[6].store.tokens().len() == 2 * stripes
        })
        .await;
    cluster.metadata.advance(120_000);
    at_rest(&cluster, 4, 2).await;
    assert_eq!(cluster.drives[6].store.tokens().len(), stripes);
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_overtake_a_rebuild_win() {
    let mut cluster = Cluster::with(6, busy()).await;
    let mut sent = fill(&cluster).await;
    cluster.drives[2].store.fail("dead");
    replace(&mut cluster, 3, true).await;
    for round in 0..8 {
        for (n, (name, body)) in (0..).zip(&mut sent) {
            *body = bytes(30_000 + 1000 * n, 100 + round);
            cluster.put(name, body).await.unwrap();
        }
    }
    at_rest(&cluster, 4, 2).await;
    cluster.drives[0].store.fail("gone");
    cluster.drives[1].store.fail("gone");
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_last_left_off() {
    let mut cluster = Cluster::with(6, quick()).await;
    let sent = fill(&cluster).await;
    cluster.drives[2].store.fail("dead");
    cluster.engine.drives().remove(DriveId(3));
    replace(&mut cluster, 3, true).await;
    let served = [0, 1, 3, 4, 5, 6].map(|n: usize| open_drive(&cluster.drives[n]));
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    let parts = EngineParts {
        node: NodeId(1),
        boot: BootId(2),
        metadata: Arc::clone(&cluster.metadata) as Arc<dyn Metadata>,
        keyring: Arc::clone(cluster.engine.keyring()),
        drives: served.into(),
        clock: clock(),
        entropy: Arc::new(support::TestEntropy),
        options: busy(),
    };
    cluster.engine = Engine::start(parts).await;
    at_rest(&cluster, 4, 2).await;
    reads_all(&cluster, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_more_stripes_than_a_row_holds_is_counted_to_its_end() {
    let cluster = Cluster::with(7, busy()).await;
    let partition = cluster.bucket.reference.partition;
    let birth = cluster.metadata.stamp(partition).await.unwrap();
    let id = |n: u8| [n; 10];
    // One stripe more than a row of the map. No shard is there: it can be counted, not moved.
    let slot = |drive: u32| Slot {
        drive: DriveId(drive),
        token: CopyToken::born(birth, id(u8::try_from(drive).unwrap())),
    };
    let stripe = Stripe {
        codec: 1,
        k: 4,
        m: 2,
        length: 4096,
        slots: (1..=6).map(|drive| Some(slot(drive))).collect(),
    };
    let count = STRIPE_CHUNK as usize + 1;
    let part = NewPart {
        data: DataId::born(birth, id(9)),
        size: 1,
        md5: [0; 16],
        key: PartKey {
            version: None,
            wrapped: Vec::new().into(),
            context: None,
        },
        place: NewPlace::Stripes(vec![stripe; count]),
    };
    let put = PutVersion {
        bucket: cluster.bucket.reference,
        key: support::key("long"),
        condition: Condition::default(),
        attributes: support::attributes(),
        etag: ETag {
            md5: [0; 16],
            parts: 0,
        },
        checksum: None,
        part,
    };
    let command = Command {
        id: CommandId::born(birth, id(8)),
        change: Change::PutVersion(Box::new(put)),
    };
    cluster.metadata.apply(partition, command).unwrap();
    leave(&cluster, 5).await;
    let counted = |c: &Cluster| {
        let status = c.engine.rebuild_status();
        status.drives.get(&DriveId(5)).map(|left| left.shards)
    };
    cluster
        .until("all are counted", |c| counted(c) == Some(count as u64))
        .await;
}
