"""Names with control characters in answers: XML 1.0 cannot bear them, AWS writes character references."""

from __future__ import annotations

import html

import pytest
import sums
from s3 import XMLNS, ok, refused

NAME = "a\x01b\rc\x1fd"
WRITTEN = b"a&#x1;b&#13;c&#x1f;d"


def bare(answer, status=200):
    """The body of a good answer; no XML parser takes it."""
    assert answer.status == status, answer
    assert not any(byte < 32 and byte not in b"\t\n" for byte in answer.body), answer.body
    return answer.body


@pytest.fixture(scope="module")
def named(s3):
    """A bucket with the name as key of a version and of a delete marker, and as a prefix."""
    from conftest import fresh_name

    bucket = fresh_name()
    ok(s3.request("PUT", bucket))
    ok(s3.versioning(bucket, "Enabled"))
    ok(s3.put(bucket, NAME, b"v"))
    ok(s3.put(bucket, NAME + "/k", b"v"))
    ok(s3.put(bucket, "gone" + NAME, b"v"))
    ok(s3.delete(bucket, "gone" + NAME), 204)
    yield bucket
    s3.remove(bucket)


@pytest.mark.parametrize("query", [[], [("list-type", "2")], ["versions"]], ids=["v1", "v2", "versions"])
def test_listings(s3, named, query):
    body = bare(s3.get(named, query=query))
    assert b"<Key>" + WRITTEN + b"</Key>" in body
    assert (b"<Key>gone" + WRITTEN + b"</Key>" in body) == (query == ["versions"])
    rolled = bare(s3.get(named, query=[*query, ("delimiter", "/"), ("prefix", NAME)]))
    assert b"<Prefix>" + WRITTEN + b"</Prefix>" in rolled
    assert b"<CommonPrefixes><Prefix>" + WRITTEN + b"/</Prefix></CommonPrefixes>" in rolled


@pytest.mark.parametrize("query", [[], [("list-type", "2")], ["versions"]], ids=["v1", "v2", "versions"])
def test_encoded_listings_are_xml(s3, named, query):
    keys = [e.findtext("Key") for e in ok(s3.get(named, query=[*query, ("encoding-type", "url")])).xml if e.find("Key") is not None]
    assert "a%01b%0Dc%1Fd" in keys


def test_upload(s3, bucket):
    key = b"<Key>" + WRITTEN + b"</Key>"
    body = bare(s3.request("POST", bucket, NAME, ["uploads"]))
    assert key in body
    upload = body.split(b"<UploadId>")[1].split(b"<")[0].decode()
    etag = ok(s3.part(bucket, NAME, upload, 1, b"v"))["etag"]
    assert key in bare(s3.get(bucket, query=["uploads"]))
    assert key in bare(s3.get(bucket, NAME, [("uploadId", upload)]))
    body = bare(s3.complete(bucket, NAME, upload, [(1, etag)]))
    assert key in body and sums.etag_of_parts([b"v"]) in html.unescape(body.decode())
    assert ok(s3.get(bucket, NAME)).body == b"v"


def test_multi_delete(s3, bucket):
    """A reference to a control character is no XML 1.0: refused. A bare one some readers take; the answer names it."""
    ok(s3.put(bucket, "a\x01b", b"v"))
    refused(delete(s3, bucket, "a&#x1;b"), 400, "MalformedXML")
    answer = delete(s3, bucket, "a\x01b")
    if answer.status != 200:
        refused(answer, 400, "MalformedXML")
        return
    body = bare(answer)
    assert b"<Deleted><Key>a&#x1;b</Key></Deleted>" in body
    assert b"<Key>a&#x1;b</Key>" in body.split(b"<Error>")[1]
    assert s3.get(bucket, "a\x01b").status == 404


def delete(s3, bucket, written):
    """Deletes the current version, and tries to delete one that cannot be."""
    xml = (
        f"<Delete {XMLNS}><Object><Key>{written}</Key></Object>"
        f"<Object><Key>{written}</Key><VersionId>!</VersionId></Object></Delete>"
    )
    return s3.document("POST", bucket, None, ["delete"], xml)
