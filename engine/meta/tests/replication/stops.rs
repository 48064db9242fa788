//! Replicas that stop though their drive is well.

use super::common::{Counter, RealClock, Toy, put, until};
use super::node::{CONTROL, drives, expect_all, options, propose_many};
use super::returns::LONG;
use engine_core::ports::DriveFiles;
use engine_meta::raft::machine::{At, Machine};
use engine_meta::rows::{Changes, Rows, RowsError};
use engine_meta::service::{MetaNode, MetaOptions};
use engine_types::GroupId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The toy, which knows two keys that it cannot take.
#[derive(Debug, Default)]
struct Picky {
    refused: AtomicUsize,
}

impl Machine for Picky {
    fn apply(
        &self,
        rows: &dyn Rows,
        changes: &mut Changes,
        at: At,
        command: &[u8],
    ) -> Result<Vec<u8>, RowsError> {
        if command == put("refused", b"") || command == put("panics", b"") {
            self.refused.fetch_add(1, Ordering::Relaxed);
            assert_ne!(command, put("panics", b""), "as a bug would");
            return Err(RowsError("not this one".into()));
        }
        Toy.apply(rows, changes, at, command)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_applied_stops_its_group_and_makes_no_storm() {
    for key in ["refused", "panics"] {
        let drives = drives(1);
        let picky = Arc::new(Picky::default());
        let options = MetaOptions {
            deadline: Duration::from_secs(2),
            tick_after: Duration::from_millis(100),
            ..options(1)
        };
        let node = MetaNode::open(
            vec![Arc::clone(&drives[0]) as Arc<dyn DriveFiles>],
            options,
            RealClock::new(),
            Arc::new(Counter::default()),
            Arc::clone(&picky) as Arc<dyn Machine>,
        );
        let node = node.await.expect("opens");
        node.bootstrap().await.expect("formed");
        let group = GroupId(1);
        propose_many(&node, group, 0..20).await;
        node.propose(group, put(key, b""))
            .await
            .expect_err("not applied");
        let mut told = String::new();
        until("left as it is", LONG, || {
            let status = node.status();
            let replicas = status.replicas(group);
            let stopped = replicas.first().and_then(|(_, r)| r.stopped.clone());
            told = stopped.unwrap_or_default();
            told.contains("cannot be applied")
        })
        .await;
        assert!(told.starts_with("entry "), "{told}");
        // The drive's others go on, and many looks later nothing was tried again.
        propose_many(&node, CONTROL, 0..20).await;
        let seen = node.stamp(CONTROL).expect("known");
        until("looks", LONG, || {
            node.stamp(CONTROL).expect("known") >= seen.plus_ms(3000)
        })
        .await;
        expect_all(&node, CONTROL, 0..20).await;
        assert_eq!(picky.refused.load(Ordering::Relaxed), 2, "once more, anew");
        node.shutdown().await;
    }
}
