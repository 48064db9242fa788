"""Ciphertext that somebody changed on the drives: repaired from the others or refused, never served as if it were right.
And keys that are rotated under what they seal."""

from __future__ import annotations

import os
import random

import pytest
from conftest import _keys
from harness.server import Server
from s3 import MIB, Client, ok, present, refused
from test_sse import KMS, ONE
from wire import Closed

pytestmark = pytest.mark.skipif(not os.environ.get("S3_DRIVES"), reason="the drives are not ours")
OBJECT_BYTES = 6 * MIB
STEP_BYTES = 32 << 10
KINDS = {"plain": [], "kms": KMS, "customer": ONE}


def tamper(drive) -> int:
    """Flips a bit in every so many bytes that stand in the drive's segments."""
    changed = 0
    for path in (drive / "shards" / "segments").iterdir():
        with path.open("r+b") as file:
            for at in range(STEP_BYTES, path.stat().st_size, STEP_BYTES):
                file.seek(at)
                # Ciphertext has no rows of zeros: those are room that was never written.
                if any(here := file.read(16)):
                    file.seek(at)
                    file.write(bytes([here[0] ^ 1]))
                    changed += 1
    return changed


@pytest.mark.parametrize("drives", [2, 3])
def test_changed_ciphertext(drives):
    bodies = {kind: random.Random(kind).randbytes(OBJECT_BYTES) for kind in KINDS}
    with Server() as server:
        client = Client(server.endpoint, _keys("main"))
        ok(client.request("PUT", "tampered"))
        for kind, headers in KINDS.items():
            ok(client.put("tampered", kind, bodies[kind], headers))
        server.end()
        for drive in server.drives[:drives]:
            assert tamper(drive) > 3 * OBJECT_BYTES / 4 / STEP_BYTES / 2
        server.again()
        client = Client(server.endpoint, _keys("main"))
        for kind in KINDS:
            own = ONE if kind == "customer" else []
            if drives == 2:
                present(client, "tampered", kind, bodies[kind], own)
                continue
            assert read(client, kind, own) is None
            # Of some objects this half lies on drives that are sound.
            half = read(client, kind, [*own, ("Range", f"bytes={OBJECT_BYTES // 2}-")])
            assert half in (None, bodies[kind][OBJECT_BYTES // 2:])
        assert sorted(client.keys_of("tampered")) == sorted(KINDS)


def read(client, key, headers) -> bytes | None:
    """None: 500 where it is seen before the answer begins, else an answer that does not end."""
    try:
        answer = client.get("tampered", key, headers=headers)
    except Closed:
        return None
    if answer.status in (200, 206):
        return answer.body
    refused(answer, 500, "InternalError")
    return None


def test_rotated_keys():
    """What was sealed before is read as before, what comes after too, and all of it after the next start."""
    with Server() as server:
        client = Client(server.endpoint, _keys("main"))
        ok(client.request("PUT", "rotated"))
        bodies = {kind: random.Random(kind).randbytes(100_000) for kind in KINDS}
        upload = client.begin("rotated", "parts", KMS)
        etag = ok(client.part("rotated", "parts", upload, 1, b"before"))["etag"]

        def written(when):
            for kind, headers in KINDS.items():
                ok(client.put("rotated", f"{kind}-{when}", bodies[kind], headers))

        def read(client, *times):
            for kind in KINDS:
                own = ONE if kind == "customer" else []
                for when in times:
                    present(client, "rotated", f"{kind}-{when}", bodies[kind], own)
                    part = client.get("rotated", f"{kind}-{when}", headers=[*own, ("Range", "bytes=65519-65521")])
                    assert ok(part, 206).body == bodies[kind][65519:65522]

        written("before")
        server.cli("keyring", "rotate", "--account", "main")
        server.cli("keyring", "rotate", "--name", "testkey-1")
        written("after")
        read(client, "before", "after")
        ok(client.complete("rotated", "parts", upload, [(1, etag)]))
        ok(client.put("rotated", "copy", headers=[("x-amz-copy-source", "rotated/kms-before"), *KMS]))
        server.end()
        server.again()
        client = Client(server.endpoint, _keys("main"))
        read(client, "before", "after")
        present(client, "rotated", "parts", b"before")
        present(client, "rotated", "copy", bodies["kms"])
