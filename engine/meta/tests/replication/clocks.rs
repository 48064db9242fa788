//! Clocks that were ahead, or are set back: a partition's time goes on.

use super::common::{Counter, FakeDrive, Toy, until};
use super::node::{CONTROL, drives, options, propose_many};
use super::returns::LONG;
use engine_core::ports::{Clock, DriveFiles, Metadata};
use engine_meta::metadata::Replicated;
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::{PartitionId, Stamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BEGIN: Stamp = Stamp(1_800_000_000_000);
const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

/// Both clocks stand until they are moved.
#[derive(Debug)]
struct Hands {
    unix: AtomicU64,
    run: AtomicU64,
}

impl Hands {
    fn at(unix: Stamp) -> Arc<Self> {
        Arc::new(Self {
            unix: AtomicU64::new(unix.0),
            run: AtomicU64::new(0),
        })
    }
    fn set(&self, unix: Stamp) {
        self.unix.store(unix.0, Ordering::Relaxed);
    }
    fn pass(&self, ms: u64) {
        self.unix.fetch_add(ms, Ordering::Relaxed);
        self.run.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn unix_ms(&self) -> u64 {
        self.unix.load(Ordering::Relaxed)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.run.load(Ordering::Relaxed))
    }
}

fn files(drives: &[Arc<FakeDrive>]) -> Vec<Arc<dyn DriveFiles>> {
    let file = |drive: &Arc<FakeDrive>| Arc::clone(drive) as Arc<dyn DriveFiles>;
    drives.iter().map(file).collect()
}

async fn open(drives: &[Arc<FakeDrive>], clock: &Arc<Hands>) -> MetaNode {
    let options = MetaOptions {
        tick_after: Duration::from_millis(200),
        ..options(1)
    };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let entropy = Arc::new(Counter::default());
    let node = MetaNode::open(files(drives), options, clock, entropy, Arc::new(Toy)).await;
    node.expect("opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_groups_time_goes_on_once_a_clock_that_was_ahead_is_right() {
    let (drives, clock) = (drives(1), Hands::at(BEGIN.plus_ms(YEAR_MS)));
    let node = open(&drives, &clock).await;
    node.bootstrap().await.expect("formed");
    propose_many(&node, CONTROL, 0..1).await;
    let ahead = node.stamp(CONTROL).expect("known");
    assert_eq!(ahead, BEGIN.plus_ms(YEAR_MS));
    clock.set(BEGIN);
    for round in 1..=3 {
        clock.pass(10_000);
        let due = ahead.plus_ms(round * 5000);
        until("a tick", LONG, || {
            node.stamp(CONTROL).is_ok_and(|s| s >= due)
        })
        .await;
        assert_eq!(node.stamp(CONTROL).expect("known"), due, "no faster");
    }
    let last = node.stamp(CONTROL).expect("known");
    node.shutdown().await;
    drop(node);

    // Started again with nobody writing: it goes on from there.
    let node = open(&drives, &clock).await;
    until("a tick after the start", LONG, || {
        clock.pass(100);
        node.stamp(CONTROL).is_ok_and(|stamp| stamp > last)
    })
    .await;
    node.shutdown().await;
}

/// What an id made now would be born at.
async fn birth(metadata: &Replicated) -> Stamp {
    metadata.stamp(PartitionId(1)).await.expect("known")
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_born_at_a_fresh_stamp_though_the_clock_is_set_back() {
    let (drives, clock) = (drives(1), Hands::at(BEGIN));
    let options = MetaOptions {
        // Nobody but who asks for a stamp moves it.
        tick_after: Duration::from_hours(24),
        ..options(1)
    };
    let ours = Arc::clone(&clock) as Arc<dyn Clock>;
    let entropy = Arc::new(Counter::default());
    let opened = Replicated::open(files(&drives), options, ours, entropy).await;
    let metadata = opened.expect("opens");
    metadata.node().bootstrap().await.expect("formed");
    assert_eq!(birth(&metadata).await, BEGIN);
    clock.set(BEGIN.minus_ms(HOUR_MS));
    // Time creeps at half the rate: 10 s old is fresh, one ms more is not.
    clock.pass(20_000);
    assert_eq!(birth(&metadata).await, BEGIN);
    clock.pass(2);
    assert_eq!(birth(&metadata).await, BEGIN.plus_ms(10_001));
    metadata.node().shutdown().await;
}
