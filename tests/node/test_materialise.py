"""Inputs in the folder: verified copies, or an error that names the input."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from weftwork.core.checksum import Checksum
from weftwork.errors import Corrupt, EnvironmentDiffers, StagingFailed
from weftwork.node.job import DirectoryInput, Expected, FileInput, Job
from weftwork.node.materialise import Programs, discard, materialise


def lay(folder: Path, *inputs: FileInput | DirectoryInput) -> None:
    folder.mkdir(exist_ok=True)
    materialise(str(folder), Job("id", ("true",), inputs=inputs))


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_a_copy_is_whole_read_only_and_an_inode_of_its_own(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(data)
    lay(tmp_path / "f", FileInput("work/deep/a b.txt", Checksum.of(data), size, str(source)))
    target = tmp_path / "f/work/deep/a b.txt"
    assert target.read_bytes() == data
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert target.stat().st_ino != source.stat().st_ino


def test_a_declared_writable_input_can_be_written(tmp_path: Path) -> None:
    given = FileInput("work/x", Checksum.of(b"1"), data=b"1", writable=True, executable=True)
    lay(tmp_path, given)
    assert stat.S_IMODE((tmp_path / "work/x").stat().st_mode) == 0o755


def test_bytes_that_differ_are_corrupt_and_both_checksums_are_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"other")
    with pytest.raises(Corrupt) as caught:
        lay(tmp_path / "f", FileInput("inputs/x", Checksum.of(b"right"), source=str(source)))
    for word in ("inputs/x", Checksum.of(b"right"), Checksum.of(b"other"), str(source)):
        assert word in caught.value.message


@pytest.mark.parametrize("what", ["nothing", "directory", "fifo", "device"])
def test_a_source_that_is_no_file_is_a_failure_of_staging(tmp_path: Path, what: str) -> None:
    source = tmp_path / "source"
    if what == "directory":
        source.mkdir()
    elif what == "fifo":
        os.mkfifo(source)
    elif what == "device":
        source = Path("/dev/zero")
    with pytest.raises(StagingFailed, match="inputs/x") as caught:
        lay(tmp_path / "f", FileInput("inputs/x", Checksum.of(b""), source=str(source)))
    assert str(source) in caught.value.message


def test_an_input_below_another_is_refused(tmp_path: Path) -> None:
    one = FileInput("inputs/x", Checksum.of(b""), data=b"")
    below = FileInput("inputs/x/y", Checksum.of(b""), data=b"")
    with pytest.raises(StagingFailed, match="inputs/x/y"):
        lay(tmp_path, one, below)


def test_a_program_is_hashed_again_when_it_changed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"one")
    os.utime(program, (1, 1))
    programs = Programs()
    job = Job("id", ("true",), expects=(Expected(str(program), Checksum.of(b"one")),))
    programs.check(job)
    programs.check(job)
    program.write_bytes(b"two")
    os.utime(program, (1, 1))
    with pytest.raises(EnvironmentDiffers, match=Checksum.of(b"two")):
        programs.check(job)
    program.unlink()
    with pytest.raises(EnvironmentDiffers, match="cannot be read here"):
        programs.check(job)


def test_discarding_takes_closed_directories_and_leaves_what_links_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    folder = tmp_path / "folder"
    (folder / "work/closed/deep").mkdir(parents=True)
    (folder / "work/closed/deep/x").touch()
    (folder / "work/link").symlink_to(outside)
    (folder / "work/closed/deep").chmod(0)
    (folder / "work/closed").chmod(0)
    discard(str(folder))
    assert not folder.exists()
    assert (outside / "mine").exists()
    discard(str(folder))
