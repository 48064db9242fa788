"""What the drives' raft logs hold of parts, read from the files as docs/FORMATS.md says (raft log, `PutPart`)."""
from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

HEADER = struct.Struct("<4sIIIQQQIBBHQ")
MAGIC = b"DMLr"
APPENDS = (2, 8)
WRAPPED_BYTES = 60


@dataclass(frozen=True)
class Part:
    """A part as it was committed: names of its bytes and its wrapped data key; sealed bytes where inline."""

    data: bytes
    size: int
    md5: bytes
    wrapped: bytes
    customer: bool
    inline: bytes | None


class Reader:
    """Fields of a postcard value, one after the other; IndexError behind its end."""

    def __init__(self, text: bytes, at: int) -> None:
        self.text, self.at = text, at

    def take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.text):
            raise IndexError
        return self.text[self.at - count:self.at]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte, = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text_of(self) -> bytes:
        return self.take(self.number())

    def part(self) -> Part:
        """From behind the key of a `PutPart`: upload, number, `NewPart`."""
        self.take(16)
        self.number()
        data, size, md5 = self.take(16), self.number(), self.take(16)
        customer = not self.number()
        if not customer:
            self.number()
        wrapped = self.text_of()
        if self.number():
            self.take(32)
        inline = self.text_of() if self.number() == 0 else None
        return Part(data, size, md5, wrapped, customer, inline)


def entries(text: bytes) -> Iterator[bytes]:
    """Payloads of the appended entries, up to the first record that is not whole."""
    at = 0
    while at + HEADER.size <= len(text):
        magic, _, _, length, _, _, _, _, kind, _, _, _ = HEADER.unpack_from(text, at)
        if magic != MAGIC or at + HEADER.size + length > len(text):
            return
        if kind in APPENDS:
            yield text[at + HEADER.size:at + HEADER.size + length]
        at += -(-(HEADER.size + length) // 8) * 8


def parts(drive: Path, keys: set[bytes], md5s: set[bytes]) -> Iterator[Part]:
    """Every part of these object keys in the drive's log; what else names such a key has no such MD5."""
    stems = {key[:key.index(b"-") + 1] for key in keys}
    for path in sorted((drive / "log").glob("*.log")):
        for payload in entries(path.read_bytes()):
            for stem in stems:
                at = payload.find(stem)
                while at > 0:
                    length = payload[at - 1]
                    if payload[at:at + length] in keys:
                        try:
                            part = Reader(payload, at + length).part()
                        except IndexError:
                            part = None
                        if part and part.md5 in md5s and len(part.wrapped) == WRAPPED_BYTES:
                            yield part
                    at = payload.find(stem, at + 1)
