#!/usr/bin/env python3
"""What is left of uploads that were cut, multiparts that were aborted and objects that are gone: nothing.

1,000 uploads (objects and parts) end at a random byte, by FIN or reset; 1,000 multiparts are aborted; 1,000
objects are deleted or overwritten. Some objects stay. After clean-up every block of the segments that
holds anything must be a header, a footer, or belong to a shard that `object explain` names; its record's
length follows from docs/FORMATS.md. Nothing of a cut upload may ever be seen. Reads the files, not the
server's own counts; those must agree.
"""
from __future__ import annotations

import asyncio
import os
import re
import struct
from pathlib import Path

from drill import MIB, Node, Short, Trial, main, until
from client import Bodies, Client, Cut, completion, reset

BUCKET = "cleanup"
BLOCK = 4096
CRC_BLOCK = 65_536
AT_ONCE = 16
# Birth and pins: a minute for the watermark, grace for readers, rounds of the workers.
CLEAN_S_MAX = 900
LOOK_S = 5
TRAILER = struct.Struct(">8sHIII")


def length_of(chance, doublings: float = 9.4) -> int:
    """Above the inline limit, mostly small: 17 KB to 12 MB. A cut upload has written nothing before its
    first whole stripe of 8 MiB: those are longer, to 35 MB."""
    return int(17_000 * 2 ** (chance.random() * doublings))


def up(size: int, step: int) -> int:
    return -(-size // step) * step


def record_bytes(stripe_bytes: int, k: int, index: int, key: str) -> tuple[int, int]:
    """A shard's record in its segment (FORMATS, "Shard record"): its bytes, and those of its blocks that are
    not all zeros: the last data shards end in padding."""
    payload = up(-(-stripe_bytes // k), 64)
    header = 103 + 10 + len(key.encode()) + 4 * -(-payload // CRC_BLOCK) + 4
    header = up(header, 64 if payload <= CRC_BLOCK else BLOCK)
    own = payload if index >= k else max(0, min(payload, stripe_bytes - index * payload))
    return up(header + payload, BLOCK), up(header + own, BLOCK)


def blocks(path: Path) -> tuple[int, int, int]:
    """(header and footer, records, allocated) bytes of a segment; blocks of zeros hold nothing."""
    frame = record = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - TRAILER.size))
        magic, _, _, tail, _ = TRAILER.unpack(file.read(TRAILER.size))
        footer_at = size - tail if magic == b"DMSEGTR\n" else size
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            except OSError:
                break
            at -= at % BLOCK
            while at < end:
                data = os.pread(file.fileno(), min(4 * MIB, end - at), at)
                for n in range(0, len(data), BLOCK):
                    if data[n:n + BLOCK].strip(b"\0"):
                        if at + n == 0 or at + n >= footer_at:
                            frame += BLOCK
                        else:
                            record += BLOCK
                at += len(data)
        return frame, record, os.fstat(file.fileno()).st_blocks * 512


def measured(node: Node) -> dict[str, int]:
    sums = [blocks(path) for drive in node.drives for path in drive.glob("shards/segments/*")]
    return {"frames": sum(s[0] for s in sums), "records": sum(s[1] for s in sums), "allocated": sum(s[2] for s in sums),
            "segments": len(sums)}


def explained(node: Node, keys: list[str]) -> tuple[int, int]:
    """Bytes of the records of every shard that these objects name, and of their blocks that are not zeros."""
    total = held = 0
    for key in keys:
        for part in node.cli("object", "explain", f"s3://{BUCKET}/{key}")["parts"]:
            for stripe in part["stripes"]:
                if any(s["state"] != "present" for s in stripe["shards"]):
                    raise Short(f"{key}: a shard is not there: {stripe['shards']}")
                for shard in stripe["shards"]:
                    sizes = record_bytes(stripe["bytes"], stripe["k"], shard["index"], key)
                    total, held = total + sizes[0], held + sizes[1]
    return total, held


class Work:
    def __init__(self, t: Trial, node: Node, c: Client) -> None:
        self.t, self.node, self.c, self.chance = t, node, c, t.chance
        self.bodies, self.room = Bodies(t.seed, 36 * MIB), asyncio.Semaphore(AT_ONCE)
        self.sums = {"cut": 0, "refused": 0, "aborted": 0, "deleted": 0, "overwritten": 0}

    async def each(self, one, count: int) -> None:
        async def held(n: int) -> None:
            async with self.room:
                await one(n)
        await asyncio.gather(*[held(n) for n in range(count)])

    async def good(self, *words, **kw):
        answer = await self.c.tried(*words, **kw)
        if not answer.good:
            raise Short(f"{words[:3]}: {answer}")
        return answer

    async def upload(self, path: str) -> list:
        return [("uploadId", (await self.good("POST", path, [("uploads", None)])).find("UploadId"))]

    async def cut(self, n: int) -> None:
        """A PUT, or a part, of which a random number of bytes is sent."""
        length = length_of(self.chance, 11)
        sent, by_reset = self.chance.randrange(length), n % 2
        path = f"/{BUCKET}/cut-{n}"
        query = [("partNumber", "1"), *await self.upload(path)] if n % 4 == 3 else []
        link = await self.c.open()
        link.writer.write(self.c.prepare("PUT", path, query, (), length))
        try:
            whole = memoryview(self.bodies.whole(n, length))
            for at in range(0, sent, 1 << 18):
                link.writer.write(whole[at:min(sent, at + (1 << 18))])
                await link.writer.drain()
            if by_reset:
                reset(link.writer)
                self.sums["cut"] += 1
                return
            link.writer.write_eof()
            answer = await asyncio.wait_for(link.reader.read(), 60)
            if answer.startswith(b"HTTP/1.1 200"):
                raise Short(f"{path}: 200 for {sent} of {length} bytes")
            self.sums["cut"] += 1
        except OSError:
            self.sums["refused"] += 1
        finally:
            link.close()

    async def abort(self, n: int) -> None:
        path = f"/{BUCKET}/aborted-{n}"
        at = await self.upload(path)
        for number in range(1, self.chance.randrange(1, 4)):
            await self.good("PUT", path, [("partNumber", str(number)), *at], (), self.bodies.pieces(n, length_of(self.chance) // 4 + 1))
        await self.good("DELETE", path, at)
        self.sums["aborted"] += 1

    async def gone(self, n: int) -> None:
        path = f"/{BUCKET}/gone-{n}"
        await self.good("PUT", path, (), (), self.bodies.pieces(n, length_of(self.chance) // 4 + 17_000))
        if n % 5 == 0:
            await self.good("PUT", path, (), (), b"inline now")
            self.sums["overwritten"] += 1
        await self.good("DELETE", path)
        self.sums["deleted"] += 1

    async def keep(self, n: int) -> None:
        pieces = self.bodies.pieces(n, length_of(self.chance))
        if n % 6 == 0:
            # Five MiB and a rest, repeated: the first try of part 1 is dead data too.
            path = f"/{BUCKET}/kept-{n}"
            at, parts = await self.upload(path), []
            await self.good("PUT", path, [("partNumber", "1"), *at], (), bytes(5 * MIB))
            for number, piece in ((1, self.bodies.pieces(n, 5 * MIB)), (2, pieces)):
                parts.append((number, (await self.good("PUT", path, [("partNumber", str(number)), *at], (), piece)).etag))
            await self.good("POST", path, at, (), completion(parts))
        else:
            await self.good("PUT", f"/{BUCKET}/kept-{n}", (), (), pieces)


async def nothing_seen(w: Work) -> None:
    keys = await w.c.keys_of(BUCKET)
    if odd := [k for k in keys if not k.startswith("kept-")]:
        raise Short(f"{len(odd)} keys stand that should not: {odd[:5]}")
    while True:
        answer = await w.good("GET", f"/{BUCKET}", [("uploads", None)])
        open_ = re.findall(rb"<Key>([^<]*)</Key><UploadId>([^<]*)</UploadId>", answer.body) or \
            re.findall(rb"<Upload>.*?<Key>([^<]*)</Key>.*?<UploadId>([^<]*)</UploadId>", answer.body, re.S)
        if not open_:
            return
        for key, upload in open_:
            path, at = f"/{BUCKET}/{key.decode()}", [("uploadId", upload.decode())]
            if b"<PartNumber>" in (await w.good("GET", path, at)).body:
                raise Short(f"a part of a cut upload is listed: {path}")
            await w.good("DELETE", path, at)


async def drill_(t: Trial) -> dict:
    count, kept = t.size(1000, 60), t.size(60, 12)
    with Node(t, settings="segment_bytes = 67108864") as node:
        async with Client(node, links_max=64) as c:
            w = Work(t, node, c)
            await c.make_bucket(BUCKET)
            await w.each(w.keep, kept)
            begun = measured(node)
            live, expected = explained(node, keys := await c.keys_of(BUCKET))
            t.note(f"{len(keys)} objects stay: {begun}, of which {expected} bytes explained")
            for name, one in (("cut", w.cut), ("aborted", w.abort), ("gone", w.gone)):
                await w.each(one, count)
                t.note(name, w.sums, measured(node))
            await nothing_seen(w)
            figures = {**w.sums, "kept": kept, "explained": expected}
            last: dict = {}

            def clean() -> bool:
                last["waiting"] = {x["name"]: x["waiting"] for x in node.cli("status")["work"]}
                if any(last["waiting"].values()) and "records" in last:
                    return False
                last.update(measured(node), live=int(node.metric("datamesh_drive_live_bytes")))
                return last["records"] == expected and not any(last["waiting"].values())

            why = None
            try:
                await until(clean, t.size(CLEAN_S_MAX, 300), "clean-up", LOOK_S)
            except Short:
                why = f"{last['records'] - expected} bytes of records are explained by no object"
            figures.update(last)
            for n in range(kept):
                if not (await c.get(f"/{BUCKET}/kept-{n}")).good:
                    why = f"kept-{n} cannot be read"
            figures["counted_right"] = last["live"] == live
        if why:
            figures["why"] = why
        return {"ok": why is None and figures["counted_right"], **figures}


main("cleanup", drill_)
