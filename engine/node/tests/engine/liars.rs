//! Damage that checksums do not show, and damage that says nothing of its owner.

use crate::scrub::{SOON, busy, names, slots};
use crate::support::{Cluster, bytes};
use bytes::Bytes;
use engine_core::erasure::Codec;
use engine_core::format::{ShardHeader, ShardOwner, block_checksums};
use engine_core::meta::{Query, Slot};
use engine_core::ports::{Metadata, ShardStore};
use engine_node::scrub::{FindingKind, FindingState};
use engine_node::{EngineError, EngineOptions};
use engine_types::{BirthId, CopyToken, DataId};

/// Reads until the stripe names the copy no more.
async fn read_until_replaced(cluster: &Cluster, name: &str, sent: &[u8], copy: Slot) {
    let began = std::time::Instant::now();
    while slots(cluster, name).await.contains(&copy) {
        assert!(began.elapsed().as_secs() < 60, "{name} is made anew");
        assert!(cluster.all(name).await.unwrap() == sent, "{name}");
        tokio::time::sleep(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_checksums_hold_and_whose_bytes_are_wrong_is_made_anew() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 1);
    cluster.put("k", &sent).await.unwrap();
    let liar = slots(&cluster, "k").await[2];
    assert!(cluster.store(liar).falsify(liar.token, 70_000));
    assert_eq!(names(&cluster.scrub().await), [], "no checksum tells");
    read_until_replaced(&cluster, "k", &sent, liar).await;
    // What was made instead is right: others are rebuilt from it.
    for slot in slots(&cluster, "k").await.into_iter().skip(3).take(2) {
        cluster.store(slot).fail("gone");
    }
    assert!(cluster.all("k").await.unwrap() == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_says_it_is_another_shard_is_made_anew() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 2);
    cluster.put("k", &sent).await.unwrap();
    let other = slots(&cluster, "k").await[1];
    assert!(cluster.store(other).mislabel(other.token));
    read_until_replaced(&cluster, "k", &sent, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_headless_record_that_no_stripe_names_is_freed_once_the_maps_were_searched() {
    let cluster = Cluster::idle(busy()).await;
    cluster.put("k", &bytes(300_000, 3)).await.unwrap();
    let partition = cluster.bucket.reference.partition;
    let born = cluster.metadata.stamp(partition).await.unwrap();
    let token = CopyToken::born(born, [1; 10]);
    orphan(&cluster, token).await;
    let store = &cluster.drives[0].store;
    assert!(store.damage_header(token));
    cluster.engine.scrub_start(None).unwrap();
    cluster
        .until("it is found", |c| {
            let found = c.engine.scrub_status().findings;
            found.iter().any(|f| f.state == FindingState::Searched)
        })
        .await;
    assert!(
        store.tokens().contains(&token),
        "what was written lately may be named yet"
    );
    cluster.metadata.advance(120_000);
    cluster.at_rest().await;
    assert!(!store.tokens().contains(&token));
    assert_eq!(cluster.shards(), 6, "and nothing else");
    let found = names(&cluster.engine.scrub_status().findings);
    assert_eq!(
        found,
        [(FindingKind::Damaged, FindingState::Repaired, String::new())]
    );
}

/// A shard on the first drive that was written and never committed.
async fn orphan(cluster: &Cluster, token: CopyToken) {
    let payload = Bytes::from(bytes(64, 2));
    let born = token.birth();
    let header = ShardHeader {
        codec: Codec::Cauchy,
        drive: cluster.drives[0].row.uuid,
        segment: 0,
        offset: 0,
        partition: cluster.bucket.reference.partition,
        owner: ShardOwner::Object {
            bucket: cluster.bucket.row.id,
            key: crate::support::key("k"),
        },
        data: DataId::born(born, [1; 10]),
        part: 1,
        stripe: 0,
        k: 1,
        m: 0,
        index: 0,
        token,
        stripe_length: 64,
        payload_length: 64,
        block_crcs: block_checksums(&payload),
    };
    let store = &cluster.drives[0].store;
    store.append(header, payload).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_that_cannot_be_mended_does_not_stop_the_others() {
    let options = EngineOptions {
        probe_period: SOON,
        scrub_period: std::time::Duration::from_hours(1),
        // The walk over all stripes would mend it as well.
        rebuild_period: std::time::Duration::from_hours(1),
        ..busy()
    };
    let cluster = Cluster::with(6, options).await;
    // As would the one at the start.
    cluster
        .until("that is over", |c| c.engine.rebuild_status().walks > 0)
        .await;
    cluster.drives[5].store.fail("gone");
    let sent = bytes(300_000, 4);
    for name in ["a", "b"] {
        cluster.put(name, &sent).await.unwrap();
    }
    // Of the first stripe in the queue two more shards are lost: three of six are left.
    let first: Vec<Slot> = slots(&cluster, "a").await;
    for slot in &first[..2] {
        assert!(cluster.store(*slot).damage(slot.token, 5));
    }
    cluster.drives[5].store.reopen();
    let began = std::time::Instant::now();
    while slots(&cluster, "b").await.len() < 6 {
        assert!(began.elapsed().as_secs() < 60, "the other is made whole");
        tokio::time::sleep(SOON).await;
    }
}

/// With a drive out its shard is rebuilt, and each of the others may be what it is rebuilt from.
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_found_among_what_a_shard_is_rebuilt_from() {
    let cluster = Cluster::new(6).await;
    let sent = bytes(300_000, 6);
    cluster.put("k", &sent).await.unwrap();
    let slots = slots(&cluster, "k").await;
    cluster.store(slots[0]).fail("gone");
    let mut reports = cluster.engine.damage().unwrap();
    for (index, liar) in slots.iter().copied().enumerate().skip(1) {
        assert!(cluster.store(liar).falsify(liar.token, 10_000));
        // All that lies in the shard that is gone, and all that lies in the liar.
        assert!(cluster.all("k").await.unwrap() == sent, "{index}");
        // Parity that nothing was rebuilt from was not looked at.
        let blamed: Vec<Slot> = std::iter::from_fn(|| reports.pop())
            .filter(|damage| damage.lies)
            .map(|damage| Slot {
                drive: damage.drive,
                token: damage.token,
            })
            .collect();
        assert_eq!(
            blamed,
            if index < 5 { vec![liar] } else { vec![] },
            "{index}"
        );
        // As it was.
        assert!(cluster.store(liar).falsify(liar.token, 10_000));
    }
    // Two are one too many while a drive that would tell is out.
    for liar in &slots[1..3] {
        assert!(cluster.store(*liar).falsify(liar.token, 10_000));
    }
    let two = cluster.all("k").await;
    assert!(matches!(two, Err(EngineError::Unavailable(_))), "{two:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shard_is_not_made_of_a_lie() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 5);
    cluster.put("k", &sent).await.unwrap();
    let copies = slots(&cluster, "k").await;
    let (liar, lost) = (copies[0], copies[4]);
    assert!(cluster.store(liar).falsify(liar.token, 20_000));
    assert!(cluster.store(lost).lose(lost.token));
    cluster.engine.scrub_start(None).unwrap();
    cluster
        .until("it is missed", |c| {
            !c.engine.scrub_status().findings.is_empty()
        })
        .await;
    // Its repair is tried, and tried again.
    let repairs = Query::Repairs {
        after: None,
        limit: 1,
    };
    cluster.round_of(&repairs).await;
    read_until_replaced(&cluster, "k", &sent, liar).await;
    cluster.at_rest().await;
    assert!(
        !slots(&cluster, "k").await.contains(&lost),
        "made anew by now"
    );
    for slot in &slots(&cluster, "k").await[2..4] {
        cluster.store(*slot).fail("gone");
    }
    assert!(cluster.all("k").await.unwrap() == sent);
}
