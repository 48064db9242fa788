//! Scrub and emptying: what is damaged or lost is found, named and made anew; sparse segments go.

use crate::support::{
    Cluster, TestEntropy, bytes, clock, collect, key_file, keyring_parts, open_drive, quick,
};
use engine_core::meta::{BodyStart, Slot};
use engine_core::ports::{DriveFiles, Metadata, ShardStore};
use engine_node::scrub::{Finding, FindingKind, FindingState};
use engine_node::{Engine, EngineOptions, EngineParts, Keyring};
use engine_sim::Fault;
use engine_types::{BootId, NodeId};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const SOON: Duration = Duration::from_millis(10);

/// No pass but those asked for; no pace.
pub(crate) fn busy() -> EngineOptions {
    EngineOptions {
        background: true,
        gc_grace: Duration::ZERO,
        gc_period: SOON,
        report_period: SOON,
        repair_period: SOON,
        scrub_period: SOON,
        scrub_bytes_per_s_min: 1 << 40,
        ..quick()
    }
}

/// Copies of an object, in shard order; the pin is let go.
pub(crate) async fn slots(cluster: &Cluster, name: &str) -> Vec<Slot> {
    match cluster.found(name).await.found.body {
        Some(BodyStart::Part(part)) => part.stripes[0].slots.iter().flatten().copied().collect(),
        other => panic!("{other:?}"),
    }
}

impl Cluster {
    pub(crate) fn store(&self, slot: Slot) -> &engine_sim::FakeShardStore {
        let drive = self.drives.iter().find(|drive| drive.row.id == slot.drive);
        &drive.unwrap().store
    }

    /// A whole pass over everything, and all that it found made anew.
    pub(crate) async fn scrub(&self) -> Vec<Finding> {
        let pass = |c: &Self| c.engine.scrub_status().drives.iter().map(|d| d.pass).max();
        self.at_rest().await;
        let before = pass(self);
        let known = self.engine.scrub_status().findings.len();
        self.engine.scrub_start(None).unwrap();
        self.until("it begins", |c| pass(c) > before).await;
        self.at_rest().await;
        self.engine.scrub_status().findings.split_off(known)
    }

    /// A cluster whose first passes, over nothing, are over.
    pub(crate) async fn idle(options: EngineOptions) -> Self {
        let cluster = Self::with(6, options).await;
        cluster
            .until("the first passes end", |c| {
                let status = c.engine.scrub_status();
                let ended = status.drives.iter().filter(|d| d.ended > 0).count();
                ended == 6 && status.maps_ended > 0
            })
            .await;
        cluster
    }

    /// Damaged shards of the passes under way or last.
    fn damaged(&self) -> u64 {
        let drives = self.engine.scrub_status().drives;
        drives.iter().map(|of| of.damaged).sum()
    }

    pub(crate) async fn at_rest(&self) {
        self.until("it ends", |c| {
            // Dead copies are freed behind the watermark of a clock that moves.
            c.metadata.advance(1);
            let status = c.engine.scrub_status();
            !status.maps_running && status.drives.iter().all(|d| !d.running && d.open == 0)
        })
        .await;
    }
}

pub(crate) fn names(findings: &[Finding]) -> Vec<(FindingKind, FindingState, String)> {
    let name = |f: &Finding| {
        let object = f
            .object
            .clone()
            .map(|(bucket, key)| format!("{bucket}/{key}"));
        (f.kind, f.state, object.unwrap_or_default())
    };
    findings.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_are_found_named_and_made_anew() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 1);
    for name in ["a", "b", "c"] {
        cluster.put(name, &sent).await.unwrap();
    }
    // Data and parity; and one whose header does not say whose it is.
    let hurt = [slots(&cluster, "a").await[1], slots(&cluster, "b").await[5]];
    for slot in hurt {
        assert!(cluster.store(slot).damage(slot.token, 70_000));
    }
    let headless = slots(&cluster, "c").await[0];
    assert!(cluster.store(headless).damage_header(headless.token));
    let mut found = names(&cluster.scrub().await);
    found.sort_by(|a, b| a.2.cmp(&b.2));
    let repaired = |name: &str| {
        (
            FindingKind::Damaged,
            FindingState::Repaired,
            format!("first/{name}"),
        )
    };
    assert_eq!(found, [repaired("a"), repaired("b"), repaired("c")]);
    for (name, slot) in [("a", hurt[0]), ("b", hurt[1]), ("c", headless)] {
        assert!(!slots(&cluster, name).await.contains(&slot), "{name}");
    }
    assert_eq!(
        names(&cluster.scrub().await),
        [],
        "a second one finds nothing"
    );
    assert_eq!(cluster.damaged(), 0);
    // Now any two may go.
    for n in [0, 3] {
        cluster.drives[n].store.fail("gone");
    }
    for name in ["a", "b", "c"] {
        assert!(cluster.all(name).await.unwrap() == sent, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_an_index_lost_is_found_by_the_stripe_maps() {
    let cluster = Cluster::idle(busy()).await;
    let sent = bytes(300_000, 2);
    cluster.put("k", &sent).await.unwrap();
    let lost = slots(&cluster, "k").await[4];
    assert!(cluster.store(lost).lose(lost.token));
    assert_eq!(cluster.shards(), 5);
    let found = names(&cluster.scrub().await);
    let repaired = (
        FindingKind::Missing,
        FindingState::Repaired,
        "first/k".to_owned(),
    );
    assert_eq!(found, [repaired]);
    assert_eq!(cluster.shards(), 6);
    assert!(cluster.all("k").await.unwrap() == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_names_is_not_repaired() {
    let cluster = Cluster::idle(EngineOptions {
        gc_grace: Duration::from_mins(1),
        ..busy()
    })
    .await;
    cluster.put("k", &bytes(300_000, 3)).await.unwrap();
    let dead = slots(&cluster, "k").await[2];
    cluster.put("k", &bytes(300_000, 4)).await.unwrap();
    assert!(cluster.store(dead).damage(dead.token, 5));
    assert_eq!(names(&cluster.scrub().await), []);
    assert_eq!(cluster.shards(), 12);
    assert_eq!(cluster.damaged(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn footers_are_told_and_readings_are_dated() {
    let cluster = Cluster::idle(busy()).await;
    cluster.put("k", &bytes(300_000, 5)).await.unwrap();
    let drive = &cluster.drives[0];
    drive.store.rotate();
    drive.store.damage_footer(1);
    let found = cluster.scrub().await;
    assert_eq!(
        names(&found),
        [(FindingKind::Footer, FindingState::Repaired, String::new())]
    );
    assert_eq!(
        (found[0].drive, found[0].place),
        (drive.row.id, Some((1, 0)))
    );
    let entry = drive.store.placed((0, 0), 1).await.unwrap()[0].clone();
    let read = |offset| {
        cluster
            .engine
            .last_verified(drive.row.id, entry.token, (1, offset))
    };
    assert!(read(entry.offset).is_some());
    assert_eq!(
        read(entry.offset + 4096),
        None,
        "what came later was not read"
    );
    assert_eq!(names(&cluster.scrub().await), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_last_pass_was() {
    // Slow enough that a pass does not end by itself.
    let options = EngineOptions {
        scrub_bytes_per_s_min: 1,
        ..busy()
    };
    let cluster = Cluster::idle(options.clone()).await;
    for n in 0..4 {
        cluster
            .put(&format!("k{n}"), &bytes(300_000, n))
            .await
            .unwrap();
    }
    let bad = slots(&cluster, "k0").await[0];
    assert!(cluster.store(bad).damage_header(bad.token));
    cluster.metadata.set_down(true);
    cluster.engine.scrub_start(Some(bad.drive)).unwrap();
    let of = |engine: &Engine| {
        let all = engine.scrub_status().drives;
        all.into_iter().find(|d| d.drive == bad.drive)
    };
    cluster
        .until("it waits for the metadata", |c| {
            of(&c.engine).is_some_and(|d| d.open == 1 && !d.running)
        })
        .await;
    let files = &cluster
        .drives
        .iter()
        .find(|d| d.row.id == bad.drive)
        .unwrap()
        .files;
    let kept = files.read("shards/scrub").unwrap();
    let before = of(&cluster.engine).unwrap();
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    cluster.metadata.set_down(false);
    let engine = second(&cluster, options).await;
    let begun = Instant::now();
    while of(&engine).is_none_or(|d| d.open > 0 || engine.scrub_status().maps_running) {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "{:?}",
            engine.scrub_status()
        );
        cluster.metadata.advance(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let now = of(&engine).unwrap();
    assert_eq!(
        (now.pass, now.started),
        (before.pass, before.started),
        "not begun anew"
    );
    assert!(
        !slots(&cluster, "k0").await.contains(&bad),
        "made anew after the restart"
    );
    assert!(kept.starts_with(b"DMSCRUB\n"));
    assert!(engine.shutdown(Duration::from_secs(10)).await);
}

/// The next start over the same drives.
pub(crate) async fn second(cluster: &Cluster, options: EngineOptions) -> Engine {
    let files = cluster
        .drives
        .iter()
        .map(|d| Arc::new(d.files.clone()) as Arc<dyn DriveFiles>);
    let clock = clock();
    let keyring = Keyring::open(keyring_parts(files.collect(), BootId(2)), key_file());
    Engine::start(EngineParts {
        node: NodeId(1),
        boot: BootId(2),
        metadata: Arc::clone(&cluster.metadata) as Arc<dyn Metadata>,
        keyring: Arc::new(keyring.await.unwrap()),
        drives: cluster.drives.iter().map(open_drive).collect(),
        clock,
        entropy: Arc::new(TestEntropy),
        options,
    })
    .await
}

/// Five segments on each drive, all but the last sparse.
async fn sparse(options: EngineOptions) -> (Cluster, Vec<Vec<u8>>) {
    let cluster = Cluster::with(6, options).await;
    let mut sent = Vec::new();
    for n in 0..4 {
        sent.push(bytes(200_000, n));
        cluster
            .put(&format!("k{n}"), &sent[sent.len() - 1])
            .await
            .unwrap();
        for drive in &cluster.drives {
            drive.store.rotate();
        }
    }
    (cluster, sent)
}

fn emptying() -> EngineOptions {
    EngineOptions {
        empty_period: SOON,
        ..busy()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sparse_segments_are_emptied_behind_their_readers() {
    let (cluster, sent) = sparse(EngineOptions {
        background: false,
        ..emptying()
    })
    .await;
    let reader = cluster.found("k0").await;
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    let moved = |c: &Cluster, old: bool| {
        c.metadata.advance(1);
        c.drives.iter().all(|drive| {
            let uses = drive.store.segments();
            uses.iter().any(|of| of.segment == 5 && of.records == 4)
                && uses.iter().any(|of| of.segment < 5) == old
        })
    };
    let engine = second(
        &cluster,
        EngineOptions {
            gc_grace: Duration::from_hours(1),
            ..emptying()
        },
    )
    .await;
    cluster.until("all is moved", |c| moved(c, true)).await;
    // The reader's row still names the old copies.
    let read = cluster
        .engine
        .read(reader, 0..u64::MAX, None)
        .await
        .unwrap();
    assert!(collect(read).await.unwrap() == sent[0]);
    assert!(engine.shutdown(Duration::from_secs(10)).await);
    let engine = second(&cluster, emptying()).await;
    cluster
        .until("the old copies are freed", |c| moved(c, false))
        .await;
    for (n, sent) in sent.iter().enumerate() {
        assert!(cluster.all(&format!("k{n}")).await.unwrap() == *sent, "{n}");
    }
    assert!(engine.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn emptying_that_is_never_committed_frees_nothing() {
    let (cluster, sent) = sparse(EngineOptions {
        background: false,
        ..emptying()
    })
    .await;
    assert!(cluster.engine.shutdown(Duration::from_secs(10)).await);
    let options = EngineOptions {
        proposal_patience: Duration::from_millis(20),
        // Nothing else proposes meanwhile.
        report_period: Duration::from_hours(1),
        gc_period: Duration::from_hours(1),
        ..emptying()
    };
    cluster
        .metadata
        .inject(std::iter::repeat_n(Fault::Lost, 100_000));
    let engine = second(&cluster, options).await;
    cluster
        .until("copies are written", |c| c.shards() > 24 + 6)
        .await;
    assert!(engine.shutdown(Duration::from_secs(30)).await);
    for (n, sent) in sent.iter().enumerate() {
        for slot in slots(&cluster, &format!("k{n}")).await {
            cluster.store(slot).verify(slot.token).await.unwrap();
        }
        assert!(cluster.all(&format!("k{n}")).await.unwrap() == *sent, "{n}");
    }
}
