"""A recorded calculation is run again from its key alone, and says so where it cannot be."""

from __future__ import annotations

import json

import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded

TABLE = bytes(range(256)) * 600


NAMED = {"blob": "f" * 64}


@weft.module
def looked_up(place: int) -> int:
    return TABLE[place]


@weft.module
def tabled() -> dict[str, str]:
    return NAMED


def module_of(session: Embedded, key: str) -> Checksum:
    data = session.home.ledger.calculation(Checksum(key))
    assert data is not None

    return Checksum(json.loads(data)["module"])


def test_a_function_runs_again_from_its_key(place: Place, session: Embedded) -> None:
    first = weft.submit(work.double, log=place.log, value=21)
    assert first.result() == 42
    again = session.again(first.key)
    assert (again.result(), again.key, again.cached) == (42, first.key, False)
    assert place.lines() == ["double 21"] * 2


def test_another_process_runs_it_again_without_the_project(place: Place, session: Embedded) -> None:
    job = weft.submit(looked_up, place=7)
    assert job.result() == 7
    script = "from weftwork import api\nfor name in ('engine_work', 'engine_values'): sys.modules.pop(name, None)\nsys.path = [p for p in sys.path if 'engine' not in p]\nprint(api.session().again(sys.argv[2]).result())"
    assert place.run(script, job.key) == "7"


def test_a_command_with_helper_files_runs_again(place: Place, session: Embedded) -> None:
    folder = place.folder / "project"
    folder.mkdir()
    (folder / "helper.txt").write_text("help ")
    (folder / "say.module.yaml").write_text(
        "name: say\ncommand: cat helper.txt {text}\nfiles: [helper.txt]\ninputs: {text: file}\noutputs: {out: {type: text, from: stdout}}\n"
    )
    (folder / "text").write_text("me")
    first = weft.submit(folder / "say.module.yaml", text=folder / "text")
    assert first.result().out == "help me"
    (folder / "helper.txt").write_text("changed since")
    assert session.again(first.key).result().out == "help me"
    session.home.store.remove([Checksum.of(b"help ")])
    with pytest.raises(weft.MissingInputs, match=f"{Checksum.of(b'help ').short} of its program"):
        session.again(first.key)


def test_another_version_of_a_tool_is_named_and_nothing_runs(
    place: Place, session: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = place.folder / "tools"
    tools.mkdir()
    tool = tools / "measure"
    tool.write_text("#!/bin/sh\necho 1 > out\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    (place.folder / "m.module.yaml").write_text(
        "name: measuring\ncommand: measure\nenvironment: {tools: [measure]}\noutputs: {out: int}\n"
    )
    job = weft.submit(place.folder / "m.module.yaml")
    assert job.result().out == 1
    before = Checksum.of(tool.read_bytes())
    tool.write_text("#!/bin/sh\necho 22 > out\n")
    with pytest.raises(weft.SiteFailed) as caught:
        session.again(job.key)
    assert type(caught.value).__name__ == "EnvironmentDiffers"
    assert before in str(caught.value)
    assert Checksum.of(tool.read_bytes()) in str(caught.value)
    tool.unlink()
    with pytest.raises(weft.SiteFailed, match=f"measure was {before}.* not there now"):
        session.again(job.key)


def test_what_is_gone_is_named(place: Place, session: Embedded) -> None:
    job = weft.submit(values.spread, log=place.log, count=2)
    folder = job.outputs()["result"]
    listed = weft.submit(values.listing, log=place.log, folder=folder)
    listed.result()
    part = Checksum.of(b"1" * 40000)
    session.home.store.remove([part])
    with pytest.raises(weft.MissingInputs, match=rf"'folder' \({part.short}\)") as caught:
        session.again(listed.key)
    assert caught.value.details["checksums"] == [part]
    session.again(job.key).result()
    assert session.again(listed.key).result() == listed.result()
    session.home.store.remove([module_of(session, job.key)])
    with pytest.raises(weft.MissingInputs, match="document of its module"):
        session.again(job.key)
    with pytest.raises(weft.NotFound, match="no calculation"):
        session.again(Checksum.of(b"nothing"))


def test_what_a_function_captured_is_part_of_its_program(place: Place, session: Embedded) -> None:
    job = weft.submit(looked_up, place=300)
    assert job.result() == 300 - 256
    session.home.store.remove([Checksum.of(TABLE)])
    with pytest.raises(weft.MissingInputs, match=Checksum.of(TABLE).short):
        session.again(job.key)
    # A value that only looks like the name of captured bytes is none.
    named = weft.submit(tabled)
    assert session.again(named.key).result() == named.result()
