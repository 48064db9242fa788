"""Documents beside those of test_limits.py: lists, object tags, policies, new buckets, Complete. Their digests are
compared, their form is checked, and what is refused changes nothing."""

from __future__ import annotations

import json

import pytest
import sums
from conftest import fresh_name
from s3 import XMLNS, absent, ok, present, refused
from test_limits import BOMB, DOCUMENTS, XML_BYTES_MAX, document, send_document
from wire import Answer

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
OTHER_XMLNS = 'xmlns="http://example.com/another/"'
TAGS = "<TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet>"


def acl(owner: str) -> str:
    grant = f'<Grant><Grantee {XSI} xsi:type="Group"><URI>{ALL_USERS}</URI></Grantee><Permission>READ</Permission></Grant>'
    return f"<Owner><ID>{owner}</ID></Owner><AccessControlList>{grant}</AccessControlList>"


class Place:
    """A bucket with an object `k` and an upload of it, and what each document here would change."""

    def __init__(self, s3, anonymous, bucket, owner) -> None:
        self.s3, self.anonymous, self.bucket, self.owner = s3, anonymous, bucket, owner
        ok(s3.put(bucket, "k", b"keep"))
        self.upload = s3.begin(bucket, "up")
        self.part = ok(s3.part(bucket, "up", self.upload, 1, b"part"))["etag"]
        self.new = fresh_name()

    def parts(self, case: str):
        """(method, bucket, key, query, root, what is in it)"""
        part = f"<Part><PartNumber>1</PartNumber><ETag>{self.part}</ETag></Part>"
        return {
            "bucket acl": ("PUT", self.bucket, None, ["acl"], "AccessControlPolicy", acl(self.owner)),
            "object acl": ("PUT", self.bucket, "k", ["acl"], "AccessControlPolicy", acl(self.owner)),
            "object tags": ("PUT", self.bucket, "k", ["tagging"], "Tagging", TAGS),
            "complete": ("POST", self.bucket, "up", [("uploadId", self.upload)], "CompleteMultipartUpload", part),
            "new bucket": ("PUT", self.new, None, [], "CreateBucketConfiguration", "<LocationConstraint/>"),
        }[case]

    def xml(self, case: str, xmlns: str = XMLNS, before: str = "", within: str = "") -> str:
        root, inner = self.parts(case)[4:]
        return f"{before}<{root} {xmlns}>{within}{inner}</{root}>"

    def send(self, case: str, xml: str | bytes, headers=()):
        method, bucket, key, query = self.parts(case)[:4]
        return self.s3.document(method, bucket, key, query, xml, headers)

    def done(self, case: str) -> bool:
        """Whether the document has had its effect."""
        if case == "bucket acl":
            return self.anonymous.get(self.bucket).status == 200
        if case == "object acl":
            return self.anonymous.get(self.bucket, "k").status == 200
        if case == "object tags":
            return ok(self.s3.get(self.bucket, "k", ["tagging"])).texts("TagSet/Tag/Key") == ["a"]
        if case == "complete":
            return self.s3.get(self.bucket, "up").status == 200
        return self.s3.head(self.new).status == 200

    def refuses(self, case: str, xml: str | bytes, codes, headers=()) -> None:
        refused(self.send(case, xml, headers), 400, codes)
        assert not self.done(case)
        present(self.s3, self.bucket, "k", b"keep")
        assert ok(self.s3.get(self.bucket, "up", [("uploadId", self.upload)])).texts("Part/ETag") == [self.part]


CASES = ["bucket acl", "object acl", "object tags", "complete", "new bucket"]


@pytest.fixture
def place(s3, anonymous, accounts, bucket):
    made = Place(s3, anonymous, bucket, accounts["main"]["canonical_id"])
    yield made
    s3.remove(made.new)


@pytest.mark.parametrize("xmlns", [XMLNS, "", OTHER_XMLNS], ids=["namespace", "none", "another"])
@pytest.mark.parametrize("case", CASES)
def test_taken(place, case, xmlns):
    assert not place.done(case)
    ok(place.send(case, place.xml(case, xmlns)))
    assert place.done(case)


@pytest.mark.parametrize("case", DOCUMENTS)
def test_another_namespace(s3, bucket, case):
    """Old clients send namespaces of their own; the names are what counts."""
    ok(send_document(s3, bucket, case, document(case, OTHER_XMLNS)))


@pytest.mark.parametrize("case", CASES)
def test_malformed(place, case):
    whole = place.xml(case)
    for bad in (whole[:-8], f"<Foo {XMLNS}/>", b"\xff\xfe{not xml}", place.xml(case, before=BOMB, within="&i;")):
        place.refuses(case, bad, "MalformedXML")


FAULTS = {
    "wrong md5": (("Content-MD5", sums.md5(b"x")), "BadDigest"),
    "bad md5": (("Content-MD5", "zz"), "InvalidDigest"),
    "wrong crc32": (("x-amz-checksum-crc32", sums.value("CRC32", b"x")), "BadDigest"),
    "wrong sha256": (("x-amz-checksum-sha256", sums.value("SHA256", b"x")), "BadDigest"),
}


# Checksums of a Complete are the object's: test_checksums.py.
WITH_DIGEST = [(c, f) for c in CASES for f in FAULTS if c != "complete" or "md5" in f]


@pytest.mark.parametrize(("case", "fault"), WITH_DIGEST)
def test_digest(place, case, fault):
    header, code = FAULTS[fault]
    place.refuses(case, place.xml(case), code, [header])
    ok(place.send(case, place.xml(case)))


@pytest.mark.parametrize("fault", FAULTS)
def test_digest_of_a_policy(s3, bucket, fault):
    header, code = FAULTS[fault]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    refused(s3.document("PUT", bucket, None, ["policy"], text, [header]), 400, code)
    refused(s3.get(bucket, query=["policy"]), 404, "NoSuchBucketPolicy")
    ok(s3.document("PUT", bucket, None, ["policy"], text))


@pytest.mark.parametrize("case", DOCUMENTS)
def test_checksum_in_place_of_md5(s3, bucket, case):
    """Newer SDKs send a checksum and no MD5."""
    method, query, _, _ = DOCUMENTS[case]
    body = document(case).encode()
    ok(s3.request(method, bucket, None, query, [("x-amz-checksum-crc32", sums.value("CRC32", body))], body))


def test_beyond_the_limit(s3, bucket, key):
    ok(s3.put(bucket, key, b"keep"))
    xml = f"<Delete {XMLNS}><Object><Key>{key}</Key></Object>{' ' * XML_BYTES_MAX}</Delete>"
    refused(s3.document("POST", bucket, None, ["delete"], xml), 400, ("MaxMessageLengthExceeded", "MalformedXML"))
    present(s3, bucket, key, b"keep")


def in_one_chunk(client, bucket, body) -> Answer:
    """A multi-delete that does not say how long it is."""
    more = [("Transfer-Encoding", "chunked"), ("Content-MD5", sums.md5(body))]
    with client.connect() as c:
        c.send(client.prepare("POST", bucket, None, ["delete"], more, body, length=False))
        c.send(f"{len(body):x}\r\n".encode(), body, b"\r\n0\r\n\r\n")
        return c.answer("POST")


def test_without_a_length(s3, bucket):
    ok(s3.put(bucket, "k", b"keep"))
    body = f"<Delete {XMLNS}><Object><Key>k</Key></Object></Delete>".encode()
    refused(in_one_chunk(s3, bucket, body), 411, "MissingContentLength")
    present(s3, bucket, "k", b"keep")


def test_beyond_the_limit_of_the_anonymous_without_a_length(s3, anonymous, new_bucket):
    """Nothing is signed, so nothing asks for a length: the limit holds all the same."""
    bucket = new_bucket(headers=[("x-amz-acl", "public-read-write")])
    ok(s3.put(bucket, "k", b"keep"))
    body = f"<Delete {XMLNS}><Object><Key>k</Key></Object>{' ' * XML_BYTES_MAX}</Delete>".encode()
    codes = ("MaxMessageLengthExceeded", "MalformedXML", "MissingContentLength")
    refused(in_one_chunk(anonymous, bucket, body), (400, 411), codes)
    present(s3, bucket, "k", b"keep")


def test_complete_with_10001_parts(s3, shelf, key):
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 1, b"x"))["etag"]
    many = [(n, etag) for n in range(1, 10_002)]
    refused(s3.complete(shelf, key, upload, many), 400, ("InvalidArgument", "MalformedXML"))
    absent(s3, shelf, key)
    ok(s3.complete(shelf, key, upload, many[:1]))


def test_complete_says_at_once_whether_it_is_done(s3, shelf, key):
    """AWS may send spaces while it works, and the refusal in a 200. Ours is one commit: the status tells, and the
    document begins where it begins."""
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 1, b"x"))["etag"]
    refused(s3.complete(shelf, key, upload, [(1, sums.etag(b"other"))]), 400, "InvalidPart")
    answer = ok(s3.complete(shelf, key, upload, [(1, etag)]), 200)
    assert answer.body.startswith(b"<?xml") and answer.xml.tag == "CompleteMultipartUploadResult"
