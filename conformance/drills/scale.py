#!/usr/bin/env python3
"""A million objects: a listing page costs what it costs at ten thousand, and the node starts within seconds.

A bucket of 10,000 objects and one of a million (--objects; 20,000 with --small) are filled. Pages of 1,000 keys
after random keys are read from both in turns, so that what else the machine does meets both alike; of three
rounds the middle ratio of the p99s counts. Then the process is stopped and started, and killed (SIGKILL) while
a third bucket is written and started: each time the seconds until it is ready and until it has answered the first
listing, and every key of the large bucket is listed and held against what was put. Beside the seconds stands the
processor time that the server itself took for them: it says on a busy machine what the seconds would be on an idle one.
"""
from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
import urllib.error
import urllib.request
from pathlib import Path

from drill import Failed, Node, Short, Trial, clock_s, main, until
from client import Client, percentile
from harness.server import account, binary, die_with_parent

FEW, MANY, LATE = "few", "many", "late"
FEW_OBJECTS, SMALL_OBJECTS, WHOLE_OBJECTS = 10_000, 20_000, 1_000_000
OBJECT_BYTES = 8
PAGE_KEYS = 1_000
ROUNDS, WARM_PAGES = 3, 20
RATIO_MAX = 1.2
START_S_MAX = 5.0
START_S_LOOK = 300
FILL_CONNECTIONS = 256
FILL_PER_S_MIN = 150                # slower than this is no fill but a fault
KILLED_LOAD_S = 3
READY_POLL_S = 0.02


def loader(trial: Trial) -> Path:
    """datamesh-load: --load, or beside the program under test."""
    named = trial.a.load or Path(trial.a.server or binary()).parent / "datamesh-load"
    if not named.exists():
        raise Failed(f"{named} is not built: cargo build --release -p bench --ignore-rust-version")
    return named.resolve()


def name_of(index: int) -> str:
    """As the load generator names its objects."""
    return f"load/{index % 251:02x}/{index:012}"


def processor_s(pid: int) -> float:
    """Processor time of all threads that live, to the nanosecond (schedstat), not to the tick."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(task.read_text().split()[0])
    return total / 1e9


class Scale:
    def __init__(self, trial: Trial, node: Node, client: Client) -> None:
        self.t, self.node, self.c, self.load = trial, node, client, loader(trial)
        self.objects = trial.a.objects or trial.size(WHOLE_OBJECTS, SMALL_OBJECTS)
        self.pages = trial.size(400, 100)
        self.sorted = {b: sorted(map(name_of, range(n))) for b, n in ((FEW, FEW_OBJECTS), (MANY, self.objects))}

    async def generator(self, bucket: str, *words: object) -> asyncio.subprocess.Process:
        """The load generator, begun; it dies with us."""
        keys = account("main")
        return await asyncio.create_subprocess_exec(
            str(self.load), "--address", f"127.0.0.1:{self.node.port}", "--bucket", bucket, "--size", str(OBJECT_BYTES),
            "--connections", str(FILL_CONNECTIONS), "--warm-up", "0", "--unsigned", *map(str, words),
            env={"AWS_ACCESS_KEY_ID": keys["access_key"], "AWS_SECRET_ACCESS_KEY": keys["secret_key"]},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, preexec_fn=die_with_parent)

    async def fill(self, bucket: str) -> float:
        count, began = len(self.sorted[bucket]), clock_s()
        child = await self.generator(bucket, "--kind", "head", "--objects", count, "--time", "0.01")
        try:
            told, _ = await asyncio.wait_for(child.communicate(), 60 + count / FILL_PER_S_MIN)
        finally:
            if child.returncode is None:
                child.kill()
        if child.returncode:
            raise Short(f"filling {bucket}: {told.decode(errors='replace')[-300:]}")
        rate = count / (clock_s() - began)
        self.t.note(f"{bucket}: {count} objects, {rate:.0f}/s, resident {self.node.resident() >> 20} MiB")
        return rate

    async def page_s(self, bucket: str) -> float:
        """Seconds of one whole page after a random key; Short unless it is the page that belongs there."""
        names = self.sorted[bucket]
        at = self.t.chance.randrange(len(names) - PAGE_KEYS)
        began = clock_s()
        answer = await self.c.request("GET", f"/{bucket}", [("list-type", "2"), ("start-after", names[at])])
        took = clock_s() - began
        if answer.body.count(b"<Contents>") != PAGE_KEYS or f"<Key>{names[at + 1]}</Key>".encode() not in answer.body:
            raise Short(f"the page of {bucket} after {names[at]}: {answer}")
        return took

    async def round(self) -> dict:
        """Milliseconds of pages read in turns."""
        took: dict[str, list[tuple[float, float]]] = {FEW: [], MANY: []}
        for _ in range(WARM_PAGES + self.pages):
            for bucket in self.t.chance.sample([FEW, MANY], 2):
                before = processor_s(self.node.process.pid)
                wall = await self.page_s(bucket)
                took[bucket].append((1000 * wall, 1000 * (processor_s(self.node.process.pid) - before)))
        figures = {}
        for bucket, all_of in took.items():
            wall, processor = zip(*all_of[WARM_PAGES:])
            figures[bucket] = {name: round(percentile(list(of), share), 2) for name, of, share in (
                ("p50", wall, 0.5), ("p99", wall, 0.99), ("processor_p50", processor, 0.5))}
        figures["ratio"] = round(figures[MANY]["p99"] / figures[FEW]["p99"], 3)
        figures["processor_ratio"] = round(figures[MANY]["processor_p50"] / figures[FEW]["processor_p50"], 3)
        self.t.note(f"{self.pages} pages of each, ms: {figures}")
        return figures

    async def start(self, how: str) -> dict:
        """Seconds from the process's start until it is ready, and until the first listing; then every key."""
        self.c.forget()
        began = clock_s()
        self.node.spawn()
        await until(self.ready, START_S_LOOK, f"ready after {how}", READY_POLL_S)
        ready, processor = clock_s() - began, processor_s(self.node.process.pid)
        await until(lambda: self.page_s(MANY), START_S_LOOK, f"a listing after {how}", READY_POLL_S)
        listing = clock_s() - began
        self.t.note(f"after {how}: ready in {ready:.2f} s (processor {processor:.2f} s), first listing {listing:.2f} s")
        await self.every(how)
        return {"ready_s": round(ready, 2), "processor_s": round(processor, 2), "listing_s": round(listing, 2)}

    def ready(self) -> bool:
        if not self.node.alive():
            raise SystemExit(f"the server ended with {self.node.process.returncode}:\n{self.node.log_tail()}")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.node.admin}/health/ready", timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    async def every(self, when: str) -> None:
        began = clock_s()
        found = await self.c.keys_of(MANY)
        if found != self.sorted[MANY]:
            odd = set(found) ^ set(self.sorted[MANY])
            raise Short(f"{when}: {len(found)} keys of {self.objects}; {len(odd)} differ, first {sorted(odd)[:3]}")
        self.t.note(f"{when}: all {len(found)} keys listed in {clock_s() - began:.0f} s")

    async def killed_under_load(self) -> None:
        child = await self.generator(LATE, "--kind", "put", "--time", "60")
        try:
            await asyncio.sleep(KILLED_LOAD_S)
            self.node.kill()
        finally:
            child.kill()
            await child.wait()


async def drill(t: Trial) -> dict:
    with Node(t) as node:
        async with Client(node) as c:
            s = Scale(t, node, c)
            per_s = [await s.fill(FEW), await s.fill(MANY)][1]
            await s.every("after filling")
            rounds = [await s.round() for _ in range(ROUNDS)]
            began = time.monotonic()
            code = node.end()
            stop_s = time.monotonic() - began
            clean = await s.start("a clean stop")
            await s.killed_under_load()
            killed = await s.start("kill -9")
            ratio = statistics.median(r["ratio"] for r in rounds)
            why = [f"a page's p99 is {ratio} times as long as at {FEW_OBJECTS}"] if ratio > RATIO_MAX else []
            why += [f"ready {of['ready_s']} s after {how}" for how, of in (("a clean stop", clean), ("kill -9", killed))
                    if of["ready_s"] > START_S_MAX]
            why += [f"the clean stop ended with {code}"] if code else []
            return {"ok": not why, "objects": s.objects, "fill_per_s": round(per_s), "page_p99_ratio": ratio,
                    "rounds_ms": rounds, "stop_s": round(stop_s, 2), "after_stop": clean, "after_kill": killed,
                    "resident_mib": node.resident() >> 20, **({"why": "; ".join(why)} if why else {})}


def more(ap) -> None:
    ap.add_argument("--objects", type=int, help="of the large bucket")
    ap.add_argument("--load", type=Path, help="datamesh-load (default: beside --server)")


if __name__ == "__main__":
    main("scale", drill, more)
