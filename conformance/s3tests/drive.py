#!/usr/bin/env python3
"""Scores a fresh server with the public suite, and holds it to the list of tests that passed before.

  S3TESTS=DIR drive.py [--keep] [--optional] [--modes http,https] [--workers N]

A mode is http, https, or https-sample (every fifth test or so): S3TESTS_MODES is its default.
For each mode a server with conformance/profile.toml is started over six empty drives, tier core is
run by run-s3tests.py, and what passed is compared with kept-MODE.txt. A kept test that no longer
passes is run once more, alone, on another fresh server: if it passes then it is reported as
`flaky`, else it is lost and the target fails. --keep adds new passes to the lists; nothing
takes a name out of them but an editor. With --optional, no suite is no failure; a named suite that
is not there always is one.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import cache  # noqa: E402
from harness.cache import Failed, say  # noqa: E402
from harness.server import Server, account, trust  # noqa: E402

PINS = (HERE / "requirements.txt").read_text()
SAMPLE_TESTS = 130
LOST_SHOWN_MAX = 50
HOW = """S3TESTS is not set: the public suite is not run. To run it:
  git clone https://github.com/ceph/s3-tests && make s3tests S3TESTS=$PWD/s3-tests"""


def suite() -> Path | None:
    named = os.environ.get("S3TESTS")
    if not named:
        return None
    folder = Path(named).expanduser().resolve()
    if not (folder / "s3tests" / "functional").is_dir():
        raise Failed(f"S3TESTS={named}: no checkout of ceph/s3-tests (s3tests/functional is missing)")
    return folder


def arguments(server: Server) -> list[str]:
    """Who the three accounts are, as the profile has them."""
    words = ["--endpoint", server.endpoint]
    for who, prefix in (("main", "main-"), ("alt", "alt-"), ("tenant", "tenant-")):
        keys = account(who)
        key_prefix = "" if who == "main" else prefix
        words += [f"--{key_prefix}access", keys["access_key"], f"--{key_prefix}secret", keys["secret_key"],
                  f"--{prefix}id", keys["canonical_id"], f"--{prefix}name", keys["name"],
                  f"--{prefix}email", keys["email"]]
    return words


def score(folder: Path, venv: Path, mode: str, workers: int, only: list[str] | None = None) -> dict[str, dict]:
    """Test → its result, of one run on one fresh server."""
    secure = mode.startswith("https")
    out = cache.CACHE / "s3tests" / (mode + ("-again" if only else ""))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with Server("on" if secure else "off") as server:
        say(f"-- s3-tests over {mode}: {server.endpoint} by {server.program}")
        words = [sys.executable, str(HERE / "run-s3tests.py"), "--suite-dir", str(folder), "--venv", str(venv),
                 *arguments(server), "--tier", "core", "--out", str(out), "--workers", str(workers),
                 "--wall", os.environ.get("S3TESTS_WALL_S", "2700")]
        if only:
            (out / "only.txt").write_text("\n".join(only) + "\n")
            words += ["--only", str(out / "only.txt")]
        elif mode.endswith("-sample"):
            words += ["--limit", str(SAMPLE_TESTS)]
        # test_100_continue verifies the certificate whatever the suite's configuration says.
        env = {**os.environ, **(trust(server.ca) if secure else {})}
        subprocess.run(words, env=env, stdin=subprocess.DEVNULL)
        if not server.alive():
            say(f"!! the server died during the suite:\n{server.log_tail()}")
    results = out / "results.json"
    if not results.exists():
        raise Failed(f"the suite did not run over {mode}")
    return json.loads(results.read_text())


def passed(results: dict[str, dict]) -> set[str]:
    return {name for name, r in results.items() if r.get("outcome") == "passed"}


def kept_file(mode: str) -> Path:
    return HERE / f"kept-{mode.removesuffix('-sample')}.txt"


def judge(folder: Path, venv: Path, mode: str, workers: int, keep: bool) -> dict:
    """One mode's figures; `ok` where nothing kept is lost."""
    results = score(folder, venv, mode, workers)
    good = passed(results)
    file = kept_file(mode)
    kept = set(file.read_text().split()) if file.exists() else set()
    gone = {k for k in kept if k not in results} if not mode.endswith("-sample") else set()
    lost = sorted((kept & results.keys()) - good)
    flaky: list[str] = []
    if lost:
        say(f"!! {len(lost)} kept tests did not pass; once more, alone: {', '.join(lost[:10])}")
        again = passed(score(folder, venv, mode, 1, lost))
        flaky = sorted(set(lost) & again)
        lost = sorted(set(lost) - again)
    new = sorted(good - kept)
    for name in lost[:LOST_SHOWN_MAX]:
        say(f"LOST ({mode}) {name}: {results[name].get('message', '')[:200]}")
    for name in sorted(gone):
        say(f"LOST ({mode}) {name}: the suite has no such test in tier core")
    if new:
        say(f"{len(new)} tests pass over {mode} that are not kept yet"
            + ("" if keep else " (make s3tests-keep keeps them)") + ": " + " ".join(n.split("::")[-1] for n in new))
    if keep:
        file.write_text("".join(f"{n}\n" for n in sorted(kept | good)))
    if not good:
        say(f"!! no test at all passed over {mode}")
    return {"passed": len(good) + len(flaky), "of": len(results), "kept": len(kept), "new": len(new), "lost": lost,
            "gone": len(gone), "flaky": flaky, "ok": bool(good) and not lost and not gone}


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--keep", action="store_true")
    ap.add_argument("--optional", action="store_true")
    ap.add_argument("--modes", default=os.environ.get("S3TESTS_MODES", "http,https"))
    ap.add_argument("--workers", type=int, default=int(os.environ.get("S3TESTS_WORKERS", "2")))
    a = ap.parse_args()
    modes = a.modes.split(",")
    if odd := [m for m in modes if m not in ("http", "https", "https-sample", "http-sample")]:
        ap.error(f"no mode {odd}")
    if a.keep and any(m.endswith("-sample") for m in modes):
        ap.error("--keep wants whole runs")
    line: dict = {"target": "s3tests", "ok": False}
    try:
        folder = suite()
        if folder is None:
            say(HOW)
            line.update(ok=a.optional, ran=False, why="S3TESTS is not set")
        else:
            venv = cache.venv("s3tests", PINS)
            found = {mode: judge(folder, venv, mode, a.workers, a.keep) for mode in modes}
            whole = [f for m, f in found.items() if not m.endswith("-sample")]
            line.update(ok=all(f["ok"] for f in found.values()),
                        passed=min((f["passed"] for f in whole), default=None),
                        **{m.replace("-", "_"): f["passed"] for m, f in found.items()},
                        of=max((f["of"] for f in whole), default=None),
                        lost=sum(len(f["lost"]) + f["gone"] for f in found.values()),
                        flaky=sorted({n for f in found.values() for n in f["flaky"]}),
                        new=sum(f["new"] for f in found.values()),
                        samples={m: f["of"] for m, f in found.items() if m.endswith("-sample")})
    except Failed as why:
        say(why)
        line["why"] = str(why).splitlines()[0]
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
