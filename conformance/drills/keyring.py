#!/usr/bin/env python3
"""The keyring's whole life on a server of its own, ended with its move to a new machine.

Rotation with background wrapping; a key destroyed while a drive is away; an import that must not bring
it back; then the drives and an export, without the key file, under a passphrase from the environment.

  python3 conformance/drills/keyring.py [--server PATH] [--keep]

Stands alone: the harness, curl, and the program. Drives lie in the clone's .cache.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True
from harness.cache import CACHE, say  # noqa: E402
from harness.server import binary, die_with_parent, ports  # noqa: E402

DRIVES = 6
READY_S_MAX = 60
STOP_S_MAX = 60
WAIT_S_MAX = 60
CLI_S_MAX = 60
REGION = "us-east-1"
ACCESS, SECRET = "DMDRILLROOT000000000", secrets.token_hex(20)
CONTEXT = base64.b64encode(b'{"case":"keyring"}').decode()
KMS = ["-H", "x-amz-server-side-encryption: aws:kms", "-H"]


class Short(Exception):
    """The program does not do what it promises."""


def expect(truth: object, what: str) -> None:
    if not truth:
        raise Short(what)


class Machine:
    """A folder with settings, and the server that runs on them."""

    def __init__(self, program: Path, folder: Path, drives: list[Path], lock: str) -> None:
        self.program, self.folder, self.drives = program, folder, drives
        self.extra: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        folder.mkdir(parents=True)
        self.port, self.admin = ports(2)
        paths = ", ".join(f'"{d}"' for d in drives)
        self.config = folder / "datamesh.toml"
        self.config.write_text(
            f'listen = "127.0.0.1:{self.port}"\nadmin_listen = "127.0.0.1:{self.admin}"\ndrives = [{paths}]\n'
            f'credentials_file = "{folder / "credentials.json"}"\nreserve_bytes = 1048576\n{lock}')

    def env(self, **more: str) -> dict[str, str]:
        outer = {k: v for k, v in os.environ.items() if not k.startswith("DATAMESH_") or k == "DATAMESH_SABOTAGE"}
        return {**outer, "DATAMESH_ROOT_ACCESS_KEY": ACCESS, "DATAMESH_ROOT_SECRET_KEY": SECRET,
                **self.extra, **more}

    def start(self) -> None:
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=self.env(), preexec_fn=die_with_parent)
        until(self.ready, READY_S_MAX, "ready")

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise Short(f"the server ended with {self.process.returncode}: {self.log()[-2000:]}")
        told = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*",
                               f"http://127.0.0.1:{self.admin}/health/ready"], capture_output=True, text=True)
        return told.stdout == "200"

    def refused(self, code: int, *words: str, **more: str) -> None:
        """A start that must end with this code, and say these words in one line."""
        ran = subprocess.run([str(self.program), "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, env=self.env(**more), timeout=READY_S_MAX)
        last = (ran.stderr.strip().splitlines() or [""])[-1]
        expect(ran.returncode == code, f"exit {ran.returncode}, not {code}: {last}")
        expect(last.startswith("datamesh: ") and all(w in last for w in words), f"not told: {words}: {last}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Short(f"no end {STOP_S_MAX} s after SIGTERM") from None
        self.process = None

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def cli(self, *words: str, code: int = 0) -> str:
        ran = subprocess.run([str(self.program), *words, "--config", str(self.config)], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, env=self.env(), timeout=CLI_S_MAX)
        expect(ran.returncode == code, f"{words} ended with {ran.returncode}: {ran.stdout} {ran.stderr}")
        return ran.stdout + ran.stderr

    def json(self, *words: str) -> object:
        return json.loads(self.cli(*words, "--output", "json"))

    def s3(self, method: str, path: str, *more: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of a signed request."""
        digest = hashlib.sha256(body).hexdigest()
        sent = ["--data-binary", "@-"] if method == "PUT" else []
        ran = subprocess.run(
            ["curl", "-s", "--noproxy", "*", "-X", method, "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user",
             f"{ACCESS}:{SECRET}", "-H", f"x-amz-content-sha256: {digest}", *more, *sent, "-w", "\n%{http_code}",
             f"http://127.0.0.1:{self.port}/{path}"], input=body, capture_output=True, timeout=CLI_S_MAX)
        text, _, status = ran.stdout.rpartition(b"\n")
        return int(status or 0), text

    def put(self, key: str, body: bytes, *more: str) -> None:
        status, text = self.s3("PUT", f"drill/{key}", *more, body=body)
        expect(status == 200, f"PUT {key}: {status} {text[:300]!r}")

    def holds(self, objects: dict[str, bytes]) -> None:
        for key, body in objects.items():
            status, got = self.s3("GET", f"drill/{key}")
            expect(status == 200 and got == body, f"GET {key}: {status}, {len(got)} of {len(body)} bytes: {got[:200]!r}")

    def gone(self, key: str) -> None:
        status, text = self.s3("GET", f"drill/{key}")
        expect(status == 400 and b"KMS.NotFoundException" in text, f"GET {key}: {status} {text[:300]!r}")


def until(condition: Callable[[], object], limit_s: float, what: str) -> object:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if last := condition():
            return last
        time.sleep(0.1)
    raise Short(f"{what}: not within {limit_s} s")


def versions(machine: Machine, owner: str, state: str) -> list[dict]:
    return [v for v in machine.json("keyring", "list") if v["owner"] == owner and v["state"] == state]


def rotated(machine: Machine, owner: str, parts: int) -> None:
    """Every retired version of `owner` has nothing left to wrap, and `parts` were moved."""
    def done() -> bool:
        old = versions(machine, owner, "retired")
        works = [v["rewrap"] for v in old]
        return bool(old) and all(w["phase"] == "done" and not w["left"] for w in works) \
            and sum(w["moved"] for w in works) >= parts
    until(done, WAIT_S_MAX, f"{owner}: wrapped anew")


def destroyed_while_away(machine: Machine) -> None:
    """A key goes while a drive is away: that drive is named until it is back and has erased."""
    drive = machine.drives[-1]
    file, aside = drive / "keyring" / "keyring", drive.with_name("away")
    before = file.read_bytes()
    drive.rename(aside)
    until(lambda: any(d["state"] == "out" for d in machine.json("drive", "list")), WAIT_S_MAX, "drive out")
    told = machine.json("keyring", "destroy", "--name", "doomed", "--yes")
    expect(told["everywhere"] is False and len(told["not_erased"]) == 1, f"destroy: {told}")
    machine.gone("doomed")
    expect(versions(machine, "name doomed", "destroyed")[0]["not_erased"], "the drive is not named")
    aside.rename(drive)
    until(lambda: not versions(machine, "name doomed", "destroyed")[0]["not_erased"], WAIT_S_MAX, "erased on return")
    expect(file.read_bytes() != before and not (drive / "keyring" / "old").exists(), "the old copy is still there")


def drill(program: Path, folder: Path) -> dict:
    words, passphrase = "export " + secrets.token_hex(12), "keyring " + secrets.token_hex(12)
    file = folder / "words"
    file.write_text(words + "\n")
    file.chmod(0o600)
    drives = [folder / "one" / f"d{i}" for i in range(1, DRIVES + 1)]
    one = Machine(program, folder / "one", drives, f'key_file = "{folder / "one" / "key"}"\n')
    for drive in drives:
        drive.mkdir()
    export = folder / "export"
    objects = {"small": b"inline", "large": os.urandom(3_000_000), "named": b"bound to a context"}
    try:
        one.start()
        expect(one.s3("PUT", "drill")[0] == 200, "bucket")
        for name in ("tax", "doomed"):
            one.cli("keyring", "create", name)
        for key in ("small", "large"):
            one.put(key, objects[key])
        one.put("named", objects["named"], *KMS, "x-amz-server-side-encryption-aws-kms-key-id: tax",
                "-H", f"x-amz-server-side-encryption-context: {CONTEXT}")
        one.put("doomed", b"doomed", *KMS, "x-amz-server-side-encryption-aws-kms-key-id: doomed")
        one.cli("keyring", "export", str(export), "--passphrase-file", str(file))
        one.cli("keyring", "rotate", "--account", "root")
        one.cli("keyring", "rotate", "--name", "tax")
        objects["after"] = b"sealed after the export"
        one.put("after", objects["after"])
        rotated(one, "account root", 2)
        rotated(one, "name tax", 1)
        one.holds(objects)
        destroyed_while_away(one)
        expect(one.json("keyring", "import", str(export), "--passphrase-file", str(file))["new"] == 0, "import")
        one.gone("doomed")
        one.holds(objects)
    finally:
        one.stop()
    moved = move(program, folder, drives)
    try:
        two, shown = moved, ""
        two.refused(2, "key_file")
        two.refused(2, "passphrase", DATAMESH_PASSPHRASE="short")
        two.extra = {"DATAMESH_PASSPHRASE": passphrase}
        two.refused(1, "the keyring needs a key file")
        wrong = folder / "wrong"
        wrong.write_text("another phrase entirely\n")
        offline = ["keyring", "import", str(export), "--offline", "--passphrase-file"]
        two.cli(*offline, str(wrong), code=1)
        two.cli(*offline, str(file))
        two.refused(1, "wrong passphrase", DATAMESH_PASSPHRASE="not the one it was locked with")
        two.start()
        two.holds(objects)
        two.gone("doomed")
        expect(two.json("keyring", "import", str(export), "--passphrase-file", str(file))["new"] == 0, "import anew")
        two.put("new", b"on the new machine")
        two.cli(*offline, str(file), code=1)
        two.stop()
        two.start()
        two.holds({**objects, "new": b"on the new machine"})
        shown = two.cli("config", "show") + two.cli("status") + two.cli("keyring", "list") + two.log()
        expect(passphrase not in shown and words not in shown, "a passphrase was shown")
    finally:
        moved.stop()
    return {"objects": len(objects) + 1, "lost": 0}


def move(program: Path, folder: Path, drives: list[Path]) -> Machine:
    """The drives, and nothing else, on another machine."""
    there = [folder / "two drives" / drive.name for drive in drives]
    there[0].parent.mkdir()
    for old, new in zip(drives, there):
        old.rename(new)
    return Machine(program, folder / "two", there, "")


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--server", type=Path)
    words.add_argument("--keep", action="store_true")
    words.add_argument("--seed", type=int, help="as every drill has it; nothing here is drawn by it")
    words.add_argument("--small", action="store_true", help="as every drill has it; this one is small")
    given = words.parse_args()
    (CACHE / "drills").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="keyring-", dir=os.environ.get("DRILLS_DIR") or CACHE / "drills"))
    # A build meanwhile does not disturb.
    program = folder / "datamesh"
    shutil.copy(given.server or binary(), program)
    began, told = time.monotonic(), {"target": "drill-keyring", "ok": True}
    try:
        told.update(drill(program, folder))
    except Short as why:
        say(f"!! {why}")
        told.update(ok=False, why=str(why)[:400])
    finally:
        if given.keep or not told["ok"]:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    told["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(told))
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
