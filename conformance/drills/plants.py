#!/usr/bin/env python3
"""Secrets and bodies planted everywhere a client can put them, then looked for in every file.

Planted: bodies (inline, striped, multipart, overwritten, deleted, aborted, cut off, under SSE-S3,
SSE-KMS and SSE-C), the secrets of root, of an account and of a made access key, SSE-C keys (right and
wrong ones), the keyring's passphrase and the passphrase of an export. Looked for, as they are, in hex
of both cases and in base64 at each of its three alignments: in every file on the drives, in the log at
its loudest, in the metrics and in what the admin port tells. The credentials, key and settings files
lie outside the drives and hold what they must. An object's key, in the clear as docs/FORMATS.md says,
must be found: else the search itself is blind.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import subprocess
from pathlib import Path

from drill import MIB, Node, Short, Trial, main, until
from client import Client, Cut, reset
import sign

BUCKET = "plants"
CONTROL = "key-in-the-clear-0815"
LENGTHS = (300, 16_000, 16_385, 100_000)
QUIET_S_MAX = 240


def forms(needle: bytes) -> set[bytes]:
    """The needle, its hex, and what base64 makes of it wherever it begins (cut to whole letters)."""
    found = {needle, needle.hex().encode(), needle.hex().upper().encode()}
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + needle)
        found.add(text[-(-shift * 8 // 6) + (shift > 0):len(text) - 4])
        found.add(base64.urlsafe_b64encode(bytes(shift) + needle)[-(-shift * 8 // 6) + (shift > 0):len(text) - 4])
    return {f for f in found if len(f) >= 16}


class Plants:
    """What was planted, by what it is. All ASCII, so that a search by lines sees it whole."""

    def __init__(self, chance) -> None:
        self.chance, self.of = chance, {}

    def new(self, what: str, length: int = 32) -> str:
        text = "".join(self.chance.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=length))
        self.of[text] = what
        return text

    def body(self, what: str, length: int) -> bytes:
        mark = self.new(f"body: {what}").encode()
        return (mark * (length // len(mark) + 1))[:length]


def customer(key: str) -> list[tuple[str, str]]:
    raw = key.encode()
    return [("x-amz-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-server-side-encryption-customer-key", base64.b64encode(raw).decode()),
            ("x-amz-server-side-encryption-customer-key-MD5", base64.b64encode(hashlib.md5(raw).digest()).decode())]


async def good(call, what: str):
    answer = await call
    if not answer.good:
        raise Short(f"{what}: {answer}")
    return answer


async def plant_bodies(c: Client, p: Plants, rounds: int) -> None:
    kms = [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", "testkey-1")]
    ways = {"plain": [], "sse-s3": [("x-amz-server-side-encryption", "AES256")], "sse-kms": kms,
            "sse-c": customer(p.new("SSE-C key"))}
    await good(c.put(f"/{BUCKET}/{CONTROL}", b"x" * 20_000), "control")
    for turn in range(rounds):
        for way, headers in ways.items():
            for length in (*LENGTHS, *([9 * MIB] if turn == 0 else [])):
                path = f"/{BUCKET}/{way}-{length}"
                await good(c.put(path, p.body(f"{way} {length}, round {turn}", length), headers), path)
                if turn % 2:
                    await good(c.tried("DELETE", path), path)
            pieces = [p.body(f"{way} part", 5 * MIB), p.body(f"{way} last part", 70_000)]
            await good(c.multipart(f"/{BUCKET}/{way}-multipart", pieces, headers if way == "sse-c" else headers), "multipart")
    made = await good(c.tried("POST", f"/{BUCKET}/aborted", [("uploads", None)]), "upload")
    at = [("uploadId", made.find("UploadId"))]
    await good(c.tried("PUT", f"/{BUCKET}/aborted", [("partNumber", "1"), *at], (), p.body("aborted part", 90_000)), "part")
    await good(c.tried("DELETE", f"/{BUCKET}/aborted", at), "abort")
    await good(c.put(f"/{BUCKET}/copy", b"", [("x-amz-copy-source", f"/{BUCKET}/plain-multipart")]), "copy")


async def plant_faults(c: Client, p: Plants) -> None:
    """Requests that fail must not be logged with what they brought."""
    wrong = customer(p.new("wrong SSE-C key"))
    for path in (f"/{BUCKET}/sse-c-300", f"/{BUCKET}/plain-300", f"/{BUCKET}/nothing"):
        await c.request("GET", path, (), wrong)
    broken = [(n, v if not n.endswith("MD5") else "AAAAAAAAAAAAAAAAAAAAAA==") for n, v in customer(p.new("SSE-C key, bad MD5"))]
    await c.request("PUT", f"/{BUCKET}/bad", (), broken, p.body("with a bad SSE-C MD5", 400))
    await c.request("PUT", f"/{BUCKET}/bad", (), [("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")], p.body("with a bad MD5", 40_000))
    await c.request("PUT", f"/no-bucket-of-{BUCKET}/x", (), (), p.body("to no bucket", 900))
    await c.request("POST", f"/{BUCKET}", [("delete", None)], (), p.body("as XML that is none", 900))
    await c.request("PUT", f"/{BUCKET}", [("cors", None)], (), p.body("as CORS that is none", 900))
    for length in (300, 40_000):
        body = p.body("cut off", length)
        link = await c.open()
        link.writer.write(c.prepare("PUT", f"/{BUCKET}/cut-{length}", (), (), length) + body[:length - 10])
        await link.writer.drain()
        reset(link.writer)


async def plant_keys(t: Trial, node: Node, p: Plants) -> None:
    """An access key made while running, used, and misused; the keyring exported under a passphrase."""
    made = node.cli("key", "create", "--account", "main")
    secret = made["secret_key"]
    p.of[secret] = "secret of a made access key"
    other = Client(node)
    other.keys = sign.Keys(made["key"]["access_key"], secret)
    if not (await other.tried("GET", "/")).good:
        raise Short("the made key does not sign")
    other.keys = sign.Keys(made["key"]["access_key"], p.new("wrong secret"))
    await other.request("GET", "/")
    other.forget()
    words = t.folder / "export-passphrase"
    words.write_text(p.new("passphrase of an export", 24) + "\n")
    node.cli("keyring", "export", str(node.folder / "export"), "--passphrase-file", str(words))
    node.cli("keyring", "rotate", "--name", "testkey-1")
    p.of.update({node.root_secret: "root's secret", node.keys().secret: "secret of account main",
                 node.passphrase: "passphrase of the keyring"})
    key_file = node.folder / "keyring.key"
    if key_file.exists():
        # Not text: the two encoded forms are what a search by lines can see.
        raw = key_file.read_bytes()
        p.of[raw.hex()] = "key file"
        p.of[base64.b64encode(raw).decode().rstrip("=")] = "key file"


def search(places: list[Path], needles: Path) -> list[str]:
    """`file:needle` of every hit. grep reads binary files as text, line by line; needles are ASCII."""
    done = subprocess.run(["grep", "-r", "-a", "-o", "-F", "-f", str(needles), *map(str, places)],
                          capture_output=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})
    if done.returncode > 1:
        raise Short(f"grep: {done.stderr[-300:]!r}")
    return sorted(set(done.stdout.decode(errors="replace").splitlines()))


def look(t: Trial, node: Node, p: Plants) -> tuple[list[str], int, int]:
    """(hits, files, bytes) over all that the node has written; the control must be found."""
    wanted = {form: f"{what}" for plant, what in p.of.items() for form in forms(plant.encode())}
    needles, control = t.folder / "needles", t.folder / "control"
    needles.write_bytes(b"\n".join(wanted) + b"\n")
    control.write_text(CONTROL + "\n")
    # Not server.out: the first start shows root's secret there, once.
    places = [*node.drives, node.folder / "server.log", *t.folder.glob("told-*")]
    hits = []
    for line in search(places, needles):
        file, _, needle = line.rpartition(":")
        hits.append(f"{wanted.get(needle.encode(), '?')} in {file}")
    kinds = {name for line in search(node.drives, control) for name in ("/log/", "/shards/", "/tables/", "/snapshots/") if name in line}
    if not {"/log/", "/shards/"} <= kinds:
        raise Short(f"the control was found in {kinds} only: the search is blind")
    files = [f for place in places for f in ([place] if place.is_file() else place.rglob("*")) if f.is_file()]
    return hits, len(files), sum(f.stat().st_size for f in files)


async def tell(t: Trial, node: Node, number: int) -> None:
    """What metrics and the admin port say."""
    (t.folder / f"told-{number}").write_text(node.fetch_admin("/metrics") + node.fetch_admin("/health/ready"))
    with (t.folder / f"told-{number}").open("a") as told:
        for words in (["status"], ["key", "list"], ["keyring", "list"], ["object", "explain", f"s3://{BUCKET}/sse-c-multipart"]):
            told.write(json.dumps(node.cli(*words)))


async def one(t: Trial, lock: str) -> tuple[list[str], int, int, int]:
    p = Plants(t.chance)
    # A new passphrase each time: no dictionary word is looked for.
    node = Node(t, lock, settings='log_level = "trace"\nsegment_bytes = 16777216', lock=lock)
    node.passphrase = p.new("passphrase of the keyring")
    with node:
        async with Client(node) as c:
            await c.make_bucket(BUCKET)
            await plant_bodies(c, p, t.size(4, 2))
            await plant_faults(c, p)
            await plant_keys(t, node, p)
            await tell(t, node, 1)
            node.kill()
            node.again()
            c.forget()
            await plant_faults(c, p)
            await good(c.put(f"/{BUCKET}/after", p.body("after a kill", 50_000)), "after a kill")
            await until(lambda: all(not w["waiting"] for w in node.cli("status")["work"]), QUIET_S_MAX, "clean-up")
            await tell(t, node, 2)
        code = node.end()
        if code != 0:
            raise Short(f"the server ended with {code}")
        node.again()
        node.end()
    hits, files, size = await asyncio.to_thread(look, t, node, p)
    for hit in hits[:20]:
        t.note(hit)
    return hits, files, size, len(p.of)


async def drill_(t: Trial) -> dict:
    probe = "the words to be found in any form"
    shifted = [base64.b64encode(b"x" * n + probe.encode() + b"tail") for n in range(6)]
    if not all(any(f in text for f in forms(probe.encode())) for text in shifted):
        raise Short("the forms of a needle miss one of its alignments")
    sums = {"hits": 0, "files": 0, "bytes": 0, "planted": 0}
    found: list[str] = []
    for lock in ("key_file", "passphrase_file"):
        hits, files, size, planted = await one(t, lock)
        found += hits
        for name, value in zip(sums, (len(hits), files, size, planted)):
            sums[name] += value
    return {"ok": not found, **sums, "first": found[:5]}


main("plants", drill_)
