//! One server process over six drives below a directory.

use bench::client::{Client, Target};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Drives of a store.
pub(crate) const DRIVES: usize = 6;
const ACCESS_KEY: &str = "powercut";
const SECRET_KEY: &str = "powercut-secret";

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) target: Target,
    admin: String,
}

/// Two ports nobody listens on, not the same: both are held until both were found.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let held = (
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    );
    Ok((held.0.local_addr()?.port(), held.1.local_addr()?.port()))
}

/// Ports tried for one start.
const PORTS_TRIED: usize = 5;
/// What a server says that finds its port in use.
const PORT_TAKEN: &str = "Address already in use";

impl Server {
    /// Starts `binary` over `store/d1…d6` with keys in `keys`; waits until it is ready.
    ///
    /// `record`: preload library and log.
    pub(crate) async fn start(
        binary: &Path,
        store: &Path,
        keys: &Path,
        record: Option<(&Path, &Path)>,
    ) -> Result<Self, String> {
        let mut started = Self::launch(binary, store, keys, record).await;
        for _ in 1..PORTS_TRIED {
            // A port that was free may be somebody's by now; the drives were not touched then.
            if !started.as_ref().is_err_and(|why| why.contains(PORT_TAKEN)) {
                break;
            }
            started = Self::launch(binary, store, keys, record).await;
        }
        started
    }

    async fn launch(
        binary: &Path,
        store: &Path,
        keys: &Path,
        record: Option<(&Path, &Path)>,
    ) -> Result<Self, String> {
        let (port, admin) = free_ports().map_err(|e| e.to_string())?;
        std::fs::create_dir_all(keys).map_err(|e| e.to_string())?;
        let mut command = Command::new(binary);
        command
            .arg("serve")
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"));
        for number in 1..=DRIVES {
            let drive: PathBuf = store.join(format!("d{number}"));
            std::fs::create_dir_all(&drive).map_err(|e| e.to_string())?;
            command.arg("--drive").arg(drive);
        }
        let told = keys.join(format!("server-{port}.log"));
        let log = std::fs::File::create(&told).map_err(|e| e.to_string())?;
        command
            .env("DATAMESH_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("DATAMESH_CREDENTIALS_FILE", keys.join("credentials.json"))
            .env("DATAMESH_KEY_FILE", keys.join("key"))
            .env("DATAMESH_ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("DATAMESH_ROOT_SECRET_KEY", SECRET_KEY)
            .env("DATAMESH_SEGMENT_BYTES", (16 << 20).to_string())
            .env("DATAMESH_RESERVE_BYTES", (64 << 20).to_string())
            .env("DATAMESH_SNAPSHOT_LOG_BYTES", (1 << 20).to_string())
            .env("DATAMESH_PACK_AGE_S", "2")
            .env("DATAMESH_PACK_BYTES_MIN", (64 << 10).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        if let Some((library, log)) = record {
            command
                .env("LD_PRELOAD", library)
                .env("RECORD_ROOT", store)
                .env("RECORD_LOG", log);
        }
        let child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let target = Target {
            address: format!("127.0.0.1:{port}"),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            region: "us-east-1".into(),
        };
        let mut server = Self {
            child,
            target,
            admin: format!("127.0.0.1:{admin}"),
        };
        let ready = server.ready(Duration::from_mins(1)).await;
        let last = || {
            let told = std::fs::read_to_string(&told).unwrap_or_default();
            told.lines().last().unwrap_or_default().to_owned()
        };
        ready.map_err(|why| format!("{why}: {}", last()))?;
        Ok(server)
    }

    /// Speaks to the admin listener.
    pub(crate) fn admin_client(&self) -> Client {
        Client::for_service(
            Target {
                address: self.admin.clone(),
                ..self.target.clone()
            },
            "datamesh",
        )
    }

    async fn ready(&mut self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("server ended before it was ready: {status}"));
            }
            if self.is_ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("server did not become ready".into());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let Ok(mut stream) = tokio::net::TcpStream::connect(&self.admin).await else {
            return false;
        };
        let request = format!(
            "GET /health/ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        let mut answer = Vec::new();
        stream.write_all(request.as_bytes()).await.is_ok()
            && stream.read_to_end(&mut answer).await.is_ok()
            && answer.starts_with(b"HTTP/1.1 200")
    }

    /// SIGKILL, and wait for the end.
    pub(crate) async fn kill(mut self) {
        let _already_gone = self.child.kill().await;
    }
}
