#!/usr/bin/env python3
"""Ten thousand connections that mean no good, and the requests of others beside them.

  idle       say nothing            slow heads   a byte now and then, never a whole head
  half       a body that stops      silent       ask for 8 MiB and read nothing
  oversized  heads, header counts, targets, XML, form fields and chunk lines beyond every limit
Others' PUTs and GETs are timed alone and beside all these; memory stays bounded; what is oversized gets a
4xx (or the connection is closed), the slow heads are ended by the server, and all goes back to normal.
"""
from __future__ import annotations

import asyncio
import resource
from collections import Counter

from drill import MIB, Failed, Node, Short, Trial, main, until, clock_s
from client import Bodies, Client, Cut, percentile

BUCKET = "sockets"
RESIDENT_MAX = 500 * 10 ** 6
P99_S_MAX = 5.0
PROBES = 200
SLOW_END_S_MAX = 120
OPEN_AT_ONCE = 200
HANDLES_LEFT_MAX = 40


class Crowd:
    def __init__(self, t: Trial, node: Node, c: Client) -> None:
        self.t, self.node, self.c = t, node, c
        self.links: dict[str, list[asyncio.StreamWriter]] = {}
        # What each connection that reads was told before the server closed it.
        self.told: dict[str, list[asyncio.Task]] = {}
        self.room, self.counts = asyncio.Semaphore(OPEN_AT_ONCE), Counter()

    async def open(self, kind: str, count: int, first: bytes, paused: bool = False) -> None:
        async def one(n: int) -> None:
            async with self.room:
                try:
                    # Addresses of 127/8 in turn: one has 28,000 ports only.
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", self.node.port, limit=4096, local_addr=(f"127.0.0.{2 + n % 50}", 0))
                    if paused:
                        writer.transport.pause_reading()
                    if first:
                        writer.write(first)
                        await writer.drain()
                    self.links.setdefault(kind, []).append(writer)
                    if not paused:
                        self.told.setdefault(kind, []).append(asyncio.ensure_future(reader.read()))
                except OSError as why:
                    self.counts[f"{kind} refused: {type(why).__name__}"] += 1
        await asyncio.gather(*[one(n) for n in range(count)])

    async def drip(self) -> None:
        """A byte of a head to each slow one, round after round, until told to stop."""
        while True:
            for writer in self.links.get("slow heads", []):
                if not writer.transport.is_closing():
                    writer.write(b"a")
            await asyncio.sleep(2)

    def ended(self, kind: str) -> int:
        return sum(told.done() for told in self.told.get(kind, []))

    def answers(self, kind: str) -> Counter:
        """The status each ended connection had, if any."""
        done = [told for told in self.told.get(kind, []) if told.done()]
        return Counter((told.result()[9:12].decode() or "closed") if not told.exception() else "reset" for told in done)

    def close(self) -> None:
        for told in sum(self.told.values(), []):
            told.cancel()
        for writer in sum(self.links.values(), []):
            writer.transport.abort()


async def probe(t: Trial, c: Client, bodies: Bodies, number: int) -> dict[str, float]:
    """Seconds of PUTs and GETs by somebody else, eight at a time."""
    puts, gets, room = [], [], asyncio.Semaphore(8)

    async def one(n: int) -> None:
        length, path = (900, 100_000)[n % 2], f"/{BUCKET}/probe-{number}-{n}"
        async with room:
            began = clock_s()
            put = await c.request("PUT", path, (), (), bodies.pieces(n, length), limit_s=60)
            puts.append(clock_s() - began)
            began = clock_s()
            got = await c.request("GET", path, limit_s=60)
            gets.append(clock_s() - began)
        if put.status != 200 or got.status != 200 or not bodies.same(n, length, got.body):
            raise Short(f"somebody else's request: {put}, {got.status}")

    await asyncio.gather(*[one(n) for n in range(PROBES)])
    return {"put_p50_ms": round(percentile(puts, .5) * 1000), "put_p99_ms": round(percentile(puts, .99) * 1000),
            "get_p50_ms": round(percentile(gets, .5) * 1000), "get_p99_ms": round(percentile(gets, .99) * 1000)}


def oversized(c: Client) -> dict[str, bytes]:
    host = f"Host: 127.0.0.1:{c.node.port}\r\n".encode()
    xml = b"<Delete>" + b"<Object><Key>" + b"k" * 900 + b"</Key></Object>" * 1
    many = c.prepare("POST", f"/{BUCKET}", [("delete", None)], (), 400 * MIB)
    form = b"POST /" + BUCKET.encode() + b" HTTP/1.1\r\n" + host + b"Content-Type: multipart/form-data; boundary=x\r\n" \
        b"Content-Length: 900000000\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n"
    chunk = c.prepare("PUT", f"/{BUCKET}/chunk", (), [("x-amz-decoded-content-length", "100"), ("content-encoding", "aws-chunked")],
                      1_000_000, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    return {
        "a head of 64 MiB": b"GET / HTTP/1.1\r\n" + host + b"X-A: " + b"a" * (64 * MIB),
        "a million headers": b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 1_000_000 + b"\r\n",
        "a target of 16 MiB": b"GET /" + b"a" * (16 * MIB) + b" HTTP/1.1\r\n" + host + b"\r\n",
        "XML of 400 MiB": many + xml + b" " * (64 * MIB),
        "a form field of 64 MiB": form + b"a" * (64 * MIB),
        "a chunk's size line of 1 MB": chunk + b"0" * 1_000_000,
        "a PUT of 6 TiB": c.prepare("PUT", f"/{BUCKET}/huge", (), (), 6 << 40),
        "a negative length": b"PUT /x HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n",
        "a method of 1 MiB": b"A" * MIB + b" / HTTP/1.1\r\n" + host + b"\r\n",
    }


async def send_oversized(t: Trial, node: Node, c: Client, counts: Counter) -> list[str]:
    faults = []
    for name, data in oversized(c).items():
        before = node.resident()
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)

        async def write() -> None:
            try:
                for at in range(0, len(data), 1 << 18):
                    writer.write(data[at:at + (1 << 18)])
                    await writer.drain()
            except OSError:
                pass
        sending = asyncio.ensure_future(write())
        try:
            line = await asyncio.wait_for(reader.readline(), 60)
        except asyncio.TimeoutError:
            line = b"no answer in 60 s"
        except OSError:
            line = b""
        sending.cancel()
        writer.transport.abort()
        said = line.split(b" ")[1].decode() if line.startswith(b"HTTP/") else (line.decode() or "closed")
        counts[f"{name}: {said}"] += 1
        grown = node.resident() - before
        if not (said == "closed" or said.startswith("4")) or grown > 100 * 10 ** 6:
            faults.append(f"{name}: {said}, {grown >> 20} MiB more resident")
    return faults


async def drill_(t: Trial) -> dict:
    idle, each = t.size(10_000, 1_000), t.size(500, 50)
    handles, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < idle + 4 * each + 1000:
        raise Failed(f"{most} file handles are too few: ulimit -n {idle + 4 * each + 1000}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bodies, faults = Bodies(t.seed, 8 * MIB), []
    with Node(t) as node:
        c = Client(node, links_max=32)
        await c.make_bucket(BUCKET)
        await c.put(f"/{BUCKET}/large", bodies.pieces(0, 8 * MIB))
        alone = await probe(t, c, bodies, 1)
        handles = len_fds(node)
        crowd = Crowd(t, node, c)
        start = node.resident()
        t.note(f"alone: {alone}, {start >> 20} MiB resident")
        await crowd.open("idle", idle, b"")
        await crowd.open("slow heads", each, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        await crowd.open("half", each, c.prepare("PUT", f"/{BUCKET}/half", (), (), MIB) + bytes(200_000))
        await crowd.open("silent", each, c.prepare("GET", f"/{BUCKET}/large"), paused=True)
        opened = {kind: len(links) for kind, links in crowd.links.items()}
        dripping = asyncio.ensure_future(crowd.drip())
        beside = await probe(t, c, bodies, 2)
        crowded = node.resident()
        t.note(f"beside {opened}: {beside}, {crowded >> 20} MiB resident; {dict(crowd.counts)}")
        faults += await send_oversized(t, node, c, crowd.counts)
        after = await probe(t, c, bodies, 3)
        most_resident = max(crowded, node.resident())
        for kind in ("slow heads", "half"):
            try:
                await until(lambda: crowd.ended(kind) == opened[kind], SLOW_END_S_MAX, f"{kind} are ended by the server", 1)
            except Short as why:
                faults.append(f"{why}: {crowd.ended(kind)} of {opened[kind]}")
        # Of the silent it cannot be read here: they read nothing. Of all others it has been.
        try:
            await until(lambda: len_fds(node) < handles + HANDLES_LEFT_MAX, SLOW_END_S_MAX, "the silent are ended by the server", 1)
        except Short as why:
            faults.append(f"{why}: {len_fds(node) - handles} handles")
        dripping.cancel()
        ended = {kind: dict(crowd.answers(kind)) for kind in ("idle", "slow heads", "half")}
        t.note(f"ended by the server: {ended}")
        crowd.close()
        # Its own connections have been idle as long.
        c.forget()
        last = await probe(t, c, bodies, 4)
        seen = await c.request("GET", f"/{BUCKET}/half")
        if seen.status != 404:
            faults.append(f"an upload that stopped half way is there: {seen.status}")
        await until(lambda: len_fds(node) < 2_000, 60, "handles are given back")
        c.forget()
        alive = node.alive()
    if sum(opened.values()) < idle + 3 * each:
        faults.append(f"not all were taken: {opened}")
    if most_resident > RESIDENT_MAX:
        faults.append(f"{most_resident >> 20} MiB resident")
    if max(beside["put_p99_ms"], beside["get_p99_ms"], after["put_p99_ms"]) > P99_S_MAX * 1000:
        faults.append("others waited too long")
    return {"ok": alive and not faults, "opened": opened, "resident_start": start, "resident_max": most_resident, "alone": alone,
            "beside": beside, "during_oversized": after, "afterwards": last, "ended": ended, "answers": dict(crowd.counts), "faults": faults}


def len_fds(node: Node) -> int:
    import os
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


main("sockets", drill_)
