#!/usr/bin/env python3
"""s3fs (Debian's): the bucket as a file system. Needs /dev/fuse."""
import shutil
import subprocess
import time
from pathlib import Path

from common import PART_BYTES, SMALL_BYTES, Case, Mismatch, cache, debian, main

MOUNT_S_MAX = 20


def install() -> tuple[Path, Path]:
    if not Path("/dev/fuse").exists():
        raise cache.Failed("s3fs: this machine has no /dev/fuse")
    aws = cache.venv("aws-cli-v1", "awscli==1.46.3\n") / "bin" / "aws"
    return debian("s3fs", "s3fs"), aws


def round_trip(c: Case, tools: tuple[Path, Path]) -> str:
    program, aws = tools
    c.run(aws, "--endpoint-url", c.endpoint, "s3", "mb", f"s3://{c.bucket}")
    keys, mount = c.work / "keys", c.work / "mount"
    keys.write_text(f"{c.access}:{c.secret}\n")
    keys.chmod(0o600)
    mount.mkdir()
    (c.work / "tmp").mkdir()
    options = [f"url={c.endpoint}", "use_path_request_style", f"passwd_file={keys}", f"endpoint={c.region}",
               "sigv4", "retries=1", f"multipart_size={PART_BYTES >> 20}", f"tmpdir={c.work / 'tmp'}"]
    if c.secure:
        # Debian's s3fs, with GnuTLS, believes only what lies in /etc/ssl/certs, which is not ours to change.
        options.append("no_check_certificate")
    served = subprocess.Popen([program, c.bucket, mount, "-f", "-o", ",".join(options)], env=c.env(),
                              stdin=subprocess.DEVNULL, stdout=(c.work / "log").open("w"), stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + MOUNT_S_MAX
        while not mount.is_mount():
            c.expect(served.poll() is None and time.monotonic() < deadline,
                     "s3fs did not mount: " + (c.work / "log").read_text()[-500:])
            time.sleep(0.1)
        files(c, mount)
    except OSError as why:
        raise Mismatch(f"{why}; s3fs said: " + (c.work / "log").read_text()[-1500:]) from why
    finally:
        if served.poll() is None:
            subprocess.run(["fusermount", "-u", str(mount)], stdin=subprocess.DEVNULL)
        try:
            served.wait(MOUNT_S_MAX)
        except subprocess.TimeoutExpired:
            served.kill()
            served.wait()
    c.run(aws, "--endpoint-url", c.endpoint, "s3", "rb", "--force", f"s3://{c.bucket}")
    return c.run(program, "--version").splitlines()[0]


def files(c: Case, mount: Path) -> None:
    small, big = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes)
    (mount / "folder").mkdir()
    for path in (small, big):
        shutil.copyfile(path, mount / "folder" / path.name)
    c.expect(sorted(p.name for p in (mount / "folder").iterdir()) == ["big", "small"], "listing")
    for path in (small, big):
        c.same(path, mount / "folder" / path.name, path.name)
    (mount / "folder" / "big").rename(mount / "moved")
    c.same(big, mount / "moved", "renamed")
    (mount / "folder" / "small").unlink()
    c.expect(list((mount / "folder").iterdir()) == [], "deleted")


main("s3fs", install, round_trip)
