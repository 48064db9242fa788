#!/usr/bin/env python3
"""A server in a memory cgroup of 600 MB: 500 PUTs of 16 MiB at once, beside 2,000 readers that do not read.

The clients live outside the cgroup. Each PUT is tried again as the SDKs do. Not killed, no PUT given up, all
within ten minutes, some at the first try; and all that was acknowledged reads back. Needs root and the
cgroup file system (version 1 or 2).
"""
from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from drill import MIB, Failed, Node, Short, Trial, main, clock_s
from client import Bodies, Client, Cut, percentile

BUCKET = "memory"
LIMIT_BYTES = 600 * 10 ** 6
PUT_BYTES = 16 * MIB
FINISH_S_MAX = 600
FIRST_TRY_MIN = 50
ATTEMPTS = 10
STALLED_BYTES = 16 * MIB
HEADS_AT_ONCE = 100


class Cage:
    """A memory cgroup of our own."""

    def __init__(self, name: str, limit: int) -> None:
        one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        self.v1 = one.is_dir()
        self.folder = (one if self.v1 else two) / name
        try:
            self.folder.mkdir(exist_ok=True)
            (self.folder / ("memory.limit_in_bytes" if self.v1 else "memory.max")).write_text(str(limit))
        except OSError as why:
            raise Failed(f"no memory cgroup can be made: {why}") from why
        if not self.v1 and (swap := self.folder / "memory.swap.max").exists():
            swap.write_text("0")

    def join(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self) -> int:
        return int((self.folder / ("memory.max_usage_in_bytes" if self.v1 else "memory.peak")).read_text())

    def kills(self) -> int:
        text = (self.folder / ("memory.oom_control" if self.v1 else "memory.events")).read_text()
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        try:
            self.folder.rmdir()
        except OSError:
            pass


async def stalled(c: Client, count: int, links: list, counts: Counter) -> None:
    """Readers that ask for a large object and take no byte."""
    room = asyncio.Semaphore(HEADS_AT_ONCE)

    async def one() -> None:
        async with room:
            try:
                # A small buffer of our own, so that the server and not our kernel holds what is not read.
                reader, writer = await asyncio.open_connection("127.0.0.1", c.node.port, limit=1024)
                writer.transport.pause_reading()
                writer.write(c.prepare("GET", f"/{BUCKET}/large"))
                await writer.drain()
                links.append(writer)
            except OSError:
                counts["reader refused"] += 1

    await asyncio.gather(*[one() for _ in range(count)])


async def drill_(t: Trial) -> dict:
    puts, readers = t.size(500, 60), t.a.readers if t.a.readers is not None else t.size(2000, 300)
    cage, counts, links = Cage(f"datamesh-drill-{os.getpid()}", t.a.limit), Counter(), []
    bodies = Bodies(t.seed, PUT_BYTES)
    node = Node(t, joined=cage.join, settings="reserve_bytes = 1073741824")
    resident = [0]
    try:
        with node:
            c = Client(node, links_max=puts)
            await c.make_bucket(BUCKET)
            if not (await c.put(f"/{BUCKET}/large", bodies.pieces(0, STALLED_BYTES))).good:
                raise Short("the large object cannot be written")
            idle = node.resident()
            await stalled(c, readers, links, counts)
            t.note(f"{len(links)} readers stalled, resident {node.resident() >> 20} MiB (idle {idle >> 20})")

            async def watch() -> None:
                while node.alive():
                    try:
                        resident.append(node.resident())
                    except (Short, OSError):
                        return
                    await asyncio.sleep(0.5)

            watching, began, acked, took = asyncio.ensure_future(watch()), clock_s(), [], []

            async def put(n: int) -> None:
                try:
                    answer = await c.put(f"/{BUCKET}/k{n}", bodies.pieces(n, PUT_BYTES), limit_s=180, attempts=t.a.attempts)
                except Cut as why:
                    counts["given up"] += 1
                    counts[f"last: {type(why.__cause__).__name__}"] += 1
                    return
                counts.update(f"tried again after {s}" for s in answer.before)
                if answer.good:
                    acked.append(n)
                    took.append(clock_s() - began)
                    counts["at the first try"] += answer.attempts == 1
                    counts[f"attempts {answer.attempts}"] += 1
                else:
                    counts["given up"] += 1
                    counts[f"last: {answer.status} {answer.code}"] += 1

            work = asyncio.gather(*[put(n) for n in range(1, puts + 1)])
            while not work.done() and node.alive():
                await asyncio.wait([work], timeout=0.5)
            if not node.alive():
                work.cancel()
                raise Short(f"the server died after {clock_s() - began:.0f} s and {len(acked)} PUTs, {max(resident) >> 20} MiB resident")
            await work
            whole_s = clock_s() - began
            t.note(f"{len(acked)} of {puts} in {whole_s:.0f} s, {dict(counts)}, resident ≤ {max(resident) >> 20} MiB")
            still = sum(not w.transport.is_closing() for w in links)
            for w in links:
                w.transport.abort()
            wrong, room = [], asyncio.Semaphore(8)

            async def check(n: int) -> None:
                async with room:
                    answer = await c.get(f"/{BUCKET}/k{n}")
                    if answer.status != 200 or not bodies.same(n, PUT_BYTES, answer.body):
                        wrong.append(f"k{n}: {answer.status}")
            if node.alive():
                await asyncio.gather(*map(check, acked))
            alive = node.alive()
            c.forget()
            watching.cancel()
        figures = {"puts": puts, "acknowledged": len(acked), "at_first_try": counts["at the first try"],
                   "finished_s": round(whole_s), "median_s": round(percentile(took, 0.5)), "stalled_readers": len(links),
                   "readers_still_open": still, "wrong": len(wrong), "resident_max": max(resident), "cgroup_peak": cage.peak(),
                   "oom_kills": cage.kills(), "survived": alive, "counts": dict(counts)}
    except Short as why:
        raise Short(f"{why}; {cage.kills()} killed for memory, peak {cage.peak() >> 20} MiB, {len(links)} readers") from why
    finally:
        cage.remove()
    ok = (alive and not figures["oom_kills"] and len(acked) == puts and whole_s <= FINISH_S_MAX and not wrong
          and figures["at_first_try"] >= min(FIRST_TRY_MIN, puts) and len(links) == readers)
    return {"ok": ok, **figures}


def more(ap) -> None:
    ap.add_argument("--limit", type=int, default=LIMIT_BYTES, help="bytes of the cgroup")
    ap.add_argument("--readers", type=int, help="that do not read (default: 2,000)")
    ap.add_argument("--attempts", type=int, default=ATTEMPTS, help="of each PUT, the first included")


main("memory", drill_, more)
