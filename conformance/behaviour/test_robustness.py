"""The connection itself: pipelines, bodies nobody reads, old HTTP, idlers, stallers, races."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from s3 import MIB, absent, ok, present, refused
from sign import UNSIGNED

IDLE_MAX = 300
STALLED = 40
SILENT = 300
# Longer than a drive may be silent.
SILENT_FOR_S = 8


def test_pipelining(s3, shelf, key):
    for i in range(8):
        ok(s3.put(shelf, f"{key}-{i}", f"body {i}".encode()))
    with s3.connect() as c:
        c.send(b"".join(s3.prepare("GET", shelf, f"{key}-{i}") for i in range(8)))
        assert [ok(c.answer()).body for _ in range(8)] == [f"body {i}".encode() for i in range(8)]


def test_pipelined_writes_happen_in_order(s3, shelf, key):
    with s3.connect() as c:
        c.send(
            b"".join(s3.prepare("PUT", shelf, key, body=b"v%d" % i) + b"v%d" % i for i in range(6)), s3.prepare("GET", shelf, key)
        )
        for _ in range(6):
            ok(c.answer())
        assert ok(c.answer()).body == b"v5"


@pytest.mark.parametrize("size", [0, 300_000])
def test_half_closed_after_the_request(s3, shelf, key, size):
    """Who has sent all may shut its side, and still hears the answer."""
    body = bytes(i % 251 for i in range(size))
    for request, sent in ((s3.prepare("PUT", shelf, key, body=body), body), (s3.prepare("GET", shelf, key), b"")):
        with s3.connect() as c:
            c.send(request, sent)
            c.finish_sending()
            answer = ok(c.answer())
    assert answer.body == body


def test_pipelined_error_does_not_shift_answers(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    bad = s3.keys.but(secret="wrong")
    with s3.connect() as c:
        c.send(
            s3.prepare("GET", shelf, key),
            s3.prepare("PUT", shelf, key, body=b"evil", keys=bad) + b"evil",
            s3.prepare("GET", shelf, key),
        )
        assert ok(c.answer()).body == b"v"
        refused(c.answer(), 403, "SignatureDoesNotMatch")
        assert ok(c.answer()).body == b"v"


@pytest.mark.parametrize("size", [0, 100, 60_000, 900_000])
@pytest.mark.parametrize("fault", ["signature", "no bucket", "anonymous", "bad md5", "precondition"])
def test_keep_alive_after_refusal_with_unread_body(s3, anonymous, shelf, key, fault, size):
    from conftest import fresh_name

    body = bytes(size)
    headers = {"bad md5": [("Content-MD5", "zz")], "precondition": [("If-Match", '"0"')]}.get(fault, [])
    who = anonymous if fault == "anonymous" else s3
    keys = s3.keys.but(secret="wrong") if fault == "signature" else None
    with s3.connect() as c:
        c.send(
            who.prepare("PUT", fresh_name() if fault == "no bucket" else shelf, key, headers=headers, body=body, keys=keys), body
        )
        refused(c.answer(), (400, 403, 404))
        c.send(s3.prepare("PUT", shelf, key, body=b"next"), b"next")
        ok(c.answer())
    present(s3, shelf, key, b"next")


def test_refusal_is_readable_though_the_body_is_large(s3, shelf, key):
    """The answer must not be lost in a reset; closing afterwards is fine."""
    body = bytes(8 * MIB)
    with s3.connect() as c:
        c.send(
            s3.prepare(
                "PUT",
                shelf,
                key,
                headers=[("Content-Length", str(len(body)))],
                payload=UNSIGNED,
                keys=s3.keys.but(secret="wrong"),
            ),
            body,
        )
        refused(c.answer(), 403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("fault", ["signature", "no bucket", "anonymous"])
def test_refusal_before_a_100(s3, anonymous, shelf, key, fault):
    from conftest import fresh_name

    who = anonymous if fault == "anonymous" else s3
    keys = s3.keys.but(secret="wrong") if fault == "signature" else None
    with s3.connect() as c:
        c.send(
            who.prepare(
                "PUT",
                fresh_name() if fault == "no bucket" else shelf,
                key,
                headers=[("Expect", "100-continue"), ("Content-Length", "1000")],
                payload=UNSIGNED,
                keys=keys,
            )
        )
        answer = refused(c.answer(), (403, 404))
        assert answer.interim == []


@pytest.mark.parametrize("fault", ["signature", "no bucket", "anonymous"])
def test_refusal_before_a_100_by_https(tls, shelf, key, fault):
    """And the next request on another connection is not mistaken for the body: this one is closed."""
    from conftest import fresh_name

    who = tls.as_(None) if fault == "anonymous" else tls
    keys = tls.keys.but(secret="wrong") if fault == "signature" else None
    waits = [("Expect", "100-continue"), ("Content-Length", "1000")]
    bucket = fresh_name() if fault == "no bucket" else shelf
    with who.connect() as c:
        c.send(who.prepare("PUT", bucket, key, headers=waits, payload=UNSIGNED, keys=keys))
        answer = refused(c.answer(), (403, 404), ("SignatureDoesNotMatch", "NoSuchBucket", "AccessDenied"))
        assert (answer.interim, answer["connection"]) == ([], "close")
        assert c.closed()


def test_100_by_https(s3, tls, shelf, key):
    waits = [("Expect", "100-continue"), ("Content-Length", "4")]
    with tls.connect() as c:
        c.send(tls.prepare("PUT", shelf, key, headers=waits, payload=UNSIGNED))
        assert c.interim() == 100
        c.send(b"body")
        ok(c.answer())
    present(s3, shelf, key, b"body")


def test_100_then_the_body(s3, shelf, key):
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=[("Expect", "100-continue"), ("Content-Length", "4")], payload=UNSIGNED))
        assert c.interim() == 100
        c.send(b"body")
        ok(c.answer())
        c.send(s3.prepare("GET", shelf, key))
        assert ok(c.answer()).body == b"body"


def test_absolute_form(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    request = s3.prepare("GET", shelf, key).replace(b"GET /", f"GET http://{s3.authority}/".encode(), 1)
    with s3.connect() as c:
        c.send(request)
        assert ok(c.answer()).body == b"v"


def test_http_10(s3, shelf, key):
    ok(s3.put(shelf, key, b"v" * 100_000))
    with s3.connect() as c:
        c.send(s3.prepare("GET", shelf, key, version="HTTP/1.0"))
        answer = ok(c.answer())
        assert answer.body == b"v" * 100_000 and answer["transfer-encoding"] is None
        assert c.closed()


def test_http_10_put_and_keep_alive(s3, shelf, key):
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=[("Connection", "keep-alive")], body=b"old", version="HTTP/1.0"), b"old")
        ok(c.answer())
        c.send(s3.prepare("GET", shelf, key, version="HTTP/1.0"))
        assert ok(c.answer()).body == b"old"


def test_connection_close(s3, shelf, key):
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=[("Connection", "close")], body=b"v"), b"v")
        ok(c.answer())
        assert c.closed()


def test_many_requests_on_one_connection(s3, shelf, key):
    with s3.connect() as c:
        for i in range(100):
            c.send(s3.prepare("PUT", shelf, key, body=b"%d" % i), b"%d" % i)
            ok(c.answer())
            c.send(s3.prepare("HEAD", shelf, key))
            assert ok(c.answer("HEAD"))["content-length"] == str(len(b"%d" % i))


def test_head_sent_byte_by_byte(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    with s3.connect() as c:
        for byte in s3.prepare("GET", shelf, key):
            c.send(bytes([byte]))
        assert ok(c.answer()).body == b"v"


def test_bare_newlines_before_a_request(s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    with s3.connect() as c:
        c.send(b"\r\n\r\n" + s3.prepare("GET", shelf, key))
        assert ok(c.answer()).body == b"v"


def test_others_are_served_while_some_idle_or_stall(s3, shelf, key):
    """Idle connections, half heads, half bodies and readers that do not read: none holds a stranger up."""
    ok(s3.put(shelf, key, bytes(4 * MIB)))
    with contextlib.ExitStack() as stack:

        def held():
            return stack.enter_context(s3.connect(deadline_s=100))

        for _ in range(IDLE_MAX):
            held()
        for _ in range(STALLED):
            held().send(s3.prepare("GET", shelf, key)[:60])
            held().send(
                s3.prepare("PUT", shelf, key + "stalled", headers=[("Content-Length", "100000")], payload=UNSIGNED), bytes(30_000)
            )
            held().send(s3.prepare("GET", shelf, key))
        for i in range(10):
            ok(s3.put(shelf, f"{key}-{i}", b"served"))
            present(s3, shelf, f"{key}-{i}", b"served")
    absent(s3, shelf, key + "stalled")


def test_readers_that_do_not_read_hold_no_drive(s3, shelf, key):
    """A drive that answers nobody for five seconds is taken out of service; these must not make one so."""
    ok(s3.put(shelf, key, bytes(8 * MIB)))
    ok(s3.put(shelf, key + "-other", bytes(300_000)))
    with contextlib.ExitStack() as open_until_here:
        for _ in range(SILENT):
            silent = open_until_here.enter_context(s3.connect())
            silent.send(s3.prepare("GET", shelf, key))
        until = time.monotonic() + SILENT_FOR_S
        while time.monotonic() < until:
            assert len(ok(s3.get(shelf, key + "-other")).body) == 300_000
            ok(s3.put(shelf, key + "-new", bytes(300_000)))


def test_readers_that_go_away(s3, shelf, key):
    ok(s3.put(shelf, key, bytes(4 * MIB)))
    for _ in range(20):
        with s3.connect() as c:
            c.send(s3.prepare("GET", shelf, key))
            c.socket.recv(1000)
            c.abort()
    assert len(ok(s3.get(shelf, key)).body) == 4 * MIB


def test_buckets_come_and_go_under_list_buckets(s3):
    """A list is never a 500 because a bucket went meanwhile."""
    from conftest import fresh_name

    stop, faults = threading.Event(), []

    def churn():
        while not stop.is_set():
            name = fresh_name()
            for answer in (s3.request("PUT", name), s3.delete(name)):
                if answer.status >= 300:
                    faults.append(answer)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        for _ in range(20):
            ok(s3.get(""))
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not faults


def test_lists_and_multi_deletes_race(s3, bucket):
    names = [f"k{i:03}" for i in range(60)]
    for answer in s3.many([lambda n=n: s3.put(bucket, n) for n in names]):
        ok(answer)
    calls = [lambda i=i: s3.get(bucket, query=["versions"]) if i % 2 else s3.get(bucket) for i in range(8)]
    calls += [lambda i=i: s3.delete_many(bucket, names[i * 20 : i * 20 + 20]) for i in range(3)] * 2
    for answer in s3.many(calls):
        ok(answer)
    assert s3.keys_of(bucket) == []


def test_bucket_deleted_while_objects_come(s3):
    """Either the object is in or the bucket is gone; never an object in no bucket."""
    from conftest import fresh_name

    for i in range(5):
        name = fresh_name()
        ok(s3.request("PUT", name))
        gone, *puts = s3.many([lambda: s3.delete(name), *[lambda j=j: s3.put(name, f"k{j}", b"v") for j in range(4)]])
        assert gone.status in (204, 409), gone
        if gone.status == 204:
            assert all(p.status == 404 for p in puts) or s3.head(name).status == 404, puts
            refused(s3.get(name), 404, "NoSuchBucket")
        else:
            assert all(p.status in (200, 409) for p in puts), puts
            s3.remove(name)
