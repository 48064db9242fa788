"""HTTP/2, by a curl that knows nothing of us: prior knowledge over http, ALPN over https, signed by curl."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from s3 import MIB, absent, ok, path_of, present
from sign import UNSIGNED, sha

CURL_S_MAX = 30
pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="no curl")


def curl(s3, *words: str, signed: bool = True, secret: str | None = None) -> tuple[int, str, bytes]:
    """(status, HTTP version, body). Over https curl trusts only our authority."""
    how = ["--cacert", s3.ca] if s3.secure else ["--http2-prior-knowledge"]
    if s3.secure:
        how.append("--http2")
    if signed:
        how += ["--aws-sigv4", f"aws:amz:{s3.keys.region}:s3", "--user", f"{s3.keys.access}:{secret or s3.keys.secret}"]
    line = ["curl", "-sS", "--noproxy", "*", "--path-as-is", "-o", "-", "-w", "\n%{http_code} %{http_version}", *how, *words]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=CURL_S_MAX)
    assert done.returncode == 0, f"{done.returncode} {done.stderr.decode()}"
    body, _, tail = done.stdout.rpartition(b"\n")
    status, version = tail.decode().split()
    return int(status), version, body


@pytest.fixture(params=["http", "https"])
def server(request, s3):
    return s3 if request.param == "http" else request.getfixturevalue("tls")


def url(server, bucket, key=None, query=""):
    return server.endpoint + path_of(bucket, key) + query


def hashed(data: bytes = b"") -> list[str]:
    return ["-H", f"x-amz-content-sha256: {sha(data)}"]


def test_list_buckets(server):
    status, version, body = curl(server, *hashed(), server.endpoint + "/")
    assert (status, version) == (200, "2") and b"ListAllMyBucketsResult" in body


def test_put_get_head_delete(server, s3, shelf, key, tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"by http/2")
    put = ["-X", "PUT", "--data-binary", f"@{file}", "-H", "Content-Type: text/x", *hashed(b"by http/2")]
    assert curl(server, *put, url(server, shelf, key))[:2] == (200, "2")
    assert present(s3, shelf, key, b"by http/2")["content-type"] == "text/x"
    assert curl(server, *hashed(), url(server, shelf, key)) == (200, "2", b"by http/2")
    assert curl(server, "-I", *hashed(), url(server, shelf, key))[:2] == (200, "2")
    assert curl(server, "-X", "DELETE", *hashed(), url(server, shelf, key))[:2] == (204, "2")
    absent(s3, shelf, key)


def test_large_both_ways(server, s3, shelf, key, tmp_path):
    data = bytes(i % 251 for i in range(3 * MIB + 1))
    file = tmp_path / "f"
    file.write_bytes(data)
    put = ["-X", "PUT", "--data-binary", f"@{file}", *hashed(data), "-H", "Content-Type: x/y"]
    assert curl(server, *put, url(server, shelf, key))[:2] == (200, "2")
    status, version, body = curl(server, *hashed(), url(server, shelf, key))
    assert (status, version) == (200, "2") and body == data


def test_list_with_query(server, s3, shelf, key):
    ok(s3.put(shelf, key, b"v"))
    status, version, body = curl(server, *hashed(), url(server, shelf, query=f"?list-type=2&prefix={key}"))
    assert (status, version) == (200, "2") and f"<Key>{key}</Key>".encode() in body


def test_refusals(server, s3, shelf, key):
    status, version, body = curl(server, *hashed(), url(server, shelf, key + "none"))
    assert (status, version) == (404, "2") and b"NoSuchKey" in body
    status, version, body = curl(server, *hashed(), url(server, shelf, key), secret="wrong")
    assert (status, version) == (403, "2") and b"SignatureDoesNotMatch" in body
    status, version, body = curl(server, url(server, shelf, key), signed=False)
    assert (status, version) == (403, "2") and b"AccessDenied" in body


def test_refused_body_of_some_size(server, s3, shelf, key, tmp_path):
    file = tmp_path / "f"
    file.write_bytes(bytes(2 * MIB))
    put = ["-X", "PUT", "--data-binary", f"@{file}", "-H", "Content-Type: x/y", "-H", f"x-amz-content-sha256: {UNSIGNED}"]
    assert curl(server, *put, url(server, shelf, key), secret="wrong")[:2] == (403, "2")
    absent(s3, shelf, key)


def test_many_streams_on_one_connection(server, s3, shelf, key, tmp_path):
    bodies = [f"{i}".encode() * 5000 for i in range(12)]
    for i, body in enumerate(bodies):
        ok(s3.put(shelf, f"{key}-{i}", body))
    words = ["--parallel", "--parallel-immediate", *hashed()]
    urls = [w for i in range(12) for w in ("-o", str(tmp_path / str(i)), url(server, shelf, f"{key}-{i}"))]
    how = ["--cacert", server.ca, "--http2"] if server.secure else ["--http2-prior-knowledge"]
    who = ["--aws-sigv4", f"aws:amz:{server.keys.region}:s3", "--user", f"{server.keys.access}:{server.keys.secret}"]
    line = ["curl", "-sS", "--noproxy", "*", "--fail", *how, *who, *words, *urls]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=CURL_S_MAX)
    assert done.returncode == 0, done.stderr.decode()
    assert [(tmp_path / str(i)).read_bytes() for i in range(12)] == bodies


def test_upgrade_is_not_needed(s3):
    """h2c by Upgrade is gone from the standard: the request is answered as HTTP/1.1."""
    if s3.secure:
        pytest.skip("over https ALPN decides")
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", s3.endpoint + "/"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=CURL_S_MAX,
    )
    assert re.fullmatch(rb"403 (1\.1|2)", done.stdout), (done.stdout, done.stderr)
