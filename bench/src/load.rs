//! One measured run: N connections doing one kind of request for a bounded time after a warm-up.

use crate::client::{Client, ClientError, Payload, Target};
use crate::percentiles::Percentiles;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::Method;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What each connection does over and over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// PUT of new keys.
    Put,
    /// GET of keys put before.
    Get,
    /// HEAD of keys put before.
    Head,
    /// List pages of 1,000.
    List,
    /// `DeleteObjects` of a hundred keys put before; each counts.
    Delete,
    /// 45 % GET, 15 % PUT, 10 % DELETE, 30 % HEAD (warp's mix).
    Mixed,
}

/// A run's shape.
#[derive(Clone, Debug)]
pub struct Run {
    /// Against whom.
    pub target: Target,
    /// Bucket; must exist.
    pub bucket: String,
    /// Request.
    pub kind: Kind,
    /// Bytes an object.
    pub size: usize,
    /// Connections.
    pub connections: usize,
    /// Objects put before a reading run.
    pub objects: u64,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub time: Duration,
    /// Payload signing.
    pub payload: Payload,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Request.
    pub kind: Kind,
    /// Bytes an object.
    pub size: usize,
    /// Connections.
    pub connections: usize,
    /// Requests that succeeded in the measured time.
    pub requests: u64,
    /// Requests that did not.
    pub errors: u64,
    /// Per second.
    pub per_s: f64,
    /// Payload, 10^6 bytes a second.
    pub mb_per_s: f64,
    /// Entries listed per second (list only).
    pub entries_per_s: f64,
    /// Latencies of whole requests.
    #[serde(flatten)]
    pub latency: Percentiles,
}

/// Keys of one `DeleteObjects`.
const DELETE_KEYS: u64 = 100;

#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    bytes: u64,
    entries: u64,
    errors: u64,
}

/// Object names are the same for a writing and a reading run over one bucket.
fn key(index: u64) -> String {
    format!("load/{:02x}/{index:012}", index % 251)
}

/// Bodies of one size. No two of [`Bodies::SHIFTS`] that follow one another share a block of a MiB: a
/// store that keeps equal blocks once would else be measured writing none.
#[derive(Clone)]
struct Bodies {
    /// [`Self::SHIFTS`] bytes longer than a body: each body is a view of it, and costs no copy.
    noise: Bytes,
    size: usize,
}

impl Bodies {
    /// Places in the noise at which a body may begin; an odd step visits each before any again.
    const SHIFTS: usize = 1 << 20;

    fn new(size: usize) -> Self {
        // Incompressible enough, the same each time, made without a generator's cost in the loop.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let noise = (0..size + Self::SHIFTS).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        });
        Self {
            noise: noise.collect(),
            size,
        }
    }

    fn of(&self, index: u64) -> Bytes {
        let turn = index.wrapping_mul(4097) % Self::SHIFTS as u64;
        let from = usize::try_from(turn).unwrap_or(0);
        self.noise.slice(from..from + self.size)
    }
}

/// Puts the objects a reading run reads.
pub async fn prepare(run: &Run) -> Result<(), ClientError> {
    let next = Arc::new(AtomicU64::new(0));
    let bodies = Bodies::new(run.size);
    let workers = (0..run.connections).map(|_| {
        let (run, next, bodies) = (run.clone(), Arc::clone(&next), bodies.clone());
        tokio::spawn(async move {
            let mut client = Client::new(run.target.clone());
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= run.objects {
                    return Ok(());
                }
                let path = format!("/{}/{}", run.bucket, key(index));
                let answer = client
                    .send(Method::PUT, &path, &[], bodies.of(index), run.payload)
                    .await?;
                if !answer.status.is_success() {
                    return Err(ClientError::Request(format!("prepare: {}", answer.status)));
                }
            }
        })
    });
    for worker in futures::future::join_all(workers).await {
        worker.map_err(|e| ClientError::Request(e.to_string()))??;
    }
    Ok(())
}

/// Runs it.
pub async fn measure(run: &Run) -> Result<Outcome, ClientError> {
    let bodies = Bodies::new(run.size);
    let next = Arc::new(AtomicU64::new(if run.kind == Kind::Put {
        1 << 40
    } else {
        0
    }));
    let begin = Instant::now() + run.warm_up;
    let end = begin + run.time;
    let workers = (0..run.connections).map(|worker| {
        let (run, next, bodies) = (run.clone(), Arc::clone(&next), bodies.clone());
        tokio::spawn(async move { work(&run, worker, &next, &bodies, begin, end).await })
    });
    let mut all = Tally::default();
    for tally in futures::future::join_all(workers).await {
        let tally = tally.map_err(|e| ClientError::Request(e.to_string()))?;
        all.latencies.extend(tally.latencies);
        all.bytes += tally.bytes;
        all.entries += tally.entries;
        all.errors += tally.errors;
    }
    let seconds = run.time.as_secs_f64();
    let requests = all.latencies.len() as u64;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    Ok(Outcome {
        kind: run.kind,
        size: run.size,
        connections: run.connections,
        requests,
        errors: all.errors,
        per_s: requests as f64 / seconds,
        mb_per_s: all.bytes as f64 / seconds / 1e6,
        entries_per_s: all.entries as f64 / seconds,
        latency: Percentiles::of(&mut all.latencies),
    })
}

async fn work(
    run: &Run,
    worker: usize,
    next: &AtomicU64,
    bodies: &Bodies,
    begin: Instant,
    end: Instant,
) -> Tally {
    let mut client = Client::new(run.target.clone());
    let mut tally = Tally::default();
    let mut after = String::new();
    let mut turn = worker as u64;
    while Instant::now() < end {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let old = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % run.objects.max(1);
        turn += 1;
        let started = Instant::now();
        let result = match run.kind {
            Kind::Put => put(&mut client, run, index, bodies).await,
            Kind::Get => get(&mut client, run, old).await,
            Kind::Head => simple(&mut client, run, Method::HEAD, old).await,
            Kind::Delete => delete(&mut client, run, index).await,
            Kind::List => list(&mut client, run, &mut after).await,
            Kind::Mixed => match turn % 20 {
                0..=8 => get(&mut client, run, old).await,
                9..=11 => put(&mut client, run, (1 << 41) + index, bodies).await,
                12 | 13 => simple(&mut client, run, Method::DELETE, (1 << 41) + index).await,
                _ => simple(&mut client, run, Method::HEAD, old).await,
            },
        };
        let took = started.elapsed();
        if started < begin {
            continue;
        }
        match result {
            Ok((bytes, entries)) => {
                tally.latencies.push(took);
                tally.bytes += bytes;
                tally.entries += entries;
            }
            Err(_error) => tally.errors += 1,
        }
    }
    tally
}

type Done = Result<(u64, u64), ClientError>;

fn accept(ok: bool, status: http::StatusCode, bytes: u64, entries: u64) -> Done {
    if ok {
        Ok((bytes, entries))
    } else {
        Err(ClientError::Request(status.to_string()))
    }
}

async fn put(client: &mut Client, run: &Run, index: u64, bodies: &Bodies) -> Done {
    let path = format!("/{}/{}", run.bucket, key(index));
    let answer = client
        .send(Method::PUT, &path, &[], bodies.of(index), run.payload)
        .await?;
    accept(
        answer.status.is_success(),
        answer.status,
        bodies.size as u64,
        0,
    )
}

async fn get(client: &mut Client, run: &Run, index: u64) -> Done {
    let answer = client
        .drain(&format!("/{}/{}", run.bucket, key(index)), &[])
        .await?;
    let whole = answer.status.is_success() && answer.length == run.size as u64;
    accept(whole, answer.status, answer.length, 0)
}

async fn simple(client: &mut Client, run: &Run, method: Method, index: u64) -> Done {
    let path = format!("/{}/{}", run.bucket, key(index));
    let answer = client
        .send(method, &path, &[], Bytes::new(), Payload::Signed)
        .await?;
    accept(answer.status.is_success(), answer.status, 0, 0)
}

/// Deletes the keys of the `batch`-th hundred: those put before, then some that are not there.
async fn delete(client: &mut Client, run: &Run, batch: u64) -> Done {
    let first = batch * DELETE_KEYS;
    let objects: String = (first..first + DELETE_KEYS)
        .map(|index| ["<Object><Key>", &key(index), "</Key></Object>"].concat())
        .collect();
    let body = format!("<Delete><Quiet>true</Quiet>{objects}</Delete>");
    let md5 = BASE64_STANDARD.encode(engine_core::digest::md5(body.as_bytes()));
    let path = format!("/{}?delete=", run.bucket);
    let headers = [("content-md5", md5.as_str())];
    let answer = client
        .send(
            Method::POST,
            &path,
            &headers,
            Bytes::from(body),
            Payload::Signed,
        )
        .await?;
    let whole = answer.status.is_success() && !answer.body.windows(7).any(|w| w == b"<Error>");
    accept(whole, answer.status, 0, DELETE_KEYS)
}

async fn list(client: &mut Client, run: &Run, after: &mut String) -> Done {
    let path = format!(
        "/{}?list-type=2&max-keys=1000&start-after={}",
        run.bucket,
        after.replace('/', "%2F")
    );
    let answer = client
        .send(Method::GET, &path, &[], Bytes::new(), Payload::Signed)
        .await?;
    let text = String::from_utf8_lossy(&answer.body);
    let entries = text.matches("<Contents>").count() as u64;
    *after = match (
        text.contains("<IsTruncated>true"),
        text.rfind("<Key>"),
        text.rfind("</Key>"),
    ) {
        (true, Some(from), Some(to)) => text[from + 5..to].to_owned(),
        _ => String::new(),
    };
    accept(answer.status.is_success(), answer.status, 0, entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn bodies_share_no_block() {
        const BLOCK: usize = Bodies::SHIFTS;
        let bodies = Bodies::new(2 * BLOCK);
        let mut blocks = BTreeSet::new();
        for index in (1 << 40)..(1 << 40) + 50 {
            let body = bodies.of(index);
            assert_eq!(body.len(), 2 * BLOCK);
            let new = body
                .chunks(BLOCK)
                .all(|block| blocks.insert(block.to_vec()));
            assert!(new, "a block of body {index} was there before");
        }
    }
}
