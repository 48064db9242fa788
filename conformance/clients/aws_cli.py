#!/usr/bin/env python3
"""aws cli: aws_cli.py v1 (from pip) or v2 (Debian's awscli)."""
import json
import sys
from pathlib import Path

from common import MIDDLE_BYTES, ODD_KEY, SMALL_BYTES, Case, cache, debian, main

V1 = "awscli==1.46.3\n"
WHICH = next((a for a in sys.argv[1:] if a in ("v1", "v2")), "v1")


def install() -> Path:
    return cache.venv("aws-cli-v1", V1) / "bin" / "aws" if WHICH == "v1" else debian("awscli", "aws")


def round_trip(c: Case, aws: Path) -> str:
    version = c.run(aws, "--version")
    c.expect(f"aws-cli/{WHICH[1]}." in version, f"{aws} is {version}, wanted {WHICH}")
    # v1 presigns with SigV2 in us-east-1 unless told; AWS refuses that for buckets made since June 2020.
    (c.work / "aws-config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    b = f"s3://{c.bucket}"

    def s3(*words: object, **kw) -> str:
        return c.run(aws, "--endpoint-url", c.endpoint, "s3", *words, **kw)

    def api(*words: object, **kw) -> str:
        return c.run(aws, "--endpoint-url", c.endpoint, "--output", "json", "s3api", *words, **kw)

    s3("mb", b)
    c.expect(c.bucket in s3("ls"), "the new bucket is not listed")
    small, middle, big = c.file("small", SMALL_BYTES), c.file("middle", MIDDLE_BYTES), c.file("big", c.big_bytes)
    s3("cp", small, f"{b}/{ODD_KEY}")
    s3("cp", middle, f"{b}/middle")
    s3("cp", big, f"{b}/big")
    head = json.loads(api("head-object", "--bucket", c.bucket, "--key", "big"))
    c.expect(head["ContentLength"] == c.big_bytes, f"big is {head['ContentLength']} bytes long")
    c.expect(head["ETag"].strip('"').count("-") == 1, f"big has no multipart ETag: {head['ETag']}")
    listing = s3("ls", "--recursive", b)
    c.expect(ODD_KEY in listing and len(listing.splitlines()) == 3, f"listing is wrong:\n{listing}")
    for path, key in ((small, ODD_KEY), (middle, "middle"), (big, "big")):
        s3("cp", f"{b}/{key}", c.work / "back")
        c.same(path, c.work / "back", key)
    s3("cp", f"{b}/big", f"{b}/copy/big")
    s3("mv", f"{b}/middle", f"{b}/moved")
    s3("cp", f"{b}/copy/big", c.work / "back")
    c.same(big, c.work / "back", "the copy")
    api("head-object", "--bucket", c.bucket, "--key", "middle", fails=True)
    c.same(c.fetch(s3("presign", f"{b}/{ODD_KEY}")), small, "presigned GET")
    part = api("get-object", "--bucket", c.bucket, "--key", "big", "--range", "bytes=1000000-1000999", c.work / "range")
    c.expect(json.loads(part)["ContentLength"] == 1000, "range has the wrong length")
    with big.open("rb") as whole:
        whole.seek(1_000_000)
        c.same(whole.read(1000), c.work / "range", "range")
    tree = c.tree("tree")
    s3("sync", "--only-show-errors", tree, f"{b}/tree")
    c.expect(s3("sync", tree, f"{b}/tree") == "", "a second sync had something to do")
    s3("sync", "--only-show-errors", f"{b}/tree", c.work / "tree-back")
    c.same_tree(tree, c.work / "tree-back", "sync")
    s3("rb", b, fails=True)
    s3("rm", "--only-show-errors", "--recursive", b)
    c.expect(s3("ls", "--recursive", b, fails=False) == "", "something is left")
    s3("rb", b)
    return version.split("/")[1].split()[0]


main(f"aws-cli-{WHICH}", install, round_trip)
