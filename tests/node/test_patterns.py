"""What a pattern names: as the shell reads it, except that what exists under the very name wins."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weftwork.core.checksum import Checksum
from weftwork.errors import NoOutput
from weftwork.node.job import Job, Output, relative
from weftwork.node.outputs import gather
from weftwork.node.patterns import find

ordinary = st.text("ab.c", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
parts = st.text("ab.c*?", min_size=1, max_size=3).filter(lambda part: part not in (".", "..") and "**" not in part)
strange = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


def make(root: str, paths: list[str]) -> list[str]:
    """Files of these paths, as far as none is a directory already; those that were made."""
    made = []
    for path in paths:
        full = os.path.join(root, path)
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            Path(full).touch(exist_ok=False)
        except OSError:
            continue
        made.append(path)
    return sorted(set(made))


def enter(directory: str) -> None:
    assert os.path.isdir(directory)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.lists(ordinary, min_size=1, max_size=3).map("/".join), max_size=8),
    st.lists(parts | st.just("**"), min_size=1, max_size=3),
)
def test_it_finds_what_glob_finds(paths: list[str], pattern: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        make(root, paths)
        text = "/".join(pattern)
        found = find(root, text, single=False, enter=enter)
        # glob's last ** names directories too, with a slash, and the root itself; ours names what lies in them.
        expected = {path.rstrip("/") for path in glob.glob(text, root_dir=root, recursive=True)} - {""}
        if pattern[-1] == "**":
            whole = glob.glob("/".join([*pattern, "*"]), root_dir=root, recursive=True)
            expected = {path for path in whole if not os.path.isdir(os.path.join(root, path))}
            found = [path for path in found if not os.path.isdir(os.path.join(root, path))]
        assert set(found) == {re.sub("/+", "/", path) for path in expected}


@settings(deadline=None, max_examples=100)
@given(st.lists(strange, min_size=1, max_size=6, unique=True))
def test_every_name_is_found_under_itself(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        for name in make(root, names):
            assert find(root, name, single=True, enter=enter) == [name]
            assert name in find(root, name, single=False, enter=enter)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(strange, min_size=1, max_size=2).map("/".join), min_size=1, max_size=5))
def test_every_name_is_gathered_as_file_and_in_its_directory(paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = [path for path in make(os.path.join(folder, "work"), paths) if relative(path, "") == path]
        for path in made:
            Path(folder, "work", path).write_bytes(path.encode())
        outputs = [Output(f"file {n}", f"./{path}") for n, path in enumerate(made)]
        job = Job("id", ("true",), outputs=(*outputs, Output("all", ".", "directory")))
        found = gather(folder, job)
        for n, path in enumerate(made):
            assert found[f"file {n}"].entries[0].checksum == Checksum.of(path.encode())
        assert [entry.path for entry in found["all"].entries] == made


def work(tmp_path: Path, *paths: str) -> str:
    (tmp_path / "work").mkdir()
    make(str(tmp_path / "work"), list(paths))
    return str(tmp_path)


def gathered(folder: str, pattern: str, kind: str) -> list[str]:
    found = gather(folder, Job("id", ("true",), outputs=(Output("it", pattern, kind),)))["it"]
    assert found is not None
    return [entry.path for entry in found.entries]


def test_a_literal_name_wins_over_its_reading_as_a_pattern(tmp_path: Path) -> None:
    folder = work(tmp_path, "a[1].txt", "a1.txt", "d[x]/deep", "dx/deep", "*", "other")
    assert gathered(folder, "a[1].txt", "file") == ["work/a[1].txt"]
    assert gathered(folder, "a[1].txt", "files") == ["a[1].txt"]
    assert gathered(folder, "d[x]/*", "files") == ["d[x]/deep"]
    assert gathered(folder, "*", "file") == ["work/*"]
    assert gathered(folder, "*", "files") == ["*", "a1.txt", "a[1].txt", "other"]
    assert gathered(folder, "**", "files") == ["*", "a1.txt", "a[1].txt", "d[x]/deep", "dx/deep", "other"]


def test_one_file_of_many_is_refused_and_names_them(tmp_path: Path) -> None:
    folder = work(tmp_path, "a.csv", "b.csv", "c.csv.d/x")
    with pytest.raises(NoOutput, match=r"names 2: 'a.csv', 'b.csv'; declare kind files"):
        gathered(folder, "*.csv", "file")
    assert gathered(folder, "*.csv*", "directory") == ["x"]
    assert gathered(folder, "a*", "file") == ["work/a.csv"]


def test_links_to_directories_are_not_walked_through(tmp_path: Path) -> None:
    folder = work(tmp_path, "d/x")
    os.symlink("..", f"{folder}/work/d/up")
    os.symlink("/etc", f"{folder}/work/etc")
    assert gathered(folder, "**/x", "files") == ["d/x"]
    for pattern in ("etc/*", "e*/pass*", "etc/passwd", "*/passwd"):
        with pytest.raises(NoOutput, match="'work/etc' is a link that leads out of the job folder, to '/etc'"):
            gathered(folder, pattern, "files")


def test_an_empty_directory_is_an_output_and_a_missing_one_is_not(tmp_path: Path) -> None:
    folder = work(tmp_path, "d/e/x")
    os.unlink(f"{folder}/work/d/e/x")
    assert gathered(folder, "d", "directory") == []
    with pytest.raises(NoOutput, match="the job left no file"):
        gathered(folder, "gone", "directory")
