//! Drives and metadata that fail.

use crate::support::{Cluster, bytes, quick, request};
use engine_core::meta::{BodyStart, Slot};
use engine_core::stripes::STRIPE_PLAIN;
use engine_node::{EngineError, EngineOptions, Service};
use engine_sim::Fault;
use engine_types::DriveId;
use std::time::Duration;

fn slots(found: &engine_node::Found) -> Vec<Vec<Option<DriveId>>> {
    let Some(BodyStart::Part(part)) = &found.found.body else {
        panic!("one part")
    };
    let drives = |stripe: &engine_core::meta::Stripe| {
        stripe
            .slots
            .iter()
            .map(|slot| slot.map(|slot| slot.drive))
            .collect()
    };
    part.stripes.iter().map(drives).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_two_of_six_drives_may_go() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(STRIPE_PLAIN + 70_000, 1);
    cluster.put("k", &sent).await.unwrap();
    for first in 0..6 {
        for second in first + 1..6 {
            for n in [first, second] {
                cluster.drives[n].store.fail("pulled");
            }
            assert!(
                cluster.all("k").await.unwrap() == sent,
                "without {first} and {second}"
            );
            for drive in &cluster.drives {
                drive.store.reopen();
                let (row, store, files) = crate::support::open_drive(drive);
                cluster.engine.drives().add(row, store, files);
            }
        }
    }
    for n in [0, 2, 4] {
        cluster.drives[n].store.fail("pulled");
    }
    let three = cluster.all("k").await;
    assert!(
        matches!(three, Err(EngineError::Unavailable(_))),
        "{three:?}"
    );
    // Also of what lies in the shards that can still be read: an answer never begins that would be cut.
    let quarter = STRIPE_PLAIN as u64 / 4;
    for start in [0, quarter, 2 * quarter, 3 * quarter] {
        let one = cluster.get("k", start..start + 1).await;
        assert!(matches!(one, Err(EngineError::Unavailable(_))), "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_fails_during_a_put_costs_nothing() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(2 * STRIPE_PLAIN, 2);
    cluster.drives[3].store.fail("gone");
    cluster.put("k", &sent).await.unwrap();
    for stripe in slots(&cluster.found("k").await) {
        assert_eq!(stripe.len(), 6, "the geometry stays");
        assert_eq!(stripe.iter().filter(|slot| slot.is_none()).count(), 1);
        assert!(!stripe.contains(&Some(DriveId(4))));
    }
    assert!(matches!(
        cluster.engine.drives().status()[3].service,
        Service::Out(_)
    ));
    assert!(cluster.all("k").await.unwrap() == sent);
    cluster.drives[0].store.fail("gone");
    cluster.put("narrow", &sent).await.unwrap();
    for stripe in slots(&cluster.found("narrow").await) {
        assert_eq!(stripe.iter().flatten().count(), 4, "2+2 while four are up");
    }
    assert!(cluster.all("narrow").await.unwrap() == sent);
    cluster.drives[1].store.fail("gone");
    let refused = cluster.put("no", &sent).await;
    assert!(
        matches!(refused, Err(EngineError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(cluster.is_missing("no").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_drive_is_left_out_without_a_gap() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(100_000, 3);
    cluster.drives[2].store.set_full(true);
    cluster.put("k", &sent).await.unwrap();
    let found = cluster.found("k").await;
    assert_eq!(
        slots(&found)[0].iter().flatten().count(),
        4,
        "five writable of six: 2+2"
    );
    for drive in &cluster.drives {
        drive.store.set_full(true);
    }
    assert!(matches!(
        cluster.put("no", &sent).await,
        Err(EngineError::Full)
    ));
    let small = bytes(100, 4);
    cluster.put("small", &small).await.unwrap();
    assert_eq!(cluster.all("k").await.unwrap(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_drive_is_taken_out_and_raced() {
    let silence = Duration::from_secs(1);
    let cluster = Cluster::with(6, EngineOptions { silence, ..quick() }).await;
    let sent = bytes(300_000, 5);
    cluster.put("before", &sent).await.unwrap();
    cluster.drives[1].store.set_silent(true);
    assert_eq!(cluster.all("before").await.unwrap(), sent);
    cluster.put("during", &sent).await.unwrap();
    assert!(
        matches!(&cluster.engine.drives().status()[1].service, Service::Out(why) if why.contains("silent"))
    );
    assert_eq!(cluster.all("during").await.unwrap(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_comes_back_when_it_answers() {
    let options = EngineOptions {
        background: true,
        silence: Duration::from_secs(1),
        probe_period: Duration::from_millis(10),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    cluster.drives[1].store.set_silent(true);
    cluster.put("k", &bytes(300_000, 5)).await.unwrap();
    cluster
        .until("out", |c| {
            c.engine.drives().status()[1].service != Service::Up
        })
        .await;
    cluster.drives[1].store.set_silent(false);
    cluster
        .until("up", |c| {
            c.engine.drives().status()[1].service == Service::Up
        })
        .await;
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_read_around_and_reported() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(STRIPE_PLAIN, 6);
    cluster.put("k", &sent).await.unwrap();
    // The first are data shards: a healthy read asks for no parity.
    let slots = crate::scrub::slots(&cluster, "k").await;
    let damage = |slot: &Slot| assert!(cluster.store(*slot).damage(slot.token, 1000));
    slots[..2].iter().for_each(damage);
    assert!(cluster.all("k").await.unwrap() == sent);
    let mut reports = cluster.engine.damage().unwrap();
    assert!(cluster.engine.damage().is_none());
    let first = tokio::time::timeout(Duration::from_secs(10), reports.recv()).await;
    let first = first.expect("reported").drive;
    assert!(slots[..2].iter().any(|slot| slot.drive == first));
    damage(&slots[2]);
    let lost = cluster.all("k").await;
    assert!(matches!(lost, Err(EngineError::DataLost(_))), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_drive_keeps_whole_objects() {
    let cluster = Cluster::new(1).await;
    let sent = bytes(STRIPE_PLAIN + 1, 7);
    cluster.put("k", &sent).await.unwrap();
    assert!(cluster.all("k").await.unwrap() == sent);
    cluster.drives[0].store.fail("gone");
    assert!(matches!(
        cluster.put("l", &sent).await,
        Err(EngineError::Unavailable(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again() {
    let cluster = Cluster::new(6).await;
    cluster
        .engine
        .set_versioning(&cluster.bucket, engine_core::meta::Versioning::Enabled)
        .await
        .unwrap();
    let bucket = cluster.engine.bucket("first").await.unwrap();
    for faults in [
        vec![Fault::Lost],
        vec![Fault::AnswerLost],
        vec![Fault::AnswerLost, Fault::Lost],
    ] {
        cluster.metadata.inject(faults);
        cluster
            .engine
            .put(request(&bucket, "k", &bytes(50_000, 8)))
            .await
            .unwrap();
    }
    let page = engine_core::meta::ListQuery {
        limit: 10,
        ..Default::default()
    };
    let versions = cluster
        .engine
        .list_versions(&bucket, page, None)
        .await
        .unwrap();
    assert_eq!(versions.versions.len(), 3, "each put once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_leaves_the_shards_alone() {
    let options = EngineOptions {
        proposal_patience: Duration::from_millis(10),
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    cluster.metadata.inject([Fault::AnswerLost]);
    let sent = bytes(50_000, 9);
    let unknown = cluster.put("k", &sent).await;
    assert!(
        matches!(unknown, Err(EngineError::Unavailable(_))),
        "{unknown:?}"
    );
    // It was applied: freeing its shards would have lost it.
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    assert_eq!(cluster.all("k").await.unwrap(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_given_up_leaves_nothing() {
    let cluster = Cluster::new(6).await;
    let mut request = request(&cluster.bucket, "k", &bytes(STRIPE_PLAIN, 10));
    request.body.length += 10_000_000;
    let stuck = futures::StreamExt::boxed(futures::StreamExt::chain(
        request.body.stream,
        futures::stream::pending(),
    ));
    request.body.stream = stuck;
    let put = tokio::time::timeout(Duration::from_millis(300), cluster.engine.put(request)).await;
    assert!(put.is_err(), "it waits for the rest of the body");
    cluster.until("no shard is left", |c| c.shards() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_beyond_the_budget_wait_their_turn() {
    let options = EngineOptions {
        buffer_bytes: 0,
        ..quick()
    };
    let cluster = Cluster::with(6, options).await;
    let sent = bytes(2 * STRIPE_PLAIN, 11);
    let names: Vec<String> = (0..6).map(|n| format!("k{n}")).collect();
    let puts = names.iter().map(|name| cluster.put(name, &sent));
    for done in futures::future::join_all(puts).await {
        done.unwrap();
    }
    assert!(cluster.all("k5").await.unwrap() == sent);
}
