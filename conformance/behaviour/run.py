#!/usr/bin/env python3
"""Runs this suite against a fresh server: run.py [pytest's arguments]

S3_ENDPOINT in the environment: against that one instead (with S3_ACCESS_KEY, S3_SECRET_KEY and
S3_ALT_ACCESS_KEY, S3_ALT_SECRET_KEY; else the profile's accounts). Prints one JSON object last.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import cache  # noqa: E402
from harness.cache import Failed, say  # noqa: E402
from harness.server import Server  # noqa: E402

WORKERS = os.environ.get("BEHAVIOUR_WORKERS", "2")
RUN_S_MAX = 1200


def pytest(python: Path, arguments: list[str], env: dict[str, str]) -> dict:
    """Figures of one run."""
    report = cache.CACHE / "behaviour.xml"
    report.unlink(missing_ok=True)
    words = [
        python,
        "-m",
        "pytest",
        "-c",
        HERE / "pytest.ini",
        "--rootdir",
        HERE,
        f"--junitxml={report}",
        "-n",
        WORKERS,
        "--dist",
        "loadgroup",
        "-rfEX",
        "--tb=short",
        *(arguments or [HERE]),
    ]
    done = subprocess.run(
        [str(w) for w in words],
        env={**os.environ, **env, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        timeout=RUN_S_MAX,
    )
    if not report.exists():
        raise Failed(f"pytest ended with {done.returncode} and no report")
    suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    count = {k: int(suite.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")}
    known = sum(1 for s in suite.iter("skipped") if s.get("type") == "pytest.xfail")
    return {
        "ok": done.returncode == 0,
        "tests": count["tests"],
        "passed": count["tests"] - count["failures"] - count["errors"] - count["skipped"],
        "failed": count["failures"] + count["errors"],
        "known_failures": known,
        "skipped": count["skipped"] - known,
    }


def main() -> int:
    line: dict = {"target": "behaviour", "ok": False}
    try:
        python = cache.venv("behaviour", (HERE / "requirements.txt").read_text()) / "bin" / "python"
        if os.environ.get("S3_ENDPOINT"):
            line.update(pytest(python, sys.argv[1:], {}))
        else:
            # Taken out of the environment: the server refuses DATAMESH_ names that are no setting.
            named = os.environ.pop("DATAMESH_BIN", None)
            with Server("both", Path(named) if named else None) as server:
                say(f"-- behaviour: {server.endpoint} by {server.program}")
                own = {"S3_DRIVES": str(server.folder), "CONFORMANCE_BIN": str(server.program)}
                line.update(pytest(python, sys.argv[1:], {**server.environment(), **own}))
                if not server.alive():
                    say(f"!! the server died:\n{server.log_tail()}")
                    line["ok"] = False
    except Failed as why:
        say(why)
        line["why"] = str(why).splitlines()[0]
    print(json.dumps(line), flush=True)
    return 0 if line["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
