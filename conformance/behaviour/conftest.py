"""Where the server is, who we are, fresh buckets, and the list of known failures."""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from s3 import Client, ok  # noqa: E402
from sign import Keys  # noqa: E402

KNOWN = HERE / "known_failures.txt"
ACCOUNT_NAMES = ("main", "alt", "tenant")


def known() -> dict[str, str]:
    """Test → reason, one per line: `file::test[case]  # reason`."""
    found = {}
    for line in KNOWN.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition("  # ")
            assert reason, f"{KNOWN.name}: no reason: {line}"
            found[name.strip()] = reason
    return found


def pytest_collection_modifyitems(config, items) -> None:
    """A known failure that passes fails the run, and so does one that names no test."""
    left = known()
    whole = not config.getoption("keyword") and not config.getoption("markexpr") and not any("::" in a for a in config.args)
    files = {Path(str(i.path)).name for i in items}
    for item in items:
        reason = left.pop(item.nodeid, None)
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    gone = [n for n in left if n.split("::")[0] in files]
    if whole and gone:
        raise pytest.UsageError(f"{KNOWN.name} names tests that are not there: {gone}")


def _keys(name: str) -> Keys:
    from harness.server import account

    prefix = "S3" if name == "main" else f"S3_{name.upper()}"
    access, secret = os.environ.get(f"{prefix}_ACCESS_KEY"), os.environ.get(f"{prefix}_SECRET_KEY")
    if not (access and secret):
        access, secret = account(name)["access_key"], account(name)["secret_key"]
    return Keys(access, secret, os.environ.get("S3_REGION", "us-east-1"))


@pytest.fixture(scope="session")
def accounts() -> dict[str, dict]:
    """Canonical ids and names, as the profile has them."""
    from harness.server import account

    return {name: account(name) for name in ACCOUNT_NAMES}


@pytest.fixture(scope="session")
def s3() -> Client:
    if not os.environ.get("S3_ENDPOINT"):
        pytest.fail("set S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY, or use run.py")
    return Client(os.environ["S3_ENDPOINT"], _keys("main"), os.environ.get("S3_CA_FILE"))


@pytest.fixture(scope="session")
def alt(s3) -> Client:
    """Another account."""
    return s3.as_(_keys("alt"))


@pytest.fixture(scope="session")
def tenant(s3) -> Client:
    """A third."""
    return s3.as_(_keys("tenant"))


@pytest.fixture(scope="session")
def anonymous(s3) -> Client:
    return s3.as_(None)


@pytest.fixture(scope="session")
def tls(s3) -> Client:
    """The same server by https."""
    if not os.environ.get("S3_ENDPOINT_HTTPS"):
        pytest.skip("S3_ENDPOINT_HTTPS is not set")
    return Client(os.environ["S3_ENDPOINT_HTTPS"], s3.keys, os.environ.get("S3_CA_FILE"))


def fresh_name() -> str:
    return f"b-{uuid.uuid4().hex[:20]}"


@pytest.fixture
def new_bucket(s3):
    """Makes buckets, for this test alone."""
    made: list[tuple[Client, str]] = []

    def make(client: Client | None = None, headers=()) -> str:
        client, name = client or s3, fresh_name()
        ok(client.request("PUT", name, headers=headers))
        made.append((client, name))
        return name

    yield make
    for client, name in made:
        client.remove(name)


@pytest.fixture
def bucket(new_bucket) -> str:
    """A fresh bucket for one test."""
    return new_bucket()


@pytest.fixture(scope="module")
def shelf(s3):
    """A bucket for a whole file whose tests each take keys of their own."""
    name = fresh_name()
    ok(s3.request("PUT", name))
    yield name
    s3.remove(name)


_numbers = itertools.count()


@pytest.fixture
def key() -> str:
    """A key nobody else uses."""
    return f"k{next(_numbers)}-{uuid.uuid4().hex[:8]}"
