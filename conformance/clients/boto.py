#!/usr/bin/env python3
"""boto3: boto.py 1.35 (before default checksums) or newest. The round trip runs inside its venv."""
import os
import subprocess
import sys
from pathlib import Path

from common import MIB, MIDDLE_BYTES, ODD_KEY, PART_BYTES, SMALL_BYTES, Case, cache, main

PINS = {"1.35": "boto3==1.35.99\n", "newest": "boto3==1.44.5\n"}
WHICH = next((a for a in sys.argv[1:] if a in PINS), "newest")


def install() -> Path:
    return cache.venv(f"boto3-{WHICH}", PINS[WHICH])


def round_trip(c: Case, _venv: Path) -> str:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    os.environ.update({k: v for k, v in c.env().items() if k != "HOME"})
    if not c.secure:
        os.environ.pop("AWS_CA_BUNDLE", None)
    s3 = boto3.client("s3", endpoint_url=c.endpoint, aws_access_key_id=c.access,
                      aws_secret_access_key=c.secret, region_name=c.region)
    from botocore.config import Config
    signed = boto3.client("s3", endpoint_url=c.endpoint, aws_access_key_id=c.access, aws_secret_access_key=c.secret,
                          region_name=c.region, config=Config(signature_version="s3v4"))
    b = c.bucket
    s3.create_bucket(Bucket=b)
    s3.head_bucket(Bucket=b)
    small, middle, big = c.file("small", SMALL_BYTES), c.file("middle", MIDDLE_BYTES), c.file("big", c.big_bytes)
    s3.put_object(Bucket=b, Key=ODD_KEY, Body=small.read_bytes(), ContentType="text/odd", Metadata={"colour": "blue"})
    s3.put_object(Bucket=b, Key="middle", Body=middle.read_bytes())
    s3.upload_file(str(big), b, "big", Config=TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=PART_BYTES))
    head = s3.head_object(Bucket=b, Key=ODD_KEY)
    c.expect(head["ContentType"] == "text/odd" and head["Metadata"] == {"colour": "blue"}, f"metadata: {head}")
    keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=b, PaginationConfig={"PageSize": 1})
            for o in page.get("Contents", [])]
    c.expect(keys == sorted(["big", ODD_KEY, "middle"], key=str.encode), f"listing: {keys}")
    for path, key in ((small, ODD_KEY), (middle, "middle"), (big, "big")):
        s3.download_file(b, key, str(c.work / "back"))
        c.same(path, c.work / "back", key)
    part = s3.get_object(Bucket=b, Key="big", Range="bytes=-1000")["Body"].read()
    c.same(part, big.read_bytes()[-1000:], "suffix range")
    s3.copy_object(Bucket=b, Key="copied", CopySource={"Bucket": b, "Key": ODD_KEY})
    c.same(s3.get_object(Bucket=b, Key="copied")["Body"].read(), small, "copy")
    s3.copy({"Bucket": b, "Key": "big"}, b, "big-copied", Config=TransferConfig(multipart_threshold=8 * MIB,
                                                                               multipart_chunksize=8 * MIB))
    s3.download_file(b, "big-copied", str(c.work / "back"))
    c.same(big, c.work / "back", "copy in parts")
    try:
        s3.put_object(Bucket=b, Key="middle", Body=b"x", IfNoneMatch="*")
        c.expect(False, "If-None-Match: * overwrote")
    except ClientError as refused:
        c.expect(refused.response["ResponseMetadata"]["HTTPStatusCode"] == 412, f"If-None-Match: {refused}")
    get = signed.generate_presigned_url("get_object", Params={"Bucket": b, "Key": ODD_KEY})
    c.same(c.fetch(get), small, "presigned GET")
    put = signed.generate_presigned_url("put_object", Params={"Bucket": b, "Key": "by-url"})
    c.fetch(put, b"put by url")
    c.same(s3.get_object(Bucket=b, Key="by-url")["Body"].read(), b"put by url", "presigned PUT")
    form(c, signed)
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=b)["Contents"]]
    gone = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": k} for k in keys]})
    c.expect(len(gone.get("Deleted", [])) == len(keys) and not gone.get("Errors"), f"multi-delete: {gone}")
    s3.delete_bucket(Bucket=b)
    return boto3.__version__


def form(c: Case, s3) -> None:
    """A browser's form upload under a SigV4 policy."""
    import urllib3
    post = s3.generate_presigned_post(c.bucket, "by-form", Conditions=[["content-length-range", 1, 100]])
    pool = urllib3.PoolManager(ca_certs=c.ca) if c.ca else urllib3.PoolManager()
    answer = pool.request("POST", post["url"], fields={**post["fields"], "file": ("f", b"put by form")})
    c.expect(answer.status == 204, f"form upload: {answer.status} {answer.data[:500]}")
    c.same(s3.get_object(Bucket=c.bucket, Key="by-form")["Body"].read(), b"put by form", "form upload")


if "--inside" not in sys.argv and "--install-only" not in sys.argv:
    try:
        python = install() / "bin" / "python"
    except cache.Failed as why:
        sys.exit(str(why))
    sys.exit(subprocess.run([python, *sys.argv, "--inside"]).returncode)
main(f"boto3-{WHICH}", install, round_trip)
