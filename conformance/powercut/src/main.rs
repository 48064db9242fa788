//! Cuts the power of a recorded process at random points and checks what was acknowledged.
//!
//! Records a server under load (every write and sync of the process, its libraries' included), then
//! rebuilds its drives as a power cut at N random moments may have left them (blocks not yet synced
//! dropped, torn, reordered; names not yet synced lost), starts a server on each and reads every key.

mod file;
mod history;
mod model;
mod names;
mod server;
mod workload;

use bench::client::{Client, Payload};
use bytes::Bytes;
use clap::Parser;
use history::{State, Verdict, judge};
use http::{Method, StatusCode};
use model::Model;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use server::Server;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use workload::{BUCKET, Histories, Worker, recognise};

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
    /// Cuts.
    #[arg(long, default_value_t = 100)]
    cuts: usize,
    /// Seed of workload and cuts; printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds of load.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections under load.
    #[arg(long, default_value_t = 8)]
    workers: u64,
}

#[derive(Default)]
struct Sums {
    checked: u64,
    lost: u64,
    wrong: u64,
    not_started: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    say(&format!("seed {seed}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&options, seed)),
        Err(error) => Err(error.to_string()),
    };
    let (ok, line) = match outcome {
        Ok((ok, value)) => (ok, value),
        Err(error) => (false, serde_json::json!({ "target": "powercut", "ok": false, "error": error, "seed": seed })),
    };
    say(&line.to_string());
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(line: &str) {
    // Nobody to tell where standard output is closed.
    let _closed = writeln!(std::io::stdout(), "{line}");
}

async fn run(options: &Options, seed: u64) -> Result<(bool, serde_json::Value), String> {
    let store = options.work.join("store");
    let (log, keys) = (options.work.join("events.log"), options.work.join("keys"));
    std::fs::create_dir_all(&store).map_err(|e| e.to_string())?;
    let histories = record(options, seed, &store, &log, &keys).await?;
    let acknowledged: usize = histories.values().flatten().filter(|r| r.acknowledged.is_some()).count();
    let events = recorder::read_events(&std::fs::read(&log).map_err(|e| e.to_string())?);
    let first = histories.values().flatten().map(|r| r.sent).min().unwrap_or(0);
    let last = events.last().map_or(0, |e| e.end);
    let mut random = StdRng::seed_from_u64(seed ^ 0xC0FFEE);
    let mut cuts: Vec<u64> = (0..options.cuts).map(|_| random.random_range(first..=last)).collect();
    cuts.sort_unstable();
    let (mut model, mut next) = (Model::default(), 0);
    let (mut sums, mut tolls) = (Sums::default(), BTreeMap::new());
    let root = store.to_str().ok_or("the work directory is not UTF-8")?;
    for (number, cut) in cuts.iter().enumerate() {
        while let Some(event) = events.get(next).filter(|e| e.end <= *cut) {
            model.follow(event).map_err(|e| e.to_string())?;
            next += 1;
        }
        let rebuilt = options.work.join("rebuilt");
        if rebuilt.exists() {
            std::fs::remove_dir_all(&rebuilt).map_err(|e| e.to_string())?;
        }
        model.cut(root, &rebuilt, &mut random, &mut tolls).map_err(|e| e.to_string())?;
        check(options, &rebuilt, &keys, &histories, *cut, &mut sums).await;
        if (number + 1) % 20 == 0 {
            say(&format!("{} cuts, {} checked, {} lost, {} wrong", number + 1, sums.checked, sums.lost, sums.wrong));
        }
    }
    for (kind, toll) in &tolls {
        say(&format!("{kind}: {toll:?}"));
    }
    let ok = sums.lost == 0 && sums.wrong == 0 && sums.not_started == 0 && acknowledged > 0;
    let value = serde_json::json!({
        "target": "powercut", "ok": ok, "seed": seed, "cuts": cuts.len(), "acknowledged": acknowledged,
        "checked": sums.checked, "lost": sums.lost, "wrong": sums.wrong, "not_started": sums.not_started,
    });
    Ok((ok, value))
}

/// The recorded server under load.
async fn record(options: &Options, seed: u64, store: &Path, log: &Path, keys: &Path) -> Result<Histories, String> {
    let server = Server::start(&options.server, store, keys, Some((&options.recorder, log))).await?;
    let mut client = Client::new(server.target.clone());
    let made = client
        .send(Method::PUT, &format!("/{BUCKET}"), &[], Bytes::new(), Payload::Signed)
        .await
        .map_err(|e| e.to_string())?;
    if !made.status.is_success() {
        return Err(format!("bucket: {}", made.status));
    }
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let workers = (0..options.workers).map(|number| {
        let (target, log) = (server.target.clone(), log.to_path_buf());
        tokio::spawn(Worker { target, log, number, keys: 12, seed, end }.run())
    });
    let mut histories = Histories::new();
    for worker in futures::future::join_all(workers).await {
        histories.extend(worker.map_err(|e| e.to_string())?);
    }
    server.kill().await;
    Ok(histories)
}

/// A server on the rebuilt drives: every key must be as acknowledged.
async fn check(options: &Options, rebuilt: &Path, keys: &Path, histories: &Histories, cut: u64, sums: &mut Sums) {
    let server = match Server::start(&options.server, rebuilt, keys, None).await {
        Ok(server) => server,
        Err(error) => {
            say(&format!("cut at {cut}: {error}"));
            sums.not_started += 1;
            return;
        }
    };
    let mut client = Client::new(server.target.clone());
    for (key, history) in histories {
        let path = format!("/{BUCKET}/{key}");
        let found = match client.send(Method::GET, &path, &[], Bytes::new(), Payload::Signed).await {
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Some(State::Absent),
            Ok(answer) if answer.status.is_success() => recognise(history, &answer.body),
            Ok(answer) => {
                say(&format!("cut at {cut}: {key}: {}", answer.status));
                sums.lost += 1;
                continue;
            }
            Err(error) => {
                say(&format!("cut at {cut}: {key}: {error}"));
                sums.lost += 1;
                continue;
            }
        };
        sums.checked += 1;
        match judge(history, cut, found) {
            Verdict::Right => {}
            verdict => {
                say(&format!("cut at {cut}: {key}: {verdict:?}, found {found:?}"));
                sums.lost += u64::from(verdict == Verdict::Lost);
                sums.wrong += u64::from(verdict == Verdict::Wrong);
            }
        }
    }
    server.kill().await;
}
