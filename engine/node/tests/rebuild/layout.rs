//! How drives come and go in these tests, and what must hold when all is at rest.

use crate::support::{Cluster, TestDrive, TestEntropy, bytes, drive, open_drive, quick};
use engine_core::meta::{
    Answer, Change, Command, ControlChange, ControlQuery, ControlReply, Query, Reply, Stripe,
};
use engine_core::placement::{DriveState, Layout, LayoutChange};
use engine_core::ports::{Entropy, Metadata};
use engine_core::stripes::STRIPE_PLAIN;
use engine_node::EngineOptions;
use engine_types::{BirthId, CommandId, DriveId, PartitionId, Stamp};
use std::time::{Duration, Instant};

pub(crate) fn busy() -> EngineOptions {
    let soon = Duration::from_millis(10);
    EngineOptions {
        background: true,
        gc_grace: Duration::ZERO,
        gc_period: soon,
        report_period: soon,
        probe_period: soon,
        repair_period: soon,
        rebuild_period: soon,
        orphan_period: soon,
        ..quick()
    }
}

pub(crate) fn control(cluster: &Cluster, change: ControlChange) -> Answer {
    let mut random = [0; 10];
    TestEntropy.fill(&mut random);
    let command = Command {
        id: CommandId::born(Stamp(1_900_000_000_000), random),
        change: Change::Control(change),
    };
    cluster
        .metadata
        .apply(PartitionId::CONTROL, command)
        .unwrap()
}

pub(crate) async fn layout(cluster: &Cluster) -> Layout {
    let query = Query::Control(ControlQuery::Layout);
    let reply = cluster.metadata.read(PartitionId::CONTROL, query).await;
    let Reply::Control(ControlReply::Layout(Some(layout))) = reply.unwrap() else {
        panic!()
    };
    layout
}

pub(crate) async fn change(cluster: &Cluster, change: LayoutChange) {
    let version = layout(cluster).await.version;
    let change = Box::new(change);
    let answer = control(cluster, ControlChange::ChangeLayout { version, change });
    assert_eq!(answer, Answer::Done);
    cluster.engine.refresh_layout().await.unwrap();
}

pub(crate) fn new_drive(cluster: &Cluster) -> TestDrive {
    let Answer::Drive(number) = control(cluster, ControlChange::AllotDrive) else {
        panic!()
    };
    drive(number.0)
}

/// A new drive in place of `old`; it is the last of the cluster's.
pub(crate) async fn replace(cluster: &mut Cluster, old: u32, gone: bool) {
    let new = new_drive(cluster);
    let to = LayoutChange::Replace {
        old: DriveId(old),
        gone,
        new: new.row.clone(),
    };
    enter(cluster, new, to).await;
}

/// One drive more; it is the last of the cluster's.
pub(crate) async fn join(cluster: &mut Cluster) {
    let new = new_drive(cluster);
    let to = LayoutChange::Add(new.row.clone());
    enter(cluster, new, to).await;
}

async fn enter(cluster: &mut Cluster, new: TestDrive, to: LayoutChange) {
    change(cluster, to).await;
    let (row, store, files) = open_drive(&new);
    cluster.engine.drives().add(row, store, files);
    cluster.drives.push(new);
}

pub(crate) async fn leave(cluster: &Cluster, drive: u32) {
    set(cluster, drive, DriveState::Leaving).await;
}

/// Its removal is called off.
pub(crate) async fn stay(cluster: &Cluster, drive: u32) {
    set(cluster, drive, DriveState::Active).await;
}

async fn set(cluster: &Cluster, drive: u32, state: DriveState) {
    let drive = DriveId(drive);
    change(cluster, LayoutChange::SetState { drive, state }).await;
}

/// All stripes of all partitions.
pub(crate) async fn stripes(cluster: &Cluster) -> Vec<Stripe> {
    let mut all = Vec::new();
    for partition in cluster.metadata.partitions() {
        all.extend(stripes_of(cluster, partition).await);
    }
    all
}

pub(crate) async fn stripes_of(cluster: &Cluster, partition: PartitionId) -> Vec<Stripe> {
    let query = Query::ScanParts {
        after: None,
        limit: 10_000,
    };
    let reply = cluster.metadata.read(partition, query).await.unwrap();
    let Reply::ScannedParts(parts) = reply else {
        panic!()
    };
    let stripes = parts.into_iter().flat_map(|(_, _, part)| part.stripes);
    stripes.collect()
}

pub(crate) async fn dead(cluster: &Cluster) -> usize {
    let mut all = 0;
    for partition in cluster.metadata.partitions() {
        let query = Query::Dead {
            after: None,
            before: Stamp(u64::MAX),
            limit: 10_000,
        };
        let reply = cluster.metadata.read(partition, query).await.unwrap();
        let Reply::Dead(rows) = reply else { panic!() };
        all += rows.len();
    }
    all
}

/// Until every stripe is `k`+`m` on drives that count, `dead` is empty and shards = slots.
pub(crate) async fn at_rest(cluster: &Cluster, k: u8, m: u8) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        // Dead rows wait for the grace that the stamp must have passed.
        cluster.metadata.advance(10);
        let layout = layout(cluster).await;
        let all = stripes(cluster).await;
        let kept = |drive: DriveId| layout.drive(drive).is_some_and(|d| d.state.counts());
        let whole = |stripe: &Stripe| {
            (stripe.k, stripe.m) == (k, m)
                && stripe
                    .slots
                    .iter()
                    .all(|s| s.is_some_and(|s| kept(s.drive)))
        };
        let slots: usize = all.iter().map(|stripe| stripe.slots.len()).sum();
        let here = cluster.drives.iter().filter(|d| kept(d.row.id));
        let shards: usize = here.map(|d| d.store.tokens().len()).sum();
        let dead = dead(cluster).await;
        if all.iter().all(whole) && dead == 0 && shards == slots {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{dead} dead, {shards} shards, {slots} slots, {:?}, {all:?}",
            cluster.engine.rebuild_status()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Objects of all kinds: inline, one stripe, several.
pub(crate) async fn fill(cluster: &Cluster) -> Vec<(String, Vec<u8>)> {
    let mut sent = Vec::new();
    for (n, length) in (0..).zip([1000, 20_000, 300_000, 2 * STRIPE_PLAIN + 70_000, 1_000_000]) {
        let (name, body) = (format!("k{n}"), bytes(length, n));
        cluster.put(&name, &body).await.unwrap();
        sent.push((name, body));
    }
    sent
}

pub(crate) async fn reads_all(cluster: &Cluster, sent: &[(String, Vec<u8>)]) {
    for (name, body) in sent {
        assert!(cluster.all(name).await.unwrap() == *body, "{name}");
    }
}
