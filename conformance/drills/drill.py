"""What every drill needs: a server of its own, conditions with deadlines, one JSON line at the end.

A drill defines `async def drill(trial) -> dict` (its figures, `ok` among them) and ends with
`main("name", drill)`. Each runs alone:

  python3 conformance/drills/races.py [--small] [--seed N] [--server PATH] [--keep]

The program under test is copied first, so that a build meanwhile does not disturb the drill. Drives
lie below DRILLS_DIR (default: the clone's cache), ports come from DRILLS_PORTS=LOW-HIGH where set.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Awaitable, Callable

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent / "behaviour")]
sys.dont_write_bytecode = True
from harness import cache  # noqa: E402
from harness.cache import Failed, say  # noqa: E402
from harness.server import Server, account, binary  # noqa: E402

MIB = 1 << 20
POLL_S = 0.2


class Short(Exception):
    """The server did not do what it promises; the text says what was seen."""


async def until(condition: Callable[[], object], limit_s: float, what: str, every_s: float = POLL_S) -> object:
    """Asks again until the answer is true; Short with `what` after the limit. `condition` may be async."""
    deadline, last = time.monotonic() + limit_s, None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if asyncio.iscoroutine(last):
                last = await last
            if last:
                return last
        except (OSError, Failed, Short) as why:
            last = why
        await asyncio.sleep(every_s)
    raise Short(f"{what}: not within {limit_s:.0f} s (last: {str(last)[:300]})")


def clock_s() -> float:
    return time.monotonic()


class Node(Server):
    """A drill's server: in the trial's folder, which the trial removes. The other words are Server's."""

    def __init__(self, trial: "Trial", name: str = "node", *, tls: str = "off", **how) -> None:
        super().__init__(tls, trial.program, keep=True, folder=trial.folder / name, **how)
        self.drives = self.drives or [self.folder / f"d{i}" for i in range(1, 7)]

    def fetch_admin(self, path: str) -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(self.admin + path, timeout=20) as answer:
            return answer.read().decode()

    def metric(self, name: str) -> float:
        """The sum of a metric's series; 0 where there is none."""
        lines = (line for line in self.fetch_admin("/metrics").splitlines() if line.startswith(name))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line[len(name)] in " {")

    def resident(self) -> int:
        """Resident bytes of the process; Short where it has died."""
        with open(f"/proc/{self.process.pid}/status") as status:
            found = [int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS")]
        if not found:
            raise Short(f"the server is gone: {self.process.poll()}")
        return found[0]

    def log_text(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def keys(self, who: str = "main"):
        import sign
        found = account(who)
        return sign.Keys(found["access_key"], found["secret_key"])


class Trial:
    """One run of one drill: its words, its chance, its folder."""

    def __init__(self, name: str, a: argparse.Namespace) -> None:
        self.name, self.small, self.seed, self.a = name, a.small, a.seed, a
        self.chance = random.Random(f"{a.seed} {name}")
        base = Path(os.environ.get("DRILLS_DIR") or cache.CACHE / "drills")
        self.folder = base / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.program = self.folder / "datamesh"
        shutil.copy2(a.server or binary(), self.program)

    def size(self, whole: int, small: int) -> int:
        """The size of the proof, or with --small that of a quick look."""
        return small if self.small else whole

    def note(self, *words: object) -> None:
        say(f"   {time.strftime('%H:%M:%S')}", *words)


def main(name: str, drill: Callable[[Trial], Awaitable[dict]],
         more: Callable[[argparse.ArgumentParser], None] | None = None) -> None:
    ap = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--small", action="store_true", help="a quick look, not the proof")
    ap.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32)))
    ap.add_argument("--server", type=Path, help="the program under test (default: the younger build)")
    ap.add_argument("--keep", action="store_true", help="leave drives and log")
    if more:
        more(ap)
    a = ap.parse_args()
    # A drill that is ended cleans up as one that fails does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    line: dict = {"target": f"drill-{name}", "ok": False, "seed": a.seed, "small": a.small}
    began = time.monotonic()
    try:
        trial = Trial(name, a)
        say(f"-- {name}: {trial.program}, seed {a.seed}{', small' if a.small else ''}")
        line.update(asyncio.run(drill(trial)))
    except (Short, Failed) as why:
        say(why)
        line.update(ok=False, why=str(why).splitlines()[0][:400])
    except SystemExit as why:
        line.update(ok=False, why=str(why))
    except Exception as why:  # noqa: BLE001 - a drill's own fault is a verdict too
        traceback.print_exc()
        line.update(ok=False, why=f"{type(why).__name__}: {why}".splitlines()[0][:400])
    finally:
        if "trial" in locals():
            if not line["ok"]:
                for log in sorted(trial.folder.glob("*/server.log")):
                    shutil.copy(log, trial.folder.parent / f"{name}-{log.parent.name}.log")
            if not a.keep:
                shutil.rmtree(trial.folder, ignore_errors=True)
    line["seconds"] = round(time.monotonic() - began)
    print(json.dumps(line, ensure_ascii=False), flush=True)
    sys.exit(0 if line["ok"] else 1)
