"""Inputs: refused before anything is stored or runs; values arrive as their canonical bytes say; files by content."""

from __future__ import annotations

import http.server
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded

WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an unknown name": (values.checked, {"count": 1, "cuont": 2}, "no input 'cuont'; did you mean 'count'"),
    "a missing one": (values.checked, {}, "input 'count' is missing; a value of type int"),
    "a wrong type": (values.checked, {"count": "many"}, "input 'count'.*'many'.*int"),
    "out of range": (values.checked, {"count": 11}, "input 'count'.*11.*10"),
    "not a choice": (values.checked, {"count": 1, "mode": "medium"}, "input 'mode'.*'medium'.*fast"),
    "a wrong item": (values.checked, {"count": 1, "names": ["a", 2]}, r"input 'names'.*2"),
    "a missing file": (values.shout, {"file": weft.File("/nowhere/at all")}, "input 'file'.*/nowhere/at all"),
    "a directory for a file": (values.shout, {"file": weft.File("/tmp")}, "input 'file'.*weft.Directory"),
    "a file for a directory": (values.listing, {"folder": weft.Directory(__file__)}, "input 'folder'.*weft.File"),
    "one missing file of several": (
        values.lengths,
        {"files": [weft.File(__file__), weft.File("/nowhere")]},
        "input 'files'.*/nowhere",
    ),
    "for a command": (work.command, {"value": "x", "seconds": 0.0}, "input 'value'.*'x'.*int"),
    "for a workflow": (work.chain, {"value": [1]}, "input 'value'.*int"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_input_is_refused_by_name_and_nothing_of_it_is_stored(
    place: Place, session: Embedded, what: str
) -> None:
    thing, inputs, text = WRONG[what]
    weft.close()
    session = weft.use(place.home)
    before = set(session.home.store.checksums())
    with pytest.raises(weft.Invalid, match=text):
        weft.submit(thing, log=place.log, **inputs)
    assert set(session.home.store.checksums()) == before
    assert session.home.ledger.jobs() == []
    assert session.home.ledger.runs() == []
    assert place.lines() == []


CASES: list[Any] = [
    None,
    True,
    0,
    -0.0,
    1.0,
    10**40,
    1e300,
    "naïve\n\x00",
    b"\x00\xff",
    [],
    {},
    {"b": 1, "a": {"d": [1, 2.0, None], "c": ""}},
    [[1], [2.5, "x"]],
    float("inf"),
]


@pytest.mark.parametrize("value", CASES, ids=lambda each: repr(each)[:20])
def test_a_value_comes_back_as_it_went_fresh_and_cached_alike(place: Place, session: Embedded, value: Any) -> None:
    fresh = weft.run(values.same, log=place.log, value=value)
    cached = weft.run(values.same, log=place.log, value=value)
    assert place.lines() == ["same"]
    assert fresh == cached == value
    assert repr(fresh) == repr(cached)
    assert type(fresh) is type(cached) is type(value)
    assert weft.run(values.kinds, value=value) == f"{type(value).__name__} {fresh!r}"


def test_nan_and_the_order_of_keys(place: Place, session: Embedded) -> None:
    assert math.isnan(weft.run(values.same, log=place.log, value=math.nan))
    assert math.isnan(weft.run(values.same, log=place.log, value=math.nan))
    assert weft.run(values.same, log=place.log, value={"b": 1, "a": 2}) == {"a": 2, "b": 1}
    assert list(weft.run(values.same, log=place.log, value={"a": 2, "b": 1})) == ["a", "b"]
    assert place.lines() == ["same", "same"]
    keys = {weft.explain(values.same, log="", value=each).key for each in (1, 1.0, True, -0.0, 0.0, "1", [1], None)}
    assert len(keys) == 8


def test_arrays_and_tables(place: Place, session: Embedded) -> None:
    numpy = pytest.importorskip("numpy")
    pyarrow = pytest.importorskip("pyarrow")
    array = numpy.asfortranarray(numpy.arange(12, dtype=">f4").reshape(3, 4))
    for _ in range(2):
        out = weft.run(values.same, log=place.log, value=array)
        assert out.dtype == numpy.dtype("<f4")
        assert out.flags.c_contiguous
        assert numpy.array_equal(out, array)
    table = pyarrow.table({"x": [1, None, 3], "name": ["a", "b", None]})
    for _ in range(2):
        assert weft.run(values.same, log=place.log, value=table).equals(table)
    assert place.lines() == ["same", "same"]
    for _ in range(2):
        out = weft.run(values.same, log=place.log, value=[numpy.ones(2), numpy.zeros(3)])
        assert [each.tolist() for each in out] == [[1.0, 1.0], [0.0, 0.0, 0.0]]


def test_no_value_is_a_value(place: Place, session: Embedded) -> None:
    assert weft.run(values.optional, log=place.log) is None
    assert weft.run(values.optional, log=place.log, value=None) is None
    assert weft.run(values.optional, log=place.log, value=4) == 4
    assert place.lines() == ["optional None", "optional 4"]


def test_files_count_by_content_and_not_by_name(place: Place, session: Embedded) -> None:
    one, two = place.folder / "one.txt", place.folder / "zwei ü.txt"
    one.write_text("hello")
    two.write_text("hello")
    shouted = weft.run(values.shout, log=place.log, file=weft.File(one))
    assert Path(shouted.path).read_text() == "HELLO"
    assert Path(weft.run(values.shout, log=place.log, file=weft.File(two)).path).read_text() == "HELLO"
    assert place.lines() == ["shout"]
    one.write_text("other")
    assert Path(weft.run(values.shout, log=place.log, file=weft.File(one)).path).read_text() == "OTHER"
    assert weft.run(values.lengths, log=place.log, files=[weft.File(one), weft.File(two), shouted]) == [5, 5, 5]


def test_directories_in_and_out(place: Place, session: Embedded) -> None:
    out = weft.run(values.spread, log=place.log, count=2)
    assert sorted(os.listdir(Path(out.path) / "deep")) == ["part 0", "part 1"]
    again = weft.run(values.spread, log=place.log, count=2)
    assert weft.run(values.listing, log=place.log, folder=again) == ["deep/part 0", "deep/part 1"]
    assert place.lines() == ["spread", "listing"]


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_function_that_writes_into_its_input_does_not_touch_the_store(
    place: Place, session: Embedded, size: int
) -> None:
    path = place.folder / "data"
    path.write_bytes(b"x" * size)
    assert weft.run(values.vandal, log=place.log, file=weft.File(path)) == size
    assert path.read_bytes() == b"x" * size
    checksum = Checksum.of(b"x" * size)
    assert session.home.store.get(checksum) == b"x" * size
    out = weft.run(values.shout, log=place.log, file=weft.File(path))
    assert Path(out.path).read_bytes() == b"X" * size


class _Site(http.server.BaseHTTPRequestHandler):
    body = b"from afar"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200 if self.path == "/data.txt" or self.path.startswith("/data.txt?") else 404)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def address() -> Iterator[str]:
    _Site.asked = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_from_an_address_is_fetched_once_and_verified(place: Place, session: Embedded, address: str) -> None:
    right = Checksum.of(_Site.body)
    for _ in range(3):
        out = weft.run(values.shout, log=place.log, file=weft.File(f"{address}/data.txt", checksum=right))
        assert Path(out.path).read_bytes() == b"FROM AFAR"
    weft.run(values.shout, log=place.log, file=weft.File(f"{address}/data.txt"))
    assert place.lines() == ["shout"]
    assert _Site.asked == 1
    with pytest.raises(weft.Corrupt, match=r"where .* was expected"):
        weft.run(values.shout, log=place.log, file=weft.File(f"{address}/data.txt?2", checksum=Checksum.of(b"else")))
    with pytest.raises(weft.NotFound, match="404"):
        weft.run(values.shout, log=place.log, file=weft.File(f"{address}/nothing"))


def test_what_a_call_leaves_behind_in_its_process_is_not_there_for_the_next(place: Place, session: Embedded) -> None:
    assert [weft.run(values.remembering, value=n) for n in range(4)] == [1, 1, 1, 1]
    assert list(values.remembering.map(range(10, 60))) == [1] * 50
