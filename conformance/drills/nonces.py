#!/usr/bin/env python3
"""10,000 part uploads, repeated and interrupted: no key seals two things under one nonce.

The same part numbers of the same uploads again and again: some cut in the middle of the body, some sent twice at
once, the rest cut by kill -9 (once a round) and sent again. A nonce is the number of a frame in its part, so a pair
of key and nonce comes twice only where a data id or a data key does. After each kill, while nothing runs, every
shard in the segments and every part in the raft logs is read:

- no data id names two payloads of one shard (of records that a kill did not cut), nor two plaintexts, wrapped keys or sealed bodies;
- no wrapped key and no nonce of a wrapping stands for two data ids;
- half of the uploads are sealed under a key of ours (SSE-C): their data keys are unwrapped here, by FORMATS alone,
  all of them differ, and bodies opened with them, by the frame's number as nonce, have the MD5 that was sent;
- what is completed at the end names these data ids (`object explain`) and reads back.

Not seen from outside: data keys wrapped by the store's own keys (that they are wrapped to different bytes is), and
what a cut upload sealed and wrote nowhere.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
import sys
from collections import Counter, defaultdict
from pathlib import Path

from drill import Node, Short, Trial, cache, main
from client import Bodies, Client, Cut, completion, reset
from raftlog import Part, parts
from shards import records

BUCKET = "nonces"
UPLOADS, NUMBERS = 40, 3
AT_ONCE = 16
CUT_SHARE, TWICE_SHARE = 0.15, 0.05
INLINE_MAX, MIDDLE_MAX, LARGE = 16_384, 120_000, 9 << 20
MIDDLE_SHARE, LARGE_SHARE = 0.3, 0.003
FRAME, TAG, STRIPE_FRAMES = 65_536, 16, 128
BLOCK_BYTES = 65_536
OPENED_STRIPES_MAX = 100
# Between a commit and the next look parts may be replaced and cleaned up, or purged from the log.
SEEN_SHARE_MIN = 0.95
TORN_SHARE_MAX = 0.05


def venv_again() -> None:
    """Neither AES-GCM nor CRC32C is in Python's library: runs again inside the cache's virtual environment."""
    python = cache.venv("nonces", "cryptography==48.0.0\ncrc32c==2.7.1\n") / "bin" / "python"
    if Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])


class Customer:
    """A key of ours, and what it opens: the chain of keys as FORMATS has it."""

    def __init__(self, key: bytes) -> None:
        digest = base64.b64encode(hashlib.md5(key).digest()).decode()
        name = "x-amz-server-side-encryption-customer-"
        self.key, self.headers = key, [(name + "algorithm", "AES256"), (name + "key", base64.b64encode(key).decode()),
                                       (name + "key-MD5", digest)]

    def data_key(self, part: Part) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        kek = HKDF(SHA256(), 32, None, b"datamesh kek v1" + part.data).derive(self.key)
        return AESGCM(kek).decrypt(part.wrapped[:12], part.wrapped[12:], part.data + bytes(9) + bytes(33))


def opened(key: bytes, data: bytes, sealed: bytes, first: int, last: bool) -> bytes:
    """Plaintext of frames from number `first` on; `last`: the part ends with them."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    gcm, out = AESGCM(key), []
    frames = [sealed[at:at + FRAME] for at in range(0, len(sealed), FRAME)]
    for number, frame in enumerate(frames, first):
        end = bytes([last and number == first + len(frames) - 1])
        out.append(gcm.decrypt(bytes(4) + struct.pack(">Q", number), frame, data + struct.pack(">Q", number) + end))
    return b"".join(out)


def sound(header: bytes, payload: bytes) -> bool:
    """Whether all of a record was written: the checksum of each 64 KiB, which its header ends with."""
    from crc32c import crc32c
    sums = -(-len(payload) // BLOCK_BYTES)
    kept = struct.unpack(f">{sums}I", header[-4 - 4 * sums:-4])
    return all(crc32c(payload[n * BLOCK_BYTES:(n + 1) * BLOCK_BYTES]) == kept[n] for n in range(sums))


class Seen:
    """All that was found on the drives, over all looks."""

    def __init__(self, drives: list[Path], keys: set[bytes]) -> None:
        self.drives, self.keys, self.read = drives, keys, set()
        # Of each shard: the digest of its payload -> where that lies.
        self.shards: dict[tuple, dict[bytes, str]] = defaultdict(dict)
        self.parts: dict[bytes, set[tuple]] = defaultdict(set)
        self.customers: dict[bytes, Part] = {}
        self.samples: dict[str, dict] = {}
        # Records that a kill cut: their rest was never written, and recovery drops them.
        self.torn = 0

    def look(self, md5s: set[bytes]) -> None:
        for drive in self.drives:
            for part in parts(drive, self.keys, md5s):
                self.parts[part.data].add((part.md5, part.wrapped, hashlib.sha256(part.inline or b"").digest()))
                if part.customer:
                    self.customers[part.data] = part
        for drive in self.drives:
            self._segments(drive)

    def _segments(self, drive: Path) -> None:
        open_files: dict[int, bytes] = {}
        for r in records(drive):
            at = (r.drive, r.segment, r.offset, r.token)
            if at in self.read:
                continue
            self.read.add(at)
            if r.segment not in open_files:
                open_files = {r.segment: (drive / "shards" / "segments" / f"{r.segment:016x}").read_bytes()}
            payload = open_files[r.segment][r.payload:r.payload_end]
            if not sound(open_files[r.segment][r.offset:r.header_end], payload):
                self.torn += 1
                continue
            place = f"{r.drive}/{r.segment:x}@{r.offset} token {r.token}, {len(payload)} bytes"
            self.shards[r.data, r.stripe, r.index].setdefault(hashlib.sha256(payload).digest(), place)
            part = self.customers.get(bytes.fromhex(r.data))
            wanted = r.data in self.samples or len(self.samples) < OPENED_STRIPES_MAX
            if part and wanted and r.stripe == 0 and r.index < r.k:
                self.samples.setdefault(r.data, {"k": r.k})[r.index] = payload

    def judge(self) -> list[str]:
        """What stands twice; nothing, if all is well."""
        faults = [f"shard {at} has {len(of)} payloads: {'; '.join(of.values())}"
                  for at, of in self.shards.items() if len(of) > 1]
        faults += [f"data id {data.hex()} names {len(of)} parts" for data, of in self.parts.items() if len(of) > 1]
        wrapped = Counter(w for of in self.parts.values() for w in {w for _, w, _ in of})
        nonces = Counter(w[:12] for w in wrapped.elements())
        faults += [f"wrapped key {w.hex()} {n} times" for w, n in wrapped.items() if n > 1]
        faults += [f"nonce of a wrapping {w.hex()} {n} times" for w, n in nonces.items() if n > 1]
        return faults

    def open_all(self, customer: Customer) -> dict:
        """Unwraps every data key of ours, opens what lies inline and a share of the stripes."""
        keys: dict[bytes, bytes] = {}
        inline = 0
        for data, part in self.customers.items():
            keys[data] = customer.data_key(part)
            if part.inline is not None:
                inline += hashlib.md5(opened(keys[data], data, part.inline, 0, True)).digest() == part.md5
        striped = 0
        for name, sample in self.samples.items():
            k, data = sample["k"], bytes.fromhex(name)
            if all(i in sample for i in range(k)):
                part = self.customers[data]
                frames = -(-part.size // (FRAME - TAG))
                length = part.size + TAG * frames
                whole = b"".join(sample[i] for i in range(k))[:min(length, STRIPE_FRAMES * FRAME)]
                plain = opened(keys[data], data, whole, 0, frames <= STRIPE_FRAMES)
                striped += frames > STRIPE_FRAMES or hashlib.md5(plain).digest() == part.md5
        return {"unwrapped": len(keys), "data_keys": len(set(keys.values())), "opened_inline": inline,
                "opened_striped": striped, "inline": sum(p.inline is not None for p in self.customers.values())}


class Work:
    def __init__(self, t: Trial, node: Node, c: Client, customer: Customer) -> None:
        self.t, self.node, self.c, self.customer, self.chance = t, node, c, customer, t.chance
        self.bodies = Bodies(t.seed, LARGE)
        self.uploads: list[tuple[str, str]] = []
        self.md5s: set[bytes] = set()
        self.again: list[int] = []
        self.newest: dict[tuple[int, int], tuple[int, str] | None] = {}
        self.sums: Counter = Counter()

    @staticmethod
    def key(at: int) -> str:
        return f"nonces-{at:04}"

    def headers(self, at: int) -> list[tuple[str, str]]:
        return self.customer.headers if at % 2 else []

    async def begin(self) -> None:
        await self.c.make_bucket(BUCKET)
        for at in range(UPLOADS):
            path = f"/{BUCKET}/{self.key(at)}"
            made = await self.c.tried("POST", path, [("uploads", None)], self.headers(at))
            self.uploads.append((path, made.find("UploadId")))

    def length(self, n: int) -> int:
        """Follows from the upload's number: a repeat is the same."""
        share = (n * 0.6180339887) % 1
        if share < LARGE_SHARE:
            return LARGE
        if share < MIDDLE_SHARE:
            return INLINE_MAX + 1 + n * 7919 % (MIDDLE_MAX - INLINE_MAX)
        return 32 + n * 7919 % (INLINE_MAX - 31)

    async def one(self, n: int) -> None:
        at, number = n % UPLOADS, n // UPLOADS % NUMBERS + 1
        path, upload = self.uploads[at]
        query = [("partNumber", str(number)), ("uploadId", upload)]
        body = self.bodies.pieces(n, self.length(n))
        self.md5s.add(hashlib.md5(b"".join(body)).digest())
        self.newest[at, number] = None
        if self.chance.random() < CUT_SHARE:
            return await self.cut(n, path, query, self.headers(at), b"".join(body))
        times = 2 if self.chance.random() < TWICE_SHARE else 1
        calls = [self.c.request("PUT", path, query, self.headers(at), body) for _ in range(times)]
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            self.sums["uploads"] += 1
            if isinstance(answer, Cut):
                self.sums["cut by the kill"] += 1
                self.again.append(n)
            elif isinstance(answer, BaseException):
                raise answer
            elif not answer.good:
                raise Short(f"PUT {path} {query}: {answer}")
            else:
                self.sums["acknowledged"] += 1
                self.newest[at, number] = (n, answer.etag)

    async def cut(self, n: int, path: str, query: list, headers: list, body: bytes) -> None:
        self.sums["uploads"] += 1
        self.sums["cut in the body"] += 1
        try:
            link = await self.c.open()
            sent = body[:self.chance.randrange(len(body))]
            link.writer.write(self.c.prepare("PUT", path, query, headers, len(body)) + sent)
            await link.writer.drain()
            reset(link.writer) if n % 2 else link.close()
        except OSError:
            pass
        # Half of them as a client would: once more, with the same bytes.
        if n % 2:
            self.again.append(n)

    async def round(self, todo: list[int], kill: bool) -> None:
        room, done = asyncio.Semaphore(AT_ONCE), 0
        end = self.chance.randrange(len(todo) // 2, len(todo)) if kill else -1

        async def held(n: int) -> None:
            nonlocal done
            async with room:
                if not self.node.alive():
                    self.again.append(n)
                    return
                await self.one(n)
                done += 1
                if done == end:
                    self.node.kill()
        await asyncio.gather(*[held(n) for n in todo])

    async def complete(self, seen: Seen) -> int:
        """One part of each upload; what it names and reads as."""
        right = 0
        for at, (path, upload) in enumerate(self.uploads):
            numbers = [number for number in range(1, NUMBERS + 1) if self.newest.get((at, number))]
            if not numbers:
                continue
            n, etag = self.newest[at, numbers[0]]
            chosen = completion([(numbers[0], etag)])
            made = await self.c.tried("POST", path, [("uploadId", upload)], self.headers(at), chosen)
            if not made.good:
                raise Short(f"complete {path}: {made}")
            told = self.node.cli("object", "explain", f"s3://{BUCKET}/{self.key(at)}")["parts"]
            read = await self.c.get(path, (), self.headers(at))
            known = len(told) == 1 and bytes.fromhex(told[0]["data"]) in seen.parts
            if not known or not self.bodies.same(n, self.length(n), read.body):
                raise Short(f"{path}: {read.status}, explained as {told}")
            right += 1
        return right


async def drill_(t: Trial) -> dict:
    count, rounds = t.size(10_000, 600), t.size(20, 3)
    customer = Customer(t.chance.randbytes(32))
    with Node(t, settings="segment_bytes = 67108864") as node:
        async with Client(node, links_max=64) as c:
            w = Work(t, node, c, customer)
            await w.begin()
            seen = Seen(node.drives, {w.key(at).encode() for at in range(UPLOADS)})
            for number in range(rounds):
                again, w.again = w.again, []
                await w.round(again + list(range(number * count // rounds, (number + 1) * count // rounds)), kill=True)
                c.forget()
                if node.alive():
                    node.kill()
                seen.look(w.md5s)
                t.note(f"round {number + 1}: {dict(w.sums)}; {len(seen.parts)} data ids, {len(seen.shards)} shards")
                node.again()
            again, w.again = w.again, []
            await w.round(again, kill=False)
            c.forget()
            node.kill()
            seen.look(w.md5s)
            node.again()
            completed = await w.complete(seen)
            faults, figures = seen.judge(), seen.open_all(customer)
    share = len(seen.parts) / max(1, w.sums["acknowledged"])
    why = faults[0] if faults else None
    if figures["data_keys"] != figures["unwrapped"] or figures["opened_inline"] != figures["inline"]:
        why = why or f"data keys of ours: {figures}"
    if share < SEEN_SHARE_MIN or not figures["opened_striped"] or completed < UPLOADS // 2:
        why = why or f"too little was seen: {share:.3f} of the acknowledged, {figures}, {completed} completed"
    if seen.torn > len(seen.shards) * TORN_SHARE_MAX:
        why = why or f"{seen.torn} torn records beside {len(seen.shards)} shards: more than kills explain"
    result = {**w.sums, "kills": rounds, "data_ids": len(seen.parts), "shards": len(seen.shards), "torn": seen.torn, **figures,
              "completed": completed, "twice": len(faults)}
    return {"ok": why is None, **result, **({"why": why} if why else {})}


if __name__ == "__main__":
    venv_again()
    main("nonces", drill_)
