#!/usr/bin/env python3
"""Serves conformance/profile.toml over six temporary drives while a command runs.

  server.py [--tls off|on|both] [--binary PATH] [--keep] -- COMMAND...

COMMAND finds the server by environment: S3_ENDPOINT (and S3_ENDPOINT_HTTPS), S3_ADMIN,
S3_REGION, S3_ACCESS_KEY, S3_SECRET_KEY, and with TLS S3_CA_FILE. The server dies with us: it is
stopped by its own process id, and the kernel kills it should we be killed first.
The drives lie in the clone's .cache, not in /tmp, which may be memory, where O_DIRECT is refused
and fsync means nothing.
"""
from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.cache import CACHE, ROOT, Failed, made, run, say  # noqa: E402

PROFILE = ROOT / "conformance" / "profile.toml"
DRIVES = 6
READY_S_MAX = 60
STOP_S_MAX = 40
START_TRIES_MAX = 3
PR_SET_PDEATHSIG = 1


def profile() -> dict:
    return tomllib.loads(PROFILE.read_text())


def account(name: str) -> dict:
    return next(a for a in profile()["accounts"] if a["name"] == name)


def binary() -> Path:
    """CONFORMANCE_BIN, else the younger of the two builds."""
    named = os.environ.get("CONFORMANCE_BIN")
    if named:
        return Path(named).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = [p for p in (target / kind / "datamesh" for kind in ("debug", "release")) if p.exists()]
    if not found:
        raise Failed("target/debug/datamesh is not built yet: cargo build -p gateway-server --ignore-rust-version")
    return max(found, key=lambda p: p.stat().st_mtime)


def certificates() -> Path:
    """ca.pem, cert.pem, key.pem for localhost. An authority of its own signs the leaf, because
    webpki (the Rust SDK) refuses an authority's certificate as a server's."""
    with made("tls", "localhost 127.0.0.1 ::1 v1") as (folder, fresh):
        if fresh:
            quiet = {"cwd": folder, "stderr": subprocess.DEVNULL}
            run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "825", "-keyout",
                 "ca.key", "-out", "ca.pem", "-subj", "/CN=DataMesh test authority"], **quiet)
            run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
                 "leaf.csr", "-subj", "/CN=localhost"], **quiet)
            (folder / "leaf.cnf").write_text(
                "subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1\n"
                "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
            run(["openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-CAcreateserial", "-days", "825", "-out", "cert.pem", "-extfile", "leaf.cnf"], **quiet)
        return folder


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """Context manager. `endpoint` is http, or https where TLS is `on`; `https` where there is any."""

    def __init__(self, tls: str = "off", program: Path | None = None, keep: bool = False) -> None:
        self.tls, self.program, self.keep = tls, program, keep
        self.process: subprocess.Popen | None = None
        self.folder = Path()

    def __enter__(self) -> "Server":
        self.program = self.program or binary()
        for left in reversed(range(START_TRIES_MAX)):
            try:
                self._start()
                return self
            except Failed as why:
                self.stop()
                # A port may have gone to somebody else between our look and the server's bind.
                if not left or "in use" not in str(why):
                    raise
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def _start(self) -> None:
        (CACHE / "servers").mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="server-", dir=CACHE / "servers"))
        port, admin = free_port(), free_port()
        self.ca = certificates() / "ca.pem" if self.tls != "off" else None
        self.endpoint = f"{'https' if self.tls == 'on' else 'http'}://127.0.0.1:{port}"
        self.https = f"https://127.0.0.1:{port}" if self.tls != "off" else None
        self.admin = f"http://127.0.0.1:{admin}"
        config = self._config(port, admin)
        # Settings of the caller's own server are not this one's; a chosen sabotage is.
        outer = {k: v for k, v in os.environ.items()
                 if not k.startswith("DATAMESH_") or k == "DATAMESH_SABOTAGE"}
        env = {**outer, "DATAMESH_ROOT_ACCESS_KEY": "DMTESTROOT0000000000",
               "DATAMESH_ROOT_SECRET_KEY": secrets.token_hex(20)}
        with (self.folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", "--config", str(config)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, env=env, cwd=self.folder,
                preexec_fn=_die_with_parent)
        self._wait_ready()

    def _config(self, port: int, admin: int) -> Path:
        drives = [self.folder / f"d{i}" for i in range(1, DRIVES + 1)]
        for drive in drives:
            drive.mkdir()
        own = [f'listen = "127.0.0.1:{port}"', f'admin_listen = "127.0.0.1:{admin}"',
               "drives = [" + ", ".join(f'"{d}"' for d in drives) + "]",
               f'credentials_file = "{self.folder / "credentials.json"}"',
               f'key_file = "{self.folder / "keyring.key"}"']
        text = "\n".join(own) + "\n" + PROFILE.read_text()
        if self.tls != "off":
            pem = certificates()
            text += f'\n[tls]\nmode = "{self.tls}"\ncert = "{pem / "cert.pem"}"\nkey = "{pem / "key.pem"}"\n'
        config = self.folder / "datamesh.toml"
        config.write_text(text)
        return config

    def _wait_ready(self) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + READY_S_MAX
        last = "no answer"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"the server ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                with direct.open(f"{self.admin}/health/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as e:
                last = f"{e.code} {e.read(500).decode(errors='replace')}"
            except OSError as e:
                last = str(e)
            time.sleep(0.1)
        raise Failed(f"not ready after {READY_S_MAX} s ({last}):\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        log = self.folder / "server.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGTERM to our own child and to nobody else; its log is kept where it died by itself."""
        died = self.process is not None and self.process.poll() not in (None, 0)
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                say(f"!! the server did not end {STOP_S_MAX} s after SIGTERM")
                self.process.kill()
                self.process.wait()
        if self.folder.name:
            if died:
                shutil.copy(self.folder / "server.log", CACHE / "last-failed-server.log")
                say(f"!! the server died; its log: {CACHE / 'last-failed-server.log'}")
            if not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)
        self.process = None

    def environment(self, who: str = "main") -> dict[str, str]:
        keys = account(who)
        env = {"S3_ENDPOINT": self.endpoint, "S3_ADMIN": self.admin, "S3_REGION": "us-east-1",
               "S3_ACCESS_KEY": keys["access_key"], "S3_SECRET_KEY": keys["secret_key"]}
        if self.ca:
            env.update(S3_CA_FILE=str(self.ca), S3_ENDPOINT_HTTPS=self.https)
        return env


def trust(ca: str | Path) -> dict[str, str]:
    """Makes every TLS library that reads one of these believe our authority, and only it."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE")
    return {name: str(ca) for name in names}


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--tls", default="off", choices=["off", "on", "both"])
    ap.add_argument("--binary", type=Path)
    ap.add_argument("--keep", action="store_true", help="leave drives and log below .cache/servers")
    ap.add_argument("command", nargs=argparse.REMAINDER)
    a = ap.parse_args()
    command = a.command[1:] if a.command[:1] == ["--"] else a.command
    if not command:
        ap.error("no command")
    try:
        with Server(a.tls, a.binary, a.keep) as server:
            say(f"serving {server.endpoint} by {server.program}")
            return subprocess.run(command, env={**os.environ, **server.environment()}).returncode
    except Failed as why:
        say(why)
        return 1


if __name__ == "__main__":
    sys.exit(main())
