"""Lists of versions, uploads, parts and buckets: pages and markers."""

from __future__ import annotations

import pytest
from s3 import ok, refused


@pytest.fixture(scope="module")
def versioned(s3):
    """Three keys and a folder, with versions and markers: [(kind, key, version id)] newest first."""
    from conftest import fresh_name

    name, made = fresh_name(), []
    ok(s3.request("PUT", name))
    ok(s3.versioning(name, "Enabled"))
    for key, steps in (("a", "vv"), ("b/1", "vdv"), ("b/2", "v"), ("c", "vd"), ("d", "v")):
        own = []
        for step in steps:
            answer = ok(s3.put(name, key, step.encode()) if step == "v" else s3.delete(name, key))
            own.insert(0, ("Version" if step == "v" else "DeleteMarker", key, answer["x-amz-version-id"]))
        made += own
    yield name, made
    s3.remove(name)


def walk(s3, bucket, size, **query):
    found, prefixes, more = [], [], []
    for _ in range(100):
        page = ok(s3.get(bucket, query=["versions", ("max-keys", str(size)), *query.items(), *more]))
        here = [(e.tag, e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.tag in ("Version", "DeleteMarker")]
        rolled = page.texts("CommonPrefixes/Prefix")
        assert len(here) + len(rolled) <= size
        found, prefixes = found + here, prefixes + rolled
        if page.text("IsTruncated") == "false":
            return found, prefixes
        more = [("key-marker", page.text("NextKeyMarker"))]
        if page.text("NextVersionIdMarker"):
            more.append(("version-id-marker", page.text("NextVersionIdMarker")))
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_versions_page_by_page(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size)
    assert found == made and prefixes == []


@pytest.mark.parametrize("size", [1, 2, 100])
def test_versions_with_delimiter(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size, delimiter="/")
    assert found == [m for m in made if "/" not in m[1]] and prefixes == ["b/"]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_versions_with_prefix(s3, versioned, size):
    bucket, made = versioned
    found, prefixes = walk(s3, bucket, size, prefix="b/")
    assert found == [m for m in made if m[1].startswith("b/")] and prefixes == []


def test_markers_stand_among_the_versions(s3, versioned):
    """One list by key, newest first, whatever an entry is: readers that go down it rely on that."""
    bucket, made = versioned
    assert walk(s3, bucket, 100)[0] == made


def test_version_marker_starts_after_that_version(s3, versioned):
    bucket, made = versioned
    for at, (_, key, version) in enumerate(made):
        page = ok(s3.get(bucket, query=["versions", ("key-marker", key), ("version-id-marker", version)]))
        got = [(e.tag, e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.tag in ("Version", "DeleteMarker")]
        assert got == made[at + 1 :]


def test_key_marker_alone_skips_the_key(s3, versioned):
    bucket, made = versioned
    page = ok(s3.get(bucket, query=["versions", ("key-marker", "b/1")]))
    got = [e.findtext("Key") for e in page.xml if e.tag in ("Version", "DeleteMarker")]
    assert got == [k for _, k, _ in made if k > "b/1"]


def test_version_marker_without_key_marker(s3, versioned):
    bucket, made = versioned
    refused(s3.get(bucket, query=["versions", ("version-id-marker", made[0][2])]), 400, "InvalidArgument")


def test_version_marker_that_is_none(s3, versioned):
    refused(
        s3.get(versioned[0], query=["versions", ("key-marker", "a"), ("version-id-marker", "garbage!")]), 400, "InvalidArgument"
    )


def test_is_latest(s3, versioned):
    bucket, made = versioned
    page = ok(s3.get(bucket, query=["versions"]))
    latest = {(e.findtext("Key"), e.findtext("VersionId")) for e in page.xml if e.findtext("IsLatest") == "true"}
    newest = {}
    for _, key, version in made:
        newest.setdefault(key, version)
    assert latest == set(newest.items())


def test_versions_of_a_never_versioned_bucket(s3, bucket):
    ok(s3.put(bucket, "k", b"v"))
    assert s3.versions(bucket) == [("Version", "k", "null")]


@pytest.fixture(scope="module")
def uploads(s3):
    """[(key, upload id)] in the order of a list: by key, then by when they were begun."""
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    made = [(key, s3.begin(name, key)) for key in ("a", "a", "a", "b/1", "b/2", "c", "ü")]
    yield name, made
    s3.remove(name)


def uploads_walk(s3, bucket, size, **query):
    found, prefixes, more = [], [], []
    for _ in range(50):
        page = ok(s3.get(bucket, query=["uploads", ("max-uploads", str(size)), *query.items(), *more]))
        here = list(zip(page.texts("Upload/Key"), page.texts("Upload/UploadId")))
        rolled = page.texts("CommonPrefixes/Prefix")
        assert len(here) + len(rolled) <= size
        found, prefixes = found + here, prefixes + rolled
        if page.text("IsTruncated") == "false":
            return found, prefixes
        more = [("key-marker", page.text("NextKeyMarker")), ("upload-id-marker", page.text("NextUploadIdMarker") or "")]
    raise AssertionError("the walk does not end")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_uploads_page_by_page(s3, uploads, size):
    bucket, made = uploads
    found, _ = uploads_walk(s3, bucket, size)
    assert [k for k, _ in found] == [k for k, _ in made]
    assert sorted(found) == sorted(made)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_uploads_with_delimiter(s3, uploads, size):
    bucket, made = uploads
    found, prefixes = uploads_walk(s3, bucket, size, delimiter="/")
    assert sorted(found) == sorted(m for m in made if "/" not in m[0]) and prefixes == ["b/"]


@pytest.mark.parametrize("size", [1, 100])
def test_uploads_with_prefix(s3, uploads, size):
    bucket, made = uploads
    assert uploads_walk(s3, bucket, size, prefix="b/")[0] == [m for m in made if m[0].startswith("b/")]


def test_uploads_after_a_key(s3, uploads):
    bucket, _ = uploads
    assert ok(s3.get(bucket, query=["uploads", ("key-marker", "a")])).texts("Upload/Key") == ["b/1", "b/2", "c", "ü"]


def test_upload_id_marker_without_key_marker_is_ignored(s3, uploads):
    bucket, made = uploads
    assert len(ok(s3.get(bucket, query=["uploads", ("upload-id-marker", made[0][1])])).texts("Upload")) == len(made)


@pytest.mark.parametrize("value", ["-1", "abc"])
def test_max_uploads_is_no_count(s3, uploads, value):
    refused(s3.get(uploads[0], query=["uploads", ("max-uploads", value)]), 400, "InvalidArgument")


def test_upload_says_who_and_what(s3, accounts, uploads):
    page = ok(s3.get(uploads[0], query=["uploads", ("prefix", "c")]))
    ids = {page.text(f"Upload/{w}/ID") for w in ("Initiator", "Owner")}
    assert ids == {accounts["main"]["canonical_id"]} and page.text("Upload/StorageClass") == "STANDARD"


@pytest.fixture(scope="module")
def parts(s3):
    from conftest import fresh_name

    name = fresh_name()
    ok(s3.request("PUT", name))
    upload = s3.begin(name, "k")
    made = [(str(n), ok(s3.part(name, "k", upload, n, bytes(n)))["etag"], str(n)) for n in (1, 2, 5, 7, 10_000)]
    yield name, upload, made
    s3.remove(name)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_parts_page_by_page(s3, parts, size):
    bucket, upload, made = parts
    found, more = [], []
    for _ in range(20):
        page = ok(s3.get(bucket, "k", [("uploadId", upload), ("max-parts", str(size)), *more]))
        here = list(zip(page.texts("Part/PartNumber"), page.texts("Part/ETag"), page.texts("Part/Size")))
        assert len(here) <= size and page.text("MaxParts") == str(size)
        found += here
        if page.text("IsTruncated") == "false":
            break
        more = [("part-number-marker", page.text("NextPartNumberMarker"))]
    assert found == made


def test_parts_after_a_number(s3, parts):
    bucket, upload, _ = parts
    page = ok(s3.get(bucket, "k", [("uploadId", upload), ("part-number-marker", "3")]))
    assert page.texts("Part/PartNumber") == ["5", "7", "10000"] and page.text("PartNumberMarker") == "3"


@pytest.mark.parametrize(
    ("name", "value"), [("max-parts", "-1"), ("max-parts", "abc"), ("part-number-marker", "-1"), ("part-number-marker", "abc")]
)
def test_parts_by_no_count(s3, parts, name, value):
    bucket, upload, _ = parts
    refused(s3.get(bucket, "k", [("uploadId", upload), (name, value)]), 400, "InvalidArgument")


def test_parts_of_no_upload(s3, parts):
    bucket, upload, _ = parts
    refused(s3.get(bucket, "k", [("uploadId", "none")]), 404, "NoSuchUpload")
    refused(s3.get(bucket, "other", [("uploadId", upload)]), 404, "NoSuchUpload")


def test_buckets_page_by_page(s3, new_bucket):
    mine = sorted(new_bucket() for _ in range(5))
    found, more = [], []
    for _ in range(500):
        page = ok(s3.get("", query=[("max-buckets", "2"), ("prefix", "b-"), *more]))
        here = page.texts("Buckets/Bucket/Name")
        assert len(here) <= 2
        found += here
        if not (token := page.text("ContinuationToken")):
            break
        more = [("continuation-token", token)]
    assert [b for b in found if b in mine] == mine and found == sorted(found)


def test_buckets_are_the_owners(s3, alt, new_bucket):
    mine, theirs = new_bucket(), new_bucket(alt)
    assert theirs not in ok(s3.get("")).texts("Buckets/Bucket/Name")
    assert mine not in ok(alt.get("")).texts("Buckets/Bucket/Name")
