#!/usr/bin/env python3
"""Ours and the peers given to it, in turns on the same disks, five rounds, medians, ratios.

`peers.py --peers FILE`: TOML, one table a peer; its server is started anew for every round, its data
below --data, and stopped by its process id:

    [minio]
    command = "minio server --address 127.0.0.1:{port} {data}/d{1...6}"
    env = { MINIO_ROOT_USER = "peerkey", MINIO_ROOT_PASSWORD = "peersecret" }
    access_key = "peerkey"
    secret_key = "peersecret"

{port} and {data} are put in; {data} has d1 to d6. `--warp PATH` runs MinIO's warp as well as our own
generator. No peer is shipped or fetched: name those you built.
"""
from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))
from harness.server import Server, account, free_ports  # noqa: E402
from limits import limit  # noqa: E402
from workloads import WORKLOADS, Endpoint, Workload, measured  # noqa: E402

RELEASE = ROOT / "target" / "release"
READY_S_MAX = 60
PORT_MAX = 50_000
# Of less it says nothing.
WARP_S_MIN = 4
# Our kind -> warp's.
WARP = {"put": "put", "get": "get", "head": "stat", "list": "list", "mixed": "mixed", "delete": "delete"}


def serves(port: int) -> bool:
    """Whether it answers: one that starts listens before it can, and says 503."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        asked.request("GET", "/")
        return asked.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


class Peer:
    """A peer's server while it is measured."""

    def __init__(self, name: str, given: dict, data: Path) -> None:
        self.name, self.given, self.data = name, given, data / name

    def __enter__(self) -> Endpoint:
        # Some peers listen on another port, 10,000 above it.
        port = next(port for [port] in iter(lambda: free_ports(1), None) if port < PORT_MAX)
        shutil.rmtree(self.data, ignore_errors=True)
        for drive in range(1, 7):
            (self.data / f"d{drive}").mkdir(parents=True)
        command = self.given["command"].replace("{port}", str(port)).replace("{data}", str(self.data))
        with (self.data / "log").open("w") as log:
            self.process = subprocess.Popen(shlex.split(command), env={**os.environ, **self.given.get("env", {})},
                                            stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_S_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            if serves(port):
                return Endpoint(self.name, f"127.0.0.1:{port}", self.given["access_key"],
                                self.given["secret_key"], self.process.pid)
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"{self.name} did not serve; its log: {self.data / 'log'}")

    def __exit__(self, *_why) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Ours:
    """Our own, as shipped."""

    name = "datamesh"

    def __enter__(self) -> Endpoint:
        self.server = Server(program=RELEASE / "datamesh").__enter__()
        keys = account("main")
        return Endpoint(self.name, self.server.endpoint.removeprefix("http://"), keys["access_key"],
                        keys["secret_key"], self.server.process.pid)

    def __exit__(self, *why) -> None:
        self.server.__exit__(*why)


def warp(program: Path, at: Endpoint, work: Workload, seconds: float, data: Path) -> float:
    """warp's own average of the run, of all operations: MiB/s made MB/s, or objects a second."""
    seconds = max(seconds, WARP_S_MIN)
    command = [str(program), WARP[work.kind], f"--host={at.address}", f"--access-key={at.access_key}",
               f"--secret-key={at.secret_key}", f"--obj.size={work.size}", f"--concurrent={work.connections}",
               f"--duration={int(seconds)}s", "--noclear", "--no-color", "--bucket=warp-bench",
               f"--benchdata={data / 'warp'}"]
    if work.kind not in ("put",):
        command.append(f"--objects={work.objects}")
    text = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 20 + 300).stdout
    averages = re.findall(r"(?:Average|Cluster Total): (?:([\d.]+) MiB/s, )?([\d.]+) obj/s", text)
    if not averages:
        raise RuntimeError(f"warp said nothing of {at.name}, {work.name}: {text[-400:]}")
    mib, objects = averages[-1]
    return float(mib) * 1.048576 if work.figure == "mb_per_s" and mib else float(objects)


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peers", type=Path, default=os.environ.get("PEERS"))
    ap.add_argument("--data", type=Path, default=ROOT / ".cache" / "peers")
    ap.add_argument("--warp", type=Path, default=os.environ.get("WARP"))
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--seconds", type=float, default=8)
    ap.add_argument("--only", default="")
    a = ap.parse_args()
    if not a.peers:
        print("name the peers: PEERS=FILE make bench-peers (bench/peers.py says what is in it)")
        print(json.dumps({"target": "bench-peers", "ok": False, "why": "no peers named"}))
        return 1
    runners = [Ours(), *(Peer(name, given, a.data) for name, given in tomllib.loads(Path(a.peers).read_text()).items())]
    chosen = [w for w in WORKLOADS if a.only.lower() in w.name.lower()]
    found: dict[tuple[str, str, str], list[float]] = {}
    a.data.mkdir(parents=True, exist_ok=True)
    roof = json.loads(subprocess.check_output([RELEASE / "datamesh-roofline", a.data]))
    failed = []
    for turn in range(a.rounds):
        for work in chosen:
            for runner in runners[turn % len(runners):] + runners[:turn % len(runners)]:
                try:
                    with runner as at:
                        ours = measured(RELEASE / "datamesh-load", at, work, a.seconds, "bench-peers")[work.figure]
                        found.setdefault((work.name, runner.name, "load"), []).append(ours)
                        if a.warp:
                            theirs = warp(a.warp, at, work, a.seconds, a.data)
                            found.setdefault((work.name, runner.name, "warp"), []).append(theirs)
                except (RuntimeError, subprocess.TimeoutExpired) as why:
                    failed.append(f"{runner.name}, {work.name}: {why}"[:300])
    lines = [line(work, tool, runners, found, roof) for work in chosen for tool in ("load", "warp")
             if (work.name, "datamesh", tool) in found]
    for row in lines:
        print(f"{row['name']:28} {row['tool']:5} " + "  ".join(f"{n} {v}" for n, v in row["medians"].items())
              + f"   ours/best peer {row['ratio']}")
    print(json.dumps({"target": "bench-peers", "ok": bool(lines) and not any("datamesh" in f for f in failed),
                      "roofline": roof, "failed": failed, "workloads": lines}))
    return 0 if lines else 1


def line(work: Workload, tool: str, runners: list, found: dict, roof: dict) -> dict:
    medians = {r.name: round(median(found[work.name, r.name, tool]), 1)
               for r in runners if (work.name, r.name, tool) in found}
    peers = [value for name, value in medians.items() if name != "datamesh"]
    best = limit(work, roof)
    return {"name": work.name, "tool": tool, "figure": work.figure, "medians": medians,
            "ratio": round(medians["datamesh"] / max(peers), 2) if peers and max(peers) else None,
            "of_limit": best and round(medians["datamesh"] / best, 3)}


if __name__ == "__main__":
    sys.exit(main())
