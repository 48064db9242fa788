#!/usr/bin/env python3
"""Runs real clients against a fresh server, over http and https; the last line is JSON.

  run.py [--only aws-cli-v1,s5cmd] [--modes http,https] [--behind nginx|docker] [--endpoint URL] [--install-only]

Without more a server with conformance/profile.toml is started, both protocols on its port. --behind nginx:
it is reached through nginx only, by TLS on another port, as docs/OPERATIONS.md has it. --behind docker: it is
the image `datamesh` (DATAMESH_IMAGE) as a container. --endpoint: one that runs already; S3_ACCESS_KEY and
S3_SECRET_KEY (and S3_CA_FILE for https) must be set.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness.cache import Failed, say  # noqa: E402
from harness.container import Container  # noqa: E402
from harness.nginx import SETTINGS, Nginx  # noqa: E402
from harness.server import Server  # noqa: E402

CLIENT_S_MAX = 3600
CLIENTS: dict[str, list[str]] = {
    "aws-cli-v1": ["aws_cli.py", "v1"],
    "aws-cli-v2": ["aws_cli.py", "v2"],
    "boto3-1.35": ["boto.py", "1.35"],
    "boto3-newest": ["boto.py", "newest"],
    "minio-py": ["minio_py.py"],
    "rclone": ["rclone.py"],
    "restic": ["restic.py"],
    "s5cmd": ["s5cmd.py"],
    "s3cmd": ["s3cmd.py"],
    "sdk-js": ["sdk_js.py"],
    "sdk-go": ["sdk_go.py"],
    "sdk-java": ["sdk_java.py"],
    "sdk-rust": ["sdk_rust.py"],
    "s3fs": ["s3fs.py"],
}

# Asked only through a proxy.
PROXIED = {"proxied": ["proxied.py"]}
Environments = dict[str, dict[str, str]]


def one(name: str, mode: str, env: dict[str, str], more: list[str]) -> dict:
    """The client's own verdict; a hang or a missing verdict is a failure."""
    script, *words = {**CLIENTS, **PROXIED}[name]
    say(f"-- {name} over {mode}")
    began = time.monotonic()
    try:
        done = subprocess.run([sys.executable, str(HERE / script), *words, *more],
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=CLIENT_S_MAX)
        text, code = done.stdout.decode(errors="replace").strip(), done.returncode
    except subprocess.TimeoutExpired as late:
        text, code = (late.stdout or b"").decode(errors="replace") + f"\nno end after {CLIENT_S_MAX} s", -1
    try:
        last = text.splitlines()[-1]
        # Build tools put escape codes in front of it.
        verdict = json.loads(last[last.index("{"):])
    except (ValueError, IndexError):
        verdict = {"why": "no verdict"}
    verdict["ok"] = code == 0 and verdict.get("ok") is True
    say(f"   {'ok' if verdict['ok'] else 'FAILED'} {verdict.get('version', '')} "
        f"{verdict.get('checks', 0)} checks, {time.monotonic() - began:.0f} s")
    if not verdict["ok"]:
        say(text[-6000:])
    return verdict


@contextmanager
def serving(a: argparse.Namespace) -> Iterator[Environments]:
    """Mode → environment that points a client at the server in that mode. Failed at the end where it died."""
    with ExitStack() as stack:
        if a.endpoint:
            yield {a.endpoint.split(":", 1)[0]: {**os.environ, "S3_ENDPOINT": a.endpoint}}
            return
        if a.behind == "docker":
            server = stack.enter_context(Container())
            found = {"docker": server.environment()}
        elif a.behind == "nginx":
            behind = stack.enter_context(Server(settings=SETTINGS))
            server = stack.enter_context(Nginx(behind))
            found = {"nginx": server.environment()}
        else:
            server = stack.enter_context(Server("both" if "https" in a.modes else "off"))
            base = server.environment()
            found = {"http": base, "https": {**base, "S3_ENDPOINT": server.https or ""}}
            found = {mode: found[mode] for mode in a.modes.split(",")}
        say(f"serving {server.endpoint}")
        yield {mode: {**os.environ, **env} for mode, env in found.items()}
        if not server.alive():
            raise Failed(f"the server died:\n{server.log_tail()}")


def all_of(names: list[str], a: argparse.Namespace, results: dict[str, dict]) -> None:
    if a.install_only:
        results.update({n: one(n, "no endpoint", dict(os.environ), ["--install-only"]) for n in names})
        return
    with serving(a) as environments:
        for mode, env in environments.items():
            for name in names:
                results[f"{name} {mode}"] = one(name, mode, env, [])


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--only", default="", help=", ".join(CLIENTS))
    ap.add_argument("--modes", default="http,https")
    ap.add_argument("--endpoint", help="a server that already runs")
    ap.add_argument("--behind", choices=["nginx", "docker"])
    ap.add_argument("--install-only", action="store_true")
    ap.add_argument("--target", default="clients", help="name in the JSON line")
    a = ap.parse_args()
    known = [*CLIENTS, *(PROXIED if a.behind == "nginx" else [])]
    names = [n for n in a.only.split(",") if n] or known
    if unknown := [n for n in names if n not in known]:
        ap.error(f"no client {unknown}; there are {', '.join(known)}")
    results: dict[str, dict] = {}
    why = None
    try:
        all_of(names, a, results)
    except Failed as failed:
        say(failed)
        why = str(failed).splitlines()[0]
    passed = sum(r["ok"] for r in results.values())
    line = {"target": a.target, "ok": why is None and passed == len(results) > 0, "passed": passed,
            "of": len(results), "checks": sum(r.get("checks", 0) for r in results.values()),
            "seed": int(os.environ.get("SEED", "1")),
            "failed": {n: r.get("why", "") for n, r in results.items() if not r["ok"]},
            "versions": {n.split()[0]: r["version"] for n, r in results.items() if "version" in r}}
    if why:
        line["why"] = why
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
