"""Bytes that are gone or damaged are made again by whoever reads them, once for all, and must come out the same."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import engine_flows as flows
import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.core.checksum import Checksum
from weftwork.core.values import Ref, Type
from weftwork.embedded import Embedded


def lose(session: Embedded, *checksums: Checksum | Ref) -> None:
    session.home.store.remove([each.checksum if isinstance(each, Ref) else each for each in checksums])


def number(value: int) -> Checksum:
    return Checksum.of(b"%d" % value)


def damage(place: Place, checksum: Checksum) -> None:
    path = place.home / "store" / "files" / checksum[:2] / checksum
    if path.exists():
        path.chmod(0o644)
        path.write_bytes(b"!" + path.read_bytes()[1:])
        return
    with sqlite3.connect(place.home / "store" / "buffers.sqlite", timeout=30) as database:
        changed = database.execute(
            "UPDATE buffer SET data = ? || substr(data, 2) WHERE digest = ?", (b"!", checksum.digest)
        )
        assert changed.rowcount == 1


@weft.module
def sized(log: str, value: bytes) -> int:
    work.note(log, f"sized {len(value)}")
    return len(value)


@weft.module
def handed_on(log: str, value: bytes) -> bytes:
    work.note(log, "handed on")
    return value


@weft.module
def measured(log: str, folder: weft.Directory) -> int:
    work.note(log, "measured")
    return sum(each.stat().st_size for each in Path(folder.path).rglob("*") if each.is_file())


@weft.module
def arrays(log: str, count: int) -> list[bytes]:
    work.note(log, "arrays")
    return [bytes([each]) * 100_000 for each in range(count)]


@pytest.mark.parametrize(
    ("module", "inputs", "line"),
    [(work.double, {"value": 2}, "double 2"), (values.big, {"value": 2}, "big")],
    ids=["small", "large"],
)
@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_result_whose_bytes_are_lost_is_made_again_for_who_reads_it(
    place: Place, session: Embedded, module: weft.module, inputs: dict[str, int], line: str, how: str
) -> None:
    before = weft.submit(module, log=place.log, **inputs)
    expected, ref = before.result(), before.outputs()["result"]
    if how == "gone":
        lose(session, ref)
    else:
        damage(place, ref.checksum)
    again = weft.submit(module, log=place.log, **inputs)
    assert (again.record(), again.cached, place.lines()) == (before.record(), True, [line]), "nobody has read it yet"
    assert again.result() == expected
    assert place.lines() == [line, line]
    assert weft.run(module, log=place.log, **inputs) == expected
    assert place.lines() == [line, line], "what was made again is there for the next"
    remade = next(row.job for row in session.home.ledger.jobs() if not row.job.cached)
    assert f"{ref.checksum.short} ({how})" in session.why(remade.id)


def test_a_map_reads_what_is_there_and_makes_the_rest_again(place: Place, session: Embedded) -> None:
    logs = [place.log] * 20
    assert list(work.double.map(logs, range(20))) == [2 * each for each in range(20)]
    lose(session, *(number(2 * each) for each in (13, 17, 18)))
    assert list(work.double.map(logs, range(20))) == [2 * each for each in range(20)]
    assert sorted(place.lines()[20:]) == ["double 13", "double 17", "double 18"]


def test_a_job_that_misses_bytes_of_an_input_has_them_made_again_and_goes_on(place: Place, session: Embedded) -> None:
    made = weft.submit(values.big, log=place.log, value=1)
    ref = made.outputs()["result"]
    lose(session, ref)
    job = weft.submit(sized, log=place.log, value=ref)
    assert job.result() == 200_000
    assert place.lines() == ["big", "big", "sized 200000"]
    kinds = [event.kind for event in job.events()]
    assert kinds.count("retried") == 0
    assert "big" in job.why()
    assert ref.checksum[:8] in job.why()


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_what_it_takes_to_make_something_again_is_made_again_first(place: Place, session: Embedded, how: str) -> None:
    folder = weft.submit(values.spread, log=place.log, count=2).outputs()["result"]
    weft.submit(measured, log=place.log, folder=folder).result()
    inner = Checksum.of(b"1" * 40000)
    if how == "gone":
        lose(session, folder, inner, number(80000))
    else:
        lose(session, number(80000))
        damage(place, inner)
    shutil.rmtree(place.home / "cache" / "folders", ignore_errors=True)
    weft.close()
    weft.use(place.home)  # its workers remember nothing of what they were given
    assert weft.run(measured, log=place.log, folder=folder) == 80000
    assert place.lines() == ["spread", "measured", "spread", "measured"]


def test_a_command_is_made_again_and_gets_its_inputs_made_again(place: Place, session: Embedded) -> None:
    assert weft.run(work.chain, log=place.log, value=2) == 8
    lose(session, number(4), number(8))
    assert weft.run(work.chain, log=place.log, value=2) == 8
    counts = place.executions()
    assert counts["double 2"] == 2
    assert counts["total 8"] == 2


def test_a_calculation_that_hands_its_input_on_is_not_what_makes_it(place: Place, session: Embedded) -> None:
    ref = weft.submit(values.big, log=place.log, value=1).outputs()["result"]
    assert weft.submit(handed_on, log=place.log, value=ref).outputs()["result"] == ref
    lose(session, ref)
    assert len(weft.run(handed_on, log=place.log, value=ref)) == 200_000
    assert place.lines() == ["big", "handed on", "big"]


def test_a_map_is_gone_through_although_its_collection_is_lost(place: Place, session: Embedded) -> None:
    assert weft.run(flows.mapped, log=place.log, count=3) == 6
    lose(session, Checksum.of(b"[0,1,2]"))
    assert weft.run(flows.mapped, log=place.log, count=3) == 6
    assert place.executions() == {"numbers": 2, "add 0 1": 1, "add 1 1": 1, "add 2 1": 1, "total 6": 1}


def test_a_map_over_a_folder_whose_files_are_lost_runs_on(place: Place, session: Embedded) -> None:
    assert weft.run(flows.over_directory, log=place.log, count=2) == 80000
    lose(session, Checksum.of(b"1" * 40000), number(80000))
    assert weft.run(flows.over_directory, log=place.log, count=2) == 80000
    assert place.executions()["spread"] == 2
    assert place.executions()["size"] == 2


def test_a_condition_is_asked_of_a_result_that_is_lost(place: Place, session: Embedded) -> None:
    weft.submit(flows.skipping, log=place.log, value=2).outcome()
    before = place.executions()
    lose(session, Checksum.of(b"true"))
    weft.submit(flows.skipping, log=place.log, value=2).outcome()
    assert place.executions() - before == {"is_even 2": 1}


def test_a_list_whose_items_are_lost_is_made_again_by_what_made_the_list(place: Place, session: Embedded) -> None:
    job = weft.submit(arrays, log=place.log, count=3)
    expected = job.result()
    lose(session, Checksum.of(expected[1]))
    assert weft.submit(arrays, log=place.log, count=3).result() == expected
    assert place.lines() == ["arrays", "arrays"]


def test_many_who_need_the_same_have_it_made_once(place: Place, session: Embedded) -> None:
    ref = weft.submit(values.big, log=place.log, value=1).outputs()["result"]
    lose(session, ref)
    jobs = [weft.submit(module, log=place.log, value=ref) for module in (sized, handed_on, sized)]
    other = place.start("import engine_values as values\nprint(len(weft.run(values.big, log=LOG, value=1)))")
    assert [job.record().key for job in jobs] == [job.key for job in jobs]
    assert place.out(other) == "200000"
    assert place.executions()["big"] == 2


def test_what_a_user_gave_cannot_be_made_again_and_is_named(place: Place, session: Embedded) -> None:
    data = b"given" * 40_000
    assert weft.run(sized, log=place.log, value=data) == 200_000
    lose(session, Checksum.of(data), number(200_000))
    with pytest.raises(weft.MissingInputs, match="no reusable result in this home gave it") as caught:
        weft.run(sized, log=place.log, value=Ref(Type("bytes"), Checksum.of(data), len(data)))
    assert "sized (key" in str(caught.value)
    assert caught.value.details["checksums"] == [Checksum.of(data)]
    assert weft.run(sized, log=place.log, value=data) == 200_000


def test_a_result_that_comes_out_different_is_told_and_the_new_one_answers(place: Place, session: Embedded) -> None:
    first = weft.submit(values.chance, log=place.log)
    ref = first.outputs()["result"]
    follower = weft.submit(values.kinds, value=ref)
    old = follower.result()
    lose(session, ref, follower.outputs()["result"])
    job = weft.submit(values.kinds, value=ref)
    with pytest.raises(weft.Conflict, match=r"chance .*is not deterministic") as caught:
        job.result()
    assert ref.checksum[:8] in str(caught.value)
    assert "run again" in str(caught.value)
    answer = weft.submit(values.chance, log=place.log)
    assert len(place.lines()) == 2
    (conflict,) = session.home.ledger.conflicts()
    stands, other = conflict.stands.record, conflict.differs.record
    assert (stands.outputs, dict(other.outputs)["result"]) == (answer.record().outputs, ref)
    assert weft.run(values.kinds, value=answer.outputs()["result"]) != old
    with pytest.raises(weft.Conflict, match="gave something else"):
        weft.run(values.kinds, value=ref)
    assert len(place.lines()) == 2


def test_a_caller_gets_the_new_result_where_the_old_one_cannot_be_had_any_more(place: Place, session: Embedded) -> None:
    job = weft.submit(values.chance, log=place.log)
    old = job.result()
    lose(session, job.outputs()["result"])
    new = weft.run(values.chance, log=place.log)
    assert new != old
    assert weft.run(values.chance, log=place.log) == new
    assert job.result() == new
    assert len(place.lines()) == 2


def test_what_its_environment_has_lost_is_said(place: Place, session: Embedded, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho made\n")
    tool.chmod(0o755)
    document = tmp_path / "made.module.yaml"
    document.write_text(f"name: made\ncommand: [{tool}]\noutputs: {{out: {{type: text, from: stdout}}}}\n")
    job = weft.submit(weft.load(document))
    ref = job.outputs()["out"]
    tool.write_text("#!/bin/sh\necho other\n")
    lose(session, ref)
    with pytest.raises(weft.MissingInputs, match=r"cannot be run again as it was.*environment tools"):
        weft.run(values.kinds, value=ref)
