"""Behind a proxy that is trusted: whose address conditions see, what is secure, and buckets named by their host."""

from __future__ import annotations

import os

import pytest
from conftest import _keys, fresh_name
from harness.server import Server
from s3 import Client, ok, refused
from test_policy import put_policy, statement

pytestmark = [
    pytest.mark.xdist_group("proxied"),
    pytest.mark.skipif(not os.environ.get("S3_DRIVES"), reason="the server is not ours to start"),
]
DOMAIN = "s3.example.com"
SETTINGS = f'trusted_proxies = ["127.0.0.1/32", "10.9.0.0/16"]\ndomains = ["{DOMAIN}"]'


@pytest.fixture(scope="module")
def proxied():
    with Server(settings=SETTINGS) as server:
        yield Client(server.endpoint, _keys("main"))


@pytest.fixture(scope="module")
def other(proxied):
    return proxied.as_(_keys("alt"))


@pytest.fixture
def held(proxied):
    name = fresh_name()
    ok(proxied.request("PUT", name))
    ok(proxied.put(name, "k", b"v"))
    yield name
    proxied.remove(name)


def read(other, held, *forwarded):
    return other.get(held, "k", headers=[("X-Forwarded-For", f) for f in forwarded])


# Who is told to be the client → may read where 192.0.2.0/24 and 2001:db8::/32 may.
ADDRESSES = {
    "allowed": (["192.0.2.7"], True),
    "another": (["198.51.100.7"], False),
    "none: the proxy itself": ([], False),
    "with a port": (["192.0.2.7:4711"], True),
    "version six": (["2001:db8::1"], True),
    "version six with a port": (["[2001:db8::1]:4711"], True),
    "through two of ours": (["192.0.2.7, 10.9.1.1"], True),
    "through two of ours, in two lines": (["192.0.2.7", "10.9.1.1"], True),
    "what the client itself says before": (["192.0.2.7, 198.51.100.7"], False),
    "what the client itself says before, through ours": (["192.0.2.7, 198.51.100.7, 10.9.1.1"], False),
    "unreadable": (["unknown"], False),
    "unreadable at the end": (["192.0.2.7, ???"], False),
    "empty": ([""], False),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_source_address(proxied, other, held, case):
    forwarded, allowed = ADDRESSES[case]
    ours = {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}
    ok(put_policy(proxied, held, statement(held, Condition=ours)))
    answer = read(other, held, *forwarded)
    ok(answer) if allowed else refused(answer, 403, "AccessDenied")


@pytest.mark.parametrize("forwarded", ["198.51.100.7", "192.0.2.7, 198.51.100.7", "unknown", "192.0.2.7, ???"])
def test_no_deny_is_dodged(proxied, other, held, forwarded):
    """Not by an address that cannot be told either: docs/S3.md says so."""
    evil = {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}
    ok(put_policy(proxied, held, statement(held), statement(held, "Deny", Condition=evil)))
    ok(read(other, held, "192.0.2.7"))
    refused(read(other, held, forwarded), 403, "AccessDenied")


@pytest.mark.parametrize(("proto", "allowed"), [("https", True), ("HTTPS", True), ("http", False), (None, False), ("", False)])
def test_secure_transport(proxied, other, held, proto, allowed):
    ok(put_policy(proxied, held, statement(held, Condition={"Bool": {"aws:SecureTransport": "true"}})))
    answer = other.get(held, "k", headers=[] if proto is None else [("X-Forwarded-Proto", proto)])
    ok(answer) if allowed else refused(answer, 403, "AccessDenied")


def by_host(client, host) -> Client:
    """The same client, which calls the server so."""
    named = client.as_(client.keys)
    named.authority = host
    return named


@pytest.mark.parametrize("port", ["", ":443"])
def test_bucket_in_the_host(proxied, held, port):
    there = by_host(proxied, f"{held}.{DOMAIN}{port}")
    assert ok(there.request("GET", path="/k")).body == b"v"
    ok(there.request("PUT", path="/dir/by%20host", body=b"h"))
    assert ok(proxied.get(held, "dir/by host")).body == b"h"
    assert ok(there.request("GET", path="/")).texts("Contents/Key") == ["dir/by host", "k"]
    # A key that begins as the bucket is called is no path.
    refused(there.request("GET", path=f"/{held}/k"), 404, "NoSuchKey")
    refused(there.request("GET", path="/../k"), (400, 404), ("NoSuchKey", "InvalidURI"))


@pytest.mark.parametrize("host", [DOMAIN, "another.example.com", f"x{DOMAIN}"])
def test_other_hosts_are_path_style(proxied, held, host):
    assert ok(by_host(proxied, host).get(held, "k")).body == b"v"


def test_bucket_with_dots_in_the_host(proxied):
    name = f"a.b-{fresh_name()}"
    there = by_host(proxied, f"{name}.{DOMAIN}")
    ok(there.request("PUT", path="/"))
    ok(there.request("PUT", path="/k", body=b"v"))
    assert ok(proxied.get(name, "k")).body == b"v"
    ok(there.request("DELETE", path="/k"), 204)
    ok(there.request("DELETE", path="/"), 204)
