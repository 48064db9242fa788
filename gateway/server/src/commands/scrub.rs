//! `datamesh scrub start|status|stop`, and `datamesh gc --space`.

use super::Failed;
use super::remote::{Connection, Remote};
use super::render::{bytes, or_dash, table, time};
use crate::admin::scrub::{ScrubReport, ScrubStart, SpaceInfo};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Findings in a table; JSON has all.
const FINDINGS_SHOWN_MAX: usize = 50;

/// Read every shard and make anew what is damaged.
#[derive(Debug, Args)]
pub(crate) struct Scrub {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin a pass over all drives and the metadata at once (also without a word).
    Start {
        /// Only this drive.
        #[arg(long)]
        drive: Option<u32>,
        /// Watch until it has ended and all it found is made anew.
        #[arg(long)]
        wait: bool,
    },
    /// How far it is, and what was found.
    Status,
    /// End the pass under way.
    Stop,
}

impl Scrub {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let action = self.action.unwrap_or(Action::Start {
            drive: None,
            wait: false,
        });
        self.remote.with(async |mut connection| {
            let report: ScrubReport = match action {
                Action::Start { drive, wait } => {
                    let started = connection.post("/v1/scrub", &ScrubStart { drive }).await?;
                    if wait {
                        watch(&mut connection, started).await?
                    } else {
                        started
                    }
                }
                Action::Status => connection.get("/v1/scrub").await?,
                Action::Stop => {
                    let nothing = &serde_json::Value::Null;
                    connection.post("/v1/scrub/stop", nothing).await?
                }
            };
            connection.show(&report, text)
        })
    }
}

async fn watch(connection: &mut Connection, first: ScrubReport) -> Result<ScrubReport, Failed> {
    let all = |report: &ScrubReport| report.drives.iter().map(|of| of.live_bytes).sum();
    let bar = ProgressBar::new(all(&first));
    if let Ok(style) = ProgressStyle::with_template("scrub {wide_bar} {bytes}/{total_bytes} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut report = first;
    while report.running {
        bar.set_length(all(&report));
        bar.set_position(report.drives.iter().map(|of| of.read_bytes).sum());
        tokio::time::sleep(LOOK).await;
        report = connection.get("/v1/scrub").await?;
    }
    bar.finish_and_clear();
    Ok(report)
}

fn text(report: &ScrubReport) -> String {
    let rows = report.drives.iter().map(|of| {
        let state = match (of.running, of.forced) {
            (true, true) => "running",
            (true, false) => "rolling",
            (false, _) => "idle",
        };
        vec![
            of.drive.to_string(),
            state.into(),
            bytes(of.read_bytes),
            bytes(of.live_bytes),
            of.shards.to_string(),
            of.damaged.to_string(),
            of.open.to_string(),
            or_dash(of.ended_ms.map(time)),
        ]
    });
    let head = [
        "drive",
        "scrub",
        "read",
        "live",
        "shards",
        "damaged",
        "open",
        "last whole",
    ];
    let mut text = table(&head, rows);
    let maps = &report.maps;
    let meta = &report.metadata;
    let state = |running| if running { "running" } else { "idle" };
    // Writing to a String does not fail.
    let _infallible = write!(
        text,
        "\nstripe maps  {}, {} stripes, last ended {}\nmetadata     {}, {} snapshots sound, {} partitions compared, \
         {} replicas differing, last ended {}\n",
        state(maps.running),
        maps.stripes,
        or_dash(maps.ended_ms.map(time)),
        state(meta.running),
        meta.snapshots,
        meta.compared,
        meta.differing,
        or_dash(meta.ended_ms.map(time)),
    );
    let problems = report.drives.iter().filter_map(|of| {
        let problem = of.problem.as_ref()?;
        Some(format!("drive {}: {problem}\n", of.drive))
    });
    text.extend(problems);
    if let Some(problem) = &meta.problem {
        let _infallible = writeln!(text, "metadata: {problem}");
    }
    text + &findings(report)
}

fn findings(report: &ScrubReport) -> String {
    if report.findings.is_empty() {
        return "\nnothing was found since the process began\n".into();
    }
    let hidden = report.findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
    let rows = report.findings.iter().skip(hidden).map(|of| {
        let object = match (&of.bucket, &of.key) {
            (Some(bucket), Some(key)) => format!("s3://{bucket}/{key}"),
            (_, Some(name)) => name.clone(),
            _ => "-".into(),
        };
        vec![
            time(of.found_ms),
            of.drive.to_string(),
            of.kind.clone(),
            of.state.clone(),
            or_dash(of.segment.as_deref().map(|hex| hex.trim_start_matches('0'))),
            or_dash(of.offset),
            or_dash(of.stripe),
            or_dash(of.shard),
            object,
        ]
    });
    let head = [
        "found", "drive", "what", "state", "segment", "offset", "stripe", "shard", "object",
    ];
    let mut text = "\n".to_owned() + &table(&head, rows);
    if hidden > 0 {
        let _infallible = writeln!(text, "and {hidden} before: --output json tells them");
    }
    text
}

/// `datamesh gc --space`.
pub(super) async fn space(mut connection: Connection) -> Result<(), Failed> {
    let spaces: Vec<SpaceInfo> = connection.get("/v1/space").await?;
    connection.show(&spaces, |spaces| {
        let rows = spaces.iter().map(|of| {
            let numbers = [
                of.drive.into(),
                of.segments,
                of.records,
                of.live_bytes,
                of.header_bytes,
                of.footer_bytes,
                of.dead_bytes,
                of.written_bytes,
                of.allocated_bytes,
            ];
            let mut row: Vec<String> = numbers.iter().map(u64::to_string).collect();
            row.push(of.unexplained_bytes.to_string());
            row
        });
        let head = [
            "drive",
            "segments",
            "records",
            "live",
            "headers",
            "footers",
            "dead",
            "written",
            "allocated",
            "unexplained",
        ];
        table(&head, rows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::scrub::{FindingInfo, MapsInfo, MetadataInfo};

    fn report(findings: usize) -> ScrubReport {
        let finding = |n: usize| FindingInfo {
            found_ms: 1_800_000_000_000,
            drive: 1,
            kind: "damaged".into(),
            state: "repaired".into(),
            segment: Some("000000000000001f".into()),
            offset: Some(4096),
            bucket: Some("b".into()),
            key: Some(format!("k{n}")),
            stripe: Some(0),
            shard: Some(5),
            reason: "payload block 0".into(),
        };
        ScrubReport {
            running: false,
            open: 0,
            drives: Vec::new(),
            maps: MapsInfo {
                running: false,
                stripes: 1,
                ended_ms: None,
            },
            metadata: MetadataInfo {
                running: false,
                ended_ms: None,
                snapshots: 18,
                compared: 9,
                differing: 0,
                problem: None,
            },
            findings: (0..findings).map(finding).collect(),
        }
    }

    #[test]
    fn findings_are_shown_up_to_the_limit_and_the_rest_is_said() {
        assert!(text(&report(0)).contains("nothing was found"));
        let all = text(&report(FINDINGS_SHOWN_MAX));
        assert!(
            all.contains("s3://b/k0") && !all.contains("before:"),
            "{all}"
        );
        let cut = text(&report(FINDINGS_SHOWN_MAX + 1));
        assert!(
            !cut.contains("s3://b/k0\n") && cut.contains("and 1 before"),
            "{cut}"
        );
    }
}
