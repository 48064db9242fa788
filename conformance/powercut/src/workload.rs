//! Puts, overwrites, multipart uploads and deletes, each key owned by one worker.

use crate::history::{Request, State};
use bench::client::{Answer, Client, ClientError, Payload, Target};
use bytes::Bytes;
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The bucket.
pub(crate) const BUCKET: &str = "powercut";
/// Smallest part that is not the last.
const PART: usize = 5 << 20;

/// Histories by key.
pub(crate) type Histories = BTreeMap<String, Vec<Request>>;

/// The bytes of version `number`: every 8 of them say where they are and whose.
pub(crate) fn bytes_of(number: u64, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 8);
    let mut at = 0_u64;
    while bytes.len() < length {
        bytes.extend_from_slice(
            &(number.rotate_left(32) ^ at.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes(),
        );
        at += 1;
    }
    bytes.truncate(length);
    bytes.into()
}

/// Which versions these bytes may be, going by what was ever asked of the key: those shorter than a
/// number look alike.
pub(crate) fn recognise(history: &[Request], body: &[u8]) -> Vec<State> {
    let is = |state: &State| match state {
        State::Absent => false,
        State::Object(number, length) => {
            *length == body.len() && bytes_of(*number, *length) == body
        }
    };
    history.iter().map(|r| r.leaves).filter(is).collect()
}

/// Work and rest take turns: commits of many writers share a sync, and three minutes of load stay
/// small enough to be rebuilt a thousand times.
const BURST: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(5);

fn size(random: &mut StdRng) -> usize {
    match random.random_range(0..40) {
        0..=3 => random.random_range(0..64),
        4..=21 => random.random_range(64..16_384),
        22..=25 => 16_384 + random.random_range(0..2),
        26..=38 => random.random_range(16_386..300_000),
        _ => random.random_range(300_000..3_000_000),
    }
}

/// One worker until `end`: requests on its own keys, one after another.
pub(crate) struct Worker {
    pub(crate) target: Target,
    pub(crate) log: PathBuf,
    pub(crate) number: u64,
    pub(crate) keys: u64,
    pub(crate) seed: u64,
    pub(crate) end: Instant,
}

fn log_length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |m| m.len())
}

impl Worker {
    /// A key: most are overwritten all the time, some live long enough to be left alone in segments
    /// of which everything else has died.
    fn pick(&self, random: &mut StdRng) -> u64 {
        let key = random.random_range(0..self.keys);
        if random.random_ratio(1, 100) {
            self.keys + key
        } else {
            key
        }
    }

    pub(crate) async fn run(self) -> Histories {
        let mut random =
            StdRng::seed_from_u64(self.seed ^ self.number.wrapping_mul(0x5851_F42D_4C95_7F2D));
        let mut client = Client::new(self.target.clone());
        let mut histories = Histories::new();
        let mut version = self.number << 32;
        let mut rest_at = Instant::now() + BURST;
        while Instant::now() < self.end {
            if Instant::now() > rest_at {
                tokio::time::sleep(REST).await;
                rest_at = Instant::now() + BURST;
            }
            version += 1;
            let key = format!("w{}/k{}", self.number, self.pick(&mut random));
            let sent = log_length(&self.log);
            let (leaves, result) = match random.random_range(0..60) {
                0..=8 => (State::Absent, delete(&mut client, &key).await),
                9 => {
                    let length = PART + random.random_range(1..400_000);
                    (
                        State::Object(version, length),
                        multipart(&mut client, &key, version, length).await,
                    )
                }
                _ => {
                    let length = size(&mut random);
                    let body = bytes_of(version, length);
                    (
                        State::Object(version, length),
                        put(&mut client, &key, body).await,
                    )
                }
            };
            let acknowledged = matches!(result, Ok(true)).then(|| log_length(&self.log));
            histories.entry(key).or_default().push(Request {
                leaves,
                sent,
                acknowledged,
            });
        }
        histories
    }
}

fn path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

async fn put(client: &mut Client, key: &str, body: Bytes) -> Result<bool, ClientError> {
    let answer = client
        .send(Method::PUT, &path(key), &[], body, Payload::Unsigned)
        .await?;
    Ok(answer.status.is_success())
}

async fn delete(client: &mut Client, key: &str) -> Result<bool, ClientError> {
    let answer = client
        .send(
            Method::DELETE,
            &path(key),
            &[],
            Bytes::new(),
            Payload::Signed,
        )
        .await?;
    Ok(answer.status.is_success())
}

async fn multipart(
    client: &mut Client,
    key: &str,
    version: u64,
    length: usize,
) -> Result<bool, ClientError> {
    let whole = bytes_of(version, length);
    let begun = client
        .send(
            Method::POST,
            &format!("{}?uploads=", path(key)),
            &[],
            Bytes::new(),
            Payload::Signed,
        )
        .await?;
    let Some(upload) = element(&begun, "UploadId") else {
        return Ok(false);
    };
    let mut list = String::from("<CompleteMultipartUpload>");
    for (index, part) in [whole.slice(..PART), whole.slice(PART..)]
        .into_iter()
        .enumerate()
    {
        let number = index + 1;
        let at = format!("{}?partNumber={number}&uploadId={upload}", path(key));
        let answer = client
            .send(Method::PUT, &at, &[], part, Payload::Unsigned)
            .await?;
        let Some(tag) = answer.headers.get("etag").and_then(|t| t.to_str().ok()) else {
            return Ok(false);
        };
        list.extend([
            "<Part><PartNumber>",
            &number.to_string(),
            "</PartNumber><ETag>",
            tag,
            "</ETag></Part>",
        ]);
    }
    list.push_str("</CompleteMultipartUpload>");
    let at = format!("{}?uploadId={upload}", path(key));
    let done = client
        .send(Method::POST, &at, &[], list.into(), Payload::Signed)
        .await?;
    Ok(done.status.is_success() && element(&done, "ETag").is_some())
}

fn element(answer: &Answer, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let from = text.find(&format!("<{name}>"))? + name.len() + 2;
    let to = text[from..].find("</")?;
    Some(text[from..from + to].to_owned())
}
