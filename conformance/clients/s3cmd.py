#!/usr/bin/env python3
"""s3cmd, from pip."""
from pathlib import Path

from common import ODD_KEY, SMALL_BYTES, Case, cache, main

PINS = "s3cmd==2.4.0\nsetuptools<81\n"


def install() -> Path:
    return cache.venv("s3cmd", PINS) / "bin" / "s3cmd"


def round_trip(c: Case, program: Path) -> str:
    config = c.work / "s3cfg"
    config.write_text("\n".join([
        "[default]", f"access_key = {c.access}", f"secret_key = {c.secret}", f"bucket_location = {c.region}",
        f"host_base = {c.host}", f"host_bucket = {c.host}", f"use_https = {c.secure}", "signature_v2 = False",
        f"ca_certs_file = {c.ca or ''}", "check_ssl_hostname = False", ""]))

    def s3cmd(*words: object, **kw) -> str:
        return c.run(program, "-c", config, "--no-progress", "--max-retries=1", *words, **kw)

    b = f"s3://{c.bucket}"
    s3cmd("mb", b)
    small, big, tree = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes), c.tree("tree", 30)
    s3cmd("put", small, f"{b}/{ODD_KEY}")
    s3cmd("put", "--multipart-chunk-size-mb=5", big, f"{b}/big")
    c.expect(ODD_KEY in s3cmd("ls", "--recursive", b), "the key is not listed")
    s3cmd("get", "--force", f"{b}/{ODD_KEY}", c.work / "back")
    c.same(small, c.work / "back", ODD_KEY)
    s3cmd("cp", f"{b}/big", f"{b}/copied")
    s3cmd("get", "--force", f"{b}/copied", c.work / "back")
    c.same(big, c.work / "back", "multipart, copied on the server")
    s3cmd("sync", f"{tree}/", f"{b}/tree/")
    (c.work / "tree-back").mkdir()
    s3cmd("sync", f"{b}/tree/", f"{c.work}/tree-back/")
    c.same_tree(tree, c.work / "tree-back", "sync")
    c.expect(f"{c.big_bytes}" in s3cmd("info", f"{b}/big"), "info does not tell the size")
    s3cmd("rb", b, fails=True)
    s3cmd("del", "--recursive", "--force", b)
    s3cmd("rb", b)
    return s3cmd("--version")


main("s3cmd", install, round_trip)
