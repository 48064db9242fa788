"""What every client's script needs: where the server is, data with a seed, comparisons, a verdict.

A script defines `install() -> tools` and `round_trip(case, tools)`, and ends with
`main(name, install, round_trip)`. It runs alone too:

  S3_ENDPOINT=http://127.0.0.1:9000 S3_ACCESS_KEY=… S3_SECRET_KEY=… python3 conformance/clients/rclone.py
"""
from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import cache  # noqa: E402
from harness.cache import debian  # noqa: E402, F401 - for the clients
from harness.server import trust  # noqa: E402

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
SMALL_BYTES = 3_333                 # inline in the metadata
MIDDLE_BYTES = 300_001              # shards, one stripe, no multiple of anything
PART_BYTES = 5 * MIB                # S3's smallest part: more parts for the same bytes
COMMAND_S_MAX = 1800
TREE_TIME = 1_700_000_000           # long ago: a sync that compares times must find nothing newer here
# A space, a plus, a percent, two and three byte characters: what clients quote differently.
ODD_KEY = "dir one/a+b %41 ä€.bin"


class Mismatch(Exception):
    """The server or the client did not do what it should."""


class Case:
    """One run against one endpoint: keys, a scratch folder, files made from the seed."""

    def __init__(self, name: str) -> None:
        missing = [v for v in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY") if not os.environ.get(v)]
        if missing:
            raise cache.Failed(f"set {', '.join(missing)} (or use: make clients ONLY={name})")
        self.name = name
        self.endpoint = os.environ["S3_ENDPOINT"].rstrip("/")
        self.access = os.environ["S3_ACCESS_KEY"]
        self.secret = os.environ["S3_SECRET_KEY"]
        self.region = os.environ.get("S3_REGION", "us-east-1")
        self.secure = self.endpoint.startswith("https://")
        self.ca = os.environ.get("S3_CA_FILE") if self.secure else None
        self.host = self.endpoint.split("://", 1)[1]
        self.seed = int(os.environ.get("SEED", "1"))
        self.big_bytes = int(os.environ.get("CLIENTS_BIG_MIB", "21")) * MIB + 7
        self.files = int(os.environ.get("CLIENTS_FILES", "120"))
        self.random = random.Random(f"{self.seed} {name}")
        self.checks = 0
        scratch = cache.CACHE / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))
        self.bucket = f"c-{name}-{os.getpid()}-{int(time.time())}"[:63]

    def env(self, **more: str) -> dict[str, str]:
        """Ours without what the machine says of AWS, proxies and trust; keys and trust of this case."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
        env.update(AWS_ACCESS_KEY_ID=self.access, AWS_SECRET_ACCESS_KEY=self.secret,
                   AWS_DEFAULT_REGION=self.region, AWS_REGION=self.region,
                   AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=str(self.work / "aws-config"),
                   AWS_SHARED_CREDENTIALS_FILE=os.devnull, HOME=str(self.work), NO_PROXY="*", no_proxy="*")
        if self.ca:
            env.update(trust(self.ca))
        env.update(more)
        return env

    def env_go(self, **more: str) -> dict[str, str]:
        """Go's SDKs refuse AWS_CA_BUNDLE beside a transport of their own; SSL_CERT_FILE serves them."""
        env = self.env(**more)
        env.pop("AWS_CA_BUNDLE", None)
        return env

    def run(self, *command: object, env: dict[str, str] | None = None, fails: bool = False,
            cwd: Path | None = None) -> str:
        """Standard output; Mismatch with what was said where the exit code is not as expected."""
        line = [str(c) for c in command]
        done = subprocess.run(line, env=env or self.env(), cwd=cwd or self.work, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=COMMAND_S_MAX)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if (done.returncode != 0) != fails:
            raise Mismatch(f"{' '.join(line)}: exit code {done.returncode}\n{out[-3000:]}{err[-3000:]}")
        self.checks += 1
        return out + err if fails else out

    def file(self, name: str, size: int) -> Path:
        """A file of that many bytes, the same for the same seed and order of calls."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            while size > 0:
                size -= out.write(self.random.randbytes(min(size, 4 * MIB)))
        return path

    def tree(self, name: str, files: int | None = None) -> Path:
        """A folder of many small files in a few folders, one of them empty, some names odd."""
        top = self.work / name
        for i in range(files or self.files):
            size = 0 if i == 7 else self.random.randrange(1, 40_000)
            path = self.file(f"{name}/{i % 5}/d {i % 3}/f-{i}{'é+' if i % 11 == 0 else ''}.dat", size)
            os.utime(path, (TREE_TIME, TREE_TIME))
        return top

    def expect(self, good: object, what: str) -> None:
        self.checks += 1
        if not good:
            raise Mismatch(what)

    def same(self, a: Path | bytes, b: Path | bytes, what: str) -> None:
        """Byte for byte."""
        x, y = digest(a), digest(b)
        self.expect(x == y, f"{what}: bytes differ ({x} is not {y})")

    def same_tree(self, a: Path, b: Path, what: str) -> None:
        def digests(top: Path) -> dict[str, str]:
            return {str(p.relative_to(top)): digest(p) for p in sorted(top.rglob("*")) if p.is_file()}
        x, y = digests(a), digests(b)
        odd = sorted(k for k in x.keys() | y.keys() if x.get(k) != y.get(k))
        self.expect(x and not odd, f"{what}: {len(odd)} of {len(x)} files differ, first {odd[:3]}")

    def fetch(self, url: str, body: bytes | None = None) -> bytes:
        """A presigned URL, opened by no SDK at all."""
        context = ssl.create_default_context(cafile=self.ca) if self.secure else None
        handlers = [urllib.request.ProxyHandler({})]
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(url.strip(), data=body, method="PUT" if body is not None else "GET",
                                         headers={"Content-Type": "application/octet-stream"} if body else {})
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as no:
            raise Mismatch(f"presigned URL: {no.code} {no.read(2000).decode(errors='replace')}") from no


def digest(data: Path | bytes) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(name: str, install: Callable[[], object], round_trip: Callable[[Case, object], str]) -> None:
    """Installs, goes round, prints {"client":…,"ok":…}. `round_trip` answers the client's version."""
    verdict: dict = {"client": name, "ok": False}
    try:
        tools = install()
        if "--install-only" in sys.argv:
            verdict["ok"] = True
        else:
            case = Case(name)
            try:
                verdict.update(version=clean(round_trip(case, tools)), checks=case.checks, seed=case.seed, ok=True)
            finally:
                shutil.rmtree(case.work, ignore_errors=True)
    except (Mismatch, cache.Failed) as why:
        print(why)
        verdict["why"] = str(why).splitlines()[0][:300]
    except Exception as why:  # noqa: BLE001 — an SDK's own error is a verdict too
        traceback.print_exc()
        verdict["why"] = f"{type(why).__name__}: {why}".splitlines()[0][:300]
    print(json.dumps(verdict, ensure_ascii=False), flush=True)
    sys.exit(0 if verdict["ok"] else 1)


def clean(version: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?\S*", version or "")
    return found.group(0) if found else (version or "").strip()
