#!/usr/bin/env python3
"""Random bit flips over segments, logs, snapshots, tables and shard indexes of a stopped store.

Each round begins with the same whole store, flips bits, starts the server and reads everything:
  one     one flip: it costs nothing
  two     many flips on two drives: redundancy is left, so they cost nothing either
  all     many flips over all six: the process starts, and each read is right or a clear error
`wrong`: other bytes than were written, a listing that lacks or invents a key; `lost`: 404 for what was
acknowledged; `errors`: clear errors (none may be where redundancy is left). In `one` and `two` a scrub comes
first: it names every live shard that was hit and makes it anew (`live_hits`, `named`).
"""
from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import urllib.error
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from drill import Node, Short, Trial, main, until
from client import Bodies, Client, Cut
from shards import Record, live_tokens, records, scrub

BUCKET = "flips"
KINDS = {"segment": "shards/segments/*", "log": "log/*", "snapshot": "snapshots/*/*", "table": "tables/**/*",
         "index": "shards/index/**/*"}
SETTINGS = "segment_bytes = 16777216\nlog_level = \"info\""
FLIPS_A_ROUND = 20
CHURNS, CHURN_KEYS = 5000, 20
BLOCK = 4096
RESTORED_S_MAX, WHOLE_S_MAX = 40, 60
READY_S_MAX = 60


@dataclass
class Store:
    """The whole store that every round begins with, and what must be read from it."""

    master: Path
    bodies: Bodies
    there: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Kind → drive → (file, offset) of each 4 KiB block that holds anything.
    blocks: dict[str, dict[str, list[tuple[str, int]]]] = field(default_factory=dict)
    live: list[Record] = field(default_factory=list)


async def build(t: Trial, node: Node) -> Store:
    """Every kind of row and shard: inline, striped, multipart, overwritten, deleted; two starts, so that there
    are sealed segments, snapshots and tables on disk."""
    store = Store(t.folder / "master", Bodies(t.seed, 24 << 20))
    chance, number = t.chance, 0
    sizes = [lambda: chance.randrange(1, 16_385), lambda: chance.randrange(16_385, 120_000),
             lambda: chance.randrange(120_000, 1_000_000), lambda: chance.randrange(8 << 20, 17 << 20)]
    with node:
        async with Client(node, links_max=16) as c:
            await c.make_bucket(BUCKET)

            async def put(key: str, n: int, length: int) -> None:
                answer = await c.put(f"/{BUCKET}/{key}", store.bodies.pieces(n, length))
                if not answer.good:
                    raise Short(f"PUT {key}: {answer}")
                store.there[key] = (n, length)

            for turn in range(3):
                for i in range(120):
                    number += 1
                    if turn == 0 or chance.random() < 0.4:
                        await put(f"k{i:03}", number, sizes[3 if i % 30 == 0 else chance.randrange(3)]())
                    elif chance.random() < 0.2:
                        if not (await c.tried("DELETE", f"/{BUCKET}/k{i:03}")).good:
                            raise Short("a DELETE failed")
                        store.there.pop(f"k{i:03}", None)
                # A partition's log grows past the size at which a snapshot falls due, in turn after turn.
                for first in range(0, CHURNS, CHURN_KEYS):
                    number += CHURN_KEYS
                    await asyncio.gather(*[put(f"churn-{k}", number + k, 16_384) for k in range(CHURN_KEYS)])
                number += CHURN_KEYS
                pieces = [store.bodies.whole(10_000 + turn, 5 << 20), store.bodies.whole(20_000 + turn, 300_000)]
                done = await c.multipart(f"/{BUCKET}/multi-{turn}", pieces)
                if not done.good:
                    raise Short(f"multipart: {done}")
                node.end()
                node.again()
                c.forget()
            tokens = live_tokens(node, BUCKET, [*store.there, *(f"multi-{n}" for n in range(3))])
        if node.end() != 0:
            raise Short("the server did not end well")
    store.live = [r for drive in node.drives for r in records(drive) if r.token in tokens]
    store.master.mkdir()
    for drive in node.drives:
        subprocess.run(["cp", "-a", "--sparse=always", str(drive), str(store.master / drive.name)], check=True)
    find_blocks(store, [d.name for d in node.drives])
    return store


def stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def restore(store: Store, drive: Path, turned: set[str]) -> None:
    """Makes the drive as the master is; files that nobody wrote to stay as they are."""
    master = store.master / drive.name
    for top, _, names in os.walk(drive, topdown=False):
        there = master / Path(top).relative_to(drive)
        for name in names:
            if not (there / name).exists():
                (Path(top) / name).unlink()
        if not there.exists():
            Path(top).rmdir()
    for top, _, names in os.walk(master):
        here = drive / Path(top).relative_to(master)
        here.mkdir(exist_ok=True)
        for name in names:
            of, to = Path(top) / name, here / name
            if not to.exists() or stamp(of) != stamp(to) or str(of.relative_to(store.master)) in turned:
                subprocess.run(["cp", "-a", "--sparse=always", str(of), str(to)], check=True)


def find_blocks(store: Store, drives: list[str]) -> None:
    for kind, pattern in KINDS.items():
        for drive in drives:
            blocks = store.blocks.setdefault(kind, {}).setdefault(drive, [])
            for path in sorted((store.master / drive).glob(pattern)):
                if path.is_file():
                    data = path.read_bytes()
                    name = str(path.relative_to(store.master))
                    blocks += [(name, at) for at in range(0, len(data), BLOCK) if data[at:at + BLOCK].strip(b"\0")]


def places(store: Store, drives: list[str]) -> dict[str, list[tuple[str, int]]]:
    found = {kind: [b for drive in drives for b in of[drive]] for kind, of in store.blocks.items()}
    return {kind: blocks for kind, blocks in found.items() if blocks}


def flip(t: Trial, node: Node, blocks: dict, count: int) -> list[str]:
    """Where bits were turned: file@byte.bit."""
    done = []
    for n in range(count):
        kind = sorted(blocks)[t.chance.randrange(len(blocks))]
        name, at = t.chance.choice(blocks[kind])
        with (node.folder / name).open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            byte, bit = at + t.chance.randrange(min(BLOCK, size - at)), t.chance.randrange(8)
            file.seek(byte)
            old = file.read(1)[0]
            file.seek(byte)
            file.write(bytes([old ^ 1 << bit]))
        done.append(f"{name}@{byte}.{bit}")
    return done


async def read_all(c: Client, store: Store, counts: Counter, odd: list[str], attempts: int) -> None:
    def note(kind: str, what: str) -> None:
        counts[kind] += 1
        odd.append(f"{kind}: {what}")

    async def one(key: str) -> None:
        number, length = store.there[key]
        try:
            answer = await c.tried("GET", f"/{BUCKET}/{key}", limit_s=60, attempts=attempts)
        except Cut as why:
            return note("errors", f"{key} {why}")
        if answer.status == 404:
            note("lost", key)
        elif answer.status != 200:
            note("errors", f"{key} {answer}")
        elif not store.bodies.same(number, length, answer.body):
            note("wrong", f"{key}, {length} bytes")
        else:
            counts["right"] += 1

    async def multi(turn: int) -> None:
        try:
            answer = await c.tried("GET", f"/{BUCKET}/multi-{turn}", limit_s=60, attempts=attempts)
        except Cut as why:
            return note("errors", f"multi-{turn} {why}")
        if answer.status != 200:
            return note("lost" if answer.status == 404 else "errors", f"multi-{turn} {answer}")
        first, rest = answer.body[:5 << 20], answer.body[5 << 20:]
        whole = store.bodies.same(10_000 + turn, 5 << 20, first) and store.bodies.same(20_000 + turn, 300_000, rest)
        counts["right"] += whole
        if not whole:
            note("wrong", f"multi-{turn}")

    await asyncio.gather(*map(one, store.there), *map(multi, range(3)))
    try:
        listed = set(await c.keys_of(BUCKET))
        expected = set(store.there) | {f"multi-{n}" for n in range(3)}
        if listed != expected:
            note("wrong", f"the listing differs in {sorted(listed ^ expected)[:5]}")
    except Cut as why:
        note("errors", f"list: {why}")


def aimed(store: Store, turned: list[str]) -> set[tuple[str, int, int]]:
    """(drive, segment, offset) of the live records whose header or payload was hit."""
    hit = set()
    for place in turned:
        name, _, byte = place.partition("@")
        drive, _, inside = name.partition("/")
        if inside.startswith("shards/segments/"):
            at, segment = int(byte.split(".")[0]), int(Path(name).name, 16)
            hit |= {(r.drive, r.segment, r.offset) for r in store.live if (r.drive, r.segment) == (drive, segment) and r.covers(at)}
    return hit


async def scrubbed(t: Trial, node: Node, store: Store, turned: list[str], sums: dict, counts: Counter, odd: list[str]) -> None:
    """A pass names every live record that was hit, and makes each whole again."""
    findings = await scrub(node)
    if findings is None:
        return
    sums["scrubs"] += 1
    paths = {d["id"]: Path(d["path"]).name for d in node.cli("drive", "list") if d.get("path")}
    named = {(paths.get(f["drive"]), int(f["segment"], 16) if f.get("segment") else None, f.get("offset"))
             for f in findings}
    wanted = aimed(store, turned)
    sums["live_hits"] += len(wanted)
    sums["named"] += len(wanted & named)
    if missing := wanted - named:
        counts["unnamed"] += len(missing)
        odd.append(f"unnamed: {sorted(missing)[:5]} of {len(wanted)}; found {findings[:3]}")
    for key in t.chance.sample(sorted(store.there), 5):
        def whole(key: str = key) -> bool:
            told = node.cli("object", "explain", f"s3://{BUCKET}/{key}", "--verify")
            return told["losses_tolerated"] >= 2

        try:
            # A voter whose log was hit is made anew meanwhile.
            await until(whole, WHOLE_S_MAX, f"{key} tolerates two losses")
        except Short as why:
            counts["not_whole"] += 1
            odd.append(f"not whole after the scrub: {why}")


async def up(node: Node, beyond: bool) -> bool:
    """Waits until the node is ready. Beyond redundancy it has so long to restore what can be, and then
    serves what it has and names what it lacks."""
    lacks = False

    def ready() -> bool:
        nonlocal lacks
        try:
            return not node.alive() or bool(node.fetch_admin("/health/ready"))
        except urllib.error.HTTPError as why:
            lacks = b"majority" in why.read()
            return False

    try:
        await until(ready, RESTORED_S_MAX if beyond else READY_S_MAX, "ready")
    except Short:
        return beyond and lacks and node.alive()
    return node.alive()


async def round_(t: Trial, node: Node, store: Store, kind: str, number: int, sums: dict) -> None:
    names = [d.name for d in node.drives]
    drives = {"one": [t.chance.choice(names)], "two": t.chance.sample(names, 2), "all": names}[kind]
    for drive in node.drives:
        restore(store, drive, sums["turned"])
    turned = flip(t, node, places(store, drives), 1 if kind == "one" else FLIPS_A_ROUND)
    sums["turned"] = {place.split("@")[0] for place in turned}
    sums["flips"] += len(turned)
    for flipped in turned:
        sums["by_file"][next(k for k, p in KINDS.items() if f"/{p.split('*')[0]}" in f"/{flipped.split('/', 1)[1]}")] += 1
    counts, odd = Counter(), []
    log_at = (node.folder / "server.log").stat().st_size
    node.move_ports()
    node.spawn()
    if not await up(node, kind == "all"):
        counts["not_started"] += 1
        said = [line for line in node.log_text().splitlines() if line.startswith("datamesh:")]
        odd.append(f"not started: {(said or ['not ready, and no reason told'])[-1]}")
    if node.alive():
        async with Client(node, links_max=16 if kind != "all" else 256) as c:
            # Before the reads, which would find the damage, too. Beyond redundancy not all can be mended.
            if kind != "all":
                try:
                    await scrubbed(t, node, store, turned, sums, counts, odd)
                except Short as why:
                    counts["scrub_unfinished"] += 1
                    odd.append(str(why))
            await read_all(c, store, counts, odd, 1 if kind == "all" else 3)
        if not node.alive():
            counts["died"] += 1
            odd.append("the process died")
        node.end()
    for name, n in counts.items():
        sums[kind][name] = sums[kind].get(name, 0) + n
    if odd:
        kept = t.folder.parent / f"bitflips-{t.seed}-{kind}-{number}.txt"
        with (node.folder / "server.log").open(errors="replace") as log:
            log.seek(log_at)
            kept.write_text("\n".join(["turned:", *turned, "", "seen:", *odd, "", "log:", log.read()]))
        t.note(f"{kind} {number}: {dict(counts)}; {odd[0][:200]}; all in {kept}")


async def drill_(t: Trial) -> dict:
    node = Node(t, settings=SETTINGS)
    store = await build(t, node)
    size = sum(f.stat().st_blocks * 512 for f in store.master.rglob("*") if f.is_file())
    t.note(f"{len(store.there)} keys, {size >> 20} MiB on six drives")
    sums = {"flips": 0, "scrubs": 0, "live_hits": 0, "named": 0, "turned": set(), "by_file": Counter(), "one": {}, "two": {}, "all": {}}
    # 100 + 600 + 300 flips.
    plan = ["one"] * t.size(100, 4) + ["two"] * t.size(30, 3) + ["all"] * t.size(15, 1)
    t.chance.shuffle(plan)
    for number, kind in enumerate(plan, 1):
        await round_(t, node, store, kind, number, sums)
        if number % 10 == 0:
            t.note(f"{number} of {len(plan)} rounds: {sums['flips']} flips")
    del sums["turned"]
    bad = {k for kind in ("one", "two") for k in sums[kind] if k != "right"}
    bad |= {k for k in sums["all"] if k not in ("right", "errors")}
    return {"ok": not bad and sums["flips"] > 0, "rounds": len(plan), **sums}


main("bitflips", drill_)
