//! Cuts the power of a recorded process at random points and checks what was acknowledged.
//!
//! Records a server under load (every write and sync of the process, its libraries' included), then
//! rebuilds its drives as a power cut at N random moments may have left them (blocks not yet synced
//! dropped, torn, reordered; names not yet synced lost), starts a server on each and reads every key.

mod check;
mod chores;
mod file;
mod history;
mod model;
mod names;
mod record;
mod server;
mod workload;

use check::{Check, Sums};
use clap::Parser;
use file::Toll;
use futures::StreamExt;
use model::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use record::Recording;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Kinds of files that hold what was acknowledged: of each, blocks must have been lost in every way.
const KINDS: [&str; 4] = ["shards", "log", "tables", "snapshots"];
/// Cuts looked at side by side: a server that starts mostly waits.
const AT_ONCE: usize = 3;

/// Power cuts.
#[derive(Debug, Parser)]
struct Options {
    /// The server.
    #[arg(long)]
    server: PathBuf,
    /// The preload library.
    #[arg(long)]
    recorder: PathBuf,
    /// Everything is made below it.
    #[arg(long)]
    work: PathBuf,
    /// Where a cut's drives are rebuilt; without it below `work`. In memory it is several times faster:
    /// what the process synced is known from the recording, not from this disk.
    #[arg(long)]
    rebuilt: Option<PathBuf>,
    /// Cuts.
    #[arg(long, default_value_t = 100)]
    cuts: usize,
    /// Seed of workload and cuts; printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds of load. What is replaced is freed a minute later, and segments are emptied once a
    /// minute: less than three minutes see neither.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// Connections under load.
    #[arg(long, default_value_t = 8)]
    workers: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options
        .seed
        .unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    say(&format!("seed {seed}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&options, seed)),
        Err(error) => Err(error.to_string()),
    };
    let (ok, line) = match outcome {
        Ok((ok, value)) => (ok, value),
        Err(error) => (
            false,
            serde_json::json!({ "target": "powercut", "ok": false, "error": error, "seed": seed }),
        ),
    };
    say(&line.to_string());
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say(line: &str) {
    // Nobody to tell where standard output is closed.
    let _closed = writeln!(std::io::stdout(), "{line}");
}

async fn run(options: &Options, seed: u64) -> Result<(bool, serde_json::Value), String> {
    let recording = record::record(options, seed).await?;
    say(&format!("recorded: {}", recording.summary()));
    let (sums, tolls) = cut_all(options, seed, &recording).await?;
    for (kind, toll) in &tolls {
        say(&format!("{kind}: {toll:?}"));
    }
    let untouched: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| !tolls.get(*kind).is_some_and(Toll::all))
        .collect();
    let idle: Vec<&String> = recording
        .chores
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(name, _)| name)
        .collect();
    let ok = sums.good() && recording.acknowledged() > 0 && untouched.is_empty() && idle.is_empty();
    let value = serde_json::json!({
        "target": "powercut", "ok": ok, "seed": seed, "cuts": options.cuts,
        "acknowledged": recording.acknowledged(), "checked": sums.checked, "lost": sums.lost,
        "wrong": sums.wrong, "not_started": sums.not_started, "not_writable": sums.not_writable,
        "chores": recording.chores, "idle_chores": idle, "untouched_kinds": untouched,
    });
    Ok((ok, value))
}

type Tolls = BTreeMap<String, Toll>;

/// Makes every cut and looks at what it left, [`AT_ONCE`] at a time.
async fn cut_all(
    options: &Options,
    seed: u64,
    recording: &Recording,
) -> Result<(Sums, Tolls), String> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x00C0_FFEE);
    let cuts = recording.moments(options.cuts, &mut random)?;
    let (mut model, mut tolls) = (Model::default(), Tolls::new());
    let mut events = recording.events().map_err(|e| e.to_string())?.peekable();
    let root = recording
        .store
        .to_str()
        .ok_or("the work directory is not UTF-8")?;
    let rebuilt = options.rebuilt.as_ref().unwrap_or(&options.work);
    let prepared = cuts.into_iter().enumerate().map(|(number, cut)| {
        while let Some(event) = events.next_if(|e| e.as_ref().map_or(true, |e| e.end <= cut)) {
            model
                .follow(&event.map_err(|e| e.to_string())?)
                .map_err(|e| e.to_string())?;
        }
        let check =
            Check::prepare(rebuilt, &options.work, number, cut).map_err(|e| e.to_string())?;
        model
            .cut(root, &check.store, &mut random, &mut tolls)
            .map_err(|e| e.to_string())?;
        Ok::<_, String>(check)
    });
    let mut sums = Sums::default();
    let mut looked = futures::stream::iter(prepared)
        .map(|check| async { Ok::<_, String>(check?.look(&options.server, recording).await) })
        .buffer_unordered(AT_ONCE);
    let mut count = 0;
    while let Some(found) = looked.next().await {
        sums.add(&found?);
        count += 1;
        if count % 20 == 0 {
            say(&format!("{count} cuts: {sums:?}"));
        }
    }
    drop(looked);
    Ok((sums, tolls))
}
