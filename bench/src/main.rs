//! `datamesh-load`: one measured run against one endpoint, as JSON.

use bench::client::{Client, Payload, Target};
use bench::load::{Kind, Run, measure, prepare};
use bytes::Bytes;
use clap::Parser;
use http::Method;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Loads an S3 endpoint for a bounded time and prints what came of it.
#[derive(Debug, Parser)]
struct Options {
    /// host:port, plain http.
    #[arg(long)]
    address: String,
    /// Access key.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: String,
    /// Secret.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
    /// Region.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Bucket; made if absent.
    #[arg(long, default_value = "load")]
    bucket: String,
    /// What to do.
    #[arg(long, value_enum)]
    kind: Kind,
    /// Bytes an object.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Objects put before a reading run.
    #[arg(long, default_value_t = 1000)]
    objects: u64,
    /// Seconds not measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    time: f64,
    /// Do not sign payloads.
    #[arg(long)]
    unsigned: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())
        .and_then(|runtime| runtime.block_on(run(options)));
    let (line, code) = match result {
        Ok(line) => (line, ExitCode::SUCCESS),
        Err(error) => (
            serde_json::json!({ "error": error }).to_string(),
            ExitCode::FAILURE,
        ),
    };
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => code,
        Err(_closed) => ExitCode::FAILURE,
    }
}

async fn run(o: Options) -> Result<String, String> {
    let target = Target {
        address: o.address,
        access_key: o.access_key,
        secret_key: o.secret_key,
        region: o.region,
    };
    let run = Run {
        target: target.clone(),
        bucket: o.bucket,
        kind: o.kind,
        size: o.size,
        connections: o.connections,
        objects: o.objects,
        warm_up: Duration::from_secs_f64(o.warm_up),
        time: Duration::from_secs_f64(o.time),
        payload: if o.unsigned {
            Payload::Unsigned
        } else {
            Payload::Signed
        },
    };
    let bucket = format!("/{}", run.bucket);
    let made = Client::new(target)
        .send(Method::PUT, &bucket, &[], Bytes::new(), Payload::Signed)
        .await
        .map_err(|e| e.to_string())?;
    if !made.status.is_success() && made.status != http::StatusCode::CONFLICT {
        return Err(format!("bucket: {}", made.status));
    }
    if run.kind != Kind::Put {
        prepare(&run).await.map_err(|e| e.to_string())?;
    }
    let outcome = measure(&run).await.map_err(|e| e.to_string())?;
    serde_json::to_string(&outcome).map_err(|e| e.to_string())
}
