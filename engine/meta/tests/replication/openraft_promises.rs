//! What the replicas rest on, asked of openraft itself over our log and network: membership changes
//! carry the log over, leadership moves when told, a deposed leader does not answer reads.

use super::common::{FakeDrive, Toy, put, row_key, until};
use engine_core::ports::DriveFiles;
use engine_meta::fjall_rows::{TableOptions, Tables};
use engine_meta::log::{DriveLog, LogOptions};
use engine_meta::raft::network::Switchboard;
use engine_meta::raft::types::{Home, Proposal};
use engine_meta::replica::{DriveParts, Identity, Lane, Replica, SnapshotTurns};
use engine_meta::rows::Rows;
use engine_types::GroupId;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::metrics::SerdeInstant;
use openraft::raft::ReadPolicy;
use openraft::{Config, SnapshotPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const GROUP: GroupId = GroupId(0);
pub(crate) const SOON: Duration = Duration::from_secs(10);

fn config() -> Arc<Config> {
    let config = Config {
        election_timeout_min: 300,
        election_timeout_max: 600,
        heartbeat_interval: 50,
        snapshot_policy: SnapshotPolicy::Never,
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        ..Config::default()
    };
    Arc::new(config.validate().expect("valid"))
}

async fn replica(id: u32, switchboard: &Switchboard) -> Replica {
    let files: Arc<dyn DriveFiles> = FakeDrive::new(id);
    Identity {
        id: u64::from(id),
        generation: 1,
    }
    .write(files.as_ref(), GROUP)
    .expect("written");
    let log = Arc::new(DriveLog::open(Arc::clone(&files), LogOptions::default()).expect("opens"));
    let tables = Arc::new(Tables::open(files.as_ref(), TableOptions::default()).expect("opens"));
    let lane = Lane::start().expect("starts");
    let parts = DriveParts {
        files,
        log,
        tables,
        lane,
        turns: SnapshotTurns::default(),
        machine: Arc::new(Toy),
    };
    Replica::open(parts, GROUP, config(), switchboard, false)
        .await
        .expect("opens")
}

fn home(id: u32) -> Home {
    Home { node: 1, drive: id }
}

/// A group of one.
pub(crate) async fn alone() -> Replica {
    let replica = replica(1, &Switchboard::default()).await;
    let members = BTreeMap::from([(1, home(1))]);
    replica.node.initialize(members).await.expect("formed");
    until("a leader", SOON, || replica.node.is_leader()).await;
    replica
}

async fn three(switchboard: &Switchboard) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for id in 1..=3 {
        replicas.push(replica(id, switchboard).await);
    }
    let members: BTreeMap<u64, Home> = (1..=3).map(|id| (u64::from(id), home(id))).collect();
    replicas[0].node.initialize(members).await.expect("formed");
    until("a leader", SOON, || replicas[0].node.is_leader()).await;
    replicas
}

pub(crate) async fn write(replica: &Replica, key: &str) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let proposal = Proposal {
            stamp: 1,
            command: put(key, b"v").into(),
        };
        match replica.node.client_write(proposal).await {
            Ok(_) => return,
            // On a slow machine its lease runs out; to write twice does no harm here.
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))
                if std::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("not committed: {error}"),
        }
    }
}

fn has(replica: &Replica, key: &str) -> bool {
    let view = replica.core.view();
    view.get(&row_key(key)).expect("readable").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_catches_up_and_takes_a_vote() {
    let switchboard = Switchboard::default();
    let replicas = three(&switchboard).await;
    write(&replicas[0], "before").await;
    let fourth = replica(4, &switchboard).await;
    replicas[0]
        .node
        .add_learner(4, home(4), true)
        .await
        .expect("caught up");
    let voters = BTreeSet::from([1, 2, 4]);
    replicas[0]
        .node
        .change_membership(voters.clone(), false)
        .await
        .expect("changed");
    write(&replicas[0], "after").await;
    until("applied", SOON, || {
        has(&fourth, "before") && has(&fourth, "after")
    })
    .await;
    assert_eq!(
        fourth
            .core
            .applied()
            .membership
            .voter_ids()
            .collect::<BTreeSet<_>>(),
        voters
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_leader_goes_on_being_acknowledged_until_its_majority_is_gone() {
    let switchboard = Switchboard::default();
    let replicas = three(&switchboard).await;
    let acked = |at: usize| {
        let metrics = replicas[at].node.metrics();
        let acked = metrics.borrow_watched().last_quorum_acked;
        acked.map(SerdeInstant::into_inner)
    };
    // On a slow machine leadership may move by itself: whoever leads is asked.
    let leader = || replicas.iter().position(|replica| replica.node.is_leader());
    let newest = || leader().and_then(acked);
    until("acknowledged", SOON, || newest().is_some()).await;
    let first = newest();
    until("acknowledged anew, idle", SOON, || newest() > first).await;
    let led = leader().unwrap_or_default();
    for at in (0..3).filter(|at| *at != led) {
        switchboard.disconnect(GROUP, replicas[at].id);
    }
    until("it grows old", SOON, || {
        acked(led).is_none_or(|acked| acked.elapsed() > Duration::from_secs(1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_when_told_and_nothing_is_lost() {
    let switchboard = Switchboard::default();
    let replicas = three(&switchboard).await;
    write(&replicas[0], "before").await;
    replicas[0]
        .node
        .trigger()
        .transfer_leader(2)
        .await
        .expect("told");
    until("moved", SOON, || replicas[1].node.is_leader()).await;
    write(&replicas[1], "after").await;
    assert!(has(&replicas[1], "before"));
    until("the old one sees it", SOON, || has(&replicas[0], "after")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_from_its_voters_answers_no_reads() {
    let switchboard = Switchboard::default();
    let replicas = three(&switchboard).await;
    write(&replicas[0], "a").await;
    replicas[0]
        .node
        .ensure_linearizable(ReadPolicy::ReadIndex)
        .await
        .expect("leads");
    switchboard.disconnect(GROUP, 2);
    switchboard.disconnect(GROUP, 3);
    // The others cannot reach it either: to itself it still leads.
    switchboard.disconnect(GROUP, 1);
    assert!(replicas[0].node.is_leader());
    let read = replicas[0].node.ensure_linearizable(ReadPolicy::ReadIndex);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    assert!(!matches!(read, Ok(Ok(_))), "a read without a majority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_index_waits_for_what_was_acknowledged() {
    let switchboard = Switchboard::default();
    let replicas = three(&switchboard).await;
    for round in 0..50 {
        let key = format!("k{round}");
        write(&replicas[0], &key).await;
        replicas[0]
            .node
            .ensure_linearizable(ReadPolicy::ReadIndex)
            .await
            .expect("leads");
        assert!(has(&replicas[0], &key), "{key}");
    }
}
