//! `datamesh bench`: a short load through the S3 port of the running server, in a bucket of its own.

use super::Failed;
use super::remote::{Connection, Remote};
use super::render::{bytes, table};
use crate::admin::shapes::Status;
use bench::client::{Client, Payload, Target};
use bench::load::{Kind, Outcome, Run, measure};
use bytes::Bytes;
use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Longest run, seconds: a self-test, not a load test.
pub(super) const TIME_S_MAX: u64 = 60;
/// Largest object, bytes: `connections` of them lie in our memory.
pub(super) const SIZE_BYTES_MAX: u64 = 64 << 20;
/// Most connections.
pub(super) const CONNECTIONS_MAX: u64 = 256;
/// Objects put before the reading run, at most; each is read many times.
const OBJECTS_READ: u64 = 200;

/// Put and get objects for a few seconds and say how fast that was. Everything is deleted again.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Bytes an object.
    #[arg(long, default_value_t = 64 << 10, value_parser = clap::value_parser!(u64).range(1..=SIZE_BYTES_MAX))]
    size: u64,
    /// Connections.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: u64,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=TIME_S_MAX))]
    time: u64,
    #[command(flatten)]
    remote: Remote,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failed> {
        let (size, connections) = (
            usize::try_from(self.size),
            usize::try_from(self.connections),
        );
        let (size, connections) = (
            size.map_err(Failed::because)?,
            connections.map_err(Failed::because)?,
        );
        let time = Duration::from_secs(self.time);
        self.remote.with(async |mut connection| {
            let target = s3_target(&mut connection).await?;
            let mut random = [0; 6];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
                .map_err(Failed::because)?;
            let run = Run {
                target,
                bucket: format!("datamesh-bench-{}", hex::encode(random)),
                kind: Kind::Put,
                size,
                connections,
                objects: OBJECTS_READ,
                warm_up: Duration::from_millis(500),
                time,
                payload: Payload::Signed,
            };
            let mut client = Client::new(run.target.clone());
            expect(&mut client, Method::PUT, &format!("/{}", run.bucket)).await?;
            let outcomes = runs(&run).await;
            let cleaned = clean(&mut client, &run.bucket).await;
            let outcomes = outcomes?;
            cleaned?;
            connection.show(&outcomes, |outcomes| outcome_table(outcomes))
        })
    }
}

/// The S3 port on the host we reach the admin port at.
async fn s3_target(connection: &mut Connection) -> Result<Target, Failed> {
    let status: Status = connection.get("/v1/status").await?;
    if status.s3_tls == "on" {
        return Err(Failed::because(
            "the S3 port speaks only TLS, this generator only http: use tls.mode = \"both\"",
        ));
    }
    let listen: SocketAddr = status.s3_listen.parse().map_err(Failed::because)?;
    let admin = connection.target();
    let host = admin
        .address
        .rsplit_once(':')
        .map_or("127.0.0.1", |(host, _)| host);
    let address = match listen.ip() {
        ip if ip.is_unspecified() => format!("{host}:{}", listen.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", listen.port()),
        IpAddr::V4(ip) => format!("{ip}:{}", listen.port()),
    };
    Ok(Target {
        address,
        region: status.region,
        ..admin.clone()
    })
}

async fn runs(put: &Run) -> Result<Vec<Outcome>, Failed> {
    let mut outcomes = Vec::new();
    for kind in [Kind::Put, Kind::Get] {
        let run = Run {
            kind,
            ..put.clone()
        };
        if kind == Kind::Get {
            bench::load::prepare(&run).await.map_err(Failed::because)?;
        }
        let bar = ProgressBar::new(
            (run.warm_up + run.time)
                .as_millis()
                .try_into()
                .unwrap_or(u64::MAX),
        );
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(format!("{kind:?}"));
        let moving = bar.clone();
        let mover = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                moving.inc(100);
            }
        });
        let outcome = measure(&run).await;
        mover.abort();
        bar.finish_and_clear();
        outcomes.push(outcome.map_err(Failed::because)?);
    }
    Ok(outcomes)
}

/// Deletes every object, then the bucket.
async fn clean(client: &mut Client, bucket: &str) -> Result<(), Failed> {
    let bar = ProgressBar::new_spinner();
    bar.set_message("deleting");
    loop {
        let page = expect(
            client,
            Method::GET,
            &format!("/{bucket}?list-type=2&max-keys=1000"),
        )
        .await?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let keys: Vec<&str> = page
            .split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split("</Key>").next())
            .collect();
        if keys.is_empty() {
            break;
        }
        for key in keys {
            expect(client, Method::DELETE, &format!("/{bucket}/{key}")).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    expect(client, Method::DELETE, &format!("/{bucket}"))
        .await
        .map(drop)
}

async fn expect(client: &mut Client, method: Method, path: &str) -> Result<Bytes, Failed> {
    let answer = client
        .send(method.clone(), path, &[], Bytes::new(), Payload::Signed)
        .await;
    let answer = answer.map_err(|e| Failed::because(format!("S3 port: {e}")))?;
    if answer.status.is_success() {
        return Ok(answer.body);
    }
    Err(Failed::because(format!(
        "S3 port: {method} {path}: {}",
        answer.status
    )))
}

fn outcome_table(outcomes: &[Outcome]) -> String {
    let rows = outcomes.iter().map(|o| {
        vec![
            format!("{:?}", o.kind).to_uppercase(),
            bytes(o.size as u64),
            o.connections.to_string(),
            o.requests.to_string(),
            o.errors.to_string(),
            format!("{:.0}", o.per_s),
            format!("{:.1}", o.mb_per_s),
            format!("{:.1}", o.latency.p50_ms),
            format!("{:.1}", o.latency.p99_ms),
        ]
    });
    table(
        &[
            "load",
            "size",
            "connections",
            "requests",
            "errors",
            "per s",
            "MB/s",
            "p50 ms",
            "p99 ms",
        ],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::super::CommandLine;
    use super::{CONNECTIONS_MAX, SIZE_BYTES_MAX, TIME_S_MAX};
    use clap::Parser;

    #[test]
    fn a_self_test_is_bounded() {
        for (flag, limit) in [
            ("--time", TIME_S_MAX),
            ("--size", SIZE_BYTES_MAX),
            ("--connections", CONNECTIONS_MAX),
        ] {
            let parsed = |n: u64| {
                CommandLine::try_parse_from(["datamesh", "bench", flag, &n.to_string()]).is_ok()
            };
            assert!(parsed(limit) && !parsed(limit + 1) && !parsed(0), "{flag}");
        }
    }
}
