//! A server of the real binary over temporary drives, and its command line.

use bench::client::{Client, Payload, Target};
use http::{Method, StatusCode};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_datamesh");
const READY: Duration = Duration::from_secs(45);
pub(crate) const TENANT: (&str, &str) = ("TENANTKEY00000000000", "a-secret-of-the-tenant");

/// Ports nobody listens on, no two the same: all are held until the last was found.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("bound"));
    held.map(|socket| socket.local_addr().expect("address").port())
}

/// No settings or keys of whoever runs the tests; a chosen sabotage is meant for the server too.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    let theirs = |name: &str| {
        name.starts_with("DATAMESH_") && name != "DATAMESH_SABOTAGE" || name.starts_with("AWS_")
    };
    for (name, _) in std::env::vars().filter(|(name, _)| theirs(name)) {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null());
    command
}

pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// One server at a time: several at once on a small machine are slow enough to be out of service.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct Server {
    _turn: MutexGuard<'static, ()>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) drives: usize,
    pub(crate) s3: u16,
    pub(crate) admin: u16,
    pub(crate) child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good.
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::over(3)
    }

    pub(crate) fn over(drives: usize) -> Self {
        let mut server = Self::unstarted(drives);
        server.launch();
        server
    }

    pub(crate) fn unstarted(drives: usize) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let [s3, admin] = free_ports();
        Self {
            _turn: turn,
            folder,
            drives,
            s3,
            admin,
            child: None,
        }
    }

    /// Starts it, and does not wait.
    pub(crate) fn spawn(&mut self) {
        self.spawn_to(Stdio::null());
    }

    /// The same, with a standard output.
    pub(crate) fn spawn_to(&mut self, output: Stdio) {
        let config = self.configure(self.s3, self.admin);
        let log = std::fs::File::create(self.folder.path().join("log")).expect("log");
        let child = command(&["serve", "--config", &config])
            .stdout(output)
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("started"));
    }

    pub(crate) fn child(&self) -> &Child {
        self.child.as_ref().expect("running")
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let pid = self.child().id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill").success());
    }

    /// Its exit code, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("running");
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = child.try_wait().expect("waited") {
                return status.code();
            }
            if Instant::now() > deadline {
                child.kill().expect("killed");
                panic!("it does not end: {}", self.log());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn launch(&mut self) {
        self.spawn();
        self.until("ready", |server| {
            server
                .open("/health/ready")
                .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// Waits for a condition while the server runs.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + READY;
        while !condition(self) {
            let ended = self
                .child
                .as_mut()
                .expect("child")
                .try_wait()
                .expect("waited");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "not {what}: {}",
                self.log()
            );
            // Looked at again soon; spinning would starve the server.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn configure(&self, s3: u16, admin: u16) -> String {
        let at = self.folder.path();
        let drives: Vec<String> = (1..=self.drives)
            .map(|n| self.drive(n).display().to_string())
            .collect();
        for path in &drives {
            std::fs::create_dir_all(path).expect("drive");
        }
        let text = format!(
            "listen = \"127.0.0.1:{s3}\"\nadmin_listen = \"127.0.0.1:{admin}\"\ndrives = {drives:?}\n\
             credentials_file = \"{at}/credentials.json\"\nkey_file = \"{at}/key\"\nreserve_bytes = 1048576\n\
             segment_bytes = 16777216\nregion = \"eu-test-1\"\n\n[[accounts]]\nname = \"tenant\"\n\
             canonical_id = \"{id}\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n",
            at = at.display(),
            id = "7".repeat(64),
            access = TENANT.0,
            secret = TENANT.1,
        );
        let file = at.join(format!("{admin}.toml"));
        std::fs::write(&file, text).expect("config");
        file.display().to_string()
    }

    pub(crate) fn drive(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("d{number}"))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// An unsigned GET of the admin port.
    pub(crate) fn open(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let config = self.folder.path().join(format!("{}.toml", self.admin));
        let mut all = words.to_vec();
        let config = config.display().to_string();
        all.extend(["--config", &config]);
        command(&all).output().expect("ran")
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--output", "json"]].concat());
        assert!(
            output.status.success(),
            "{words:?}: {}\n{}",
            told(&output),
            self.log()
        );
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Fails with `code`, saying `what`.
    pub(crate) fn fails(&self, words: &[&str], code: i32, what: &str) {
        let output = self.run(words);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}",
            told(&output)
        );
        assert!(told(&output).contains(what), "{words:?}: {}", told(&output));
    }

    pub(crate) fn s3(&self, access: &str, secret: &str) -> Client {
        Client::new(Target {
            address: format!("127.0.0.1:{}", self.s3),
            access_key: access.into(),
            secret_key: secret.into(),
            region: "eu-test-1".into(),
        })
    }
}

pub(crate) async fn put(client: &mut Client, path: &str, bytes: usize) -> StatusCode {
    let body = vec![7_u8; bytes].into();
    client
        .send(Method::PUT, path, &[], body, Payload::Signed)
        .await
        .expect("sent")
        .status
}

pub(crate) fn text<'a>(value: &'a Value, at: &str) -> &'a str {
    value
        .pointer(at)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{at} in {value}"))
}
