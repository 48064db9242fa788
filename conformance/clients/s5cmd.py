#!/usr/bin/env python3
"""s5cmd: many files at once, multipart, server-side copy, presign."""
from pathlib import Path

from common import HERE, ODD_KEY, SMALL_BYTES, Case, cache, main


def install() -> Path:
    return cache.go_program("s5cmd", HERE / "go" / "s5cmd", "github.com/peak/s5cmd/v2")


def round_trip(c: Case, program: Path) -> str:
    env = c.env_go()

    def s5cmd(*words: object, **kw) -> str:
        return c.run(program, "--endpoint-url", c.endpoint, "--retry-count", "0", *words, env=env, **kw)

    b = f"s3://{c.bucket}"
    s5cmd("mb", b)
    small, big, tree = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes), c.tree("tree")
    s5cmd("cp", small, f"{b}/{ODD_KEY}")
    s5cmd("cp", "-p", "5", "-c", "4", big, f"{b}/big")
    s5cmd("cp", f"{tree}/", f"{b}/tree/")
    listing = s5cmd("ls", f"{b}/*")
    c.expect(len(listing.splitlines()) == c.files + 2, f"{len(listing.splitlines())} keys listed, not {c.files + 2}")
    s5cmd("cp", f"{b}/{ODD_KEY}", c.work / "back")
    c.same(small, c.work / "back", ODD_KEY)
    s5cmd("cp", f"{b}/big", f"{b}/copied")
    s5cmd("cp", "-p", "5", f"{b}/copied", c.work / "back")
    c.same(big, c.work / "back", "multipart, copied on the server")
    c.same(c.fetch(s5cmd("presign", f"{b}/big")), big, "presigned GET")
    s5cmd("cp", f"{b}/tree/*", f"{c.work}/tree-back/")
    c.same_tree(tree, c.work / "tree-back", "cp of a folder")
    c.same(s5cmd("cat", f"{b}/tree/1/d 1/f-1.dat").encode(errors="replace"),
           (tree / "1/d 1/f-1.dat").read_bytes().decode(errors="replace").encode(), "cat")
    s5cmd("rb", b, fails=True)
    s5cmd("rm", f"{b}/*")
    s5cmd("rb", b)
    return s5cmd_version()


def s5cmd_version() -> str:
    """The program says nothing of its version when not built by its own script; the pin does."""
    pins = (HERE / "go" / "s5cmd" / "go.mod").read_text().splitlines()
    return next(words[-1] for line in pins
                if (words := line.split("//")[0].split())[-2:-1] == ["github.com/peak/s5cmd/v2"])


main("s5cmd", install, round_trip)
