//! The recorded server under load: what it wrote, what it was asked, what it answered.

use crate::chores;
use crate::history::Request;
use crate::model::kind_of;
use crate::server::Server;
use crate::workload::{BUCKET, Histories, Worker};
use crate::{KINDS, Options};
use bench::client::{Client, Payload};
use bytes::Bytes;
use http::Method;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use recorder::{Event, Events, Kind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

    /// Moments to cut at, in order: a third of them anywhere in the bytes, a third at any event, a third
    /// right after a write to a file of each of [`KINDS`] in turn. Most bytes are shards', most events
    /// the log's; a snapshot's are so few that chance alone never cuts while one is unsynced.
    pub(crate) fn moments(&self, count: usize, random: &mut StdRng) -> Result<Vec<u64>, String> {
        let first = self.requests().map(|r| r.sent).min().unwrap_or(0);
        let root = self
            .store
            .to_str()
            .ok_or("the work directory is not UTF-8")?;
        let events = self.events().map_err(|e| e.to_string())?;
        let mut ends = Ends::default();
        for event in events {
            ends.add(&event.map_err(|e| e.to_string())?, root, first);
        }
        let mut moments: Vec<u64> = (0..count)
            .map(|number| ends.pick(number, random).unwrap_or(first))
            .collect();
        moments.sort_unstable();
        Ok(moments)
    }
}

/// Where events end in the recording.
#[derive(Debug, Default)]
struct Ends {
    of_events: Vec<u64>,
    /// Writes, by kind of file.
    of_writes: BTreeMap<String, Vec<u64>>,
    /// Kinds, by inode.
    kinds: BTreeMap<u64, String>,
}

impl Ends {
    /// Nothing before `first` is cut at.
    fn add(&mut self, event: &Event, root: &str, first: u64) {
        if event.kind == Kind::Create {
            let path = String::from_utf8_lossy(&event.data).into_owned();
            let kind = kind_of(path.strip_prefix(root).unwrap_or(&path));
            self.kinds.insert(event.inode, kind);
        }
        if event.end < first {
            return;
        }
        self.of_events.push(event.end);
        let kind = self.kinds.get(&event.inode);
        if let (Kind::Write, Some(kind)) = (event.kind, kind) {
            self.of_writes
                .entry(kind.clone())
                .or_default()
                .push(event.end);
        }
    }

    /// The moment of the cut with this number; nothing was written where there is none.
    fn pick(&self, number: usize, random: &mut StdRng) -> Option<u64> {
        let (begin, end) = (self.of_events.first()?, self.of_events.last()?);
        match number % 3 {
            0 => Some(random.random_range(*begin..=*end)),
            1 => self.of_events.choose(random).copied(),
            _ => {
                let writes = self.of_writes.get(KINDS[number / 3 % KINDS.len()])?;
                writes.choose(random).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn event(kind: Kind, inode: u64, data: &str, end: u64) -> Event {
        Event {
            kind,
            inode,
            offset: 0,
            thread: 0,
            data: data.into(),
            end,
        }
    }

    #[test]
    fn every_kind_of_file_is_aimed_at() {
        let mut ends = Ends::default();
        for (number, kind) in (1..).zip(KINDS) {
            ends.add(
                &event(Kind::Create, number, &format!("/store/d1/{kind}/x"), number),
                "/store",
                100,
            );
            // Before the first request: nothing is cut there.
            ends.add(
                &event(Kind::Write, number, "early", 90 + number),
                "/store",
                100,
            );
            ends.add(
                &event(Kind::Write, number, "late", 100 + number),
                "/store",
                100,
            );
        }
        let mut random = StdRng::seed_from_u64(1);
        let aimed: Vec<_> = (0..KINDS.len())
            .map(|turn| ends.pick(3 * turn + 2, &mut random))
            .collect();
        assert_eq!(aimed, [Some(101), Some(102), Some(103), Some(104)]);
        assert!((0..100).all(|n| {
            ends.pick(n, &mut random)
                .is_some_and(|at| (101..=104).contains(&at))
        }));
    }
}
