//! How commands reach a running server: its admin port, signed by a key of root.

use super::{Failed, print};
use crate::admin::{ErrorBody, SERVICE};
use crate::config::{Flags, load};
use crate::credentials::Credentials;
use bench::client::{Client, ClientError, Payload, Target};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

const DEFAULT_ADDRESS: &str = "127.0.0.1:9001";
const DEFAULT_REGION: &str = "us-east-1";
/// Where `serve` writes them unless told otherwise.
const DEFAULT_CREDENTIALS: &str = "datamesh-credentials.json";

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where the server is and who asks. Keys come from --credentials, `DATAMESH_ROOT_ACCESS_KEY` and
/// `DATAMESH_ROOT_SECRET_KEY`, the settings' `credentials_file`, `AWS_ACCESS_KEY_ID` and
/// `AWS_SECRET_ACCESS_KEY`, or ./datamesh-credentials.json: the first there is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Remote {
    /// Admin port of the server [default: the settings', else 127.0.0.1:9001].
    #[arg(long, env = "DATAMESH_ADMIN", value_name = "URL", global = true)]
    admin: Option<String>,
    /// Credentials file that `serve` wrote.
    #[arg(long, value_name = "FILE", global = true)]
    credentials: Option<PathBuf>,
    /// Settings file of the server: tells the admin port, the region and the credentials file.
    #[arg(long, env = "DATAMESH_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Region that signatures name [default: the settings', else us-east-1].
    #[arg(long, global = true)]
    region: Option<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
}

/// What is known of the server before it is asked.
#[derive(Default)]
struct Told {
    address: Option<String>,
    region: Option<String>,
    credentials: Option<PathBuf>,
}

impl Remote {
    /// Runs `work` with a connection.
    pub(crate) fn with<F: AsyncFnOnce(Connection) -> Result<(), Failed>>(
        self,
        work: F,
    ) -> Result<(), Failed> {
        let connection = self.connection()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        runtime.map_err(Failed::because)?.block_on(work(connection))
    }

    fn connection(self) -> Result<Connection, Failed> {
        let told = self.told()?;
        let address = match &self.admin {
            Some(url) => address_of(url)?,
            None => told
                .address
                .clone()
                .unwrap_or_else(|| DEFAULT_ADDRESS.into()),
        };
        let region = self.region.clone().or(told.region.clone());
        let region = region
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"));
        let (access_key, secret_key) = self.keys(told.credentials.as_deref())?;
        let region = region.unwrap_or_else(|| DEFAULT_REGION.into());
        let target = Target {
            address,
            access_key,
            secret_key,
            region,
        };
        Ok(Connection {
            client: Client::for_service(target.clone(), SERVICE),
            target,
            output: self.output,
        })
    }

    /// The settings of --config, for what needs no server.
    pub(super) fn settings(&self) -> Result<crate::config::Config, Failed> {
        let config = self.config.clone();
        Ok(load(
            &Flags {
                config,
                ..Flags::default()
            },
            std::env::vars(),
        )?)
    }

    fn told(&self) -> Result<Told, Failed> {
        if self.config.is_none() && std::env::var_os("DATAMESH_DRIVES").is_none() {
            // Not a server's settings: those of them that say where one is.
            let listener = variable("DATAMESH_ADMIN_LISTEN");
            return Ok(Told {
                address: listener.map(|text| listener_of(&text)).transpose()?,
                region: variable("DATAMESH_REGION"),
                credentials: variable("DATAMESH_CREDENTIALS_FILE").map(PathBuf::from),
            });
        }
        let config = self.settings()?;
        Ok(Told {
            address: Some(reached(config.admin_listen)),
            region: Some(config.region),
            credentials: Some(config.credentials_file),
        })
    }

    fn keys(&self, configured: Option<&Path>) -> Result<(String, String), Failed> {
        if let Some(file) = &self.credentials {
            let missing =
                || Failed::wrong(format!("--credentials: there is no {}", file.display()));
            return pair_of(file)?.ok_or_else(missing);
        }
        let root = variable("DATAMESH_ROOT_ACCESS_KEY").zip(variable("DATAMESH_ROOT_SECRET_KEY"));
        if let Some(pair) = root {
            return Ok(pair);
        }
        if let Some(file) = configured
            && let Some(pair) = pair_of(file)?
        {
            return Ok(pair);
        }
        if let Some(pair) = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")) {
            return Ok(pair);
        }
        pair_of(Path::new(DEFAULT_CREDENTIALS))?.ok_or_else(|| {
            Failed::wrong(
                "no keys of the root account: give --credentials FILE or --config FILE, or set \
                 DATAMESH_ROOT_ACCESS_KEY and DATAMESH_ROOT_SECRET_KEY",
            )
        })
    }
}

fn pair_of(file: &Path) -> Result<Option<(String, String)>, Failed> {
    let read = Credentials::read(file).map_err(|e| Failed::wrong(e.to_string()))?;
    Ok(read.map(|c| (c.access_key, c.secret_key.to_string())))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Where to reach what listens there.
fn reached(mut listener: SocketAddr) -> String {
    if listener.ip().is_unspecified() {
        listener.set_ip(IpAddr::from([127, 0, 0, 1]));
    }
    listener.to_string()
}

/// The same of the setting's text.
fn listener_of(text: &str) -> Result<String, Failed> {
    let wrong = |_error| Failed::wrong(format!("DATAMESH_ADMIN_LISTEN: {text}: write IP:PORT"));
    text.parse().map(reached).map_err(wrong)
}

/// `host:port` of a URL.
fn address_of(url: &str) -> Result<String, Failed> {
    let rest = match url.split_once("://") {
        None => url,
        Some(("http", rest)) => rest,
        Some(_) => {
            return Err(Failed::wrong(format!(
                "--admin: {url}: the admin port speaks plain http"
            )));
        }
    };
    let address = rest.trim_end_matches('/');
    let port = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !port || address.contains('/') {
        return Err(Failed::wrong(format!(
            "--admin: {url}: write http://HOST:PORT"
        )));
    }
    Ok(address.to_owned())
}

/// A signed connection to the admin port.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    target: Target,
    pub(crate) output: Output,
}

impl Connection {
    /// Who asks, and where: for requests to the S3 port of the same server.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failed> {
        let body = self.ask(Method::GET, path, Bytes::new()).await?;
        read(&body)
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        given: &impl Serialize,
    ) -> Result<T, Failed> {
        let given = serde_json::to_vec(given).map_err(Failed::because)?;
        let body = self.ask(Method::POST, path, Bytes::from(given)).await?;
        read(&body)
    }

    /// A deletion that says what came of it.
    pub(crate) async fn delete_told<T: DeserializeOwned>(
        &mut self,
        path: &str,
    ) -> Result<T, Failed> {
        let body = self.ask(Method::DELETE, path, Bytes::new()).await?;
        read(&body)
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Result<(), Failed> {
        self.ask(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failed> {
        let headers = [("content-type", "application/json")];
        let headers = if body.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        let answer = self
            .client
            .send(method, path, headers, body, Payload::Signed)
            .await;
        let answer = answer.map_err(|error| match error {
            ClientError::Connection(why) => Failed::because(format!(
                "cannot reach the admin port at {}: is `datamesh serve` running? ({why})",
                self.target.address
            )),
            ClientError::Request(why) => Failed::because(why),
        })?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(refused(answer.status, &answer.body))
    }

    /// Prints an answer as asked for.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failed> {
        match self.output {
            Output::Table => print(&table(value)),
            Output::Json => {
                let mut text = serde_json::to_string_pretty(value).map_err(Failed::because)?;
                text.push('\n');
                print(&text)
            }
        }
    }

    /// Secrets do not travel in the clear: the admin port has no TLS, so only on loopback.
    pub(crate) fn only_on_loopback(&self) -> Result<(), Failed> {
        let host = self
            .target
            .address
            .rsplit_once(':')
            .map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            return Ok(());
        }
        Err(Failed::wrong(format!(
            "a secret would travel in the clear to {host}: run this on the server, or through \
             `ssh -L 9001:127.0.0.1:9001 {host}` with --admin http://127.0.0.1:9001"
        )))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(body)
        .map_err(|e| Failed::because(format!("the server's answer does not read: {e}")))
}

fn refused(status: StatusCode, body: &[u8]) -> Failed {
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error) => Failed::because(format!("{} ({})", error.message, error.code)),
        Err(_) => Failed::because(format!(
            "the server answered {status}: is that its admin port?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(address: &str) -> Connection {
        let target = Target {
            address: address.into(),
            access_key: "a".into(),
            secret_key: "s".into(),
            region: "r".into(),
        };
        Connection {
            client: Client::for_service(target.clone(), SERVICE),
            target,
            output: Output::Json,
        }
    }

    #[test]
    fn a_listener_of_every_address_is_reached_on_this_machine() {
        let reached = |text| listener_of(text).ok();
        assert_eq!(reached("0.0.0.0:9001"), Some("127.0.0.1:9001".into()));
        assert_eq!(reached("10.0.0.1:9001"), Some("10.0.0.1:9001".into()));
        assert_eq!(reached("9001"), None);
    }

    #[test]
    fn the_admin_url_is_read_and_what_it_cannot_be_is_told() {
        for good in [
            "http://127.0.0.1:9001",
            "127.0.0.1:9001",
            "http://127.0.0.1:9001/",
        ] {
            assert_eq!(
                address_of(good).ok().as_deref(),
                Some("127.0.0.1:9001"),
                "{good}"
            );
        }
        assert_eq!(
            address_of("http://[::1]:9001").ok().as_deref(),
            Some("[::1]:9001")
        );
        for bad in [
            "https://127.0.0.1:9001",
            "http://127.0.0.1",
            "http://h:port",
            "http://h:1/x",
        ] {
            assert_eq!(address_of(bad).expect_err("refused").code, 2, "{bad}");
        }
    }

    #[test]
    fn secrets_travel_on_loopback_only() {
        for near in ["127.0.0.1:9001", "[::1]:9001", "localhost:9001"] {
            assert!(connection(near).only_on_loopback().is_ok(), "{near}");
        }
        for far in [
            "10.0.0.7:9001",
            "example.org:9001",
            "localhost.example.org:9001",
        ] {
            assert!(connection(far).only_on_loopback().is_err(), "{far}");
        }
    }

    #[test]
    fn an_error_says_what_the_server_said() {
        let told = refused(
            StatusCode::CONFLICT,
            br#"{"code":"OwnKey","message":"use another"}"#,
        );
        assert_eq!(told.message, "use another (OwnKey)");
        assert!(
            refused(StatusCode::BAD_GATEWAY, b"<html>")
                .message
                .contains("502")
        );
    }
}
