"""Uploads in parts: order, replacement, what is refused, and calls that race."""

from __future__ import annotations

import pytest
import sums
from s3 import PART_BYTES_MIN, XMLNS, absent, ok, present, refused
from sign import UNSIGNED

BIG = bytes(PART_BYTES_MIN)
BIG_ETAG = sums.etag(BIG)


def uploads_of(s3, bucket, key):
    return [
        i
        for k, i in zip(
            *(ok(s3.get(bucket, query=["uploads", ("prefix", key)])).texts(f"Upload/{w}") for w in ("Key", "UploadId"))
        )
        if k == key
    ]


def begun(s3, bucket, key, *parts):
    upload = s3.begin(bucket, key)
    return upload, [(n, ok(s3.part(bucket, key, upload, n, p))["etag"]) for n, p in enumerate(parts, 1)]


def test_whole(s3, shelf, key):
    upload = s3.begin(shelf, key, [("x-amz-meta-a", "1"), ("Content-Type", "text/x"), ("x-amz-tagging", "t=1")])
    parts = [BIG, b"tail"]
    etags = [(n, ok(s3.part(shelf, key, upload, n, p))["etag"]) for n, p in enumerate(parts, 1)]
    absent(s3, shelf, key)
    answer = ok(s3.complete(shelf, key, upload, etags))
    assert (answer.text("Bucket"), answer.text("Key"), answer.text("ETag")) == (shelf, key, sums.etag_of_parts(parts))
    assert answer.text("Location")
    got = present(s3, shelf, key, b"".join(parts))
    assert (got["etag"], got["x-amz-meta-a"], got["content-type"], got["x-amz-tagging-count"]) == (
        sums.etag_of_parts(parts),
        "1",
        "text/x",
        "1",
    )
    assert uploads_of(s3, shelf, key) == []


@pytest.mark.parametrize("numbers", [[2, 1], [1, 1], [1, 2, 2], [3, 1, 2]], ids=str)
def test_wrong_order(s3, shelf, key, numbers):
    upload, etags = begun(s3, shelf, key, b"1", b"2", b"3")
    refused(s3.complete(shelf, key, upload, [etags[n - 1] for n in numbers]), 400, "InvalidPartOrder")
    absent(s3, shelf, key)
    assert uploads_of(s3, shelf, key) == [upload]


def test_last_write_of_a_part_wins(s3, shelf, key):
    upload, [(_, old)] = begun(s3, shelf, key, b"old")
    new = ok(s3.part(shelf, key, upload, 1, b"newer"))["etag"]
    page = ok(s3.get(shelf, key, [("uploadId", upload)]))
    assert (page.texts("Part/ETag"), page.texts("Part/Size")) == ([new], ["5"])
    refused(s3.complete(shelf, key, upload, [(1, old)]), 400, "InvalidPart")
    ok(s3.complete(shelf, key, upload, [(1, new)]))
    present(s3, shelf, key, b"newer")


def test_parts_left_out_and_gaps(s3, shelf, key):
    upload = s3.begin(shelf, key)
    for n in (2, 7, 9):
        ok(s3.part(shelf, key, upload, n, BIG if n == 2 else f"part {n}".encode()))
    ok(s3.complete(shelf, key, upload, [(2, BIG_ETAG), (9, sums.etag(b"part 9"))]))
    present(s3, shelf, key, BIG + b"part 9")


def test_order_of_arrival_does_not_matter(s3, shelf, key):
    upload = s3.begin(shelf, key)
    for n, data in ((3, b"tail"), (1, BIG), (2, BIG + b"x")):
        ok(s3.part(shelf, key, upload, n, data))
    parts = [BIG, BIG + b"x", b"tail"]
    ok(s3.complete(shelf, key, upload, [(n, sums.etag(p)) for n, p in enumerate(parts, 1)]))
    assert present(s3, shelf, key, b"".join(parts))["etag"] == sums.etag_of_parts(parts)


BAD_COMPLETES = {
    "wrong etag": (lambda e: [(1, '"00000000000000000000000000000000"')], "InvalidPart"),
    "unknown part": (lambda e: [(2, e)], "InvalidPart"),
    "no parts": (lambda e: [], "MalformedXML"),
    "part zero": (lambda e: [(0, e)], ("InvalidArgument", "MalformedXML", "InvalidPart")),
    "part beyond": (lambda e: [(10_001, e)], ("InvalidArgument", "MalformedXML", "InvalidPart")),
    "no number": (lambda e: [("x", e)], "MalformedXML"),
    "empty etag": (lambda e: [(1, "")], ("InvalidPart", "MalformedXML")),
}


@pytest.mark.parametrize("case", BAD_COMPLETES)
def test_bad_complete(s3, shelf, key, case):
    make, code = BAD_COMPLETES[case]
    upload, [(_, etag)] = begun(s3, shelf, key, b"1")
    refused(s3.complete(shelf, key, upload, make(etag)), 400, code)
    absent(s3, shelf, key)
    ok(s3.complete(shelf, key, upload, [(1, etag)]))


@pytest.mark.parametrize("part", ["<PartNumber>1</PartNumber>", "<ETag>x</ETag>", ""], ids=["no etag", "no number", "nothing"])
def test_complete_of_half_a_part(s3, shelf, key, part):
    upload, _ = begun(s3, shelf, key, b"1")
    body = f"<CompleteMultipartUpload {XMLNS}><Part>{part}</Part></CompleteMultipartUpload>".encode()
    codes = "MalformedXML" if part.startswith("<PartNumber") else ("MalformedXML", "InvalidArgument")
    refused(s3.request("POST", shelf, key, [("uploadId", upload)], body=body), 400, codes)
    absent(s3, shelf, key)


@pytest.mark.parametrize("body", [b"", b"<CompleteMultipartUpload>", b"not xml", b"<Foo/>"])
def test_complete_with_bad_xml(s3, shelf, key, body):
    upload, _ = begun(s3, shelf, key, b"1")
    refused(s3.request("POST", shelf, key, [("uploadId", upload)], body=body), 400, ("MalformedXML", "InvalidRequest"))
    absent(s3, shelf, key)


def test_unquoted_etag_is_taken(s3, shelf, key):
    upload, [(_, etag)] = begun(s3, shelf, key, b"1")
    ok(s3.complete(shelf, key, upload, [(1, etag.strip('"'))]))


def test_small_part_in_the_middle(s3, shelf, key):
    upload, etags = begun(s3, shelf, key, b"small", b"tail")
    refused(s3.complete(shelf, key, upload, etags), 400, "EntityTooSmall")
    absent(s3, shelf, key)


@pytest.mark.parametrize("parts", [[b""], [BIG, b""]], ids=["alone", "last"])
def test_empty_part(s3, shelf, key, parts):
    upload, etags = begun(s3, shelf, key, *parts)
    answer = ok(s3.complete(shelf, key, upload, etags))
    assert answer.text("ETag") == sums.etag_of_parts(parts)
    present(s3, shelf, key, b"".join(parts))


def test_complete_twice(s3, bucket, key):
    """The same again is answered alike, or as gone; never a second version."""
    ok(s3.versioning(bucket, "Enabled"))
    upload, etags = begun(s3, bucket, key, b"1")
    first = ok(s3.complete(bucket, key, upload, etags))
    again = s3.complete(bucket, key, upload, etags)
    if again.status == 200:
        assert again.text("ETag") == first.text("ETag")
    else:
        refused(again, 404, "NoSuchUpload")
    assert len(s3.versions(bucket)) == 1


def test_completes_race(s3, bucket, key):
    ok(s3.versioning(bucket, "Enabled"))
    upload, etags = begun(s3, bucket, key, b"one version")
    answers = s3.many([lambda: s3.complete(bucket, key, upload, etags)] * 8)
    assert any(a.status == 200 and a.code is None for a in answers), answers
    assert all(a.status == 200 or a.code == "NoSuchUpload" for a in answers), answers
    assert len(s3.versions(bucket)) == 1
    present(s3, bucket, key, b"one version")


def test_complete_and_abort_race(s3, bucket):
    for i in range(5):
        key = f"k{i}"
        upload, etags = begun(s3, bucket, key, b"either")
        done, gone = s3.many(
            [lambda: s3.complete(bucket, key, upload, etags), lambda: s3.delete(bucket, key, [("uploadId", upload)])]
        )
        assert {done.status, gone.status} <= {200, 204, 404}, (done, gone)
        if done.status == 200 and done.code is None:
            present(s3, bucket, key, b"either")
        else:
            assert gone.status == 204, (done, gone)
            absent(s3, bucket, key)
        assert uploads_of(s3, bucket, key) == []


def test_after_abort(s3, shelf, key):
    upload, etags = begun(s3, shelf, key, b"1")
    ok(s3.delete(shelf, key, [("uploadId", upload)]), 204)
    refused(s3.complete(shelf, key, upload, etags), 404, "NoSuchUpload")
    refused(s3.part(shelf, key, upload, 1, b"1"), 404, "NoSuchUpload")
    refused(s3.get(shelf, key, [("uploadId", upload)]), 404, "NoSuchUpload")
    refused(s3.delete(shelf, key, [("uploadId", upload)]), 404, "NoSuchUpload")
    absent(s3, shelf, key)


@pytest.mark.parametrize("upload", ["none", "x" * 300, "../..", "%00", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "ü"])
def test_unknown_upload(s3, shelf, key, upload):
    refused(s3.part(shelf, key, upload, 1, b"1"), 404, "NoSuchUpload")
    refused(s3.complete(shelf, key, upload, [(1, BIG_ETAG)]), 404, "NoSuchUpload")
    refused(s3.delete(shelf, key, [("uploadId", upload)]), 404, "NoSuchUpload")


def test_abort_while_a_part_is_on_its_way(s3, shelf, key):
    upload = s3.begin(shelf, key)
    query = [("partNumber", "1"), ("uploadId", upload)]
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, query, [("Content-Length", "40000")], payload=UNSIGNED), bytes(20_000))
        ok(s3.delete(shelf, key, [("uploadId", upload)]), 204)
        c.send(bytes(20_000))
        refused(c.answer(), 404, "NoSuchUpload")
    refused(s3.get(shelf, key, [("uploadId", upload)]), 404, "NoSuchUpload")
    absent(s3, shelf, key)


def test_part_of_another_upload(s3, shelf, key):
    one, [(_, etag)] = begun(s3, shelf, key, b"of one")
    two, _ = begun(s3, shelf, key, b"of two")
    refused(s3.complete(shelf, key, two, [(1, etag)]), 400, "InvalidPart")
    ok(s3.complete(shelf, key, one, [(1, etag)]))
    present(s3, shelf, key, b"of one")
    assert uploads_of(s3, shelf, key) == [two]


def test_upload_of_another_key_or_bucket(s3, shelf, bucket, key):
    upload, etags = begun(s3, shelf, key, b"1")
    for where, name in ((shelf, key + "x"), (bucket, key)):
        refused(s3.part(where, name, upload, 1, b"1"), 404, "NoSuchUpload")
        refused(s3.complete(where, name, upload, etags), 404, "NoSuchUpload")
        refused(s3.delete(where, name, [("uploadId", upload)]), 404, "NoSuchUpload")
    assert uploads_of(s3, shelf, key) == [upload]


@pytest.mark.parametrize("missing", ["partNumber", "uploadId"])
def test_part_with_half_a_query(s3, shelf, key, missing):
    """Never taken for a PUT of the object."""
    ok(s3.put(shelf, key, b"keep"))
    query = [q for q in (("partNumber", "1"), ("uploadId", s3.begin(shelf, key))) if q[0] != missing]
    refused(s3.request("PUT", shelf, key, query, body=b"evil"), 400, ("InvalidArgument", "InvalidRequest"))
    present(s3, shelf, key, b"keep")


@pytest.fixture(scope="module")
def of_two(s3, shelf):
    s3.multipart(shelf, "of two", [BIG, b"tail"])
    ok(s3.put(shelf, "plain", b"plain"))
    ok(s3.put(shelf, "empty", b""))
    return "of two"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("number", "first", "data"), [("1", 0, BIG), ("2", len(BIG), b"tail")], ids=["1", "2"])
def test_read_by_part_number(s3, shelf, of_two, number, first, data, method):
    answer = ok(s3.request(method, shelf, of_two, [("partNumber", number)]), 206)
    assert answer["content-range"] == f"bytes {first}-{first + len(data) - 1}/{len(BIG) + 4}"
    assert (answer["x-amz-mp-parts-count"], answer["content-length"]) == ("2", str(len(data)))
    assert answer.body == (data if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("name", "number", "status"),
    [
        ("of two", "3", 416),
        ("of two", "10000", 416),
        ("plain", "2", 416),
        ("of two", "0", 400),
        ("of two", "-1", 400),
        ("of two", "10001", 400),
        ("of two", "x", 400),
    ],
)
def test_read_by_no_part_number(s3, shelf, of_two, name, number, status, method):
    code = {416: "InvalidPartNumber", 400: "InvalidArgument"}[status]
    refused(s3.request(method, shelf, name, [("partNumber", number)]), status, code if method == "GET" else None)


def test_part_one_of_a_plain_object(s3, shelf, of_two):
    answer = ok(s3.get(shelf, "plain", [("partNumber", "1")]), 206)
    assert answer.body == b"plain" and answer["x-amz-mp-parts-count"] is None


def test_bucket_goes_with_open_uploads(s3, new_bucket):
    bucket = new_bucket()
    begun(s3, bucket, "k", b"1")
    ok(s3.delete(bucket), 204)
    refused(s3.get(bucket, query=["uploads"]), 404, "NoSuchBucket")


def test_create_on_a_missing_bucket(s3):
    from conftest import fresh_name

    refused(s3.request("POST", fresh_name(), "k", ["uploads"]), 404, "NoSuchBucket")


def test_versioning_is_judged_at_complete(s3, bucket, key):
    upload, etags = begun(s3, bucket, key, b"1")
    ok(s3.versioning(bucket, "Enabled"))
    version = ok(s3.complete(bucket, key, upload, etags))["x-amz-version-id"]
    assert version and version != "null"
    assert s3.versions(bucket) == [("Version", key, version)]


def test_customer_key_must_be_the_same_for_every_part(s3, shelf, key):
    from test_sse import customer

    upload = s3.begin(shelf, key, customer(b"1" * 32))
    refused(s3.part(shelf, key, upload, 1, b"v", customer(b"2" * 32)), 400, ("InvalidRequest", "InvalidArgument"))
    refused(s3.part(shelf, key, upload, 1, b"v"), 400, ("InvalidRequest", "InvalidArgument"))
    etag = ok(s3.part(shelf, key, upload, 1, b"v", customer(b"1" * 32)))["etag"]
    refused(s3.complete(shelf, key, upload, [(1, etag)], customer(b"2" * 32)), 400, "InvalidRequest")
    ok(s3.complete(shelf, key, upload, [(1, etag)]))
    assert ok(s3.get(shelf, key, headers=customer(b"1" * 32))).body == b"v"


def test_complete_needs_the_customer_key_where_there_is_a_checksum(s3, shelf, key):
    from test_sse import customer

    own = customer(b"1" * 32)
    upload = s3.begin(shelf, key, [*own, ("x-amz-checksum-algorithm", "CRC64NVME")])
    etag = ok(s3.part(shelf, key, upload, 1, b"v", own))["etag"]
    refused(s3.complete(shelf, key, upload, [(1, etag)]), 400, "InvalidRequest")
    ok(s3.complete(shelf, key, upload, [(1, etag)], own))
    assert ok(s3.get(shelf, key, headers=own)).body == b"v"


def test_customer_key_for_parts_of_an_upload_without(s3, shelf, key):
    from test_sse import customer

    upload = s3.begin(shelf, key)
    refused(s3.part(shelf, key, upload, 1, b"v", customer(b"1" * 32)), 400, ("InvalidRequest", "InvalidArgument"))


# Parts that are copied.


@pytest.fixture(scope="module")
def source(s3, shelf):
    data = bytes(i % 251 for i in range(100_000))
    ok(s3.put(shelf, "source", data))
    return data


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [(None, 0, 99_999), ("bytes=0-0", 0, 0), ("bytes=5-99999", 5, 99_999), ("bytes=65519-65521", 65519, 65521)],
)
def test_part_copy(s3, shelf, key, source, header, first, last):
    upload = s3.begin(shelf, key)
    headers = [("x-amz-copy-source", f"/{shelf}/source"), *([("x-amz-copy-source-range", header)] if header else [])]
    etag = ok(s3.part(shelf, key, upload, 1, b"", headers)).text("ETag")
    assert etag == sums.etag(source[first : last + 1])
    ok(s3.complete(shelf, key, upload, [(1, etag)]))
    present(s3, shelf, key, source[first : last + 1])


@pytest.mark.parametrize(
    "header",
    ["bytes=0-", "bytes=-5", "0-5", "bytes=5-2", "bytes=0-100000", "bytes=100000-100001", "bytes=a-b", "bytes=0-1,2-3", ""],
)
def test_part_copy_of_no_range(s3, shelf, key, source, header):
    upload = s3.begin(shelf, key)
    headers = [("x-amz-copy-source", f"{shelf}/source"), ("x-amz-copy-source-range", header)]
    refused(s3.part(shelf, key, upload, 1, b"", headers), (400, 416), ("InvalidArgument", "InvalidRange", "InvalidRequest"))
    assert ok(s3.get(shelf, key, [("uploadId", upload)])).texts("Part") == []


def test_part_copy_from_nothing(s3, shelf, key):
    upload = s3.begin(shelf, key)
    refused(s3.part(shelf, key, upload, 1, b"", [("x-amz-copy-source", f"{shelf}/{key}none")]), 404, "NoSuchKey")
    refused(
        s3.part(shelf, key, "none", 1, b"", [("x-amz-copy-source", f"{shelf}/{key}none")]), 404, ("NoSuchUpload", "NoSuchKey")
    )
