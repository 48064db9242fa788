#!/usr/bin/env python3
"""Drives that go and come back under load: any two cost nothing, a third is a clear 503, return is recovery.

For each pair (three drawn by the seed; --full: all fifteen), each drive in one of the ways
  removed      its path leads nowhere
  emptied      its path is an empty directory
  unreadable   its file system answers EIO to everything (ext4's shutdown, unsynced data lost)
the pair goes one after the other while clients write, read and check; all is read; a third goes and comes
back; the process is restarted without the pair; the pair comes back and what it missed is made anew.
Then a drive is put back as an older copy of itself, across a restart and within one run.
As root each drive is a file system of its own, on a loop device; otherwise `unreadable` is left out.
"""
from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

from drill import Failed, Node, Short, Trial, main, say, until, clock_s
from client import Bodies, Client, Cut
from shards import scrub

BUCKET = "drives"
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
IMAGE_BYTES = 4 << 30
WORKERS = 8
KEYS_PER_WORKER = 30
OUT_S_MAX, BACK_S_MAX, REPAIR_S_MAX = 30, 90, 240
OPS_MIN = 150
REPLACED_S = 40
FAULTS_SHOWN_MAX = 10
# Mostly small: what is overwritten is freed minutes later, and the drives are small.
LENGTHS = (120, 9_000, 17_000, 90_000, 700_000) * 3 + (9_000_000,)
READS_AT_ONCE = 16


class Drive:
    """A drive that can be taken away. With `loop` a file system of its own, the drive one directory in it."""

    def __init__(self, folder: Path, number: int, loop: bool) -> None:
        self.number, self.loop, self.top = number, loop, folder / f"fs{number}"
        self.image, self.device = folder / f"fs{number}.img", None
        self.top.mkdir(parents=True)
        if loop:
            with self.image.open("wb") as file:
                file.truncate(IMAGE_BYTES)
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", self.image)
            self.mount()
        self.path, self.away = self.top / "drive", self.top / "away"
        self.path.mkdir()
        self.how: str | None = None

    def mount(self) -> None:
        # A device of its own each time: the old file system may still be held by the server.
        self.device = run("losetup", "-f", "--show", self.image).strip()
        run("mount", self.device, self.top)

    def unmount(self) -> None:
        run("umount", "-l", self.top)
        # Goes when its last user does.
        run("losetup", "-d", self.device)

    def take(self, how: str) -> None:
        self.how = how
        if how == "unreadable":
            handle = os.open(self.top, os.O_RDONLY)
            try:
                fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
            finally:
                os.close(handle)
            return
        self.path.rename(self.away)
        if how == "emptied":
            self.path.mkdir()

    def give(self) -> None:
        if self.how == "unreadable":
            self.unmount()
            self.mount()
        elif self.how:
            if self.how == "emptied":
                # What stands there now is the server's mistake: nothing may be formatted by itself.
                if odd := list(self.path.iterdir()):
                    raise Short(f"the emptied drive was written to: {odd[:3]}")
                self.path.rmdir()
            self.away.rename(self.path)
        self.how = None

    def end(self) -> None:
        if self.loop and self.device:
            self.unmount()


def run(*words: object) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"{words[0]}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout.decode()


class Load:
    """Clients that each own keys: they write, and read what they wrote. Errors after retries are kept."""

    def __init__(self, t: Trial, node: Node) -> None:
        self.t, self.node, self.c = t, node, Client(node, links_max=WORKERS + READS_AT_ONCE)
        self.bodies = Bodies(t.seed, max(LENGTHS))
        self.there: dict[str, tuple[int, int]] = {}
        self.doubt: dict[str, list] = {}
        self.numbers = itertools.count(1)
        self.ops, self.retries, self.errors, self.halt = Counter(), Counter(), [], asyncio.Event()
        self.tasks: list[asyncio.Task] = []

    def start(self) -> None:
        self.halt.clear()
        self.tasks = [asyncio.ensure_future(self.worker(w)) for w in range(WORKERS)]

    async def stop(self) -> None:
        self.halt.set()
        await asyncio.gather(*self.tasks)

    async def more(self, count: int = OPS_MIN) -> None:
        """Waits until so many more requests have ended."""
        goal = sum(self.ops.values()) + count
        await until(lambda: sum(self.ops.values()) >= goal, 180, f"{count} requests")

    def fault(self, what: str) -> None:
        self.errors.append(what)
        if len(self.errors) <= FAULTS_SHOWN_MAX:
            self.t.note("!!", what[:300])

    async def worker(self, w: int) -> None:
        while not self.halt.is_set():
            key = f"w{w}-{self.t.chance.randrange(KEYS_PER_WORKER)}"
            kind = self.t.chance.randrange(10)
            try:
                if kind < 5 or key not in self.there:
                    await self.put(key)
                elif kind < 9:
                    await self.check(key)
                else:
                    await self.delete(key)
            except Cut as why:
                self.fault(f"{key}: {why}")

    def seen(self, kind: str, answer) -> None:
        self.ops[kind] += 1
        self.retries.update(f"{kind} {status}" for status in answer.before)

    async def put(self, key: str) -> None:
        number, length = next(self.numbers), self.t.chance.choice(LENGTHS)
        self.doubt[key] = [self.there.get(key), (number, length)]
        answer = await self.c.put(f"/{BUCKET}/{key}", self.bodies.pieces(number, length))
        self.seen("PUT", answer)
        if answer.good:
            self.there[key] = (number, length)
            del self.doubt[key]
        else:
            self.fault(f"PUT {key}: {answer} after {answer.before}")

    async def delete(self, key: str) -> None:
        self.doubt[key] = [self.there.pop(key), None]
        answer = await self.c.tried("DELETE", f"/{BUCKET}/{key}")
        self.seen("DELETE", answer)
        if answer.good:
            del self.doubt[key]
        else:
            self.fault(f"DELETE {key}: {answer} after {answer.before}")

    async def check(self, key: str) -> None:
        wanted = self.there.get(key)
        answer = await self.c.get(f"/{BUCKET}/{key}")
        self.seen("GET", answer)
        if answer.status == 200 and wanted and self.bodies.same(*wanted, answer.body):
            return
        if answer.status == 404 and wanted is None:
            return
        for number, length in filter(None, self.doubt.get(key, ())):
            if answer.status == 200 and self.bodies.same(number, length, answer.body):
                return
        short = 200 == answer.status
        self.fault(f"GET {key}: {'other bytes' if short else answer} after {answer.before}, wanted {wanted}")

    async def check_all(self) -> int:
        room = asyncio.Semaphore(READS_AT_ONCE)

        async def one(key: str) -> None:
            async with room:
                try:
                    await self.check(key)
                except Cut as why:
                    self.fault(f"{key}: {why}")
        await asyncio.gather(*map(one, list(self.there)))
        return len(self.there)


class Rounds:
    def __init__(self, t: Trial, node: Node, drives: list[Drive]) -> None:
        self.t, self.node, self.drives, self.load = t, node, drives, Load(t, node)
        self.ways = ["removed", "emptied"] + (["unreadable"] if drives[0].loop else [])
        self.figures = Counter()

    async def is_out(self, *numbers: int) -> None:
        paths = {str(self.drives[n - 1].path) for n in numbers}

        def seen() -> bool:
            told = self.node.cli("drive", "list")
            up = {d.get("path") for d in told if d["state"] != "out"}
            return sum(d["state"] == "out" for d in told) == len(numbers) and not paths & up
        await until(seen, OUT_S_MAX if numbers else BACK_S_MAX, f"out of service: {numbers or 'none'}")

    async def mended(self) -> None:
        await self.is_out()
        await until(lambda: not any(w["waiting"] for w in self.node.cli("status")["work"] if w["name"] == "repair"),
                    REPAIR_S_MAX, "repair at rest")

    async def third(self, c: Drive, others: tuple[int, int]) -> None:
        """One drive too many: PUT is a clear 503, reads are right or 503; with the drive back all is well."""
        c.take(self.t.chance.choice(self.ways))

        async def refused() -> bool:
            put = await self.load.c.request("PUT", f"/{BUCKET}/third", (), (), bytes(50_000), limit_s=60)
            # The reason: too few drives, or the partition's voters that went with them.
            said = put.find("Message")
            return put.status == 503 and put.code == "ServiceUnavailable" and ("drives" in said or "voters" in said)
        await until(refused, 120, "PUT is refused with the reason")
        try:
            await asyncio.to_thread(self.node.fetch_admin, "/health/ready")
            self.load.fault("ready although a third drive is out")
        except OSError as why:
            told = why.read().decode() if hasattr(why, "read") else ""
            if "out of service" not in told and "majority" not in told:
                self.load.fault(f"readiness does not name the cause: {told[:300]}")
        odd = Counter()

        async def read(key: str) -> None:
            began = clock_s()
            try:
                answer = await self.load.c.request("GET", f"/{BUCKET}/{key}", limit_s=60)
            except Cut:
                odd["cut"] += 1
                return
            odd[answer.status] += 1
            if answer.status == 503:
                self.figures["slowest_503_ms"] = max(self.figures["slowest_503_ms"], round((clock_s() - began) * 1000))
            if answer.status == 200 and not self.load.bodies.same(*self.load.there[key], answer.body):
                self.load.fault(f"GET {key}: wrong bytes with three drives out")
        await asyncio.gather(*map(read, self.t.chance.sample(list(self.load.there), min(60, len(self.load.there)))))
        self.figures.update({f"three out: GET {status}": n for status, n in odd.items()})
        if set(odd) - {200, 503}:
            self.load.fault(f"with three drives out GETs answer {dict(odd)}")
        c.give()
        began = clock_s()

        async def served() -> bool:
            return (await self.load.c.request("PUT", f"/{BUCKET}/third", (), (), bytes(50_000), limit_s=60)).good
        await until(served, BACK_S_MAX, "PUT works again")
        self.figures["recovery_ms_max"] = max(self.figures["recovery_ms_max"], round((clock_s() - began) * 1000))
        await self.is_out(*others)

    async def pair(self, a: int, b: int) -> None:
        load, first, second = self.load, self.drives[a - 1], self.drives[b - 1]
        ways = [self.t.chance.choice(self.ways) for _ in range(2)]
        self.t.note(f"drives {a} ({ways[0]}) and {b} ({ways[1]})")
        load.start()
        await load.more()
        first.take(ways[0])
        await self.is_out(a)
        await load.more()
        second.take(ways[1])
        await self.is_out(a, b)
        await load.more()
        if not self.figures["pairs"]:
            # Long enough for voters to be replaced where there is a drive for them.
            began = clock_s()
            await until(lambda: clock_s() - began > REPLACED_S, 2 * REPLACED_S, "time goes on")
        await load.stop()
        await load.check_all()
        third = self.t.chance.choice([d for d in self.drives if d.number not in (a, b)])
        await self.third(third, (a, b))
        load.start()
        await load.more()
        await load.stop()
        self.restart()
        await self.is_out(a, b)
        await load.check_all()
        load.start()
        await load.more()
        second.give()
        await self.is_out(a)
        await load.more()
        first.give()
        await self.is_out()
        await load.stop()
        await self.mended()
        await load.check_all()
        await self.whole()
        self.figures["pairs"] += 1
        self.t.note(f"whole again; {dict(load.ops)}, tried again {dict(load.retries)}, {len(load.errors)} errors")

    def restart(self) -> None:
        if self.t.chance.randrange(2):
            self.node.kill()
        elif self.node.end() != 0:
            raise Short(f"the server ended with {self.node.process.returncode}")
        self.node.again()
        self.load.c.forget()

    async def whole(self) -> None:
        """Each object has what its geometry promises."""
        least = Counter()
        for key in self.t.chance.sample(list(self.load.there), 20):
            told = await asyncio.to_thread(self.node.cli, "object", "explain", f"s3://{BUCKET}/{key}", "--verify")
            least[told["losses_tolerated"]] += 1
        self.figures.update({f"tolerates {n}": count for n, count in least.items()})
        if min(least) < 2:
            self.load.fault(f"objects that tolerate less than two losses after repair: {dict(least)}")

    async def old_copy(self, within_a_run: bool) -> str:
        """A drive comes back as it was some hundred requests ago; what the log says of it."""
        load, drive = self.load, self.t.chance.choice(self.drives)
        old = drive.top / "old"
        log_at = len(self.node.log_text())
        if within_a_run:
            drive.take("removed")
            await self.is_out(drive.number)
            run("cp", "-a", "--sparse=always", drive.away, old)
            drive.give()
            await self.mended()
        else:
            self.node.end()
            run("cp", "-a", "--sparse=always", drive.path, old)
            self.node.again()
            load.c.forget()
        load.start()
        await load.more(2 * OPS_MIN)
        await load.stop()
        if within_a_run:
            drive.take("removed")
            await self.is_out(drive.number)
        else:
            self.node.end()
            drive.path.rename(drive.away)
        old.rename(drive.path)
        if not within_a_run:
            self.node.again()
            load.c.forget()
        await self.mended()
        await load.check_all()
        load.start()
        await load.more()
        await load.stop()
        # Others go: were the old copy believed, its past would show now. What it has missed counts as one loss
        # until a scrub has found it.
        scrubbed = await scrub(self.node) is not None
        self.figures["scrubbed"] += scrubbed
        others = self.t.chance.sample([d for d in self.drives if d is not drive], 2 if scrubbed else 1)
        for other in others:
            other.take("removed")
        await self.is_out(*[d.number for d in others])
        await load.check_all()
        for other in others:
            other.give()
        await self.mended()
        shutil.rmtree(drive.away)
        drive.how = None
        told = [line for line in self.node.log_text()[log_at:].splitlines() if "old copy" in line or "older copy" in line]
        return told[0][-200:] if told else ""


async def drill_(t: Trial) -> dict:
    loop = os.geteuid() == 0 and all(shutil.which(w) for w in ("losetup", "mkfs.ext4", "mount")) and not t.a.plain
    drives: list[Drive] = []
    try:
        for n in range(1, 7):
            drives.append(Drive(t.folder / "disks", n, loop))
        with Node(t, drives=[d.path for d in drives], settings="segment_bytes = 67108864") as node:
            r = Rounds(t, node, drives)
            await r.load.c.make_bucket(BUCKET)
            pairs = list(itertools.combinations(range(1, 7), 2))
            if not t.a.full:
                pairs = t.chance.sample(pairs, t.size(3, 1))
            for a, b in pairs:
                await r.pair(a, b)
            t.note("an old copy across a restart")
            across = await r.old_copy(False)
            t.note(f"told: {across!r}; an old copy within one run")
            within = await r.old_copy(True)
            t.note(f"told: {within!r}")
            r.load.c.forget()
        load = r.load
    finally:
        for drive in drives:
            try:
                drive.end()
            except Failed as why:
                say(why)
    return {"ok": not load.errors and r.figures["pairs"] == len(pairs) and bool(across) and bool(within),
            "of": len(pairs), **r.figures, "ways": r.ways, "requests": dict(load.ops), "tried_again": dict(load.retries),
            "errors": len(load.errors), "first": [e[:200] for e in load.errors[:3]], "keys": len(load.there),
            "old_copy_told": {"across a restart": bool(across), "within a run": bool(within)}}


def more(ap) -> None:
    ap.add_argument("--full", action="store_true", help="all fifteen pairs")
    ap.add_argument("--plain", action="store_true", help="directories, no file systems of their own")


main("drives", drill_, more)
