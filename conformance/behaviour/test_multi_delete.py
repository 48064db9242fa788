"""DeleteObjects."""

from __future__ import annotations

import pytest
import sums
from s3 import XMLNS, absent, ok, present, refused

KEYS_MAX = 1000


def test_some(s3, bucket):
    for name in ("a", "b", "c"):
        ok(s3.put(bucket, name, b"v"))
    answer = ok(s3.delete_many(bucket, ["a", "c"]))
    assert sorted(answer.texts("Deleted/Key")) == ["a", "c"] and answer.texts("Error") == []
    assert s3.keys_of(bucket) == ["b"]


def test_missing_keys_succeed(s3, bucket):
    answer = ok(s3.delete_many(bucket, ["none", "nothing/"]))
    assert answer.texts("Deleted/Key") == ["none", "nothing/"] and answer.texts("Error") == []


def test_quiet(s3, bucket):
    ok(s3.put(bucket, "a"))
    answer = ok(s3.delete_many(bucket, ["a", "none"], quiet=True))
    assert len(answer.xml) == 0
    assert s3.keys_of(bucket) == []


def test_empty_list(s3, bucket):
    refused(s3.delete_many(bucket, []), 400, "MalformedXML")


@pytest.mark.parametrize("count", [KEYS_MAX, KEYS_MAX + 1])
def test_count_at_and_beyond_the_limit(s3, bucket, count):
    ok(s3.put(bucket, "k0", b"keep"))
    answer = s3.delete_many(bucket, [f"k{i}" for i in range(count)])
    if count == KEYS_MAX:
        assert len(ok(answer).texts("Deleted")) == KEYS_MAX
        absent(s3, bucket, "k0")
    else:
        refused(answer, 400, "MalformedXML")
        present(s3, bucket, "k0", b"keep")


def test_long_keys_fit(s3, bucket):
    """A thousand keys of a kilobyte, each escaped: more than 2 MB of XML that means less."""
    names = [f"{i:04}" + "&" * 300 + "k" * 700 for i in range(KEYS_MAX)]
    ok(s3.put(bucket, names[-1], b"v"))
    assert len(ok(s3.delete_many(bucket, names)).texts("Deleted")) == KEYS_MAX
    assert s3.keys_of(bucket) == []


def test_duplicates(s3, bucket):
    ok(s3.put(bucket, "a"))
    answer = ok(s3.delete_many(bucket, ["a", "a", "a"]))
    assert set(answer.texts("Deleted/Key")) == {"a"} and answer.texts("Error") == []
    assert s3.keys_of(bucket) == []


@pytest.mark.parametrize("name", ["a&b", "a<b>", "a'b\"", "ä/ö", "a b+c%20", "😀", "a//b", "../a", "]]>", "&amp;", " a "])
def test_special_characters(s3, bucket, name):
    ok(s3.put(bucket, name, b"v"))
    assert ok(s3.delete_many(bucket, [name])).texts("Deleted/Key") == [name]
    assert s3.keys_of(bucket) == []


def test_versions_and_markers(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    one = ok(s3.put(bucket, "k", b"1"))["x-amz-version-id"]
    two = ok(s3.put(bucket, "k", b"2"))["x-amz-version-id"]
    ok(s3.put(bucket, "other", b"o"))
    answer = ok(s3.delete_many(bucket, [("k", one), "other"]))
    by_key = {e.findtext("Key"): e for e in answer.xml.findall("Deleted")}
    assert by_key["k"].findtext("VersionId") == one and by_key["k"].findtext("DeleteMarker") is None
    marker = by_key["other"].findtext("DeleteMarkerVersionId")
    assert by_key["other"].findtext("DeleteMarker") == "true" and marker
    present(s3, bucket, "k", b"2")
    absent(s3, bucket, "other")
    answer = ok(s3.delete_many(bucket, [("other", marker), ("k", two)]))
    gone = next(e for e in answer.xml.findall("Deleted") if e.findtext("Key") == "other")
    assert (gone.findtext("DeleteMarker"), gone.findtext("DeleteMarkerVersionId")) == ("true", marker)
    present(s3, bucket, "other", b"o")
    absent(s3, bucket, "k")


def test_null_version(s3, bucket):
    ok(s3.put(bucket, "k", b"v"))
    ok(s3.delete_many(bucket, [("k", "null")]))
    assert s3.versions(bucket) == []


def test_malformed_version_is_that_keys_error(s3, bucket):
    ok(s3.put(bucket, "k", b"keep"))
    ok(s3.put(bucket, "l", b"v"))
    answer = ok(s3.delete_many(bucket, [("k", "garbage!"), "l"]))
    assert answer.texts("Error/Key") == ["k"] and answer.texts("Error/Code")[0] in ("NoSuchVersion", "InvalidArgument")
    assert answer.texts("Deleted/Key") == ["l"]
    present(s3, bucket, "k", b"keep")


def test_key_too_long_is_that_keys_error_or_refused(s3, bucket):
    ok(s3.put(bucket, "l", b"v"))
    answer = s3.delete_many(bucket, ["k" * 1025, "l"])
    if answer.status == 200:
        assert answer.texts("Error/Code") == ["KeyTooLongError"] and answer.texts("Deleted/Key") == ["l"]
    else:
        refused(answer, 400, ("KeyTooLongError", "MalformedXML"))


def test_no_digest(s3, bucket):
    ok(s3.put(bucket, "k", b"keep"))
    body = f"<Delete {XMLNS}><Object><Key>k</Key></Object></Delete>".encode()
    refused(s3.request("POST", bucket, None, ["delete"], body=body), 400, "InvalidRequest")
    present(s3, bucket, "k", b"keep")


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_checksum_in_place_of_md5(s3, bucket, algorithm, right):
    ok(s3.put(bucket, "k", b"keep"))
    body = f"<Delete {XMLNS}><Object><Key>k</Key></Object></Delete>".encode()
    header = (f"x-amz-checksum-{algorithm.lower()}", sums.value(algorithm, body if right else b"x"))
    answer = s3.request("POST", bucket, None, ["delete"], [header], body)
    if right:
        ok(answer)
        absent(s3, bucket, "k")
    else:
        refused(answer, 400, "BadDigest")
        present(s3, bucket, "k", b"keep")


@pytest.mark.parametrize(
    "inner", ["<Object><Key></Key></Object>", "<Object></Object>", "<Object><VersionId>null</VersionId></Object>"]
)
def test_objects_without_key(s3, bucket, inner):
    ok(s3.put(bucket, "k", b"keep"))
    answer = s3.document("POST", bucket, None, ["delete"], f"<Delete {XMLNS}><Object><Key>k</Key></Object>{inner}</Delete>")
    if answer.status == 200 and "<Key></Key>" in inner:
        assert (answer.texts("Deleted/Key"), len(answer.texts("Error"))) == (["k"], 1)
    else:
        refused(answer, 400, ("MalformedXML", "UserKeyMustBeSpecified"))
        present(s3, bucket, "k", b"keep")


def test_denied(s3, alt, anonymous, bucket):
    """Whoever may not delete is told so key by key, or at once; nothing goes."""
    ok(s3.put(bucket, "k", b"keep"))
    for who in (alt, anonymous):
        answer = who.delete_many(bucket, ["k"])
        if answer.status == 200:
            assert answer.texts("Error/Code") == ["AccessDenied"] and answer.texts("Deleted") == []
        else:
            refused(answer, 403, "AccessDenied")
    present(s3, bucket, "k", b"keep")


def test_missing_bucket(s3):
    from conftest import fresh_name

    refused(s3.delete_many(fresh_name(), ["k"]), 404, "NoSuchBucket")
