"""Versions: ids that are none, markers, null, suspension, and what belongs to a version alone."""

from __future__ import annotations

import pytest
from s3 import XMLNS, absent, ok, present, refused

MALFORMED = ["garbage", "x", "null2", "-", "ü", "../a", "0" * 300, ""]


@pytest.fixture
def versioned(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    return bucket


def put(s3, bucket, body, key="k"):
    return ok(s3.put(bucket, key, body))["x-amz-version-id"]


@pytest.fixture
def unknown(s3, versioned):
    """A version id of the right form that names nothing any more."""
    version = put(s3, versioned, b"gone", "other")
    ok(s3.delete(versioned, "other", [("versionId", version)]), 204)
    return version


@pytest.mark.parametrize("version", MALFORMED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_malformed_id(s3, versioned, method, version):
    put(s3, versioned, b"keep")
    refused(s3.request(method, versioned, "k", [("versionId", version)]), 400, None if method == "HEAD" else "InvalidArgument")
    assert len(s3.versions(versioned)) == 1


def test_unknown_id(s3, versioned, unknown):
    put(s3, versioned, b"keep")
    refused(s3.get(versioned, "k", [("versionId", unknown)]), 404, "NoSuchVersion")
    refused(s3.head(versioned, "k", [("versionId", unknown)]), 404)
    refused(s3.get(versioned, "k", [("versionId", unknown), ("tagging", None)]), 404, "NoSuchVersion")
    ok(s3.delete(versioned, "k", [("versionId", unknown)]), 204)
    present(s3, versioned, "k", b"keep")


def test_null_of_a_versioned_key(s3, versioned):
    put(s3, versioned, b"v")
    refused(s3.get(versioned, "k", [("versionId", "null")]), 404, "NoSuchVersion")


def test_id_of_another_key(s3, versioned):
    version = put(s3, versioned, b"other", "other")
    put(s3, versioned, b"v")
    refused(s3.get(versioned, "k", [("versionId", version)]), 404, "NoSuchVersion")
    ok(s3.delete(versioned, "k", [("versionId", version)]), 204)
    present(s3, versioned, "other", b"other")


def test_every_version_stays(s3, versioned):
    made = [(put(s3, versioned, bytes([i])), bytes([i])) for i in range(5)]
    assert len({v for v, _ in made}) == 5
    for version, body in made:
        answer = ok(s3.get(versioned, "k", [("versionId", version)]))
        assert answer.body == body and answer["x-amz-version-id"] == version
    assert s3.versions(versioned) == [("Version", "k", v) for v, _ in reversed(made)]
    assert present(s3, versioned, "k", bytes([4]))["x-amz-version-id"] == made[-1][0]


def test_delete_marker(s3, versioned):
    version = put(s3, versioned, b"v")
    answer = ok(s3.delete(versioned, "k"), 204)
    marker = answer["x-amz-version-id"]
    assert answer["x-amz-delete-marker"] == "true" and marker not in (None, version)
    gone = refused(s3.get(versioned, "k"), 404, "NoSuchKey")
    assert gone["x-amz-delete-marker"] == "true" and gone["x-amz-version-id"] == marker
    assert refused(s3.head(versioned, "k"), 404)["x-amz-delete-marker"] == "true"
    for method, code in (("GET", "MethodNotAllowed"), ("HEAD", None)):
        answer = refused(s3.request(method, versioned, "k", [("versionId", marker)]), 405, code)
        assert answer["x-amz-delete-marker"] == "true"
    assert ok(s3.get(versioned, "k", [("versionId", version)])).body == b"v"
    answer = ok(s3.delete(versioned, "k", [("versionId", marker)]), 204)
    assert answer["x-amz-delete-marker"] == "true" and answer["x-amz-version-id"] == marker
    present(s3, versioned, "k", b"v")


def test_marker_on_nothing_and_on_a_marker(s3, versioned):
    ok(s3.delete(versioned, "none"), 204)
    ok(s3.delete(versioned, "none"), 204)
    assert [k for k, _, _ in s3.versions(versioned)] == ["DeleteMarker", "DeleteMarker"]


@pytest.mark.parametrize("query", [["tagging"], ["acl"]])
def test_sub_resources_of_a_marker(s3, versioned, query):
    put(s3, versioned, b"v")
    marker = ok(s3.delete(versioned, "k"))["x-amz-version-id"]
    refused(s3.get(versioned, "k", [*query, ("versionId", marker)]), 405, "MethodNotAllowed")
    refused(s3.get(versioned, "k", query), 404, "NoSuchKey")


def test_removed_version_uncovers_the_one_below(s3, versioned):
    versions = [put(s3, versioned, bytes([i])) for i in range(3)]
    ok(s3.delete(versioned, "k", [("versionId", versions[2])]), 204)
    present(s3, versioned, "k", bytes([1]))
    ok(s3.delete(versioned, "k", [("versionId", versions[0])]), 204)
    present(s3, versioned, "k", bytes([1]))
    ok(s3.delete(versioned, "k", [("versionId", versions[1])]), 204)
    assert refused(s3.get(versioned, "k"), 404, "NoSuchKey")["x-amz-delete-marker"] is None
    assert s3.versions(versioned) == []


def test_object_from_before(s3, bucket):
    assert ok(s3.put(bucket, "k", b"old"))["x-amz-version-id"] is None
    ok(s3.versioning(bucket, "Enabled"))
    assert ok(s3.get(bucket, "k"))["x-amz-version-id"] == "null"
    new = put(s3, bucket, b"new")
    assert s3.versions(bucket) == [("Version", "k", new), ("Version", "k", "null")]
    assert ok(s3.get(bucket, "k", [("versionId", "null")])).body == b"old"
    ok(s3.delete(bucket, "k", [("versionId", "null")]), 204)
    present(s3, bucket, "k", b"new")


def test_suspended_overwrites_null_only(s3, bucket):
    ok(s3.put(bucket, "k", b"before"))
    ok(s3.versioning(bucket, "Enabled"))
    kept = put(s3, bucket, b"kept")
    ok(s3.versioning(bucket, "Suspended"))
    for body in (b"1", b"2"):
        ok(s3.put(bucket, "k", body))
        assert s3.versions(bucket) == [("Version", "k", "null"), ("Version", "k", kept)]
        present(s3, bucket, "k", body)
    assert ok(s3.get(bucket, "k", [("versionId", kept)])).body == b"kept"


def test_suspended_delete_leaves_a_null_marker(s3, bucket):
    ok(s3.versioning(bucket, "Enabled"))
    kept = put(s3, bucket, b"kept")
    ok(s3.versioning(bucket, "Suspended"))
    ok(s3.put(bucket, "k", b"null"))
    for _ in range(2):
        answer = ok(s3.delete(bucket, "k"), 204)
        assert (answer["x-amz-delete-marker"], answer["x-amz-version-id"]) == ("true", "null")
        assert s3.versions(bucket) == [("DeleteMarker", "k", "null"), ("Version", "k", kept)]
    refused(s3.get(bucket, "k", [("versionId", "null")]), 405, "MethodNotAllowed")
    ok(s3.put(bucket, "k", b"again"))
    assert s3.versions(bucket) == [("Version", "k", "null"), ("Version", "k", kept)]


def test_enabled_again_keeps_null(s3, bucket):
    ok(s3.versioning(bucket, "Suspended"))
    ok(s3.put(bucket, "k", b"null"))
    ok(s3.versioning(bucket, "Enabled"))
    version = put(s3, bucket, b"new")
    assert s3.versions(bucket) == [("Version", "k", version), ("Version", "k", "null")]


@pytest.mark.parametrize("how", ["copy", "multipart"])
def test_other_writers_make_versions(s3, versioned, how):
    one = put(s3, versioned, b"1")
    ok(s3.put(versioned, "s", b"2"))
    answer = (
        s3.multipart(versioned, "k", [b"2"])
        if how == "multipart"
        else ok(s3.put(versioned, "k", headers=[("x-amz-copy-source", f"{versioned}/s")]))
    )
    two = answer["x-amz-version-id"]
    assert s3.versions(versioned)[:2] == [("Version", "k", two), ("Version", "k", one)]


def tagged(value):
    return f"<Tagging {XMLNS}><TagSet><Tag><Key>t</Key><Value>{value}</Value></Tag></TagSet></Tagging>"


def test_tags_belong_to_a_version(s3, versioned):
    one, two = put(s3, versioned, b"1"), put(s3, versioned, b"2")
    ok(s3.document("PUT", versioned, "k", ["tagging", ("versionId", one)], tagged("one")))
    assert ok(s3.get(versioned, "k", ["tagging"])).texts("TagSet/Tag") == []
    ok(s3.document("PUT", versioned, "k", ["tagging"], tagged("two")))
    for version, value in ((one, "one"), (two, "two")):
        assert ok(s3.get(versioned, "k", ["tagging", ("versionId", version)])).text("TagSet/Tag/Value") == value
    ok(s3.delete(versioned, "k", ["tagging", ("versionId", one)]), 204)
    assert ok(s3.get(versioned, "k", ["tagging", ("versionId", one)])).texts("TagSet/Tag") == []
    assert ok(s3.get(versioned, "k", ["tagging"])).text("TagSet/Tag/Value") == "two"
    assert len(s3.versions(versioned)) == 2


def test_acl_belongs_to_a_version(s3, anonymous, versioned):
    one, two = put(s3, versioned, b"1"), put(s3, versioned, b"2")
    ok(s3.request("PUT", versioned, "k", ["acl", ("versionId", one)], [("x-amz-acl", "public-read")]))
    assert ok(anonymous.get(versioned, "k", [("versionId", one)])).body == b"1"
    refused(anonymous.get(versioned, "k", [("versionId", two)]), 403, "AccessDenied")
    refused(anonymous.get(versioned, "k"), 403, "AccessDenied")


@pytest.mark.parametrize("status", ["enabled", "Disabled", "", "On"])
def test_no_such_status(s3, bucket, status):
    refused(s3.versioning(bucket, status), 400, ("MalformedXML", "IllegalVersioningConfigurationException"))
    assert ok(s3.get(bucket, query=["versioning"])).text("Status") is None


def test_mfa_delete_is_refused_not_ignored(s3, bucket):
    xml = f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    refused(s3.document("PUT", bucket, None, ["versioning"], xml), (400, 403, 501))
    assert ok(s3.get(bucket, query=["versioning"])).text("Status") is None


def test_versioned_bucket_with_markers_only_is_not_empty(s3, versioned):
    ok(s3.delete(versioned, "none"))
    assert s3.keys_of(versioned) == []
    refused(s3.delete(versioned), 409, "BucketNotEmpty")


def test_writes_at_once_are_all_versions(s3, versioned):
    answers = s3.many([lambda i=i: s3.put(versioned, "k", bytes([i])) for i in range(16)])
    ids = [ok(a)["x-amz-version-id"] for a in answers]
    listed = [v for _, _, v in s3.versions(versioned)]
    assert sorted(ids) == sorted(listed) and len(set(ids)) == 16
    current = ok(s3.get(versioned, "k"))
    assert current["x-amz-version-id"] == listed[0] and ids[current.body[0]] == listed[0]


def test_absent_is_absent(s3, versioned):
    absent(s3, versioned, "none")
