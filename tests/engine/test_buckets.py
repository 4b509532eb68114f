"""Files in a bucket: fetched once by ``s3://``, verified, counted by content; a real S3 protocol on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import engine_values as values
import obstore
import pytest
from engine_place import Place
from obstore.store import S3Store

import weftwork as weft
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded

pytestmark = pytest.mark.slow  # the server takes seconds to start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that speaks S3, with the bucket ``data``."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as told:
        words = [os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", "0"]
        process = subprocess.Popen(words, stdout=told, stderr=told)
    try:
        address = _address(log)
        with urllib.request.urlopen(urllib.request.Request(f"{address}/data", method="PUT")):
            pass
        yield address
    finally:
        process.terminate()
        process.wait()


def _address(log: Path) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    settings = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return S3Store("data")


def test_a_file_of_a_bucket_is_fetched_once_and_verified(bucket: S3Store, place: Place, session: Embedded) -> None:
    obstore.put(bucket, "a b.txt", b"from afar")
    right = Checksum.of(b"from afar")
    for _ in range(2):
        out = weft.run(values.shout, log=place.log, file=weft.File("s3://data/a b.txt", checksum=right))
        assert Path(out.path).read_bytes() == b"FROM AFAR"
    obstore.put(bucket, "a b.txt", b"changed since")
    assert Path(
        weft.run(values.shout, log=place.log, file=weft.File("s3://data/a b.txt", checksum=right)).path
    ).exists()
    assert place.lines() == ["shout"]


def test_what_is_not_the_expected_content_or_not_there_is_told(
    bucket: S3Store, place: Place, session: Embedded
) -> None:
    obstore.put(bucket, "b.txt", b"other")
    with pytest.raises(weft.Corrupt, match=r"where .* was expected"):
        weft.run(values.shout, log=place.log, file=weft.File("s3://data/b.txt", checksum=Checksum.of(b"else")))
    with pytest.raises(weft.NotFound, match="nothing at s3://data/nothing"):
        weft.run(values.shout, log=place.log, file=weft.File("s3://data/nothing"))
    assert place.lines() == []
