//! The recorded server under load: what it wrote, what it was asked, what it answered.

use crate::Options;
use crate::chores;
use crate::history::Request;
use crate::server::Server;
use crate::workload::{BUCKET, Histories, Worker};
use bench::client::{Client, Payload};
use bytes::Bytes;
use http::Method;
use rand::Rng;
use rand::rngs::StdRng;
use recorder::Events;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Keys of each worker.
const KEYS: u64 = 12;

/// What is known of the run.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Where the drives were.
    pub(crate) store: PathBuf,
    /// By key.
    pub(crate) histories: Histories,
    /// How often each of the store's own works was done.
    pub(crate) chores: Map<String, Value>,
    log: PathBuf,
}

/// Runs the server over new drives under load for a while.
pub(crate) async fn record(options: &Options, seed: u64) -> Result<Recording, String> {
    let (store, keys) = (options.work.join("store"), options.work.join("keys"));
    let log = options.work.join("events.log");
    std::fs::create_dir_all(&store).map_err(|e| e.to_string())?;
    let server = Server::start(
        &options.server,
        &store,
        &keys,
        Some((&options.recorder, &log)),
    )
    .await?;
    let made = Client::new(server.target.clone())
        .send(
            Method::PUT,
            &format!("/{BUCKET}"),
            &[],
            Bytes::new(),
            Payload::Signed,
        )
        .await
        .map_err(|e| e.to_string())?;
    if !made.status.is_success() {
        return Err(format!("bucket: {}", made.status));
    }
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let workers = (0..options.workers).map(|number| {
        let (target, log) = (server.target.clone(), log.clone());
        tokio::spawn(
            Worker {
                target,
                log,
                number,
                keys: KEYS,
                seed,
                end,
            }
            .run(),
        )
    });
    let scrubs = tokio::spawn(chores::scrub_until(server.admin_client(), end));
    let mut histories = Histories::new();
    for worker in futures::future::join_all(workers).await {
        histories.extend(worker.map_err(|e| e.to_string())?);
    }
    scrubs.await.map_err(|e| e.to_string())?;
    let chores = chores::done(&server).await?;
    server.kill().await;
    Ok(Recording {
        store,
        histories,
        chores,
        log,
    })
}

impl Recording {
    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.histories.values().flatten()
    }

    /// Requests that were answered with success.
    pub(crate) fn acknowledged(&self) -> usize {
        self.requests().filter(|r| r.acknowledged.is_some()).count()
    }

    /// One line for people.
    pub(crate) fn summary(&self) -> String {
        let bytes = std::fs::metadata(&self.log).map_or(0, |m| m.len());
        let chores = Value::from(self.chores.clone());
        format!(
            "{} acknowledged, {} MiB of events, {chores}",
            self.acknowledged(),
            bytes >> 20
        )
    }

    /// All that was recorded, from the beginning.
    pub(crate) fn events(&self) -> std::io::Result<Events<BufReader<File>>> {
        Ok(Events::new(BufReader::with_capacity(
            1 << 20,
            File::open(&self.log)?,
        )))
    }

    /// Moments to cut at, in order: half of them anywhere in the bytes, half at any event (most bytes
    /// are shards', most events the log's).
    pub(crate) fn moments(&self, count: usize, random: &mut StdRng) -> std::io::Result<Vec<u64>> {
        let first = self.requests().map(|r| r.sent).min().unwrap_or(0);
        let ends: Vec<u64> = self
            .events()?
            .map(|event| event.map(|e| e.end))
            .filter(|end| end.as_ref().map_or(true, |end| *end >= first))
            .collect::<Result<_, _>>()?;
        let last = ends.last().copied().unwrap_or(first);
        let mut moments: Vec<u64> = (0..count)
            .map(|number| match number % 2 {
                0 => random.random_range(first..=last),
                _ if ends.is_empty() => last,
                _ => ends[random.random_range(0..ends.len())],
            })
            .collect();
        moments.sort_unstable();
        Ok(moments)
    }
}
