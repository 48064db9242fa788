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
import contextlib
import ctypes
import json
import os
import random
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
from typing import Callable, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.cache import CACHE, ROOT, Failed, made, run, say  # noqa: E402

PROFILE = ROOT / "conformance" / "profile.toml"
DRIVES = 6
READY_S_MAX = 60
END_S_MAX = 60
CLI_S_MAX = 120
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


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, no two the same: all are held until the last was found."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in found:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in found]


def ports(count: int) -> list[int]:
    """Free ports, from DRILLS_PORTS=LOW-HIGH where that is set."""
    given = os.environ.get("DRILLS_PORTS")
    if not given:
        return free_ports(count)
    low, high = (int(n) for n in given.split("-"))
    found: list[int] = []
    for port in random.SystemRandom().sample(range(low, high + 1), high + 1 - low):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Failed(f"no {count} free ports in {given}")


def die_with_parent() -> None:
    """Called in a child before it becomes another program: the kernel ends it when we are gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server over six drives; may be ended or killed, and started `again` over the same drives.

    A context manager. `endpoint` is http, or https where TLS is `on`; `https` where there is any.
    Without `folder` a temporary one, removed at the end unless `keep`. `settings` are lines put before the
    profile's; `prefix` words before the program (strace); `joined` is called in the child before it
    becomes the server (a cgroup); `lock` is what seals the keyring: key_file or passphrase_file.
    """

    def __init__(self, tls: str = "off", program: Path | None = None, keep: bool = False, *,
                 folder: Path | None = None, drives: list[Path] | None = None, settings: str = "",
                 prefix: Sequence[str] = (), joined: Callable[[], None] | None = None, lock: str = "key_file") -> None:
        self.tls, self.program, self.keep, self.settings = tls, program, keep, settings
        self.prefix, self.joined, self.lock = list(prefix), joined, lock
        self.process: subprocess.Popen | None = None
        self.folder, self.drives = folder or Path(), drives or []
        self.root_secret = secrets.token_hex(20)
        self.passphrase = "pass phrase " + secrets.token_hex(16)
        self._killed = False

    def __enter__(self) -> "Server":
        self.program = self.program or binary()
        self.prepare()
        try:
            self.again()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc) -> None:
        self.stop()

    def prepare(self) -> None:
        """Folder, empty drives, ports and settings; nothing runs yet."""
        if not self.folder.name:
            (CACHE / "servers").mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="server-", dir=CACHE / "servers"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.drives = self.drives or [self.folder / f"d{i}" for i in range(1, DRIVES + 1)]
        for drive in self.drives:
            drive.mkdir(parents=True, exist_ok=True)
        if self.lock == "passphrase_file":
            (self.folder / "passphrase").touch(0o600)
            (self.folder / "passphrase").write_text(self.passphrase + "\n")
        self.ca = certificates() / "ca.pem" if self.tls != "off" else None
        self.move_ports()

    def move_ports(self) -> None:
        """Takes two free ports and writes the settings with them."""
        self.port, admin = ports(2)
        self.endpoint = f"{'https' if self.tls == 'on' else 'http'}://127.0.0.1:{self.port}"
        self.https = f"https://127.0.0.1:{self.port}" if self.tls != "off" else None
        self.admin = f"http://127.0.0.1:{admin}"
        self.config = self.folder / "datamesh.toml"
        lock = self.folder / ("passphrase" if self.lock == "passphrase_file" else "keyring.key")
        own = [f'listen = "127.0.0.1:{self.port}"', f'admin_listen = "127.0.0.1:{admin}"',
               "drives = [" + ", ".join(f'"{d}"' for d in self.drives) + "]",
               f'credentials_file = "{self.folder / "credentials.json"}"', f'{self.lock} = "{lock}"', self.settings]
        text = "\n".join(own) + "\n" + PROFILE.read_text()
        if self.tls != "off":
            pem = certificates()
            text += f'\n[tls]\nmode = "{self.tls}"\ncert = "{pem / "cert.pem"}"\nkey = "{pem / "key.pem"}"\n'
        self.config.write_text(text)

    def spawn(self) -> None:
        """Starts the process; does not wait for it."""
        # Settings of the caller's own server are not this one's; a chosen sabotage is.
        outer = {k: v for k, v in os.environ.items() if not k.startswith("DATAMESH_") or k == "DATAMESH_SABOTAGE"}
        env = {**outer, "DATAMESH_ROOT_ACCESS_KEY": "DMTESTROOT0000000000",
               "DATAMESH_ROOT_SECRET_KEY": self.root_secret}
        self._killed = False
        # Apart: the first start shows root's secret on its standard output, once.
        with (self.folder / "server.log").open("a") as log, (self.folder / "server.out").open("a") as shown:
            self.process = subprocess.Popen(
                [*self.prefix, str(self.program), "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                stdout=shown, stderr=log, env=env, cwd=self.folder, preexec_fn=self._before)

    def _before(self) -> None:
        die_with_parent()
        if self.joined:
            self.joined()

    def again(self) -> None:
        """Starts over the same drives and waits until ready. A port that went to somebody else between our
        look and the server's bind is changed for another."""
        for left in reversed(range(START_TRIES_MAX)):
            self.spawn()
            try:
                return self.wait_ready()
            except Failed as why:
                if not left or "in use" not in str(why):
                    raise
                self.move_ports()

    def wait_ready(self) -> None:
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

    def end(self, limit_s: float = END_S_MAX) -> int:
        """SIGTERM to our own child and to nobody else, waited out; the exit code, -9 where it had to be killed."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                say(f"!! the server did not end {limit_s:.0f} s after SIGTERM")
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL, waited out."""
        self._killed = True
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends what runs; the log is kept where the server died by itself."""
        if self.process:
            died = self.process.poll() not in (None, 0) and not self._killed
            self.end()
            if died:
                shutil.copy(self.folder / "server.log", CACHE / "last-failed-server.log")
                say(f"!! the server died; its log: {CACHE / 'last-failed-server.log'}")
        if self.folder.name and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def cli(self, *words: str) -> object:
        """The answer of a `datamesh` command: JSON, or the words of one that has none."""
        done = subprocess.run([str(self.program), *words, "--config", str(self.config), "--output", "json"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=CLI_S_MAX, cwd=self.folder)
        if done.returncode:
            raise Failed(f"datamesh {' '.join(words)}: {done.stderr.decode(errors='replace').strip()[-500:]}")
        text = done.stdout.decode()
        try:
            return json.loads(text)
        except ValueError:
            return text

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
