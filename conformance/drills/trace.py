#!/usr/bin/env python3
"""What a 200 waits for, as strace sees it.

One PUT at a time, its key in shard headers and log records so that the calls of this very request are
known: no byte of the 200 may go to the socket before fdatasync has returned on the segments of all six
drives (of five while one is out of service; none for a small body, which lies in the log), and after
that, in every case, on the logs of a majority (three) of the voters' drives. A sync counts only when it
began after the write it is to cover had returned, and the log's only when its write began after the
last of the segments' syncs.
"""
from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from drill import Node, Short, Trial, main, until
from client import Client

BUCKET = "trace"
CALLS = "pwrite64,pwritev,write,writev,sendto,sendmsg,fdatasync,fsync,sync_file_range"
HEAD = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
BEGUN = re.compile(r"^(\w+)\((\d+)<(.*?)>(?:, )?(.*)$")
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
VOTERS_MAJORITY = 3


@dataclass
class Call:
    """One system call; `began` and `ended` are line numbers: strace writes them in the order seen."""

    name: str
    path: str
    words: str
    began: int
    ended: int = 0
    result: str = ""


def parse(lines: list[str]) -> list[Call]:
    """Calls with a file. A call is as long as from its line, or its unfinished line, to its end."""
    calls, open_ = [], {}
    for number, line in enumerate(lines):
        if not (parts := HEAD.match(line)):
            continue
        pid, _, text = parts.groups()
        if back := RESUMED.match(text):
            if call := open_.pop(pid, None):
                call.ended, call.result = number, back[2].rpartition("= ")[2]
                calls.append(call)
        elif begun := BEGUN.match(text):
            call = Call(begun[1], begun[3], begun[4], number)
            if text.endswith("<unfinished ...>"):
                open_[pid] = call
            else:
                call.ended, call.result = number, text.rpartition("= ")[2]
                calls.append(call)
    # Calls that the end of the trace left open: the answer's own, when the client was quicker than strace.
    return [*calls, *(Call(c.name, c.path, c.words, c.began, len(lines)) for c in open_.values())]


def synced_after(calls: list[Call], write: Call, before: int) -> int:
    """The line at which the first good sync of the write's file returned that covers it; 0: none did."""
    ends = [c.ended for c in calls if c.name in ("fdatasync", "fsync") and c.path == write.path
            and c.began > write.ended and c.ended < before and c.result.split()[:1] == ["0"]]
    return min(ends, default=0)


def judge(lines: list[str], key: str, drives: list[Path]) -> dict:
    """How many drives' segments and logs were synced in time before the 200 of this key's PUT."""
    calls = parse(lines)
    answers = [c for c in calls if c.name in ("write", "writev", "sendto", "sendmsg") and "HTTP/1.1 200" in c.words
               and ("socket:" in c.path or "TCP:" in c.path)]
    if len(answers) != 1:
        raise Short(f"{len(answers)} answers of 200 in the trace of one PUT")
    sent = answers[0].began
    drive_of = {str(d): n for n, d in enumerate(drives, 1)}

    def place(call: Call, folder: str) -> int:
        return next((n for d, n in drive_of.items() if call.path.startswith(f"{d}/{folder}")), 0)

    writes = [c for c in calls if c.name.startswith(("pwrite", "write")) and key in c.words]
    segments, unsynced = {}, set()
    for c in writes:
        if drive := place(c, "shards/segments/"):
            if end := synced_after(calls, c, sent):
                segments[drive] = max(end, segments.get(drive, 0))
            else:
                unsynced.add(drive)
    shards_at = max(segments.values(), default=0)
    logs = {place(c, "log/") for c in writes if place(c, "log/") and c.began > shards_at and synced_after(calls, c, sent)}
    early = {place(c, "log/") for c in writes if place(c, "log/") and c.began <= shards_at}
    return {"segments": len(segments), "segments_unsynced": len(unsynced), "logs": len(logs), "log_before_shards": len(early)}


class Traced:
    """strace attached to the running server while a request runs."""

    def __init__(self, node: Node, into: Path) -> None:
        self.node, self.into = node, into

    async def __aenter__(self) -> "Traced":
        self.process = subprocess.Popen(
            ["strace", "-f", "-ttt", "-yy", "-s", "1024", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(self.into),
             "-p", str(self.node.process.pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Attached to every thread when the idle ticks of the log are seen.
        await until(lambda: self.into.exists() and self.into.stat().st_size > 0, 30, "strace attached")
        await until(self._all_traced, 30, "every thread is traced")
        return self

    def _all_traced(self) -> bool:
        tasks = Path(f"/proc/{self.node.process.pid}/task").iterdir()
        return all(f"TracerPid:\t{self.process.pid}\n" in (t / "status").read_text() for t in tasks)

    async def __aexit__(self, *_exc) -> None:
        self.process.terminate()
        await asyncio.to_thread(self.process.wait)


async def one(t: Trial, node: Node, c: Client, name: str, length: int) -> dict:
    key, into = f"traced-{name}-{length}", t.folder / f"strace-{name}-{length}"
    async with Traced(node, into):
        answer = await c.request("PUT", f"/{BUCKET}/{key}", (), (), bytes(t.chance.randbytes(length)), limit_s=120)
        if answer.status != 200:
            raise Short(f"PUT of {length} bytes: {answer}")
    found = judge(into.read_text(errors="replace").splitlines(), key, node.drives)
    t.note(f"{name}, {length} bytes: {found}")
    return found


def right(found: dict, segments: int) -> bool:
    return (found["segments"] == segments and not found["segments_unsynced"] and found["logs"] >= VOTERS_MAJORITY
            and not found["log_before_shards"])


async def drill_(t: Trial) -> dict:
    if not shutil.which("strace"):
        raise Short("strace is not installed: apt-get install strace")
    check_itself(t)
    lengths = {5: 0, 16_384: 0, 16_385: 1, 1_000_000: 1, 9 << 20: 1}
    traced, good, figures = 0, 0, {}
    with Node(t) as node:
        async with Client(node) as c:
            await c.make_bucket(BUCKET)
            for turn in range(t.size(5, 1)):
                for length, shards in lengths.items():
                    found = await one(t, node, c, f"all-{turn}", length)
                    good, traced = good + right(found, 6 * shards), traced + 1
                    figures[f"all {length}"] = found
            for number in range(t.size(6, 1)):
                drive = node.drives[number]
                drive.rename(drive.with_suffix(".away"))
                await until(lambda: out(node) == 1, 30, "the drive is out")
                for length in (5, 1_000_000):
                    found = await one(t, node, c, f"without-{number + 1}", length)
                    good, traced = good + right(found, 5 * lengths[length]), traced + 1
                    figures[f"one out {length}"] = found
                drive.with_suffix(".away").rename(drive)
                await until(lambda: out(node) == 0, 60, "the drive is back")
    return {"ok": traced == good > 0, "traced": traced, "right": good, "last": figures}


def out(node: Node) -> int:
    return sum(d["state"] == "out" for d in node.cli("drive", "list"))


def check_itself(t: Trial) -> None:
    """The judge must see a 200 that comes too early, a sync that covers nothing, and a log that runs ahead."""
    drives = [Path(f"/x/d{n}") for n in range(1, 7)]
    def line(text: str) -> str:
        return f"11 1.5 {text}"
    def write(d, folder): return line(f'pwrite64(9</x/d{d}/{folder}>, "..k1..", 4096, 0) = 4096')
    def sync(d, folder): return line(f"fdatasync(9</x/d{d}/{folder}>) = 0")
    say200 = line('writev(7<TCP:[a->b]>, [{iov_base="HTTP/1.1 200 OK"}], 1) = 90')
    shards = [f(d, "shards/segments/1") for d in range(1, 7) for f in (write, sync)]
    logs = [f(d, "log/1.log") for d in (1, 2, 3) for f in (write, sync)]
    assert right(judge([*shards, *logs, say200], "k1", drives), 6)
    assert not right(judge([*shards, *logs[:-1], say200, logs[-1]], "k1", drives), 6)
    assert not right(judge([*shards[:-2], shards[-1], shards[-2], *logs, say200], "k1", drives), 6)
    assert not right(judge([*logs, *shards, say200], "k1", drives), 6)


main("trace", drill_)
