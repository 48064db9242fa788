#!/usr/bin/env python3
"""A drive dies for good and is replaced; then one is removed. Nothing is lost, and `status` shows how far it is.

Objects of mixed size are written over six drives. One drive's directory goes; writes go on without it. An
empty directory takes its place by `drive replace`, at the old path or another (drawn by the seed), while
clients read and write. When the old drive has left, any two others go and everything reads back byte-exact.
Then the process is restarted in the middle of a second replacement, of a drive that still answers. Last
a drive is removed: six become five, all is striped anew as 2+2, the directory is empty, another removal is
called off, and two more may go.
"""
from __future__ import annotations

import asyncio
import itertools
import shutil
from collections import Counter
from pathlib import Path

from drill import Failed, Node, Short, Trial, main, until
from client import Bodies, Client, Cut

BUCKET = "replace"
LENGTHS = (0, 700, 16_384, 16_385, 90_000, 1_000_000, 9_000_000, 20_000_000)
READS_AT_ONCE, WRITES_AT_ONCE = 16, 8
OUT_S_MAX, BACK_S_MAX, LEFT_S_MAX = 30, 90, 600


class Replacing:
    def __init__(self, t: Trial, node: Node, c: Client) -> None:
        self.t, self.node, self.c = t, node, c
        self.bodies, self.numbers = Bodies(t.seed, 24 << 20), itertools.count()
        self.there: dict[str, tuple[int, int]] = {}
        self.wrong: list[str] = []
        self.seen: Counter = Counter()

    async def put(self, key: str, length: int) -> None:
        number = next(self.numbers)
        answer = await self.c.put(f"/{BUCKET}/{key}", self.bodies.pieces(number, length))
        if not answer.good:
            raise Short(f"PUT {key}: {answer} after {answer.before}")
        self.there[key] = (number, length)

    async def fill(self, name: str, count: int) -> None:
        room = asyncio.Semaphore(WRITES_AT_ONCE)

        async def one(n: int) -> None:
            async with room:
                await self.put(f"{name}-{n:03}", LENGTHS[n % len(LENGTHS)])
        await asyncio.gather(*[one(n) for n in range(count)])

    async def read_all(self, when: str) -> None:
        room = asyncio.Semaphore(READS_AT_ONCE)

        async def one(key: str, wanted: tuple[int, int]) -> None:
            async with room:
                try:
                    answer = await self.c.get(f"/{BUCKET}/{key}")
                except Cut as why:
                    self.wrong.append(f"{when}: {key}: {why}")
                    return
                if answer.status != 200 or not self.bodies.same(*wanted, answer.body):
                    self.wrong.append(f"{when}: {key}: {answer}, wanted {wanted}")
        await asyncio.gather(*[one(*item) for item in list(self.there.items())])
        self.t.note(f"{len(self.there)} objects read {when}; {len(self.wrong)} wrong")

    def drives(self) -> dict[int, dict]:
        return {d["id"]: d for d in self.node.cli("drive", "list")}

    async def out(self, *ids: int) -> None:
        def seen() -> bool:
            told = {i for i, d in self.drives().items() if d["state"] == "out" and d["layout"] != "gone"}
            return told == set(ids)
        await until(seen, OUT_S_MAX if ids else BACK_S_MAX, f"out of service: {ids or 'none'}")

    async def left(self, old: int) -> None:
        """Until the drive has left the layout; what `status` told meanwhile."""
        def gone() -> bool:
            told = self.node.cli("status")
            self.seen[told["rebuild"]["state"]] += 1
            self.seen["rate"] += told["rebuild"]["bytes_per_s"] > 0
            self.seen["time left"] += told["rebuild"]["seconds_left"] is not None
            drive = next((d for d in told["drives"] if d["id"] == old), None)
            if drive:
                self.seen["shards left"] += bool(drive.get("shards_left"))
            return drive is None
        await until(gone, LEFT_S_MAX, f"drive {old} has left", every_s=0.25)

    async def two_away(self, when: str, *never: Path) -> None:
        """Any two drives go, and all is read without them."""
        serving = {i: Path(d["path"]) for i, d in self.drives().items() if d["layout"] == "active"}
        ids = self.t.chance.sample([i for i, p in serving.items() if p not in never], 2)
        away = {serving[i]: serving[i].with_name(serving[i].name + "-away") for i in ids}
        for path, aside in away.items():
            path.rename(aside)
        await self.out(*ids)
        await self.read_all(f"{when}, without {ids}")
        for path, aside in away.items():
            aside.rename(path)
        await self.out()

    async def tolerates(self, least: int, shape: tuple[int, int]) -> None:
        for key in self.t.chance.sample(sorted(self.there), 20):
            told = await asyncio.to_thread(self.node.cli, "object", "explain", f"s3://{BUCKET}/{key}", "--verify")
            stripes = [s for p in told["parts"] for s in p["stripes"]]
            odd = [s for s in stripes if (s["k"], s["m"]) != shape]
            if odd or (stripes and told["losses_tolerated"] < least):
                self.wrong.append(f"{key}: tolerates {told['losses_tolerated']}, {odd[:1]}")

    async def during(self, old: int) -> None:
        """Clients go on while the old drive's shards are made anew."""
        halt = asyncio.Event()

        async def work() -> None:
            while not halt.is_set():
                await self.put(f"during-{self.t.chance.randrange(40)}", self.t.chance.choice(LENGTHS))
                key = self.t.chance.choice(sorted(self.there))
                wanted = self.there[key]
                answer = await self.c.get(f"/{BUCKET}/{key}")
                if self.there[key] == wanted and not (answer.status == 200 and self.bodies.same(*wanted, answer.body)):
                    self.wrong.append(f"GET {key} during: {answer}")
                await asyncio.sleep(0.05)
        task = asyncio.ensure_future(work())
        try:
            await self.left(old)
        finally:
            halt.set()
            await task

    def rename_in_settings(self, old: Path, new: Path | None) -> None:
        text = self.node.config.read_text()
        if new:
            text = text.replace(f'"{old}"', f'"{new}"')
            self.node.drives = [new if d == old else d for d in self.node.drives]
        else:
            text = text.replace(f', "{old}"', "").replace(f'"{old}", ', "")
            self.node.drives = [d for d in self.node.drives if d != old]
        self.node.config.write_text(text)


async def dead(r: Replacing) -> None:
    old = r.t.chance.randrange(1, 7)
    path = r.node.drives[old - 1]
    shutil.rmtree(path)
    await r.out(old)
    r.t.note(f"drive {old} is dead")
    await r.fill("without", r.t.size(40, 10))
    new = path if r.t.chance.randrange(2) else path.with_name("new")
    new.mkdir()
    told = r.node.cli("drive", "replace", str(old), str(new))
    r.t.note(f"replaced: drive {told['drive']['id']} at {new.name}; {told['notes']}")
    if told["drive"]["id"] <= 6:
        r.wrong.append(f"the number {told['drive']['id']} was used before")
    if new != path:
        r.rename_in_settings(path, new)
    await r.during(old)
    await r.tolerates(2, (4, 2))
    await r.two_away("after the replacement", new)


async def answering(r: Replacing) -> None:
    """A drive that still answers is replaced; the process is killed while its shards move."""
    old, drive = r.t.chance.choice([(i, d) for i, d in r.drives().items() if d["layout"] == "active"])
    path, new = Path(drive["path"]), r.node.folder / "second"
    new.mkdir()
    r.node.cli("drive", "replace", str(old), str(new))
    text = r.node.config.read_text()
    r.node.config.write_text(text.replace(f'"{path}"', f'"{path}", "{new}"'))
    r.node.kill()
    r.node.again()
    r.c.forget()
    await r.left(old)

    await until(lambda: not list(path.iterdir()), 30, f"{path.name} is empty")
    r.node.config.write_text(text)
    r.rename_in_settings(path, new)
    await r.tolerates(2, (4, 2))
    await r.two_away("after the second replacement", new)


def called_off(r: Replacing) -> None:
    """Five may become four, one at a time: a second removal is refused, the first called off."""
    first, second = [i for i, d in r.drives().items() if d["layout"] == "active"][:2]
    r.node.cli("drive", "remove", str(first))
    try:
        r.node.cli("drive", "remove", str(second))
        r.wrong.append("a removal beside another was not refused")
    except Failed as why:
        r.t.note(f"refused: {str(why)[-160:]}")
    r.node.cli("drive", "remove", str(first), "--cancel")
    states = {d["layout"] for d in r.drives().values()}
    if states != {"active"}:
        r.wrong.append(f"after a removal was called off: {states}")


async def removal(r: Replacing) -> None:
    old, drive = r.t.chance.choice([(i, d) for i, d in r.drives().items() if d["layout"] == "active"])
    path = Path(drive["path"])
    told = r.node.cli("drive", "remove", str(old))
    if "2+2" not in " ".join(told["notes"]):
        r.wrong.append(f"not told that stripes become 2+2: {told['notes']}")
    await r.left(old)
    await until(lambda: not list(path.iterdir()), 30, f"{path.name} is empty")
    called_off(r)
    r.rename_in_settings(path, None)
    await r.tolerates(2, (2, 2))
    await r.two_away("after the removal")
    r.node.end()
    r.node.again()
    r.c.forget()
    await r.read_all("after a restart")
    # The emptied directory comes back, under a new number.
    back = r.node.cli("drive", "add", str(path))
    if back["drive"]["id"] in (old, *range(1, 8)):
        r.wrong.append(f"the number {back['drive']['id']} was used before")

    async def wide() -> bool:
        rebuild = r.node.cli("status")["rebuild"]
        return rebuild["state"] == "idle" and not rebuild["stripes_left"]
    await asyncio.sleep(5)
    await until(wide, LEFT_S_MAX, "striped anew as 4+2")
    await r.tolerates(2, (4, 2))


async def drill_(t: Trial) -> dict:
    count = t.size(300, 60)
    with Node(t, settings="segment_bytes = 67108864") as node:
        async with Client(node, links_max=32) as c:
            await c.make_bucket(BUCKET)
            r = Replacing(t, node, c)
            await r.fill("first", count)
            await dead(r)
            await answering(r)
            await removal(r)
            await r.read_all("at the end")
    shown = all(r.seen[what] for what in ("rebuilding", "shards left", "rate"))
    return {"ok": not r.wrong and shown, "objects": len(r.there), "wrong": len(r.wrong),
            "first": [w[:300] for w in r.wrong[:3]], "status_shown": dict(r.seen)}


main("replace", drill_)
