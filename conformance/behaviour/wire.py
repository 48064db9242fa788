"""HTTP/1.1 over a plain socket, with nothing corrected: what a test writes is what the server gets.

No library of the trade can send a wrong Content-Length, two Host lines or half a chunk, so bytes
are written here and only answers are parsed. Every socket has a deadline: a server that hangs
fails the test instead of holding the run.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import Iterable, Sequence

DEADLINE_S = 30.0
READ_BYTES = 1 << 16
HEAD_BYTES_MAX = 1 << 18
GONE = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
Headers = Sequence[tuple[str, str | bytes]]


class Closed(Exception):
    """The server closed or reset the connection before a whole answer."""


@dataclass
class Answer:
    """One response. Header names are lower case; order and repetition are kept."""

    status: int
    version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def __getitem__(self, name: str) -> str | None:
        """The first header of that name."""
        return next((v for n, v in self.headers if n == name.lower()), None)

    @property
    def xml(self) -> ElementTree.Element:
        """The document, namespaces taken off."""
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rsplit("}", 1)[-1]
        return root

    @property
    def code(self) -> str | None:
        """An error's code, where there is an error document."""
        if "xml" not in (self["content-type"] or "") or not self.body:
            return None
        try:
            root = self.xml
        except ElementTree.ParseError:
            return "(no XML)"
        return root.findtext("Code") if root.tag == "Error" else None

    def text(self, path: str) -> str | None:
        return self.xml.findtext(path)

    def texts(self, path: str) -> list[str]:
        return [e.text or "" for e in self.xml.findall(path)]

    def __repr__(self) -> str:
        shown = {n: v for n, v in self.headers if n not in ("x-amz-id-2", "date", "server")}
        return f"<{self.status} {shown} {self.body[:600]!r}>"


def head(method: str, target: str | bytes, headers: Headers, version: str = "HTTP/1.1") -> bytes:
    """A request's head as bytes; text is written as UTF-8."""

    def raw(text: str | bytes) -> bytes:
        return text if isinstance(text, bytes) else text.encode()

    lines = [raw(method) + b" " + raw(target) + b" " + raw(version)]
    lines += [raw(n) + b": " + raw(v) for n, v in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Connection:
    """A socket that answers are read from. Context manager."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None, deadline_s: float = DEADLINE_S) -> None:
        self.deadline = time.monotonic() + deadline_s
        self.socket = socket.create_connection((host, port), timeout=deadline_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.unread = b""
        self.ended = False

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def abort(self) -> None:
        """Goes away by reset: no FIN, unsent bytes thrown away."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    def _patience(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server gave no whole answer in time")
        self.socket.settimeout(left)

    def send(self, *pieces: bytes) -> None:
        """Writes all; a peer that has stopped reading is no error yet, its answer may be there."""
        try:
            for piece in pieces:
                self._patience()
                self.socket.sendall(piece)
        except GONE:
            pass

    def finish_sending(self) -> None:
        """FIN; the answer can still be read. A peer that is gone already needs none."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _more(self) -> bool:
        if self.ended:
            return False
        self._patience()
        try:
            got = self.socket.recv(READ_BYTES)
        except GONE:
            got = b""
        self.ended = not got
        self.unread += got
        return bool(got)

    def _take(self, size: int) -> bytes:
        pieces, have = [self.unread], len(self.unread)
        self.unread = b""
        while have < size:
            if not self._more():
                raise Closed(f"{have} of {size} bytes")
            pieces.append(self.unread)
            have += len(self.unread)
            self.unread = b""
        all_ = b"".join(pieces)
        self.unread = all_[size:]
        return all_[:size]

    def _line(self) -> bytes:
        while b"\r\n" not in self.unread:
            if len(self.unread) > HEAD_BYTES_MAX or not self._more():
                raise Closed(f"no whole line: {self.unread[:200]!r}")
        line, self.unread = self.unread.split(b"\r\n", 1)
        return line

    def _head(self) -> Answer:
        first = self._line()
        version, _, rest = first.decode("latin-1").partition(" ")
        if not version.startswith("HTTP/"):
            raise Closed(f"no HTTP: {first[:200]!r}")
        headers = []
        while line := self._line():
            name, _, value = line.partition(b":")
            headers.append((name.decode("latin-1").lower(), value.strip().decode("utf-8", "surrogateescape")))
        return Answer(int(rest[:3]), version, headers)

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer, interim ones noted; `method` says whether there is a body."""
        interim = []
        while True:
            got = self._head()
            if got.status >= 200:
                break
            interim.append(got.status)
        got.interim = interim
        if method == "HEAD" or got.status in (204, 304):
            return got
        if (got["transfer-encoding"] or "").lower() == "chunked":
            got.body = self._chunks()
        elif (length := got["content-length"]) is not None:
            got.body = self._take(int(length))
        else:
            while self._more():
                pass
            got.body, self.unread = self.unread, b""
        return got

    def interim(self) -> int:
        """The status of the next head, for a test that waits for a 100."""
        return self._head().status

    def _chunks(self) -> bytes:
        pieces = []
        while size := int(self._line().split(b";")[0], 16):
            pieces.append(self._take(size))
            self._line()
        while self._line():
            pass
        return b"".join(pieces)

    def closed(self) -> bool:
        """Waits for the server to close, and says so; False where it sent something instead."""
        return not self.unread and not self._more()


def joined(values: Iterable[str | bytes]) -> bytes:
    """Repeated header values as one, as signing has them."""
    return b",".join(b" ".join((v if isinstance(v, bytes) else v.encode()).split()) for v in values)
