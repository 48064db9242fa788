"""The server goes in the middle of things: what it acknowledged is there afterwards, and of the rest there is nothing."""

from __future__ import annotations

import contextlib
import os

import pytest
from conftest import _keys
from harness.server import Server
from s3 import MIB, PART_BYTES_MIN, Client, absent, ok, present, refused
from sign import UNSIGNED
from wire import Closed

pytestmark = [
    pytest.mark.xdist_group("stopped"),
    pytest.mark.skipif(not os.environ.get("S3_DRIVES"), reason="the server is not ours to stop"),
]
SIZES = {"inline": 4_000, "packed": 100_000, "large": 12 * MIB}
BIG = bytes(PART_BYTES_MIN)


class Held:
    """A server with a bucket; `restarted` is the client after it went in the way given."""

    def __init__(self, server) -> None:
        self.server = server
        self.client = Client(server.endpoint, _keys("main"))
        ok(self.client.request("PUT", "held"))

    def half(self, key, body, query=()):
        """A PUT half of which is sent."""
        head = [("Content-Length", str(len(body)))]
        connection = self.client.connect(deadline_s=90)
        connection.send(self.client.prepare("PUT", "held", key, query, head, payload=UNSIGNED), body[: len(body) // 2])
        return connection

    def restarted(self) -> Client:
        self.server.again()
        self.client = Client(self.server.endpoint, _keys("main"))
        return self.client


@pytest.fixture
def held():
    with Server() as server:
        yield Held(server)


def acknowledged(client) -> dict[str, bytes | None]:
    """Writes of every kind, each answered 200: key → what must be there."""
    expected: dict[str, bytes | None] = {}
    for name, size in SIZES.items():
        body = bytes([size % 251]) * size
        ok(client.put("held", f"put-{name}", body))
        ok(client.put("held", f"over-{name}", b"before"))
        ok(client.put("held", f"over-{name}", body))
        ok(client.put("held", f"gone-{name}", body))
        expected |= {f"put-{name}": body, f"over-{name}": body, f"gone-{name}": None}
    client.multipart("held", "multipart", [BIG, b"tail"])
    ok(client.put("held", "copy", headers=[("x-amz-copy-source", "held/put-large")]))
    ok(client.delete("held", "gone-inline"), 204)
    assert ok(client.delete_many("held", ["gone-packed", "gone-large"])).texts("Error") == []
    return expected | {"multipart": BIG + b"tail", "copy": expected["put-large"]}


def all_there(client, expected, *more) -> None:
    for key, body in expected.items():
        absent(client, "held", key) if body is None else present(client, "held", key, body)
    assert client.keys_of("held") == sorted([*more, *(k for k, body in expected.items() if body is not None)])


@pytest.mark.parametrize("size", SIZES)
def test_killed_in_the_middle_of_everything(held, size):
    """SIGKILL right after the last answer, with a PUT, an overwrite and a part half sent."""
    client, body = held.client, bytes(SIZES[size])
    expected = acknowledged(client)
    upload = client.begin("held", "parts")
    etag = ok(client.part("held", "parts", upload, 1, b"part"))["etag"]
    with contextlib.ExitStack() as open_until_here:
        part = [("partNumber", "1"), ("uploadId", upload)]
        for key, query in (("never", ()), (f"over-{size}", ()), ("parts", part)):
            open_until_here.enter_context(held.half(key, body, query))
        held.server.kill()
    client = held.restarted()
    absent(client, "held", "never")
    all_there(client, expected)
    assert ok(client.get("held", "parts", [("uploadId", upload)])).texts("Part/ETag") == [etag]
    ok(client.complete("held", "parts", upload, [(1, etag)]))
    present(client, "held", "parts", b"part")


def test_killed_while_a_complete_is_on_its_way(held):
    """It is done or it is not; where it is not, it can be done again."""
    client, (parts, data) = held.client, ([BIG, b"tail"], BIG + b"tail")
    upload = client.begin("held", "k")
    etags = [(n, ok(client.part("held", "k", upload, n, p))["etag"]) for n, p in enumerate(parts, 1)]
    xml = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in etags)
    body = f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>".encode()
    with client.connect() as c:
        c.send(client.prepare("POST", "held", "k", [("uploadId", upload)], body=body), body)
        held.server.kill()
    client = held.restarted()
    if client.get("held", "k").status == 200:
        present(client, "held", "k", data)
        return
    absent(client, "held", "k")
    ok(client.complete("held", "k", upload, etags))
    present(client, "held", "k", data)


@pytest.mark.parametrize("sends_the_rest", [True, False])
def test_ended_in_the_middle_of_a_put(held, sends_the_rest):
    """SIGTERM: who sends on is served to the end, who does not is cut in time; the exit is a clean one."""
    client, body = held.client, bytes(SIZES["large"])
    expected = acknowledged(client)
    with held.half("last", body) as connection:
        held.server.process.terminate()
        answer = None
        with contextlib.suppress(Closed):
            if sends_the_rest:
                connection.send(body[len(body) // 2 :])
                answer = connection.answer("PUT")
        assert held.server.end() == 0
    client = held.restarted()
    if answer is not None and answer.status == 200:
        present(client, "held", "last", body)
    else:
        assert not sends_the_rest or refused(answer, 503), answer
        absent(client, "held", "last")
    all_there(client, expected, *(["last"] if answer is not None and answer.status == 200 else []))
