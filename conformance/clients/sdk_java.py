#!/usr/bin/env python3
"""AWS SDK for Java v2, by maven. A trust store is made of the authority's certificate for https."""
import re
from pathlib import Path

from common import HERE, ODD_KEY, SMALL_BYTES, Case, cache, main


def install() -> Path:
    with cache.copy_of("sdk-java", HERE / "sdk-java") as (folder, fresh):
        if fresh:
            cache.run(["mvn", "-q", "-B", "package"], cwd=folder, tries=3)
        return folder


def round_trip(c: Case, folder: Path) -> str:
    small, big = c.file("small", SMALL_BYTES), c.file("big", c.big_bytes)
    trusted = []
    if c.ca:
        store = c.work / "trust.p12"
        c.run("keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", c.ca, "-keystore", store,
              "-storepass", "changeit", "-storetype", "PKCS12")
        trusted = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    c.run("java", *trusted, "-cp", f"{folder}/target/classes:{folder}/target/lib/*", "RoundTrip", small, big,
          c.bucket, ODD_KEY, env=c.env(S3_ENDPOINT=c.endpoint))
    return re.search(r"<sdk>(.*)</sdk>", (folder / "pom.xml").read_text()).group(1)


main("sdk-java", install, round_trip)
