"""Outputs marked scratch: their checksums are kept, their bytes only while somebody may need them."""

from __future__ import annotations

from typing import TypedDict

import engine_values as values
import engine_work as work
import pytest
from engine_place import Place
from test_gc import has

import weftwork as weft
from weftwork import keeping
from weftwork.core.checksum import Checksum
from weftwork.core.module import Module
from weftwork.embedded import Embedded


@weft.module(scratch=True)
def wide(log: str, value: int) -> bytes:
    work.note(log, f"wide {value}")
    return bytes([value]) * 300_000


@weft.module(scratch=True)
def doubled(log: str, value: bytes) -> bytes:
    work.note(log, "doubled")
    return value * 2


@weft.module
def length(log: str, value: bytes, extra: int = 0) -> int:
    work.note(log, f"length {extra}")
    return len(value) + extra


class Both(TypedDict):
    kept: bytes
    raw: bytes


@weft.module(scratch={"raw"})
def both(log: str) -> Both:
    work.note(log, "both")
    return {"kept": b"k" * 100_000, "raw": b"r" * 100_000}


@weft.module(scratch=True)
def handed_on(log: str, value: bytes) -> bytes:
    work.note(log, "handed on")
    return value


@weft.workflow
def flow(log: str, extra: int) -> int:
    return length(log, doubled(log, wide(log, 1)), extra)


@weft.workflow
def giving(log: str) -> bytes:
    return doubled(log, wide(log, 1))


WIDE, DOUBLED = Checksum.of(bytes([1]) * 300_000), Checksum.of(bytes([1]) * 600_000)


def test_a_runs_scratch_bytes_go_when_it_has_ended_and_its_results_stay_known(place: Place, session: Embedded) -> None:
    assert weft.run(flow, log=place.log, extra=0) == 600_000
    place.until(lambda: has(session, WIDE, DOUBLED) == [False, False])
    lines = place.lines()
    assert weft.run(flow, log=place.log, extra=0) == 600_000
    assert place.lines() == lines


def test_a_changed_last_step_has_what_it_needs_made_again(place: Place, session: Embedded) -> None:
    weft.run(flow, log=place.log, extra=0)
    place.until(lambda: has(session, WIDE, DOUBLED) == [False, False])
    assert weft.run(flow, log=place.log, extra=1) == 600_001
    counts = place.executions()
    assert (counts["wide 1"], counts["doubled"], counts["length 0"], counts["length 1"]) == (2, 2, 1, 1)


def test_what_a_run_gives_its_caller_lives_as_long_as_the_session(place: Place, session: Embedded) -> None:
    assert len(weft.run(giving, log=place.log)) == 600_000
    assert place.executions() == {"wide 1": 1, "doubled": 1}
    place.until(lambda: has(session, WIDE, DOUBLED) == [False, True])
    weft.close()
    session = weft.use(place.home)
    assert has(session, WIDE, DOUBLED) == [False, False]


def test_a_call_outside_a_run_keeps_its_bytes_until_the_session_closes(place: Place, session: Embedded) -> None:
    weft.run(wide, log=place.log, value=1)
    weft.run(both, log=place.log)
    assert has(session, WIDE) == [True]
    weft.close()
    session = weft.use(place.home)
    assert has(session, WIDE, Checksum.of(b"k" * 100_000), Checksum.of(b"r" * 100_000)) == [False, True, False]


def test_what_is_pinned_stays(place: Place, session: Embedded) -> None:
    keeping.pin(session.home, weft.submit(wide, log=place.log, value=1).id)
    assert weft.run(flow, log=place.log, extra=0) == 600_000
    place.until(lambda: has(session, DOUBLED) == [False])
    weft.close()
    assert has(weft.use(place.home), WIDE, DOUBLED) == [True, False]


def test_what_was_given_is_not_let_go_by_what_hands_it_on(place: Place, session: Embedded) -> None:
    given = b"given" * 50_000
    assert weft.run(handed_on, log=place.log, value=given) == given
    weft.close()
    assert has(weft.use(place.home), Checksum.of(given)) == [True]


def test_what_a_killed_process_left_goes_first_at_the_next_collection(place: Place, session: Embedded) -> None:
    weft.run(wide, log=place.log, value=1)
    kept = weft.submit(values.big, log=place.log, value=9).outputs()["result"].checksum
    session.engine.scratch.closed()  # as a killed process: nothing is let go
    weft.close()
    session = weft.use(place.home)
    assert has(session, WIDE) == [True]
    assert keeping.collect(session.home).freed == 300_000
    assert has(session, WIDE, kept) == [False, True]


def test_it_does_not_count_in_the_key(place: Place, session: Embedded) -> None:
    plain = weft.module(wide.__weft_function__)
    assert weft.explain(plain, log=place.log, value=1).key == weft.explain(wide, log=place.log, value=1).key


def test_it_is_declared_in_a_document_too(place: Place, session: Embedded) -> None:
    document = place.folder / "wide.module.yaml"
    document.write_text(
        "name: wide\ncommand: [head, -c, '100000', /dev/zero]\n"
        "outputs: {out: {type: file, from: stdout, scratch: true}}\n"
    )
    weft.run(weft.load(document))
    weft.close()
    session = weft.use(place.home)
    assert has(session, Checksum.of(bytes(100_000))) == [False]
    found = session.prepare(weft.load(document)).module
    assert found is not None
    assert found.scratch == ["out"]
    assert Module.of(found.document()) == found


def test_what_cannot_be_made_again_cannot_be_scratch(place: Place, session: Embedded) -> None:
    with pytest.raises(weft.Invalid, match=r"scratch.*not deterministic"):
        weft.run(weft.module(scratch=True, deterministic=False)(values.chance.__weft_function__), log=place.log)
    with pytest.raises(weft.Invalid, match="'rwa'; did you mean 'raw'"):
        weft.run(weft.module(scratch={"rwa"})(both.__weft_function__), log=place.log)
