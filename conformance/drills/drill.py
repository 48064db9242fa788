"""What every drill needs: a server of its own, conditions with deadlines, one JSON line at the end.

A drill defines `async def drill(trial) -> dict` (its figures, `ok` among them) and ends with
`main("name", drill)`. Each runs alone:

  python3 conformance/drills/races.py [--small] [--seed N] [--server PATH] [--keep]

The program under test is copied first, so that a build meanwhile does not disturb the drill. Drives
lie below DRILLS_DIR (default: the clone's cache), ports come from DRILLS_PORTS=LOW-HIGH where set.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Awaitable, Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "behaviour")]
sys.dont_write_bytecode = True
from harness import cache  # noqa: E402
from harness.cache import Failed, say  # noqa: E402
from harness.server import PROFILE, Server, account, binary, certificates, free_port, _die_with_parent  # noqa: E402

MIB = 1 << 20
PORT_TRIES_MAX = 200
CLI_S_MAX = 120
POLL_S = 0.2


class Short(Exception):
    """The server did not do what it promises; the text says what was seen."""


def ports(count: int) -> list[int]:
    """Free ports, from DRILLS_PORTS=LOW-HIGH where that is set."""
    given = os.environ.get("DRILLS_PORTS")
    if not given:
        return [free_port() for _ in range(count)]
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


async def until(condition: Callable[[], object], limit_s: float, what: str, every_s: float = POLL_S) -> object:
    """Asks again until the answer is true; Short with `what` after the limit. `condition` may be async."""
    deadline, last = time.monotonic() + limit_s, None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if asyncio.iscoroutine(last):
                last = await last
            if last:
                return last
        except (OSError, Failed, Short) as why:
            last = why
        await asyncio.sleep(every_s)
    raise Short(f"{what}: not within {limit_s:.0f} s (last: {str(last)[:300]})")


def clock_s() -> float:
    return time.monotonic()


class Node(Server):
    """One server over drives of its own; may be killed, ended and started again over the same drives.

    `settings` are lines of the settings file; `prefix` words before the program (strace);
    `joined` is called in the child before it becomes the server (a cgroup).
    """

    def __init__(self, trial: "Trial", name: str = "node", settings: str = "", prefix: list[str] | None = None,
                 drives: list[Path] | None = None, tls: str = "off", joined: Callable[[], None] | None = None,
                 lock: str = "key_file") -> None:
        super().__init__(tls, trial.program, keep=True)
        self.settings, self.prefix, self.joined, self.lock = settings, prefix or [], joined, lock
        self.folder = trial.folder / name
        self.drives = drives or [self.folder / f"d{i}" for i in range(1, 7)]
        self.root_secret = secrets.token_hex(20)
        self.passphrase = "pass phrase " + secrets.token_hex(16)

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = certificates() / "ca.pem" if self.tls != "off" else None
        for drive in self.drives:
            drive.mkdir(parents=True, exist_ok=True)
        if self.lock == "passphrase_file":
            (self.folder / "passphrase").write_text(self.passphrase + "\n")
        self.move_ports()
        self.spawn()
        self._wait_ready()

    def move_ports(self) -> None:
        port, admin = ports(2)
        self.port = port
        self.endpoint = f"{'https' if self.tls == 'on' else 'http'}://127.0.0.1:{port}"
        self.https = f"https://127.0.0.1:{port}" if self.tls != "off" else None
        self.admin = f"http://127.0.0.1:{admin}"
        self.config = self._config(port, admin)

    def _config(self, port: int, admin: int) -> Path:
        lock = self.folder / ("passphrase" if self.lock == "passphrase_file" else "keyring.key")
        own = [f'listen = "127.0.0.1:{port}"', f'admin_listen = "127.0.0.1:{admin}"',
               "drives = [" + ", ".join(f'"{d}"' for d in self.drives) + "]",
               f'credentials_file = "{self.folder / "credentials.json"}"', f'{self.lock} = "{lock}"']
        text = "\n".join(own) + "\n" + self.settings + "\n" + PROFILE.read_text()
        if self.tls != "off":
            pem = certificates()
            text += f'\n[tls]\nmode = "{self.tls}"\ncert = "{pem / "cert.pem"}"\nkey = "{pem / "key.pem"}"\n'
        config = self.folder / "datamesh.toml"
        config.write_text(text)
        return config

    def _before(self) -> None:
        _die_with_parent()
        if self.joined:
            self.joined()

    def spawn(self) -> None:
        """Starts the process; does not wait for it."""
        outer = {k: v for k, v in os.environ.items() if not k.startswith("DATAMESH_") or k == "DATAMESH_SABOTAGE"}
        env = {**outer, "DATAMESH_ROOT_ACCESS_KEY": "DMTESTROOT0000000000",
               "DATAMESH_ROOT_SECRET_KEY": self.root_secret}
        with (self.folder / "server.log").open("a") as log, (self.folder / "server.out").open("a") as shown:
            self.process = subprocess.Popen(
                [*self.prefix, str(self.program), "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL,
                stdout=shown, stderr=log, env=env, cwd=self.folder, preexec_fn=self._before)

    def again(self) -> None:
        """Starts over the same drives and waits until ready; a port taken meanwhile is changed."""
        for left in reversed(range(3)):
            self.spawn()
            try:
                return self._wait_ready()
            except Failed as why:
                if not left or "in use" not in str(why):
                    raise
                self.move_ports()

    def end(self, limit_s: float = 60) -> int:
        """SIGTERM, waited out; the exit code, -9 where it had to be killed."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process:
            self.end()

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

    def fetch_admin(self, path: str) -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.admin + path, timeout=20) as answer:
            return answer.read().decode()

    def metric(self, name: str) -> float:
        """The sum of a metric's series; 0 where there is none."""
        lines = (line for line in self.fetch_admin("/metrics").splitlines() if line.startswith(name))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line[len(name)] in " {")

    def resident(self) -> int:
        """Resident bytes of the process; Short where it has died."""
        with open(f"/proc/{self.process.pid}/status") as status:
            found = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")]
        if not found:
            raise Short(f"the server is gone: {self.process.poll()}")
        return found[0]

    def log_text(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def keys(self, who: str = "main"):
        import sign
        found = account(who)
        return sign.Keys(found["access_key"], found["secret_key"])


class Trial:
    """One run of one drill: its words, its chance, its folder."""

    def __init__(self, name: str, a: argparse.Namespace) -> None:
        self.name, self.small, self.seed, self.a = name, a.small, a.seed, a
        self.chance = random.Random(f"{a.seed} {name}")
        base = Path(os.environ.get("DRILLS_DIR") or cache.CACHE / "drills")
        self.folder = base / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.program = self.folder / "datamesh"
        shutil.copy2(a.server or binary(), self.program)

    def size(self, whole: int, small: int) -> int:
        """The size of the proof, or with --small that of a quick look."""
        return small if self.small else whole

    def note(self, *words: object) -> None:
        say(f"   {time.strftime('%H:%M:%S')}", *words)


def main(name: str, drill: Callable[[Trial], Awaitable[dict]],
         more: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    ap = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--small", action="store_true", help="a quick look, not the proof")
    ap.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32)))
    ap.add_argument("--server", type=Path, help="the program under test (default: the younger build)")
    ap.add_argument("--keep", action="store_true", help="leave drives and log")
    if more:
        more(ap)
    a = ap.parse_args()
    # A drill that is ended cleans up as one that fails does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    line: dict = {"target": f"drill-{name}", "ok": False, "seed": a.seed, "small": a.small}
    began = time.monotonic()
    try:
        trial = Trial(name, a)
        say(f"-- {name}: {trial.program}, seed {a.seed}{', small' if a.small else ''}")
        line.update(asyncio.run(drill(trial)))
    except (Short, Failed) as why:
        say(why)
        line.update(ok=False, why=str(why).splitlines()[0][:400])
    except SystemExit as why:
        line.update(ok=False, why=str(why))
    except Exception as why:  # noqa: BLE001 - a drill's own fault is a verdict too
        traceback.print_exc()
        line.update(ok=False, why=f"{type(why).__name__}: {why}".splitlines()[0][:400])
    finally:
        if "trial" in locals():
            if not line["ok"]:
                for log in sorted(trial.folder.glob("*/server.log")):
                    shutil.copy(log, trial.folder.parent / f"{name}-{log.parent.name}.log")
            if not a.keep:
                shutil.rmtree(trial.folder, ignore_errors=True)
    line["seconds"] = round(time.monotonic() - began)
    print(json.dumps(line, ensure_ascii=False), flush=True)
    sys.exit(0 if line["ok"] else 1)
