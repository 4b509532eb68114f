"""Checksums of files are right, and remembered only when that is safe; directories hold what they hold."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from weftwork.errors import Invalid, NotFound, StagingFailed
from weftwork.stores import filesums
from weftwork.stores.filesums import FileSums
from weftwork.stores.listing import listing

OLD = time.time() - 1000


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def remembered(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM file").fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once: no test waits for the clock."""
    monkeypatch.setattr(filesums, "SETTLED", -1.0)


def test_the_checksum_and_size_of_many_files_in_order(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{number}", b"%d" % number * (number * number * 100)) for number in range(50)]
    sums = FileSums(tmp_path / "sums.sqlite")
    expected = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) for path in paths]
    assert sums.checksums(paths) == expected
    assert sums.checksums(paths[::-1]) == expected[::-1]
    assert sums.checksum(paths[3]) == expected[3]
    assert sums.checksums([]) == []
    sums.close()


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    sums = FileSums(tmp_path / "sums.sqlite")
    path = written(tmp_path / "x", b"one")
    os.utime(path, (OLD, OLD))
    sums.checksum(path)
    # Its modification time can be set, its change time cannot: that one counts too.
    assert remembered(tmp_path / "sums.sqlite") == 0


def test_a_known_file_is_not_read_again_and_a_changed_one_is(
    tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = FileSums(tmp_path / "sums.sqlite")
    path = written(tmp_path / "x", b"one")
    first = sums.checksum(path)
    assert remembered(tmp_path / "sums.sqlite") == 1
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "sha256", None)
        assert sums.checksum(path) == first
        assert FileSums(tmp_path / "sums.sqlite").checksum(path) == first
    before = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.write(b"two")
    # The same size, and a modification time that lies.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sums.checksum(path)[0] == hashlib.sha256(b"two").hexdigest()
    other = written(tmp_path / "y", b"six")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert sums.checksum(path)[0] == hashlib.sha256(b"six").hexdigest()


def test_on_a_network_a_file_settles_later(tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesums.disk, "is_network", lambda _: True)
    sums = FileSums(tmp_path / "sums.sqlite")
    sums.checksum(written(tmp_path / "x", b"one"))
    assert remembered(tmp_path / "sums.sqlite") == 0


def test_a_cache_that_cannot_be_used_is_done_without(tmp_path: Path, settled: None) -> None:
    path = written(tmp_path / "x", b"one")
    expected = (hashlib.sha256(b"one").hexdigest(), 3)
    written(tmp_path / "file", b"")
    assert FileSums(tmp_path / "file" / "sums.sqlite").checksum(path) == expected
    garbage = written(tmp_path / "garbage.sqlite", b"no database" * 1000)
    assert FileSums(garbage).checksum(path) == expected
    assert remembered(garbage) == 1


def test_a_file_that_changes_all_the_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "x", b"one")
    really = hashlib.sha256

    def slow(*arguments: object) -> object:
        time.sleep(0.02)
        path.write_bytes(b"two")
        return really(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "sha256", slow)
    with pytest.raises(StagingFailed, match="changed each time"):
        FileSums(tmp_path / "sums.sqlite").checksum(path)


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    sums = FileSums(tmp_path / "sums.sqlite")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound, match="absent is not there"):
        sums.checksum(tmp_path / "absent")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(Invalid, match="is not a regular file"):
            sums.checksums([written(tmp_path / "x", b""), path])


def test_threads_ask_at_once(tmp_path: Path, settled: None) -> None:
    paths = [written(tmp_path / f"{number}", b"%d" % number) for number in range(30)]
    sums = FileSums(tmp_path / "sums.sqlite")
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append([str(each) for each, _ in sums.checksums(paths)]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_a_directory_is_its_files_sorted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("b/c", "b.txt", "a b", "é", "b/d/e", "new\nline"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (top / "a b").chmod(0o755)
    (top / "empty").mkdir()
    (top / "link").symlink_to("b/c")
    (top / "folder").symlink_to("b/d")
    (tmp_path / "other name").symlink_to(top)
    for start in (top, tmp_path / "other name"):
        entries = listing(start)
        assert [each.name for each in entries] == sorted(
            ["b/c", "b.txt", "a b", "é", "b/d/e", "new\nline", "link", "folder/e"]
        )
        assert [each.name for each in entries if each.executable] == ["a b"]
        assert {each.name: Path(each.path).read_bytes() for each in entries}["folder/e"] == b"b/d/e"
        assert all(Path(each.path).is_absolute() and not Path(each.path).is_symlink() for each in entries)
        hashed = FileSums(tmp_path / "sums.sqlite").directory(start)
        assert [(each.name, each.executable, each.path) for each in entries] == [
            (name, executable, path) for name, executable, _, path in hashed
        ]
        assert all(hashlib.sha256(Path(path).read_bytes()).hexdigest() == checksum for *_, checksum, path in hashed)


def test_what_no_directory_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside", b"")

    def refused(name: str, reason: str) -> None:
        with pytest.raises(Invalid, match=reason) as found:
            listing(tmp_path / "top")
        assert name in str(found.value)
        os.unlink(tmp_path / "top" / name)

    (tmp_path / "top" / "deep").mkdir(parents=True)
    (tmp_path / "top" / "deep" / "leaves").symlink_to(outside)
    refused("deep/leaves", "leaves the directory")
    (tmp_path / "top" / "sibling").symlink_to("../outside")
    refused("sibling", "leaves the directory")
    (tmp_path / "topmost").mkdir()
    (tmp_path / "top" / "alike").symlink_to("../topmost")
    refused("alike", "leaves the directory")
    (tmp_path / "top" / "broken").symlink_to("nothing")
    refused("broken", "broken link")
    (tmp_path / "top" / "itself").symlink_to("itself")
    refused("itself", "broken link")
    (tmp_path / "top" / "deep" / "up").symlink_to("..")
    refused("deep/up", "a folder that it lies in")
    os.mkfifo(tmp_path / "top" / "pipe")
    refused("pipe", "a named pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "top" / "door"))
        refused("door", "a socket")
    assert listing(tmp_path / "top") == []
    with pytest.raises(Invalid, match="is not a directory"):
        listing(outside)
    with pytest.raises(NotFound):
        listing(tmp_path / "absent")


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="macOS refuses such names itself")
def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    written(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), b"")
    with pytest.raises(Invalid, match="not UTF-8"):
        listing(tmp_path)
