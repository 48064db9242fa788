#!/usr/bin/env python3
"""SIGTERM under load, round after round over one store.

While it drains, readiness says so; uploads and downloads that can end within the drain time end whole;
what is slower is cut, an upload leaves nothing visible, a download is not taken for whole; new requests
are refused before they have half an answer. The process ends with 0 and in time, the next start finds
nothing damaged, and all that was acknowledged reads back.
"""
from __future__ import annotations

import asyncio
import signal
from collections import Counter

from drill import MIB, Node, Short, Trial, main, until, clock_s
from client import Bodies, Client, Cut

BUCKET = "term"
DRAIN_S = 8
END_S_MAX = DRAIN_S + 15
WRITERS, SLOW = 16, 8
SLOW_BYTES = 4 * MIB
READ_BYTES = 24 * MIB


class Round:
    def __init__(self, t: Trial, node: Node, number: int, acked: dict[str, tuple[int, int]]) -> None:
        self.t, self.node, self.number, self.acked = t, node, number, acked
        self.bodies = Bodies(t.seed, READ_BYTES)
        self.c = Client(node, links_max=WRITERS + 4 * SLOW)
        self.counts, self.ended = Counter(), asyncio.Event()
        # Sent before the signal, ended without an answer: why.
        self.cut: dict[str, str] = {}
        self.term_at = 0.0
        self.running = 0

    async def writer(self, w: int) -> None:
        """One request after another, each once, until the server takes none."""
        n, refused = 0, 0
        while refused < 3:
            n += 1
            key, number = f"r{self.number}-w{w}-{n}", self.number * 1_000_000 + w * 10_000 + n
            length = self.t.chance.choice((100, 9_000, 40_000, 700_000))
            late = bool(self.term_at)
            try:
                answer = await self.c.request("PUT", f"/{BUCKET}/{key}", (), (), self.bodies.pieces(number, length), limit_s=60)
            except Cut as why:
                half = getattr(why.__cause__, "partial", b"")
                self.counts["half an answer" if half else ("late refused" if late else "cut")] += 1
                if not late:
                    self.cut[key] = str(why)
                refused += late
                continue
            if answer.status == 200:
                self.acked[key] = (number, length)
                self.counts["acknowledged"] += 1
                self.counts["late served"] += late
            elif answer.status == 503 and self.term_at:
                self.counts["late 503"] += 1
                refused += 1
            else:
                raise Short(f"PUT {key}: {answer}")

    async def slow_put(self, n: int, extra_s: float) -> None:
        """An upload that is half sent when the signal comes and needs `extra_s` more."""
        key, number = f"r{self.number}-slow-{n}", self.number * 1_000_000 + 900_000 + n
        whole = self.bodies.whole(number, SLOW_BYTES)
        link = await self.c.open()
        fits = extra_s < DRAIN_S
        try:
            link.writer.write(self.c.prepare("PUT", f"/{BUCKET}/{key}", (), (), SLOW_BYTES) + whole[:SLOW_BYTES // 2])
            await link.writer.drain()
            self.running += 1
            await self.ended.wait()
            steps, rest = 20, whole[SLOW_BYTES // 2:]
            for step in range(steps):
                link.writer.write(rest[step * len(rest) // steps:(step + 1) * len(rest) // steps])
                await link.writer.drain()
                await asyncio.sleep(extra_s / steps)
            answer = await asyncio.wait_for(link._answer("PUT"), 60)
            if answer.status == 200:
                self.acked[key] = (number, SLOW_BYTES)
            self.counts[f"slow put that fits: {answer.status}" if fits else f"slow put too long: {answer.status}"] += 1
        except (OSError, EOFError, asyncio.TimeoutError, IndexError) as why:
            self.counts[f"slow put that fits: {type(why).__name__}" if fits else "slow put too long: cut"] += 1
        finally:
            link.close()

    async def slow_get(self, n: int, extra_s: float) -> None:
        """A download that is read slowly: whole where it fits, else visibly short."""
        fits, got = extra_s < DRAIN_S, bytearray()
        link = await self.c.open()
        try:
            link.writer.write(self.c.prepare("GET", f"/{BUCKET}/large"))
            head = await link.reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head:
                raise Short(f"GET large: {head[:200]!r}")
            self.running += 1
            await self.ended.wait()
            steps = 40
            while len(got) < READ_BYTES and (data := await link.reader.read(READ_BYTES // steps)):
                got += data
                if len(got) < READ_BYTES * 0.9:
                    await asyncio.sleep(extra_s / steps * len(data) / (READ_BYTES // steps))
        except OSError:
            pass
        finally:
            link.close()
        whole = self.bodies.same(1, READ_BYTES, bytes(got))
        if len(got) == READ_BYTES and not whole:
            raise Short("a download under SIGTERM has wrong bytes")
        self.counts[f"slow get {'that fits' if fits else 'too long'}: {'whole' if whole else 'cut'}"] += 1

    async def watch(self) -> None:
        """Readiness must say that the process ends."""
        while self.node.alive():
            try:
                await asyncio.to_thread(self.node.fetch_admin, "/health/ready")
            except OSError as why:
                if getattr(why, "code", 0) == 503:
                    self.counts["not ready seen"] += 1
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        calls = [self.writer(w) for w in range(WRITERS)]
        calls += [self.slow_put(n, DRAIN_S / 3 if n % 2 else DRAIN_S * 3) for n in range(SLOW)]
        calls += [self.slow_get(n, DRAIN_S / 3 if n % 2 else DRAIN_S * 3) for n in range(SLOW)]
        work = asyncio.gather(*calls)
        try:
            await until(lambda: self.running == 2 * SLOW and self.counts["acknowledged"] > 50, 60, "the load runs")
            self.node.process.send_signal(signal.SIGTERM)
            self.term_at = clock_s()
            self.ended.set()
            watch = asyncio.ensure_future(self.watch())
            await until(lambda: not self.node.alive(), END_S_MAX + 60, "the process ends")
            self.took = clock_s() - self.term_at
            await asyncio.wait_for(work, 120)
            await watch
        finally:
            work.cancel()
            self.c.forget()


async def one(t: Trial, node: Node, number: int, acked: dict, sums: Counter) -> list[str]:
    r = Round(t, node, number, acked)
    await r.run()
    sums.update(r.counts)
    t.note(f"round {number}: ended with {node.process.returncode} after {r.took:.1f} s; {dict(r.counts)}")
    faults = []
    if node.process.returncode != 0 or r.took > END_S_MAX:
        faults.append(f"ended with {node.process.returncode} after {r.took:.1f} s")
    log_at = len(node.log_text())
    node.again()
    told = [line for line in node.log_text()[log_at:].splitlines() if "WARN" in line or "ERROR" in line]
    if told:
        faults.append(f"the next start complains: {told[0][:300]}")
    for want in ("slow put that fits: 200", "slow get that fits: whole"):
        if r.counts[want] != SLOW // 2:
            faults.append(f"{want}: {r.counts[want]} of {SLOW // 2}")
    if not r.counts["not ready seen"]:
        faults.append("readiness never said that the process ends")
    faults += [f"{what}: {r.counts[what]}" for what in ("slow put too long: 200", "half an answer") if r.counts[what]]
    async with Client(node, links_max=16) as c:
        keys = set(await c.keys_of(BUCKET)) - {"large"}
        if done := set(r.cut) & keys:
            faults.append(f"{len(done)} of {len(r.cut)} cut without an answer were done: {[r.cut[k] for k in done][:2]}")
        elif r.cut:
            t.note(f"cut before they were taken up: {list(r.cut.values())[:2]}")
        cut = {f"r{number}-slow-{n}" for n in range(SLOW)} - set(acked)
        if lost := set(acked) - keys:
            faults.append(f"lost: {sorted(lost)[:5]}")
        if seen := cut & keys:
            faults.append(f"visible though cut: {sorted(seen)[:5]}")
        mine = [k for k in acked if k.startswith(f"r{number}-") or t.chance.randrange(10) == 0]

        async def check(key: str) -> None:
            n, length = acked[key]
            answer = await c.get(f"/{BUCKET}/{key}")
            if answer.status != 200 or not r.bodies.same(n, length, answer.body):
                faults.append(f"{key}: {answer.status}, {len(answer.body)} of {length} bytes")
        await asyncio.gather(*map(check, mine))
    return faults


async def drill_(t: Trial) -> dict:
    rounds, acked, sums = t.size(10, 2), {}, Counter()
    faults: list[str] = []
    with Node(t, settings=f"shutdown_drain_s = {DRAIN_S}") as node:
        async with Client(node) as c:
            await c.make_bucket(BUCKET)
            await c.put(f"/{BUCKET}/large", Bodies(t.seed, READ_BYTES).pieces(1, READ_BYTES))
        for number in range(1, rounds + 1):
            faults += await one(t, node, number, acked, sums)
    for fault in faults[:10]:
        t.note("!!", fault)
    return {"ok": not faults, "rounds": rounds, "acknowledged": len(acked), "answers": dict(sums), "faults": faults[:5]}


main("term", drill_)
