"""A client for thousands of requests at once, on one event loop: HTTP/1.1, SigV4, nothing hidden.

No SDK: five hundred of its threads would take the machine that the server needs, and a drill must
know which attempt of a request had which answer. `tried` repeats as the SDKs do.
"""
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import socket
from dataclasses import dataclass, field
from typing import Sequence

import drill  # noqa: F401 - it says where the next two are
import sign
from wire import head

SEND_BYTES = 1 << 18
ANSWER_S_MAX = 120.0
ATTEMPTS_MAX = 5                    # boto3's default, the first included
BACKOFF_S_MAX = 20.0
AGAIN = (500, 502, 503, 504, 429)
# Every SDK takes this code for passing, though its status is 400.
AGAIN_CODES = ("RequestTimeout",)
Body = bytes | Sequence[bytes | memoryview]


class Cut(Exception):
    """The connection ended, or nothing came in time, before a whole answer."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""
    attempts: int = 1
    # Every earlier attempt's status; 0: cut.
    before: list[int] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")

    @property
    def code(self) -> str:
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found[1].decode() if found else ""

    def find(self, tag: str) -> str:
        found = re.search(f"<{tag}>([^<]*)</{tag}>".encode(), self.body)
        return found[1].decode() if found else ""

    def __str__(self) -> str:
        return f"{self.status} {self.body[:300].decode(errors='replace')}"


class Bodies:
    """Bytes that follow from (seed, number, length), without making them each time anew."""

    def __init__(self, seed: object, longest: int) -> None:
        self.base = memoryview(random.Random(f"{seed} bodies").randbytes(longest + (4 << 20)))

    def pieces(self, number: int, length: int) -> list[bytes | memoryview]:
        mark = hashlib.sha256(f"{number} {length}".encode()).digest()
        if length <= len(mark):
            return [mark[:length]]
        rest = length - len(mark)
        at = number * 1_000_003 % (len(self.base) - rest)
        return [mark, self.base[at:at + rest]]

    def whole(self, number: int, length: int) -> bytes:
        return b"".join(self.pieces(number, length))

    def same(self, number: int, length: int, found: bytes) -> bool:
        if len(found) != length:
            return False
        view, at = memoryview(found), 0
        for piece in self.pieces(number, length):
            if view[at:at + len(piece)] != piece:
                return False
            at += len(piece)
        return True


class Link:
    """One connection: sends a request and reads its answer, also while the body is still being sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.reusable, self.used = reader, writer, True, 0

    async def _send(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            for at in range(0, len(piece), SEND_BYTES):
                self.writer.write(piece[at:at + SEND_BYTES])
                await self.writer.drain()

    async def talk(self, first: bytes, pieces: list[bytes | memoryview], method: str) -> Answer:
        self.used += 1
        sender = asyncio.ensure_future(self._send([first, *pieces]))
        try:
            answer = await self._answer(method)
        finally:
            if not sender.done():
                self.reusable = False
                sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sender
        return answer

    async def _answer(self, method: str) -> Answer:
        status = 0
        while status < 200:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("connection", "").lower() == "close" or lines[0].startswith("HTTP/1.0"):
            self.reusable = False
        answer = Answer(status, headers)
        if method == "HEAD" or status in (204, 304):
            return answer
        if headers.get("transfer-encoding", "").lower() == "chunked":
            answer.body = await self._chunks()
        elif "content-length" in headers:
            answer.body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            answer.body, self.reusable = await self.reader.read(-1), False
        return answer

    async def _chunks(self) -> bytes:
        out = []
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            out.append((await self.reader.readexactly(size + 2))[:-2])
        while (await self.reader.readuntil(b"\r\n")) != b"\r\n":
            pass
        return b"".join(out)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.writer.transport.abort()


class Client:
    """Signed requests over kept connections; at most `links_max` at a time."""

    def __init__(self, node, who: str = "main", links_max: int = 256) -> None:
        self.node, self.keys = node, node.keys(who)
        self.idle: list[Link] = []
        self.room = asyncio.Semaphore(links_max)
        self._signing: tuple[str, bytes] = ("", b"")

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_exc) -> None:
        self.forget()

    def forget(self) -> None:
        """Closes what is kept: after a restart."""
        while self.idle:
            self.idle.pop().close()

    def prepare(self, method: str, path: str, query=(), headers=(), length: int = 0, payload: str = sign.UNSIGNED) -> bytes:
        """A signed head. `path` is /bucket/key, quoted."""
        host = f"127.0.0.1:{self.node.port}"
        sent = [("Host", host), *headers]
        if length or method in ("PUT", "POST"):
            sent.append(("Content-Length", str(length)))
        out, _ = sign.sign_header(self.keys, method, path, list(query), sent, payload)
        words = sign.canonical_query(list(query))
        return head(method, f"{path}?{words}" if words else path, out)

    async def open(self, **kw) -> Link:
        return Link(*await asyncio.open_connection("127.0.0.1", self.node.port, limit=1 << 20, **kw))

    async def request(self, method: str, path: str, query=(), headers=(), body: Body = b"",
                      limit_s: float = ANSWER_S_MAX) -> Answer:
        """One attempt; Cut where there was no whole answer. A kept connection that the server has closed
        before it took anything is no attempt."""
        pieces = [body] if isinstance(body, (bytes, memoryview)) else list(body)
        length = sum(len(p) for p in pieces)
        async with self.room:
            link = self.idle.pop() if self.idle else None
            if link and link.reader.at_eof():
                link.close()
                link = None
            try:
                async with asyncio.timeout(limit_s):
                    link = link or await self.open()
                    first = self.prepare(method, path, query, headers, length)
                    answer = await link.talk(first, pieces, method)
            except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError, ValueError, IndexError) as why:
                if link:
                    link.close()
                raise Cut(f"{method} {path}: {type(why).__name__} {why}") from why
            except asyncio.CancelledError:
                if link:
                    link.close()
                raise
            if link.reusable:
                self.idle.append(link)
            else:
                link.close()
            return answer

    async def tried(self, method: str, path: str, query=(), headers=(), body: Body = b"",
                    limit_s: float = ANSWER_S_MAX, attempts: int = ATTEMPTS_MAX) -> Answer:
        """As an SDK: again after a 5xx or a cut, waiting longer each time. The last answer; Cut where there is none."""
        before: list[int] = []
        for attempt in range(1, attempts + 1):
            cut = None
            try:
                answer = await self.request(method, path, query, headers, body, limit_s)
                answer.attempts, answer.before = attempt, before
                if answer.status not in AGAIN and answer.code not in AGAIN_CODES:
                    return answer
                before = [*before, answer.status]
            except Cut as why:
                cut = why
                before = [*before, 0]
            if attempt == attempts:
                if cut:
                    raise cut
                return answer
            await asyncio.sleep(min(random.random() * 2 ** (attempt - 1), BACKOFF_S_MAX))
        raise AssertionError("a loop that always returns")

    async def put(self, path: str, body: Body, headers=(), **kw) -> Answer:
        return await self.tried("PUT", path, (), headers, body, **kw)

    async def get(self, path: str, query=(), headers=(), **kw) -> Answer:
        return await self.tried("GET", path, query, headers, **kw)

    async def make_bucket(self, name: str) -> None:
        answer = await self.tried("PUT", f"/{name}")
        if not answer.good:
            raise Cut(f"bucket {name}: {answer}")

    async def keys_of(self, bucket: str, query=()) -> list[str]:
        """Every key of a listing, page after page."""
        import html
        found, token = [], None
        while True:
            words = [("list-type", "2"), *query] + ([("continuation-token", token)] if token else [])
            answer = await self.get(f"/{bucket}", words)
            if not answer.good:
                raise Cut(f"list {bucket}: {answer}")
            found += [html.unescape(k.decode()) for k in re.findall(rb"<Key>([^<]*)</Key>", answer.body)]
            token = html.unescape(answer.find("NextContinuationToken"))
            if not token:
                return found

    async def multipart(self, path: str, pieces: list[Body], headers=(), complete=()) -> Answer:
        """All three calls; the answer of Complete, or the first that failed."""
        made = await self.tried("POST", path, [("uploads", None)], headers)
        if not made.good:
            return made
        upload, parts = made.find("UploadId"), []
        for number, piece in enumerate(pieces, 1):
            sent = await self.tried("PUT", path, [("partNumber", str(number)), ("uploadId", upload)], headers, piece)
            if not sent.good:
                return sent
            parts.append((number, sent.etag))
        return await self.tried("POST", path, [("uploadId", upload)], complete, completion(parts))


def completion(parts: list[tuple[int, str]]) -> bytes:
    inner = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in parts)
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


def reset(writer: asyncio.StreamWriter) -> None:
    """Goes away without a FIN, what is unsent thrown away."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
