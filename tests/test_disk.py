"""What is known of the disk below a path."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from weftwork import disk
from weftwork.errors import Unavailable


def test_the_file_system_of_a_path_is_found() -> None:
    if Path("/proc/self/mounts").exists():
        assert disk.file_system(Path("/proc/self")) == "proc"
    assert not disk.is_network(Path("/"))


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    listed: list[tuple[str, str]] = []
    monkeypatch.setattr(disk, "_mounts", lambda: iter(listed))
    return listed


def test_the_nearest_and_latest_mount_counts(mounts: list[tuple[str, str]]) -> None:
    mounts += [("/", "ext4"), ("/nowhere", "nfs4"), ("/nowhere/local", "xfs"), ("/twice", "ext4"), ("/twice", "lustre")]
    expected = {
        "/x": False, "/nowhere": True, "/nowhere/a/b": True, "/nowhere/local/a": False, "/nowhere2": False, "/twice/x": True,
    }  # fmt: skip
    assert {path: disk.is_network(Path(path)) for path in expected} == expected


@pytest.mark.parametrize("kind", ["nfs", "cifs", "lustre", "fuse.sshfs", "fuse.rclone", "ceph", "9p", "beegfs"])
def test_what_other_hosts_can_write_to_is_a_network(mounts: list[tuple[str, str]], kind: str) -> None:
    mounts += [("/", "ext4"), ("/data", kind)]
    assert disk.is_network(Path("/data/home"))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "apfs", "zfs", "fuseblk", ""])
def test_what_one_host_writes_to_is_none(mounts: list[tuple[str, str]], kind: str) -> None:
    mounts += [("/data", kind)]
    assert not disk.is_network(Path("/data/home"))


def test_links_are_followed_to_where_they_lead(mounts: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/elsewhere/home")
    mounts += [("/", "ext4"), ("/elsewhere", "nfs")]
    assert disk.is_network(tmp_path / "link" / "x")


def test_without_proc_the_mount_command_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    out = b"/dev/disk1 on / (apfs, local)\nserver:/x y on /Volumes/my data (nfs, asynchronous)\nmap auto on /net (autofs)\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, out))
    found = list(disk._mounts_command())
    assert found == [("/", "apfs"), ("/Volumes/my data", "nfs"), ("/net", "autofs")]


def test_names_in_the_list_of_mounts_are_read_with_their_spaces() -> None:
    assert disk._unescape("/my\\040disk\\134x") == "/my disk\\x"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (errno.ENOSPC, "is full"),
        (errno.EDQUOT, "is full"),
        (errno.EACCES, "let this user write"),
        (errno.EROFS, "WEFT_HOME"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_what_the_system_refuses_is_told_with_the_folder(tmp_path: Path, code: int, named: str) -> None:
    with pytest.raises(Unavailable, match=named) as found, disk.translated(tmp_path):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(found.value)
