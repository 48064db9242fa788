"""Our own signer and checksums, against botocore's and published values: needs no server."""

from __future__ import annotations

import base64
import hashlib

import pytest
import sums
from botocore.auth import S3SigV4Auth, S3SigV4PostAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from sign import Keys, form_fields, quoted, sha, sign_header, sign_query
from urllib.parse import parse_qsl, urlsplit

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
PATHS = ["/b/k", "/b/a//b", "/b/a/../b", "/b/a%20b%2Bc~", "/b/%C3%A4"]
QUERIES = [[], [("uploads", None)], [("prefix", "a b+c=/~ä"), ("list-type", "2")]]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("path", PATHS)
def test_header_signature_is_botocores(path, query):
    words = "&".join(f"{quoted(n)}={quoted(v or '')}" for n, v in query)
    request = AWSRequest(
        "PUT",
        f"http://h:9000{path}" + (f"?{words}" if words else ""),
        data=b"body",
        headers={"x-amz-meta-a": "two  words", "content-type": "text/plain"},
    )
    auth = S3SigV4Auth(Credentials(KEYS.access, KEYS.secret), "s3", "us-east-1")
    auth.add_auth(request)
    headers = [("Host", "h:9000"), ("x-amz-meta-a", "two  words"), ("content-type", "text/plain")]
    out, _ = sign_header(KEYS, "PUT", path, query, headers, sha(b"body"), date=request.headers["X-Amz-Date"])
    ours = dict(out)["Authorization"].split("Signature=")[1]
    assert request.headers["Authorization"].endswith(ours)


@pytest.mark.parametrize("path", PATHS)
def test_query_signature_is_botocores(path):
    request = AWSRequest("GET", f"http://h:9000{path}")
    S3SigV4QueryAuth(Credentials(KEYS.access, KEYS.secret), "s3", "us-east-1", expires=300).add_auth(request)
    theirs = dict(parse_qsl(urlsplit(request.url).query))
    ours = dict(sign_query(KEYS, "GET", path, [], [("Host", "h:9000")], date=theirs["X-Amz-Date"]))
    assert ours == theirs


def test_form_signature_is_botocores():
    request = AWSRequest("POST", "http://h:9000/b")
    request.context["s3-presign-post-fields"] = {}
    request.context["s3-presign-post-policy"] = {"expiration": "x", "conditions": []}
    S3SigV4PostAuth(Credentials(KEYS.access, KEYS.secret), "s3", "us-east-1").add_auth(request)
    theirs = request.context["s3-presign-post-fields"]
    ours = dict(form_fields(KEYS, [], date=theirs["x-amz-date"], policy=base64.b64decode(theirs["policy"])))
    assert {k: v for k, v in ours.items()} == theirs


def test_signing_key_is_the_published_one():
    keys = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", service="iam")
    assert keys.signing_key("20150830T000000Z").hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("CRC32", "cbf43926"),
        ("CRC32C", "e3069283"),
        ("CRC64NVME", "ae8b14860a799888"),
        ("SHA1", hashlib.sha1(b"123456789").hexdigest()),
        ("SHA256", hashlib.sha256(b"123456789").hexdigest()),
    ],
)
def test_check_values(algorithm, expected):
    assert sums.digest(algorithm, b"123456789").hex() == expected
