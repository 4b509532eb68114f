"""``job.json`` and ``outcome.json``: what is written is what is read, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import Checksum
from weftwork.errors import ExitCode, Invalid
from weftwork.node.job import (
    DirectoryInput,
    Expected,
    FileInput,
    Job,
    Limits,
    Output,
    read_job,
    relative,
    write_job,
)
from weftwork.node.outcome import OUTCOME, Entry, Gathered, Outcome, read_outcome, write_outcome

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
names = texts.filter(lambda text: "/" not in text and text not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
checksums = st.binary(max_size=4).map(Checksum.of)
sizes = st.none() | st.integers(0, 2**60)


def files(prefix: str) -> st.SearchStrategy[FileInput]:
    return st.builds(
        FileInput,
        path=paths.map(lambda path: prefix + path),
        checksum=checksums,
        size=sizes,
        data=st.binary(max_size=20),
        executable=st.booleans(),
        writable=st.booleans(),
    )


directories = st.builds(
    DirectoryInput,
    path=paths.map(lambda path: f"inputs/dirs/{path}"),
    entries=st.lists(files(""), max_size=3, unique_by=lambda entry: entry.path).map(tuple),
)
limits = st.builds(Limits, seconds=st.none() | st.floats(0, 1e9), memory=sizes, disk=sizes, processes=sizes)
jobs = st.builds(
    Job,
    id=texts,
    command=st.lists(texts, min_size=1, max_size=4).map(tuple),
    environment=st.dictionaries(texts.filter(lambda name: "=" not in name), texts, max_size=3),
    stdin=st.none() | paths,
    inputs=st.lists(files("inputs/files/"), max_size=3, unique_by=lambda item: item.path).map(tuple)
    | st.lists(directories, max_size=1).map(tuple),
    outputs=st.lists(
        st.builds(Output, name=texts, origin=paths, kind=st.sampled_from(["file", "directory", "files"]))
        | st.builds(Output, name=texts, origin=st.sampled_from(["stdout", "stderr"]), optional=st.booleans()),
        max_size=3,
        unique_by=lambda output: output.name,
    )
    .map(
        lambda found: [output for output in found if output.kind == "file" or output.origin not in ("stdout", "stderr")]
    )
    .map(tuple),
    limits=limits,
    expects=st.lists(st.builds(Expected, path=paths.map(lambda path: "/" + path), checksum=checksums), max_size=2).map(
        tuple
    ),
)


@given(jobs)
def test_a_job_is_read_as_it_was_written(job: Job) -> None:
    assert Job.from_document(json.loads(json.dumps(job.document()))) == job


entries = st.builds(Entry, path=paths, checksum=checksums, size=st.integers(0, 2**60), executable=st.booleans())
gathered = entries.map(lambda entry: Gathered("file", entry.path, (entry,))) | st.builds(
    Gathered, kind=st.sampled_from(["directory", "files"]), path=paths, entries=st.lists(entries, max_size=3).map(tuple)
)


@given(st.dictionaries(texts, st.none() | gathered, max_size=3), st.none() | st.integers(0, 255))
def test_an_outcome_is_read_as_it_was_written(outputs: dict[str, Gathered | None], code: int | None) -> None:
    outcome = Outcome("id", None, exit_code=code, outputs=outputs, started=1.5, ended=2.5, usage={"cpu": 0.1}, host="h")
    assert Outcome.from_document(json.loads(json.dumps(outcome.document()))) == outcome


def test_an_error_survives_the_outcome(tmp_path: Path) -> None:
    write_outcome(str(tmp_path), Outcome("id", ExitCode("it ended with 3", exit_code=3), exit_code=3))
    read = read_outcome(str(tmp_path))
    assert read is not None
    assert read.state == "failed"
    assert type(read.error) is ExitCode
    assert read.error.document() == ExitCode("it ended with 3", exit_code=3).document()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '{"state": "succeeded"}', "\0" * 100])
def test_an_empty_or_broken_outcome_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / OUTCOME).write_text(text)
    assert read_outcome(str(tmp_path)) is None


def test_every_cut_of_an_outcome_is_none(tmp_path: Path) -> None:
    write_outcome(str(tmp_path), Outcome("id", None, exit_code=0))
    whole = (tmp_path / OUTCOME).read_bytes()
    for length in range(len(whole)):
        (tmp_path / OUTCOME).write_bytes(whole[:length])
        assert read_outcome(str(tmp_path)) is None


@given(st.text(max_size=30))
def test_a_relative_path_never_leaves(path: str) -> None:
    try:
        plain = relative(path, "it")
    except Invalid:
        return
    assert not plain.startswith("/")
    assert ".." not in plain.split("/")
    assert relative(plain, "it") == plain


def minimal(**changes: object) -> dict[str, object]:
    return {"version": 1, "id": "a", "command": ["true"], **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "version 2 is not known"),
        ({"version": True}, "version is True"),
        ({"command": []}, "command is empty"),
        ({"command": [1]}, r"command\[0\] is 1"),
        ({"command": ["a\0b"]}, "contains NUL"),
        ({"comand": []}, "'comand' is not a known key"),
        ({"environment": {"A=B": ""}}, "cannot be the name"),
        ({"environment": {"A": 1}}, "A is 1"),
        ({"stdin": "/etc/passwd"}, "relative to the job folder"),
        ({"stdin": "../x"}, "must not leave"),
        ({"work": "elsewhere"}, "must be work or a directory below"),
        ({"inputs": [{"path": "x", "checksum": "0" * 64, "data": ""}]}, "below inputs/ or work/"),
        ({"inputs": [{"path": "inputs/../../x", "checksum": "0" * 64, "data": ""}]}, "must not leave"),
        ({"inputs": [{"path": "inputs/x", "checksum": "0" * 64}]}, "exactly one of source and data"),
        ({"inputs": [{"path": "inputs/x", "checksum": "0" * 63, "data": ""}]}, "not a checksum"),
        ({"inputs": [{"path": "inputs/x", "checksum": "0" * 64, "data": "?"}]}, "not base64"),
        ({"inputs": [{"path": "inputs/x", "checksum": "0" * 64, "source": "x"}]}, "an absolute path is expected"),
        ({"inputs": [{"path": "inputs/x", "checksum": "0" * 64, "data": ""}] * 2}, "'inputs/x' is there twice"),
        ({"inputs": ["x"]}, "a JSON object is expected"),
        ({"outputs": [{"name": "x", "kind": "fil", "from": "x"}]}, "one of file, directory, files"),
        ({"outputs": [{"name": "x", "kind": "directory", "from": "stdout"}]}, "stdout is a file"),
        ({"outputs": [{"name": "x", "from": "/etc/passwd"}]}, "relative to the job folder"),
        ({"outputs": [{"name": "x", "from": "x"}, {"name": "x", "from": "y"}]}, "the output 'x' is there twice"),
        ({"limits": {"seconds": -1}}, "cannot be negative"),
        ({"limits": {"memory": 1.5}}, "memory is 1.5"),
        ({"limits": {"second": 1}}, "'second' is not a known key"),
        ({"expects": [{"path": "sh", "checksum": "0" * 64}]}, "an absolute path is expected"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        Job.from_document(minimal(**changes))


def test_a_folder_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"no readable job\.json"):
        read_job(str(tmp_path))
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(Invalid, match="not JSON"):
        read_job(str(tmp_path))


def test_writing_goes_round_a_link_that_lies_in_wait(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "job.json.new").symlink_to(mine)
    write_job(str(folder), Job("id", ("true",)))
    assert mine.read_text() == "mine"
    assert read_job(str(folder)).id == "id"
