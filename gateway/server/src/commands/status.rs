//! `datamesh status`.

use super::Failed;
use super::drive::drive_table;
use super::remote::Remote;
use super::render::{bytes, duration, or_dash, table};
use crate::admin::shapes::{Partition, Rebuild, Status as Shape, Work};
use clap::Args;
use engine_types::DriveId;
use std::fmt::Write;

/// Cluster, drives, replicas and background work at a glance.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    pub(crate) fn run(self) -> Result<(), Failed> {
        self.remote.with(async |mut connection| {
            let status: Shape = connection.get("/v1/status").await?;
            connection.show(&status, text)
        })
    }
}

fn text(status: &Shape) -> String {
    let mut text = String::new();
    let ready = match &status.readiness.reason {
        Some(reason) => format!("{}: {reason}", status.readiness.state),
        None => status.readiness.state.clone(),
    };
    // Writing to a String does not fail.
    let _infallible = write!(
        text,
        "cluster   {}\nversion   {}\nstate     {ready}\nuptime    {} (start {})\nS3 port   {} (tls {}), region {}\n\
         stripes   {}\n\n",
        status.cluster,
        status.version,
        duration(status.uptime_s),
        status.boot,
        status.s3_listen,
        status.s3_tls,
        status.region,
        status.geometry,
    );
    text += &drive_table(&status.drives);
    if let Some(witness) = &status.witness {
        let reason = witness.reason.as_ref();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let _infallible = writeln!(
            text,
            "witness {} at {}, {} replicas{reason}",
            witness.state, witness.path, witness.replicas
        );
    }
    for path in &status.left_out {
        let _infallible = writeln!(text, "not in use: {path}");
    }
    text.push('\n');
    text += &partition_table(&status.partitions);
    text.push('\n');
    text += &rebuild_text(&status.rebuild);
    text += &work_table(&status.work);
    text
}

/// One line on rebuilding, where there is something to tell.
fn rebuild_text(rebuild: &Rebuild) -> String {
    let mut text = String::new();
    let left = |bytes_of| {
        format!(
            "{} stripes, {} shards, {}",
            rebuild.stripes_left,
            rebuild.shards_left,
            bytes(bytes_of)
        )
    };
    if rebuild.state == "surveying" {
        text = format!("rebuild   counting: {} so far\n", left(rebuild.bytes_left));
    } else if rebuild.state == "rebuilding" {
        let all = rebuild.bytes_left + rebuild.bytes_done;
        let percent = (rebuild.bytes_done * 100).checked_div(all).unwrap_or(100);
        let time = rebuild
            .seconds_left
            .map_or(String::new(), |s| format!(", {} left", duration(s)));
        text = format!(
            "rebuild   {percent} %, {} to go, {}/s{time}\n",
            left(rebuild.bytes_left),
            bytes(rebuild.bytes_per_s)
        );
    }
    if rebuild.blocked_stripes > 0 {
        let _infallible = writeln!(
            text,
            "rebuild   {} stripes wait for drives: see their state above",
            rebuild.blocked_stripes
        );
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn partition_table(partitions: &[Partition]) -> String {
    let rows = partitions.iter().map(|partition| {
        let replicas = partition.replicas.iter().map(|replica| {
            let lag = if replica.lag > 0 {
                format!(" (-{})", replica.lag)
            } else {
                String::new()
            };
            let mark = if replica.stopped.is_some() {
                "!"
            } else if replica.leader {
                "*"
            } else {
                ""
            };
            format!("{}{mark}{lag}", home(replica.drive))
        });
        let applied = partition
            .replicas
            .iter()
            .map(|r| r.applied)
            .max()
            .unwrap_or(0);
        let name = if partition.id == 0 {
            "0 (control)".into()
        } else {
            partition.id.to_string()
        };
        vec![
            name,
            or_dash(partition.leader.map(home)),
            partition.term.to_string(),
            applied.to_string(),
            format!(
                "{}/{}",
                partition
                    .replicas
                    .iter()
                    .filter(|r| r.stopped.is_none())
                    .count(),
                partition.voters
            ),
            replicas.collect::<Vec<_>>().join(" "),
            bytes(
                partition
                    .replicas
                    .iter()
                    .map(|r| r.log_bytes)
                    .max()
                    .unwrap_or(0),
            ),
        ]
    });
    table(
        &[
            "partition",
            "leader",
            "term",
            "applied",
            "voters",
            "on drives",
            "log",
        ],
        rows,
    )
}

/// Where a replica lies: a drive's number, or `w` for the witness.
fn home(drive: u32) -> String {
    if drive == DriveId::WITNESS.0 {
        return "w".into();
    }
    drive.to_string()
}

/// What waits.
pub(super) fn work_table(work: &[Work]) -> String {
    let rows = work.iter().map(|work| {
        let more = if work.more { "+" } else { "" };
        let waiting = work
            .problem
            .clone()
            .unwrap_or_else(|| format!("{}{more}", work.waiting));
        vec![work.name.clone(), waiting, work.what.clone()]
    });
    table(&["work", "waiting", ""], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::shapes::{Readiness, ReplicaInfo, WitnessInfo};

    #[test]
    fn replicas_that_lag_or_stopped_are_marked() {
        let replica = |drive, leader, lag, stopped: Option<&str>| ReplicaInfo {
            drive,
            leader,
            applied: 100 - lag,
            lag,
            log_bytes: 2048,
            stopped: stopped.map(str::to_owned),
        };
        let partition = Partition {
            id: 0,
            leader: Some(2),
            term: 3,
            voters: 3,
            replicas: vec![
                replica(1, false, 7, None),
                replica(2, true, 0, None),
                replica(0, false, 0, Some("disk")),
            ],
        };
        let table = partition_table(&[partition]);
        assert!(
            table.contains("2/3") && table.contains("1 (-7) 2* w!"),
            "{table}"
        );
    }

    fn degraded() -> Shape {
        Shape {
            cluster: "c".into(),
            version: "v".into(),
            uptime_s: 3700,
            boot: 4,
            region: "r".into(),
            s3_listen: "l".into(),
            s3_tls: "off".into(),
            readiness: Readiness {
                state: "failing".into(),
                reason: Some("3 of 6".into()),
                missing: vec![],
            },
            geometry: "4+2".into(),
            drives: vec![],
            witness: Some(WitnessInfo {
                path: "/k/witness".into(),
                state: "failing".into(),
                reason: Some("read-only".into()),
                replicas: 0,
            }),
            left_out: vec!["/d/3: holds no drive".into()],
            partitions: vec![],
            rebuild: Rebuild {
                state: "rebuilding".into(),
                stripes_left: 3,
                shards_left: 3,
                bytes_left: 3 << 20,
                bytes_done: 1 << 20,
                bytes_per_s: 1 << 20,
                seconds_left: Some(3),
                blocked_stripes: 2,
                ..Rebuild::default()
            },
            work: vec![],
        }
    }

    #[test]
    fn trouble_is_seen_at_a_glance() {
        let text = text(&degraded());
        assert!(
            text.contains("25 %, 3 stripes, 3 shards, 3.0 MiB to go, 1.0 MiB/s, 3s left")
                && text.contains("2 stripes wait for drives"),
            "{text}"
        );
        assert!(
            text.contains("failing: 3 of 6") && text.contains("not in use: /d/3"),
            "{text}"
        );
        assert!(
            text.contains("witness failing at /k/witness, 0 replicas: read-only"),
            "{text}"
        );
    }
}
