#!/usr/bin/env python3
"""Kills a server (SIGKILL) under load from real clients, again and again: nothing acknowledged may be lost.

  run.py --rounds 200 --seed N

Six drives in the clone's cache, one server. In each round boto3, s5cmd and the aws cli overwrite,
upload in parts and delete for a random time, then the server dies; one start in five is killed too, at
a random moment of its recovery. After each start every key, every new version and the listing are
read; at the end all versions. `lost`: an acknowledged version is gone or older; `wrong`: bytes that
nobody wrote, or a listing that tells another story than the reads. kill -9 says nothing of power
cuts: what the kernel holds survives it (`make powercut` is for those).
"""
from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from harness import cache  # noqa: E402
from harness.cache import Failed, say  # noqa: E402
from harness.server import Server  # noqa: E402

BOTO3, AWS = "boto3==1.44.5\n", "awscli==1.46.3\n"
# Small segments: sealing and footers happen in every round.
SETTINGS = "segment_bytes = 16777216"
WORKERS = 6
LOAD_S = (0.2, 4.0)
STARTING_S = (0.01, 0.8)
OLD_VERSIONS_PER_ROUND = 40
WORKER_END_S_MAX = 300


def venv_again() -> None:
    """boto3 lives in the cache's virtual environment: run there."""
    python = cache.venv("boto3-newest", BOTO3) / "bin" / "python"
    if Path(sys.prefix) != python.parent.parent:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])


class Trial:
    """All rounds over one store."""

    def __init__(self, server: Server, seed: int, tools: tuple[Path, Path], work: Path) -> None:
        from history import Key
        from load import Versions
        self.server, self.seed, self.programs, self.work = server, seed, tools, work
        self.chance = random.Random(f"{seed} moments")
        self.keys: dict[str, Key] = {}
        self.versions = Versions()
        self.sums = dict.fromkeys(("kills", "acknowledged", "unknown", "checked", "lost", "wrong"), 0)

    def tools(self):
        from load import Tools
        return Tools.of(self.server.environment(), *self.programs, self.work)

    def prepare(self) -> None:
        from load import PLAIN, VERSIONED
        s3 = self.tools().s3
        s3.create_bucket(Bucket=PLAIN)
        s3.create_bucket(Bucket=VERSIONED)
        s3.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})

    def load(self, number: int) -> None:
        """Load until the kill, and until every client has seen it."""
        from load import Worker
        tools, stop = self.tools(), threading.Event()
        workers = [Worker(w, f"{self.seed} {number} {w}", tools, self.keys, self.versions, stop)
                   for w in range(WORKERS)]
        for worker in workers:
            worker.start()
        time.sleep(self.chance.uniform(*LOAD_S))
        if not self.server.alive():
            raise Failed(f"the server ended by itself:\n{self.server.log_tail()}")
        self.server.kill()
        stop.set()
        self.sums["kills"] += 1
        for worker in workers:
            worker.join(WORKER_END_S_MAX)
            if worker.is_alive():
                raise Failed(f"a client did not end {WORKER_END_S_MAX} s after the kill")
            if worker.error:
                raise worker.error
            self.sums["acknowledged"] += worker.acknowledged
            self.sums["unknown"] += worker.unknown

    def start(self) -> None:
        while self.chance.randrange(5) == 0:
            self.server.spawn()
            time.sleep(self.chance.uniform(*STARTING_S))
            self.server.kill()
            self.sums["kills"] += 1
        self.server.again()

    def report(self, verdict: str, what: str) -> None:
        self.sums[verdict] += 1
        say(f"!! {verdict}: {what}")

    def read(self, s3, **at: str) -> bytes | None:
        from botocore.exceptions import BotoCoreError, ClientError
        try:
            return s3.get_object(**at)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
                return None
            raise Failed(f"{at}: {error}") from None
        except BotoCoreError as error:
            raise Failed(f"{at}: {error}") from None

    def check_keys(self, s3) -> None:
        from load import PLAIN
        standing = set()
        for name, key in sorted(self.keys.items()):
            try:
                found = key.recognise(self.read(s3, Bucket=PLAIN, Key=name))
            except Failed as why:
                self.report("lost", str(why))
                continue
            self.sums["checked"] += 1
            verdict = key.judge(found)
            if verdict != "right":
                self.report(verdict, f"{name}: found {found}, acknowledged {key.settled}, unknown {key.unknown}")
            key.settle(found)
            if found is not None:
                standing.add(name)
        listed = set()
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=PLAIN):
            listed |= {entry["Key"] for entry in page.get("Contents", [])}
        if listed != standing:
            self.report("wrong", f"the listing differs from the reads in {sorted(listed ^ standing)}")

    def check_versions(self, s3, every: bool) -> None:
        from load import VERSIONED
        all_of = self.versions
        old = sorted(set(all_of.there) - all_of.fresh)
        some = old if every else self.chance.sample(old, min(len(old), OLD_VERSIONS_PER_ROUND))
        wanted = {at: all_of.there[at] for at in some + sorted(all_of.fresh & set(all_of.there))}
        for at, state in {**wanted, **all_of.perhaps}.items():
            try:
                body = self.read(s3, Bucket=VERSIONED, Key=at[0], VersionId=at[1])
            except Failed as why:
                self.report("lost", str(why))
                continue
            self.sums["checked"] += 1
            if body is None and at in wanted:
                self.report("lost", f"version {at} is gone")
                all_of.there.pop(at)
            elif body is not None and body != state.data():
                self.report("wrong", f"version {at} has other bytes")
        for at in list(all_of.perhaps):
            # Seen or not, the next kill must leave it so; what a cut delete left is judged as gone or there.
            state = all_of.perhaps.pop(at)
            if self.read(s3, Bucket=VERSIONED, Key=at[0], VersionId=at[1]) is None:
                all_of.gone.add(at)
            else:
                all_of.there[at] = state
        gone = sorted(all_of.gone)
        for at in gone if every else self.chance.sample(gone, min(len(gone), OLD_VERSIONS_PER_ROUND)):
            if self.read(s3, Bucket=VERSIONED, Key=at[0], VersionId=at[1]) is not None:
                self.report("lost", f"the delete of version {at} is undone")
        all_of.fresh.clear()

    def check(self, every: bool = False) -> None:
        s3 = self.tools().s3
        self.check_keys(s3)
        self.check_versions(s3, every)


def rounds(line: dict, count: int, seed: int) -> None:
    here = HERE.parent / "clients" / "go" / "s5cmd"
    s5cmd = cache.go_program("s5cmd", here, "github.com/peak/s5cmd/v2")
    aws = cache.venv("aws-cli-v1", AWS) / "bin" / "aws"
    (cache.CACHE / "scratch").mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="crash-", dir=cache.CACHE / "scratch"))
    try:
        with Server(settings=SETTINGS) as server:
            say(f"-- crash: {server.endpoint} by {server.program}, {count} rounds, seed {seed}")
            trial = Trial(server, seed, (s5cmd, aws), work)
            try:
                trial.prepare()
                for number in range(1, count + 1):
                    trial.load(number)
                    trial.start()
                    trial.check(every=number == count)
                    line.update(trial.sums, rounds=number, versions=len(trial.versions.there))
                    if number % 10 == 0 or number == count:
                        say(f"   {number} rounds: {trial.sums}")
            except Failed:
                line.update(trial.sums)
                shutil.copy(server.folder / "server.log", cache.CACHE / "crash-server.log")
                raise
            if trial.sums["lost"] or trial.sums["wrong"]:
                shutil.copy(server.folder / "server.log", cache.CACHE / "crash-server.log")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or 200), help="or ROUNDS in the environment")
    ap.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32)))
    a = ap.parse_args()
    count, seed = a.rounds, a.seed
    line: dict = {"target": "crash", "ok": False, "rounds": 0, "acknowledged": 0, "lost": 0, "wrong": 0, "seed": seed}
    try:
        venv_again()
        import history
        history.check_itself()
        rounds(line, count, seed)
        line["ok"] = line["rounds"] == count and line["acknowledged"] > 0 and not line["lost"] and not line["wrong"]
    except Failed as why:
        say(why)
        line["why"] = str(why).splitlines()[0]
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
