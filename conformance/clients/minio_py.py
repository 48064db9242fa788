#!/usr/bin/env python3
"""minio-py. The round trip runs inside its venv."""
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from common import MIDDLE_BYTES, ODD_KEY, PART_BYTES, SMALL_BYTES, Case, cache, main

PINS = "minio==7.2.20\n"


def install() -> Path:
    return cache.venv("minio-py", PINS)


def round_trip(c: Case, _venv: Path) -> str:
    import minio
    from minio.commonconfig import CopySource
    from minio.deleteobjects import DeleteObject

    if c.ca:
        os.environ["SSL_CERT_FILE"] = c.ca
    s3 = minio.Minio(c.host, access_key=c.access, secret_key=c.secret, secure=c.secure, region=c.region)
    b = c.bucket
    s3.make_bucket(b)
    c.expect(s3.bucket_exists(b), "the new bucket does not exist")
    small, middle, big = c.file("small", SMALL_BYTES), c.file("middle", MIDDLE_BYTES), c.file("big", c.big_bytes)
    s3.fput_object(b, ODD_KEY, str(small), metadata={"colour": "blue"})
    s3.fput_object(b, "middle", str(middle))
    s3.fput_object(b, "big", str(big), part_size=PART_BYTES)
    c.expect(s3.stat_object(b, ODD_KEY).metadata.get("x-amz-meta-colour") == "blue", "metadata is lost")
    keys = [o.object_name for o in s3.list_objects(b, recursive=True)]
    c.expect(keys == sorted(["big", ODD_KEY, "middle"], key=str.encode), f"listing: {keys}")
    for path, key in ((small, ODD_KEY), (middle, "middle"), (big, "big")):
        s3.fget_object(b, key, str(c.work / "back"))
        c.same(path, c.work / "back", key)
    answer = s3.get_object(b, "big", offset=PART_BYTES - 10, length=20)
    c.same(answer.read(), big.read_bytes()[PART_BYTES - 10:PART_BYTES + 10], "range over two parts")
    answer.close()
    s3.copy_object(b, "copied", CopySource(b, ODD_KEY))
    s3.fget_object(b, "copied", str(c.work / "back"))
    c.same(small, c.work / "back", "copy")
    c.same(c.fetch(s3.presigned_get_object(b, ODD_KEY, timedelta(minutes=5))), small, "presigned GET")
    c.fetch(s3.presigned_put_object(b, "by-url", timedelta(minutes=5)), b"put by url")
    s3.fget_object(b, "by-url", str(c.work / "back"))
    c.same(c.work / "back", b"put by url", "presigned PUT")
    gone = list(s3.remove_objects(b, [DeleteObject(o.object_name) for o in s3.list_objects(b, recursive=True)]))
    c.expect(not gone, f"multi-delete: {gone}")
    s3.remove_bucket(b)
    return minio.__version__


if "--inside" not in sys.argv and "--install-only" not in sys.argv:
    try:
        python = install() / "bin" / "python"
    except cache.Failed as why:
        sys.exit(str(why))
    sys.exit(subprocess.run([python, *sys.argv, "--inside"]).returncode)
main("minio-py", install, round_trip)
