//! How replicas stop and drives are let go.

use super::host::Running;
use super::{Inner, Known};
use crate::blocking::blocking;
use crate::replica::{Replica, ReplicaError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a replica may take to stop before it is left behind.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(2);

/// How long a clean stop may write tables out before it leaves the rest to the journals.
const WRITTEN_OUT_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether they are.
const GLANCE: Duration = Duration::from_millis(20);

/// Stops one replica. openraft's tasks may hang on a dead drive: then they are left behind.
pub(super) async fn stop(inner: &Inner, replica: &Replica) {
    inner.switchboard.disconnect(replica.core.group, replica.id);
    replica.core.ended.store(true, Ordering::Release);
    if tokio::time::timeout(STOP_WITHIN, replica.node.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(group = %replica.core.group, id = replica.id, "replica does not stop");
    }
}

async fn settle(replica: &Replica) {
    if let Err(error) = replica.core.settle().await {
        tracing::info!(group = %replica.core.group, %error, "tables not written out");
    }
}

/// Has the memtables written to the tables' files, so that the next start need not read journals.
async fn write_out(running: &Running) -> Result<(), String> {
    let ask = || {
        let tables = Arc::clone(&running.parts.tables);
        async move {
            let asked = blocking(move || tables.write_out()).await;
            asked.map_err(|error| error.to_string())
        }
    };
    until_written(tokio::time::Instant::now(), ask).await
}

/// Asks until the answer is yes, or [`WRITTEN_OUT_WITHIN`] has passed since `begun`.
async fn until_written<F: Future<Output = Result<bool, String>>>(
    begun: tokio::time::Instant,
    mut ask: impl FnMut() -> F,
) -> Result<(), String> {
    loop {
        if ask().await? {
            return Ok(());
        }
        if begun.elapsed() >= WRITTEN_OUT_WITHIN {
            return Err(format!("not within {} s", WRITTEN_OUT_WITHIN.as_secs()));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Lets a drive go: replicas, tables, log.
pub(super) async fn close(inner: &Inner, running: Arc<Running>, clean: bool) {
    let replicas = running.end();
    futures::future::join_all(replicas.values().map(|replica| stop(inner, replica))).await;
    if clean {
        futures::future::join_all(replicas.values().map(settle)).await;
    }
    drop(replicas);
    let turn = Arc::clone(&running.changing).lock_owned().await;
    let drive = running.parts.files.drive();
    if clean && let Err(error) = write_out(&running).await {
        tracing::info!(%drive, error, "tables not written out");
    }
    let closed = blocking(move || {
        if clean && let Err(error) = running.parts.tables.flush() {
            tracing::info!(%error, "tables not written out");
        }
        running.parts.log.close();
        drop(turn);
        Ok::<_, ReplicaError>(running.parts.log.end())
    });
    match closed.await {
        Ok(log_end) => inner.expect(
            drive,
            Known {
                old_copy: false,
                log_end,
            },
        ),
        Err(error) => tracing::warn!(%error, "drive not closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// Says no `times` times, then yes; how often it was asked.
    async fn asked(begun: Instant, times: usize) -> (Result<(), String>, usize) {
        let mut count = 0;
        let ask = || {
            count += 1;
            std::future::ready(Ok(count > times))
        };
        let done = until_written(begun, ask).await;
        (done, count)
    }

    #[tokio::test]
    async fn a_stop_waits_for_its_tables_within_the_limit_and_no_longer() {
        let past = Instant::now() - WRITTEN_OUT_WITHIN;
        assert_eq!(asked(past + WRITTEN_OUT_WITHIN / 2, 2).await, (Ok(()), 3));
        let late = Err("not within 10 s".to_owned());
        assert_eq!(asked(past, 2).await, (late, 1), "past it there is one look");
    }
}
