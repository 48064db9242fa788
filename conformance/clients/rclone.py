#!/usr/bin/env python3
"""rclone: sync and check of a folder, multipart, server-side copy, link. CLIENTS_FILES=10000 for the large run."""
import json
from pathlib import Path

from common import HERE, Case, cache, main


def install() -> Path:
    return cache.go_program("rclone", HERE / "go" / "rclone", "github.com/rclone/rclone")


def round_trip(c: Case, program: Path) -> str:
    env = c.env_go(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_DM_TYPE="s3", RCLONE_CONFIG_DM_PROVIDER="Other",
                   RCLONE_CONFIG_DM_ENDPOINT=c.endpoint, RCLONE_CONFIG_DM_ACCESS_KEY_ID=c.access,
                   RCLONE_CONFIG_DM_SECRET_ACCESS_KEY=c.secret, RCLONE_CONFIG_DM_REGION=c.region,
                   RCLONE_S3_UPLOAD_CUTOFF="5M", RCLONE_S3_CHUNK_SIZE="5M", RCLONE_LOW_LEVEL_RETRIES="1",
                   RCLONE_RETRIES="1", RCLONE_S3_FORCE_PATH_STYLE="true")
    if c.ca:
        env["RCLONE_CA_CERT"] = c.ca

    def rclone(*words: object, **kw) -> str:
        return c.run(program, *words, env=env, **kw)

    b = f"dm:{c.bucket}"
    rclone("mkdir", b)
    tree, big = c.tree("tree"), c.file("big", c.big_bytes)
    rclone("sync", tree, f"{b}/tree")
    rclone("check", "--download", tree, f"{b}/tree")
    rclone("copyto", big, f"{b}/big")
    entry = json.loads(rclone("lsjson", "--stat", f"{b}/big"))
    c.expect(entry["Size"] == c.big_bytes, f"big: {entry}")
    rclone("copyto", f"{b}/big", f"{b}/copied")
    rclone("copyto", f"{b}/copied", c.work / "back")
    c.same(big, c.work / "back", "multipart, copied on the server")
    rclone("moveto", f"{b}/copied", f"{b}/moved")
    rclone("lsjson", "--stat", f"{b}/moved")
    c.same(c.fetch(rclone("link", f"{b}/big")), big, "presigned link")
    gone = next(tree.rglob("*.dat"))
    gone.unlink()
    c.file(str((tree / "0" / "new.dat").relative_to(c.work)), 999)
    rclone("sync", tree, f"{b}/tree")
    rclone("sync", f"{b}/tree", c.work / "tree-back")
    c.same_tree(tree, c.work / "tree-back", "sync with a deletion")
    rclone("purge", b)
    c.expect(c.bucket not in rclone("lsd", "dm:"), "the bucket is still there")
    return rclone("version").splitlines()[0]


main("rclone", install, round_trip)
