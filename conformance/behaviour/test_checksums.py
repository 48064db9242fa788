"""The five checksums: on store, full-object and composite, their conflicts, attributes and copies."""

from __future__ import annotations

import pytest
import sums
from s3 import PART_BYTES_MIN, absent, ok, present, refused

BODY = b"some bytes that are summed"
MODE = [("x-amz-checksum-mode", "ENABLED")]
COMPOSITE = ["CRC32", "CRC32C", "SHA1", "SHA256"]
FULL = ["CRC32", "CRC32C", "CRC64NVME"]


def name_of(algorithm):
    return f"x-amz-checksum-{algorithm.lower()}"


def checksums_of(answer):
    return {n for n, _ in answer.headers if n.startswith("x-amz-checksum-") and n != "x-amz-checksum-type"}


@pytest.mark.parametrize("size", [0, 5, 20_000])
def test_crc64nvme_where_none_is_given(s3, shelf, key, size):
    data = bytes(i % 251 for i in range(size))
    assert ok(s3.put(shelf, key, data))[name_of("CRC64NVME")] == sums.value("CRC64NVME", data)
    got = present(s3, shelf, key, data, MODE)
    assert got[name_of("CRC64NVME")] == sums.value("CRC64NVME", data)
    assert got["x-amz-checksum-type"] == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_right(s3, shelf, key, algorithm):
    value = sums.value(algorithm, BODY)
    answer = ok(s3.put(shelf, key, BODY, [(name_of(algorithm), value)]))
    assert answer[name_of(algorithm)] == value and answer["x-amz-checksum-type"] in (None, "FULL_OBJECT")
    for got in (ok(s3.get(shelf, key, headers=MODE)), ok(s3.head(shelf, key, headers=MODE))):
        assert checksums_of(got) == {name_of(algorithm)} and got[name_of(algorithm)] == value
        assert got["x-amz-checksum-type"] == "FULL_OBJECT"
    assert checksums_of(ok(s3.head(shelf, key))) == set()


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_wrong(s3, shelf, key, algorithm):
    ok(s3.put(shelf, key, b"before"))
    refused(s3.put(shelf, key, BODY, [(name_of(algorithm), sums.value(algorithm, b"other"))]), 400, "BadDigest")
    present(s3, shelf, key, b"before")


@pytest.mark.parametrize("value", ["!!!", "AAA", "", "AAAAAAAAAAA=", "deadbeef"])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_malformed(s3, shelf, key, algorithm, value):
    if algorithm == "SHA256" or value != "deadbeef":
        refused(s3.put(shelf, key, BODY, [(name_of(algorithm), value)]), 400, ("InvalidRequest", "BadDigest"))
        absent(s3, shelf, key)


def test_two_at_once(s3, shelf, key):
    refused(s3.put(shelf, key, BODY, [(name_of(a), sums.value(a, BODY)) for a in ("CRC32", "SHA1")]), 400, "InvalidRequest")
    absent(s3, shelf, key)


@pytest.mark.parametrize("header", ["x-amz-sdk-checksum-algorithm"])
@pytest.mark.parametrize("case", ["none given", "another given", "unknown"])
def test_algorithm_named(s3, shelf, key, header, case):
    more = {
        "none given": [(header, "SHA256")],
        "another given": [(header, "SHA256"), (name_of("CRC32"), sums.value("CRC32", BODY))],
        "unknown": [(header, "MD4"), (name_of("CRC32"), sums.value("CRC32", BODY))],
    }[case]
    refused(s3.put(shelf, key, BODY, more), 400, "InvalidRequest")
    absent(s3, shelf, key)


@pytest.mark.parametrize(
    ("value", "code"),
    [(sums.md5(b"other"), "BadDigest"), ("!!", "InvalidDigest"), ("AAAA", "InvalidDigest"), ("", "InvalidDigest")],
)
def test_content_md5(s3, shelf, key, value, code):
    refused(s3.put(shelf, key, BODY, [("Content-MD5", value)]), 400, code)
    absent(s3, shelf, key)
    ok(s3.put(shelf, key, BODY, [("Content-MD5", sums.md5(BODY))]))


def test_content_md5_of_a_part(s3, shelf, key):
    upload = s3.begin(shelf, key)
    refused(s3.part(shelf, key, upload, 1, BODY, [("Content-MD5", sums.md5(b"x"))]), 400, "BadDigest")
    assert ok(s3.get(shelf, key, [("uploadId", upload)])).texts("Part") == []


XML_PUTS = ["versioning", "tagging", "cors", "ownership", "access block", "encryption", "delete"]


@pytest.mark.parametrize("case", XML_PUTS)
@pytest.mark.parametrize("fault", ["wrong md5", "bad md5", "wrong crc32"])
def test_digest_of_a_document(s3, bucket, case, fault):
    from test_limits import document, send_document

    ok(s3.put(bucket, "none", b"keep"))
    header, code = {
        "wrong md5": (("Content-MD5", sums.md5(b"x")), "BadDigest"),
        "bad md5": (("Content-MD5", "zz"), "InvalidDigest"),
        "wrong crc32": (("x-amz-checksum-crc32", sums.value("CRC32", b"x")), "BadDigest"),
    }[fault]
    headers = [header] if fault != "wrong crc32" else [header, ("Content-MD5", sums.md5(document(case).encode()))]
    refused(send_document(s3, bucket, case, document(case), headers=headers), 400, code)
    present(s3, bucket, "none", b"keep")
    assert ok(s3.get(bucket, query=["versioning"])).text("Status") is None


# Uploads in parts.


def begin(s3, bucket, key, algorithm, kind=None):
    headers = [("x-amz-checksum-algorithm", algorithm)] + ([("x-amz-checksum-type", kind)] if kind else [])
    return s3.request("POST", bucket, key, ["uploads"], headers)


def element(algorithm, value):
    return f"<Checksum{algorithm}>{value}</Checksum{algorithm}>"


def upload_parts(s3, bucket, key, upload, algorithm, parts):
    """The complete list: number, ETag and checksum of each."""
    done = []
    for n, data in enumerate(parts, 1):
        value = sums.value(algorithm, data)
        answer = ok(s3.part(bucket, key, upload, n, data, [(name_of(algorithm), value)]))
        assert answer[name_of(algorithm)] == value
        done.append((n, answer["etag"], element(algorithm, value)))
    return done


@pytest.fixture(scope="module")
def two_parts():
    return [bytes(PART_BYTES_MIN), b"tail"]


@pytest.fixture(scope="module")
def crc_of_two():
    """Plain Python takes seconds for 5 MiB; one zlib checksum is enough where parts must be big."""
    return {"CRC32": sums.value("CRC32", bytes(PART_BYTES_MIN) + b"tail")}


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_composite(s3, shelf, key, algorithm):
    upload = ok(begin(s3, shelf, key, algorithm)).text("UploadId")
    parts = upload_parts(s3, shelf, key, upload, algorithm, [BODY])
    answer = ok(s3.complete(shelf, key, upload, parts))
    value = sums.composite(algorithm, [BODY])
    assert answer.text(f"Checksum{algorithm}") == value and answer.text("ChecksumType") == "COMPOSITE"
    got = ok(s3.head(shelf, key, headers=MODE))
    assert got[name_of(algorithm)] == value and got["x-amz-checksum-type"] == "COMPOSITE"


@pytest.mark.parametrize("algorithm", FULL)
def test_full_object(s3, shelf, key, algorithm):
    answer = ok(begin(s3, shelf, key, algorithm, "FULL_OBJECT"))
    assert (answer["x-amz-checksum-algorithm"], answer["x-amz-checksum-type"]) == (algorithm, "FULL_OBJECT")
    upload = answer.text("UploadId")
    parts = upload_parts(s3, shelf, key, upload, algorithm, [BODY])
    answer = ok(
        s3.complete(
            shelf, key, upload, parts, [(name_of(algorithm), sums.value(algorithm, BODY)), ("x-amz-checksum-type", "FULL_OBJECT")]
        )
    )
    assert answer.text(f"Checksum{algorithm}") == sums.value(algorithm, BODY)
    got = ok(s3.head(shelf, key, headers=MODE))
    assert got[name_of(algorithm)] == sums.value(algorithm, BODY) and got["x-amz-checksum-type"] == "FULL_OBJECT"


@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_two_parts(s3, shelf, key, two_parts, crc_of_two, kind):
    upload = ok(begin(s3, shelf, key, "CRC32", kind)).text("UploadId")
    parts = upload_parts(s3, shelf, key, upload, "CRC32", two_parts)
    value = crc_of_two["CRC32"] if kind == "FULL_OBJECT" else sums.composite("CRC32", two_parts)
    assert ok(s3.complete(shelf, key, upload, parts)).text("ChecksumCRC32") == value
    got = ok(s3.get(shelf, key, [("partNumber", "2")], MODE), 206)
    assert got.body == b"tail"
    # A part's own checksum, of the object's type.
    assert (got["x-amz-checksum-crc32"], got["x-amz-checksum-type"]) == (sums.value("CRC32", b"tail"), kind)
    assert ok(s3.head(shelf, key, [("partNumber", "1")], MODE), 206)["x-amz-checksum-crc32"] == sums.value("CRC32", two_parts[0])


def test_crc64nvme_by_default_of_an_upload(s3, shelf, key):
    s3.multipart(shelf, key, [BODY])
    got = ok(s3.head(shelf, key, headers=MODE))
    assert (got[name_of("CRC64NVME")], got["x-amz-checksum-type"]) == (sums.value("CRC64NVME", BODY), "FULL_OBJECT")


def test_part_with_a_checksum_of_an_upload_without(s3, shelf, key):
    """Compared and told again, though the object's is the default one."""
    upload, wrong = s3.begin(shelf, key), element("CRC32", sums.value("CRC32", b"x"))
    right = element("CRC32", sums.value("CRC32", BODY))
    refused(s3.part(shelf, key, upload, 1, BODY, [(name_of("CRC32"), sums.value("CRC32", b"x"))]), 400, "BadDigest")
    part = ok(s3.part(shelf, key, upload, 1, BODY, [(name_of("CRC32"), sums.value("CRC32", BODY))]))
    assert checksums_of(part) == {name_of("CRC32")}
    refused(s3.complete(shelf, key, upload, [(1, part["etag"], wrong)]), 400, "InvalidPart")
    ok(s3.complete(shelf, key, upload, [(1, part["etag"], right)]))
    got = ok(s3.head(shelf, key, headers=MODE))
    assert checksums_of(got) == {name_of("CRC64NVME")} and got[name_of("CRC64NVME")] == sums.value("CRC64NVME", BODY)


@pytest.mark.parametrize(
    "header",
    [("x-amz-checksum-type", "COMPOSITE"), ("x-amz-checksum-algorithm", "CRC32"), (name_of("SHA1"), sums.value("SHA1", BODY))],
    ids=["type", "algorithm", "value"],
)
def test_complete_speaks_of_another_checksum(s3, shelf, key, header):
    refused(completing(s3, shelf, key, "CRC64NVME", "FULL_OBJECT", headers=[header]), 400, "InvalidRequest")
    absent(s3, shelf, key)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD4", None), ("CRC32", "HALF_OBJECT")],
)
def test_impossible_kinds(s3, shelf, key, algorithm, kind):
    refused(begin(s3, shelf, key, algorithm, kind), 400, ("InvalidRequest", "InvalidArgument"))


def test_type_without_algorithm(s3, shelf, key):
    refused(s3.request("POST", shelf, key, ["uploads"], [("x-amz-checksum-type", "COMPOSITE")]), 400, "InvalidRequest")


def test_part_of_another_algorithm(s3, shelf, key):
    upload = ok(begin(s3, shelf, key, "SHA256")).text("UploadId")
    refused(s3.part(shelf, key, upload, 1, BODY, [(name_of("CRC32"), sums.value("CRC32", BODY))]), 400, "InvalidRequest")
    assert ok(s3.get(shelf, key, [("uploadId", upload)])).texts("Part") == []


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_wrong_part(s3, shelf, key, algorithm):
    upload = ok(begin(s3, shelf, key, algorithm)).text("UploadId")
    refused(s3.part(shelf, key, upload, 1, BODY, [(name_of(algorithm), sums.value(algorithm, b"x"))]), 400, "BadDigest")
    assert ok(s3.get(shelf, key, [("uploadId", upload)])).texts("Part") == []


def completing(s3, shelf, key, algorithm, kind, more_xml=None, headers=()):
    upload = ok(begin(s3, shelf, key, algorithm, kind)).text("UploadId")
    [(n, etag, own)] = upload_parts(s3, shelf, key, upload, algorithm, [BODY])
    return s3.complete(shelf, key, upload, [(n, etag, own if more_xml is None else more_xml)], headers)


def test_complete_must_name_the_checksums_of_composite(s3, shelf, key):
    refused(completing(s3, shelf, key, "SHA256", "COMPOSITE", ""), 400, "InvalidRequest")
    absent(s3, shelf, key)


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_complete_names_a_wrong_part_checksum(s3, shelf, key, algorithm, kind):
    refused(completing(s3, shelf, key, algorithm, kind, element(algorithm, sums.value(algorithm, b"x"))), 400, "InvalidPart")
    absent(s3, shelf, key)


def test_complete_names_a_wrong_whole(s3, shelf, key):
    refused(
        completing(s3, shelf, key, "CRC32", "FULL_OBJECT", headers=[(name_of("CRC32"), sums.value("CRC32", b"x"))]),
        400,
        "BadDigest",
    )
    absent(s3, shelf, key)


def test_complete_names_another_kind(s3, shelf, key):
    refused(
        completing(s3, shelf, key, "CRC32", "COMPOSITE", headers=[("x-amz-checksum-type", "FULL_OBJECT")]), 400, "InvalidRequest"
    )
    absent(s3, shelf, key)


@pytest.mark.parametrize(("size", "status"), [(len(BODY), 200), (len(BODY) + 1, 400), (0, 400)])
def test_complete_names_the_size(s3, shelf, key, size, status):
    answer = completing(s3, shelf, key, "CRC32", "FULL_OBJECT", headers=[("x-amz-mp-object-size", str(size))])
    if status == 200:
        ok(answer)
    else:
        refused(answer, 400, "InvalidRequest")
        absent(s3, shelf, key)


# GetObjectAttributes.
EVERYTHING = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


def attributes(s3, bucket, key, names=EVERYTHING, **headers):
    more = [(n.replace("_", "-"), v) for n, v in headers.items()]
    return s3.get(bucket, key, ["attributes"], [*([("x-amz-object-attributes", names)] if names is not None else []), *more])


def test_attributes(s3, shelf, key):
    ok(s3.put(shelf, key, BODY, [(name_of("SHA1"), sums.value("SHA1", BODY))]))
    got = ok(attributes(s3, shelf, key))
    assert (got.text("ETag"), got.text("ObjectSize"), got.text("StorageClass")) == (
        sums.etag(BODY).strip('"'),
        str(len(BODY)),
        "STANDARD",
    )
    assert (got.text("Checksum/ChecksumSHA1"), got.text("Checksum/ChecksumType")) == (sums.value("SHA1", BODY), "FULL_OBJECT")
    assert got.texts("ObjectParts") == [] and got["last-modified"]
    assert ok(attributes(s3, shelf, key, "ObjectSize")).text("ETag") is None


@pytest.mark.parametrize("names", [None, "", "Nonsense", "ETag,Nonsense"])
def test_attributes_must_be_named(s3, shelf, key, names):
    ok(s3.put(shelf, key))
    refused(attributes(s3, shelf, key, names), 400, ("InvalidArgument", "InvalidRequest"))


@pytest.fixture(scope="module")
def of_three(s3, shelf):
    """An object of three parts, composite SHA256."""
    parts = [bytes(PART_BYTES_MIN), bytes(PART_BYTES_MIN + 1), b"tail"]
    upload = ok(begin(s3, shelf, "of three", "SHA256")).text("UploadId")
    ok(s3.complete(shelf, "of three", upload, upload_parts(s3, shelf, "of three", upload, "SHA256", parts)))
    return "of three", parts


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_attributes_of_parts_page_by_page(s3, shelf, of_three, size):
    name, parts = of_three
    found, marker = [], "0"
    for _ in range(5):
        got = ok(attributes(s3, shelf, name, "ObjectParts", x_amz_max_parts=str(size), x_amz_part_number_marker=marker))
        assert got.text("ObjectParts/PartsCount") == "3" or got.text("ObjectParts/TotalPartsCount") == "3"
        here = list(
            zip(
                got.texts("ObjectParts/Part/PartNumber"),
                got.texts("ObjectParts/Part/Size"),
                got.texts("ObjectParts/Part/ChecksumSHA256"),
            )
        )
        assert len(here) <= size
        found += here
        if got.text("ObjectParts/IsTruncated") == "false":
            break
        marker = got.text("ObjectParts/NextPartNumberMarker")
    assert found == [(str(n), str(len(p)), sums.value("SHA256", p)) for n, p in enumerate(parts, 1)]


# Copies.


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_copy_keeps_the_algorithm(s3, shelf, key, algorithm):
    ok(s3.put(shelf, key, BODY, [(name_of(algorithm), sums.value(algorithm, BODY))]))
    answer = ok(s3.put(shelf, key + "c", headers=[("x-amz-copy-source", f"{shelf}/{key}")]))
    assert answer.text(f"Checksum{algorithm}") == sums.value(algorithm, BODY)
    got = ok(s3.head(shelf, key + "c", headers=MODE))
    assert checksums_of(got) == {name_of(algorithm)} and got[name_of(algorithm)] == sums.value(algorithm, BODY)


@pytest.mark.parametrize("algorithm", sums.ALGORITHMS)
def test_copy_recomputes(s3, shelf, key, algorithm):
    ok(s3.put(shelf, key, BODY))
    ok(s3.put(shelf, key + "c", headers=[("x-amz-copy-source", f"{shelf}/{key}"), ("x-amz-checksum-algorithm", algorithm)]))
    got = ok(s3.head(shelf, key + "c", headers=MODE))
    assert checksums_of(got) == {name_of(algorithm)} and got[name_of(algorithm)] == sums.value(algorithm, BODY)


def test_copy_of_parts_becomes_full_object(s3, shelf, key, of_three):
    name, parts = of_three
    ok(s3.put(shelf, key, headers=[("x-amz-copy-source", f"{shelf}/{name.replace(' ', '%20')}")]))
    got = ok(s3.head(shelf, key, headers=MODE))
    assert (got[name_of("SHA256")], got["x-amz-checksum-type"]) == (sums.value("SHA256", b"".join(parts)), "FULL_OBJECT")
