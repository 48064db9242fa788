"""Where shards lie in segments, read from the files as docs/FORMATS.md says; and the scrub, asked from outside."""
from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from drill import Failed, Node, Short, until

BLOCK = 4096
MAGIC = b"DMSHARD\n"
SCRUB_S_MAX = 240


@dataclass(frozen=True)
class Record:
    """One shard's record: file and bytes of its header and payload (padding belongs to neither)."""

    drive: str
    segment: int
    offset: int
    header_end: int
    payload: int
    payload_end: int
    token: str
    # Whose bytes: data id (hex), stripe, index among its k+m; k.
    data: str
    stripe: int
    index: int
    k: int

    def covers(self, byte: int) -> bool:
        return self.offset <= byte < self.header_end or self.payload <= byte < self.payload_end


def records(drive: Path) -> list[Record]:
    """Every record that stands in the drive's segments, live or not."""
    found = []
    for path in sorted((drive / "shards" / "segments").iterdir()):
        data = path.read_bytes()
        at = data.find(MAGIC)
        while at >= 0:
            if at % BLOCK == 0:
                length, = struct.unpack_from(">I", data, at + 10)
                payload, = struct.unpack_from(">I", data, at + 98)
                step = 64 if payload <= 65_536 else BLOCK
                begin = at + -(-length // step) * step
                stripe, = struct.unpack_from(">I", data, at + 74)
                found.append(Record(
                    drive.name, int(path.name, 16), at, at + length, begin, begin + payload, data[at + 78:at + 94].hex(),
                    data=data[at + 54:at + 70].hex(), stripe=stripe, index=data[at + 17], k=data[at + 15]))
            at = data.find(MAGIC, at + 8)
    return found


def live_tokens(node: Node, bucket: str, keys) -> set[str]:
    """The copy tokens that these objects' stripes name."""
    found = set()
    for key in keys:
        for part in node.cli("object", "explain", f"s3://{bucket}/{key}")["parts"]:
            found |= {s["token"] for stripe in part["stripes"] for s in stripe["shards"] if s.get("token")}
    return found


async def scrub(node: Node) -> list[dict] | None:
    """One whole pass, and what it found made anew; its findings. None where this build has no scrub."""
    try:
        node.cli("scrub", "start")
    except Failed as why:
        if any(word in str(why) for word in ("NotImplemented", "not built", "unexpected argument", "unrecognized")):
            return None
        raise

    def rest() -> dict | None:
        told = node.cli("scrub", "status")
        return told if not told["running"] and not told["open"] else None
    try:
        told = await until(rest, SCRUB_S_MAX, "scrub and what it found at rest", 0.5)
    except Short as why:
        told = node.cli("scrub", "status")
        left = [f for f in told["findings"] if f["state"] not in ("repaired", "sound")]
        raise Short(f"{why}: running {told['running']}, open {told['open']}: {left[:3]}") from None
    return told["findings"]
