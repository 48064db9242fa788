"""Drives that are full and drives that cannot be written: refused in S3's words, nothing torn, nothing lost.

Each server here has mounts of its own, which go with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time

import pytest
from conftest import _keys
from harness.server import Server
from s3 import MIB, Client, absent, ok, present, refused


def may_mount() -> bool:
    words = ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(words, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.xdist_group("drives"),
    pytest.mark.skipif(not os.environ.get("S3_DRIVES") or not may_mount(), reason="needs a server of its own, and mounts"),
]
# The room below which a drive takes no more, and what is left above it.
RESERVE_BYTES = 1 << 30
ROOM_BYTES = 96 * MIB
OBJECT_BYTES = 8 * MIB
OBJECTS_MAX = 120


def mounted(command: str, drives) -> list[str]:
    """A prefix that runs `command` with $d for each drive in mounts of the server's own."""
    loop = f"for d in {' '.join(str(d) for d in drives)}; do {command} || exit 1; done"
    return ["unshare", "-m", "sh", "-c", f'{loop}; exec "$0" "$@"']


def data(n: int, size: int = OBJECT_BYTES) -> bytes:
    return bytes([n % 251]) * size


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server whose drives have little room, filled until it refuses: (client, bucket, keys that it took)."""
    server = Server()
    server.prepare()
    server.prefix = mounted(f"mount -t tmpfs -o size={RESERVE_BYTES + ROOM_BYTES} tmpfs $d", server.drives)
    with server:
        client = Client(server.endpoint, _keys("main"))
        ok(client.request("PUT", "full"))
        ok(client.put("full", "open", b"v"))
        upload = client.begin("full", "parts")
        etag = ok(client.part("full", "parts", upload, 1, b"part"))["etag"]
        taken = []
        while (answer := client.put("full", f"k{len(taken):03}", data(len(taken)))).status == 200:
            taken.append(f"k{len(taken):03}")
            assert len(taken) < OBJECTS_MAX, "the drives never fill"
        yield client, answer, taken, (upload, etag)


class TestFull:
    def test_refused(self, small):
        client, answer, taken, _ = small
        assert len(taken) > 4
        refused(answer, 507, "InsufficientStorage")
        absent(client, "full", f"k{len(taken):03}")

    @pytest.mark.parametrize("how", ["put", "copy", "part", "form"])
    def test_nothing_torn(self, small, how):
        client, _, taken, (upload, etag) = small
        if how == "put":
            refused(client.put("full", taken[0], data(99)), 507, "InsufficientStorage")
            present(client, "full", taken[0], data(0))
        elif how == "copy":
            refused(client.put("full", "new", headers=[("x-amz-copy-source", f"full/{taken[0]}")]), 507, "InsufficientStorage")
            absent(client, "full", "new")
        elif how == "form":
            from test_post import post

            refused(post(client, "full", {"key": "new"}, data(99)), 507, "InsufficientStorage")
            absent(client, "full", "new")
        else:
            refused(client.part("full", "parts", upload, 1, data(99)), 507, "InsufficientStorage")
            assert ok(client.get("full", "parts", [("uploadId", upload)])).texts("Part/ETag") == [etag]

    def test_what_was_taken_is_there(self, small):
        client, _, taken, _ = small
        for n, key in enumerate(taken):
            present(client, "full", key, data(n))
        assert client.keys_of("full") == [*taken, "open"]

    def test_deletes_work(self, small):
        """The last of its class. What is freed comes back in its time: `drills/cleanup.py`."""
        client, _, taken, (upload, etag) = small
        ok(client.complete("full", "parts", upload, [(1, etag)]))
        present(client, "full", "parts", b"part")
        ok(client.delete("full", taken[0]), 204)
        assert ok(client.delete_many("full", taken[1:])).texts("Error") == []
        assert client.keys_of("full") == ["open", "parts"]


BORNE, OPENED_S = 2, 60
READ_ONLY = "mount --bind $d $d && mount -o remount,bind,ro $d"


def opened(client) -> None:
    """Waits until it has looked at its drives: with too few it is never ready."""
    until = time.monotonic() + OPENED_S
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionRefusedError):
            if b"not open yet" not in client.get("").body:
                return
        time.sleep(0.1)
    raise AssertionError("nobody listens")


@contextlib.contextmanager
def again(server, read_only: int):
    """The same server over the same drives, the last so many of them not to be written."""
    server.prefix = mounted(READ_ONLY, server.drives[-read_only:]) if read_only else []
    client = Client(server.endpoint, _keys("main"))
    if read_only > BORNE:
        server.spawn()
        opened(client)
    else:
        server.again()
    try:
        yield client
    finally:
        server.end()


@pytest.fixture(scope="class")
def kept(request):
    """A server, ended, and what it holds: (server, bucket, key → body)."""
    with Server() as server:
        client = Client(server.endpoint, _keys("main"))
        bodies = {"inline": b"v", "packed": data(1, 100_000), "large": data(2)}
        ok(client.request("PUT", "kept"))
        for key, body in bodies.items():
            ok(client.put("kept", key, body))
        server.end()
        yield server, bodies


class TestReadOnly:
    def test_two_are_borne(self, kept):
        server, bodies = kept
        with again(server, 2) as client:
            for key, body in bodies.items():
                present(client, "kept", key, body)
                ok(client.put("kept", f"{key}-new", body))
                present(client, "kept", f"{key}-new", body)
            ok(client.delete("kept", "packed"), 204)
        with again(server, 0) as client:
            for key, body in bodies.items():
                present(client, "kept", f"{key}-new", body)
            present(client, "kept", "large", bodies["large"])
            absent(client, "kept", "packed")
            ok(client.put("kept", "packed", bodies["packed"]))

    def test_three_are_told_and_nothing_is_torn(self, kept):
        """Too few to decide anything: all is 503, and what was asked for meanwhile has not been done."""
        server, bodies = kept
        new = data(3, 100_000)
        with again(server, 3) as client:
            calls = [lambda k=k: client.put("kept", k, new) for k in (*bodies, "never")]
            calls += [lambda: client.delete("kept", "large"), lambda: client.delete_many("kept", ["large"])]
            calls += [lambda: client.request("PUT", "never"), lambda: client.request("POST", "kept", "up", ["uploads"])]
            calls += [lambda: client.get("kept", "large"), lambda: client.get("kept")]
            for answer in client.many(calls):
                refused(answer, 503, "ServiceUnavailable")
        with again(server, 0) as client:
            for key, body in bodies.items():
                present(client, "kept", key, body)
            absent(client, "kept", "never")
            refused(client.head("never"), 404)
            assert ok(client.get("kept", query=["uploads"])).texts("Upload") == []
            ok(client.put("kept", "never", new))
