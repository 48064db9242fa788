#!/usr/bin/env python3
"""Our own generator on our own server, as shipped, over six drives: medians, CPU time, memory, and
the share of what this machine could do at best. `run.py [--rounds 3] [--seconds 8] [--only TEXT]`"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "conformance"))
from harness.server import Server, account  # noqa: E402
from limits import limit  # noqa: E402
from workloads import WORKLOADS, Endpoint, measured, resident  # noqa: E402

RELEASE = ROOT / "target" / "release"


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=8)
    ap.add_argument("--only", default="", help="workloads whose name has this")
    ap.add_argument("--server", type=Path, default=RELEASE / "datamesh")
    a = ap.parse_args()
    chosen = [w for w in WORKLOADS if a.only.lower() in w.name.lower()]
    roof = {}
    lines = []
    with Server(program=a.server) as server:
        roof = json.loads(subprocess.check_output([RELEASE / "datamesh-roofline", server.folder]))
        print("roofline", json.dumps(roof))
        keys = account("main")
        at = Endpoint("datamesh", server.endpoint.removeprefix("http://"), keys["access_key"],
                      keys["secret_key"], server.process.pid)
        idle = resident(at.pid)
        errors = 0
        for turn in range(a.rounds):
            for number, work in enumerate(chosen):
                errors += measured(RELEASE / "datamesh-load", at, work, a.seconds, f"bench-{turn}-{number}")["errors"]
        memory = {"idle": idle["now"], "most": resident(at.pid)["most"]}
        for work in chosen:
            best = limit(work, roof)
            figure = at.median(work)
            lines.append({"name": work.name, work.figure: round(figure, 1), "rounds": at.figures[work.name],
                          "server_cpu_s": median(at.cpu[work.name]), "limit": best and round(best, 1),
                          "of_limit": best and round(figure / best, 3)})
            print(f"{work.name:28} {work.figure:14} {figure:12.1f}   limit {best or 0:12.1f}"
                  f"   {100 * figure / best if best else 0:5.1f} %")
    print(json.dumps({"target": "bench", "ok": errors == 0 and len(lines) == len(chosen), "errors": errors,
                      "memory_mb": memory, "roofline": roof, "workloads": lines}))
    return 0 if errors == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
