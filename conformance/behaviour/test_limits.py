"""Bodies that end early or late, and every size limit at its edge."""

from __future__ import annotations

import pytest
from s3 import MIB, XMLNS, absent, ok, present, refused
from sign import UNSIGNED
from wire import Closed

GIB = 1 << 30
PUT_BYTES_MAX = 5 * GIB
KEY_BYTES_MAX = 1024
METADATA_BYTES_MAX = 2048
HEADER_BYTES_MAX = 8192
XML_BYTES_MAX = 3 * MIB


@pytest.mark.parametrize("size", [10, 20_000, 3 * MIB])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_client_aborts_mid_put(s3, shelf, key, size, how):
    ok(s3.put(shelf, key, b"before"))
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=[("Content-Length", str(size))], payload=UNSIGNED), bytes(size // 2))
        if how == "fin":
            c.finish_sending()
            try:
                refused(c.answer(), 400)
            except Closed:
                pass
        else:
            c.abort()
    present(s3, shelf, key, b"before")
    assert ok(s3.get(shelf, query=["uploads"])).texts("Upload") == []


def test_bytes_beyond_the_length_are_no_part_of_the_object(s3, shelf, key):
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=[("Content-Length", "4")], payload=UNSIGNED), b"goodEVIL\r\n\r\n")
        ok(c.answer())
        try:
            assert c.answer().status in (400, 405, 501)
        except Closed:
            pass
    present(s3, shelf, key, b"good")


def test_put_without_length(s3, shelf, key):
    refused(s3.put(shelf, key, length=False), 411, "MissingContentLength")
    absent(s3, shelf, key)


def test_put_in_http_chunks_without_decoded_length(s3, shelf, key):
    with s3.connect() as c:
        c.send(
            s3.prepare("PUT", shelf, key, headers=[("Transfer-Encoding", "chunked")], payload=UNSIGNED, length=False),
            b"4\r\ngood\r\n0\r\n\r\n",
        )
        refused(c.answer(), (411, 501), ("MissingContentLength", "NotImplemented"))
    absent(s3, shelf, key)


@pytest.mark.parametrize("part", [False, True], ids=["object", "part"])
def test_over_five_gib_is_refused_unread(s3, shelf, key, part):
    query = [("partNumber", "1"), ("uploadId", s3.begin(shelf, key))] if part else []
    headers = [("Content-Length", str(PUT_BYTES_MAX + 1)), ("Expect", "100-continue")]
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, query, headers, payload=UNSIGNED))
        answer = refused(c.answer(), 400, "EntityTooLarge")
        assert answer.interim == []
    absent(s3, shelf, key)


def test_five_gib_is_let_begin(s3, shelf, key):
    headers = [("Content-Length", str(PUT_BYTES_MAX)), ("Expect", "100-continue")]
    with s3.connect() as c:
        c.send(s3.prepare("PUT", shelf, key, headers=headers, payload=UNSIGNED))
        assert c.interim() == 100
        c.abort()
    absent(s3, shelf, key)


AT_LIMIT = {
    "ascii": "k" * KEY_BYTES_MAX,
    "two bytes": "ä" * (KEY_BYTES_MAX // 2),
    "four bytes": "😀" * (KEY_BYTES_MAX // 4),
    "slashes": "/" * KEY_BYTES_MAX,
    "deep": "a/" * (KEY_BYTES_MAX // 2),
}


@pytest.mark.parametrize("case", AT_LIMIT)
def test_key_at_the_limit(s3, bucket, case):
    name = AT_LIMIT[case]
    assert len(name.encode()) == KEY_BYTES_MAX
    ok(s3.put(bucket, name, b"long"))
    present(s3, bucket, name, b"long")
    assert s3.keys_of(bucket) == [name]


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("case", AT_LIMIT)
def test_key_beyond_the_limit(s3, shelf, case, method):
    answer = s3.request(method, shelf, AT_LIMIT[case] + "x")
    refused(answer, 400, None if method == "HEAD" else "KeyTooLongError")


def metadata(size: int) -> list[tuple[str, str]]:
    """Headers whose names (without prefix) and values are that many bytes."""
    return [("x-amz-meta-a", "v" * 1000), ("x-amz-meta-b", "w" * (size - 1002))]


def test_metadata_at_the_limit(s3, shelf, key):
    ok(s3.put(shelf, key, headers=metadata(METADATA_BYTES_MAX)))
    assert len(ok(s3.head(shelf, key))["x-amz-meta-b"]) == METADATA_BYTES_MAX - 1002


@pytest.mark.parametrize("how", ["put", "copy", "create upload"])
def test_metadata_beyond_the_limit(s3, shelf, key, how):
    headers = metadata(METADATA_BYTES_MAX + 1)
    if how == "put":
        answer = s3.put(shelf, key, headers=headers)
    elif how == "copy":
        ok(s3.put(shelf, key + "source"))
        copy = [("x-amz-copy-source", f"/{shelf}/{key}source"), ("x-amz-metadata-directive", "REPLACE")]
        answer = s3.put(shelf, key, headers=[*copy, *headers])
    else:
        answer = s3.request("POST", shelf, key, ["uploads"], headers)
    refused(answer, 400, "MetadataTooLarge")
    absent(s3, shelf, key)


def test_header_section_too_large(s3, shelf, key):
    refused(s3.put(shelf, key, headers=[("X-Fill", "f" * HEADER_BYTES_MAX)]), 400, "RequestHeaderSectionTooLarge")
    absent(s3, shelf, key)


@pytest.mark.parametrize("case", ["one header of 1 MiB", "2,000 headers", "request line of 100 KB"])
def test_absurd_heads(s3, shelf, key, case):
    more = {"one header of 1 MiB": [("X-Fill", "f" * MIB)], "2,000 headers": [(f"X-{i}", "v") for i in range(2000)]}.get(case, [])
    query = [("prefix", "p" * 100_000)] if case.startswith("request") else []
    try:
        answer = s3.get(shelf, query=query, headers=more)
        assert answer.status in (400, 414, 431), answer
    except Closed:
        pass
    ok(s3.put(shelf, key, b"still here"))


def delete_xml(inner: str) -> str:
    return f"<Delete {XMLNS}>{inner}</Delete>"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(8))
    + "]>"
)
DOCUMENTS = {
    "versioning": ("PUT", ["versioning"], "VersioningConfiguration", "<Status>Enabled</Status>"),
    "tagging": ("PUT", ["tagging"], "Tagging", "<TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet>"),
    "cors": (
        "PUT",
        ["cors"],
        "CORSConfiguration",
        "<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>",
    ),
    "delete": ("POST", ["delete"], "Delete", "<Object><Key>none</Key></Object>"),
    "ownership": (
        "PUT",
        ["ownershipControls"],
        "OwnershipControls",
        "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>",
    ),
    "access block": ("PUT", ["publicAccessBlock"], "PublicAccessBlockConfiguration", "<BlockPublicAcls>false</BlockPublicAcls>"),
    "encryption": (
        "PUT",
        ["encryption"],
        "ServerSideEncryptionConfiguration",
        "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>",
    ),
}


def document(case: str, xmlns: str = XMLNS) -> str:
    _, _, root, inner = DOCUMENTS[case]
    return f"<{root} {xmlns}>{inner}</{root}>"


def send_document(s3, bucket, case, xml, **how):
    method, query, _, _ = DOCUMENTS[case]
    return s3.document(method, bucket, None, query, xml, **how)


@pytest.mark.parametrize("case", DOCUMENTS)
def test_document(s3, bucket, case):
    ok(send_document(s3, bucket, case, document(case)))


@pytest.mark.parametrize("case", DOCUMENTS)
def test_document_without_namespace(s3, bucket, case):
    ok(send_document(s3, bucket, case, document(case, "")))


@pytest.mark.parametrize("case", DOCUMENTS)
def test_document_with_declaration_comment_and_space(s3, bucket, case):
    ok(
        send_document(
            s3,
            bucket,
            case,
            '<?xml version="1.0" encoding="UTF-8"?>\n<!-- c -->\n' + document(case).replace("><", ">\n  <") + "\n",
        )
    )


@pytest.mark.parametrize("case", DOCUMENTS)
def test_truncated_document(s3, bucket, case):
    refused(send_document(s3, bucket, case, document(case)[:-8]), 400, "MalformedXML")


@pytest.mark.parametrize("case", DOCUMENTS)
def test_empty_document(s3, bucket, case):
    refused(send_document(s3, bucket, case, ""), 400, ("MalformedXML", "MissingRequestBodyError"))


@pytest.mark.parametrize("case", DOCUMENTS)
def test_another_root(s3, bucket, case):
    refused(send_document(s3, bucket, case, f"<Foo {XMLNS}><Bar/></Foo>"), 400, "MalformedXML")


@pytest.mark.parametrize("case", DOCUMENTS)
def test_no_xml_at_all(s3, bucket, case):
    refused(send_document(s3, bucket, case, b"\xff\xfe{not xml}"), 400, "MalformedXML")


@pytest.mark.parametrize("case", DOCUMENTS)
def test_entity_bomb(s3, bucket, case):
    root, inner = DOCUMENTS[case][2:]
    refused(send_document(s3, bucket, case, BOMB + f"<{root} {XMLNS}>&i;{inner}</{root}>"), 400, "MalformedXML")


def test_external_entity_is_not_read(s3, bucket):
    xml = (
        '<?xml version="1.0"?><!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        f"<Tagging {XMLNS}><TagSet><Tag><Key>a</Key><Value>&x;</Value></Tag></TagSet></Tagging>"
    )
    refused(send_document(s3, bucket, "tagging", xml), 400, "MalformedXML")
    refused(s3.get(bucket, query=["tagging"]), 404, "NoSuchTagSet")


def test_deep_nesting(s3, bucket):
    refused(send_document(s3, bucket, "tagging", "<Tagging>" + "<a>" * 100_000 + "</a>" * 100_000 + "</Tagging>"), 400, "MalformedXML")


def test_document_beyond_the_limit(s3, bucket, key):
    ok(s3.put(bucket, key, b"keep"))
    xml = delete_xml(f"<Object><Key>{key}</Key></Object>" + " " * XML_BYTES_MAX)
    refused(s3.document("POST", bucket, None, ["delete"], xml), 400)
    present(s3, bucket, key, b"keep")


@pytest.mark.parametrize("number", ["0", "10001", "-1", "abc", "", "1.5", "99999999999999999999"])
def test_part_number_out_of_range(s3, shelf, key, number):
    upload = s3.begin(shelf, key)
    refused(s3.part(shelf, key, upload, number, b"x"), 400, "InvalidArgument")
    assert ok(s3.get(shelf, key, query=[("uploadId", upload)])).texts("Part") == []


def test_part_number_at_the_limit(s3, shelf, key):
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 10_000, b"last"))["etag"]
    ok(s3.complete(shelf, key, upload, [(10_000, etag)]))
    present(s3, shelf, key, b"last")


def test_complete_with_10001_parts(s3, shelf, key):
    upload = s3.begin(shelf, key)
    etag = ok(s3.part(shelf, key, upload, 1, b"x"))["etag"]
    refused(s3.complete(shelf, key, upload, [(n, etag) for n in range(1, 10_002)]), 400)
    absent(s3, shelf, key)


def tags(pairs: list[tuple[str, str]]) -> str:
    inner = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in pairs)
    return f"<Tagging {XMLNS}><TagSet>{inner}</TagSet></Tagging>"


GOOD_TAGS = {
    "ten": [(f"k{i}", "v") for i in range(10)],
    "key of 128": [("k" * 128, "v")],
    "value of 256": [("k", "v" * 256)],
    "empty value": [("k", "")],
    "none": [],
    "characters": [("a b+-=._:/@", "c d+-=._:/@")],
    "letters": [("ключ", "値")],
}
BAD_TAGS = {
    "eleven": [(f"k{i}", "v") for i in range(11)],
    "key of 129": [("k" * 129, "v")],
    "value of 257": [("k", "v" * 257)],
    "empty key": [("", "v")],
    "twice": [("k", "1"), ("k", "2")],
    "aws:": [("aws:k", "v")],
}


@pytest.mark.parametrize("case", GOOD_TAGS)
def test_object_tags_within_limits(s3, shelf, key, case):
    ok(s3.put(shelf, key))
    ok(s3.document("PUT", shelf, key, ["tagging"], tags(GOOD_TAGS[case])))
    got = ok(s3.get(shelf, key, query=["tagging"]))
    assert sorted(zip(got.texts("TagSet/Tag/Key"), got.texts("TagSet/Tag/Value"))) == sorted(GOOD_TAGS[case])


@pytest.mark.parametrize("case", BAD_TAGS)
def test_object_tags_beyond_limits(s3, shelf, key, case):
    ok(s3.put(shelf, key))
    codes = ("BadRequest", "InvalidTag") if case == "eleven" else ("InvalidTag", "MalformedXML")
    refused(s3.document("PUT", shelf, key, ["tagging"], tags(BAD_TAGS[case])), 400, codes)
    assert ok(s3.get(shelf, key, query=["tagging"])).texts("TagSet/Tag") == []


def test_bucket_tags_at_and_beyond_the_limit(s3, bucket):
    ok(s3.document("PUT", bucket, None, ["tagging"], tags([(f"k{i}", "v") for i in range(50)])))
    refused(
        s3.document("PUT", bucket, None, ["tagging"], tags([(f"k{i}", "v") for i in range(51)])),
        400,
        ("BadRequest", "InvalidTag"),
    )
    assert len(ok(s3.get(bucket, query=["tagging"])).texts("TagSet/Tag")) == 50
