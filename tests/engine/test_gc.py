"""What garbage collection frees and what it never frees; what is freed is made again when somebody needs it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import engine_flows as flows
import engine_values as values
import engine_work as work
import pytest
from engine_place import Place

import weftwork as weft
from weftwork import keeping
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded


@weft.module
def made(log: str, value: int, seconds: float = 0.0) -> bytes:
    work.note(log, f"made {value}")
    time.sleep(seconds)
    return bytes([value]) * 300_000


@weft.module
def joined(log: str, one: bytes, other: bytes) -> bytes:
    work.note(log, "joined")
    return one + other


@weft.module
def length(log: str, value: bytes) -> int:
    work.note(log, "length")
    return len(value)


@weft.workflow
def chain(log: str) -> int:
    one, other = made.options(name="one")(log, 1), made.options(name="other")(log, 2)
    return length(log, joined(log, one, other))


def stored(session: Embedded) -> int:
    return sum(size for _, size in session.home.store.checksums())


def has(session: Embedded, *checksums: Checksum) -> list[bool]:
    gone = session.home.store.missing(checksums)
    return [each not in gone for each in checksums]


def collect(session: Embedded, **said: object) -> keeping.Collected:
    return keeping.collect(session.home, **said)  # type: ignore[arg-type]


def test_results_go_until_so_much_is_left_and_are_made_again_when_they_are_needed(
    place: Place, session: Embedded
) -> None:
    assert weft.run(chain, log=place.log) == 600_000
    before = stored(session)
    done = collect(session, keep=700_000)
    assert stored(session) == before - done.freed <= 700_000
    lines = place.lines()
    assert weft.run(chain, log=place.log) == 600_000
    assert place.lines() == lines, "nobody needed what went"
    collect(session, keep=0)
    assert weft.run(chain, log=place.log) == 600_000
    assert sorted(place.lines()[len(lines) :]) == ["joined", "length", "made 1", "made 2"]


def test_the_cheapest_to_make_again_go_first(place: Place, session: Embedded) -> None:
    dear = weft.submit(made, log=place.log, value=1, seconds=0.4).outputs()["result"]
    cheap = weft.submit(made, log=place.log, value=2).outputs()["result"]
    collect(session, keep=stored(session) - 1)
    assert has(session, dear.checksum, cheap.checksum) == [True, False]


def test_a_dry_run_says_what_then_goes_and_frees_nothing(place: Place, session: Embedded) -> None:
    weft.run(chain, log=place.log)
    names = set(session.home.store.checksums())
    said = collect(session, keep=100_000, dry_run=True)
    assert set(session.home.store.checksums()) == names
    done = collect(session, keep=100_000)
    assert (done.freed, done.plan.buffers, done.plan.kept) == (said.freed, said.plan.buffers, said.plan.kept)
    assert names - set(session.home.store.checksums()) == set(said.plan.buffers.items())
    assert said.plan.seconds > 0


def test_only_what_is_older_goes(place: Place, session: Embedded) -> None:
    old = weft.submit(made, log=place.log, value=1).outputs()["result"]
    time.sleep(0.3)
    middle = time.time()
    new = weft.submit(made, log=place.log, value=2).outputs()["result"]
    collect(session, older=time.time() - middle)
    assert has(session, old.checksum, new.checksum) == [False, True]


def test_without_a_limit_no_result_goes(place: Place, session: Embedded) -> None:
    weft.run(chain, log=place.log)
    assert collect(session).freed == 0


def test_what_a_user_gave_never_goes(place: Place, session: Embedded, tmp_path: Path) -> None:
    given = b"given" * 50_000
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"f" * 100_000)
    assert weft.run(length, log=place.log, value=given) == len(given)
    weft.run(values.listing, log=place.log, folder=weft.Directory(folder))
    collect(session, keep=0)
    assert has(session, Checksum.of(given), Checksum.of(b"f" * 100_000)) == [True, True]
    assert weft.run(length, log=place.log, value=given) == len(given)


def test_what_a_user_gave_stays_also_where_a_result_holds_the_same(place: Place, session: Embedded) -> None:
    folder = place.folder / "folder"
    folder.mkdir()
    (folder / "same").write_bytes(b"1" * 40000)
    weft.run(values.listing, log=place.log, folder=weft.Directory(folder))
    spread = weft.submit(values.spread, log=place.log, count=2).outputs()["result"]
    collect(session, keep=0)
    assert has(session, Checksum.of(b"1" * 40000), Checksum.of(b"0" * 40000), spread.checksum) == [True, False, False]


def test_a_directory_goes_with_its_files_and_comes_back_with_them(place: Place, session: Embedded) -> None:
    assert weft.run(flows.over_directory, log=place.log, count=2) == 80000
    ref = weft.submit(values.spread, log=place.log, count=3).outputs()["result"]
    collect(session, keep=0)
    assert has(session, ref.checksum, Checksum.of(b"2" * 40000)) == [False, False]
    found = weft.run(values.spread, log=place.log, count=3)
    assert sorted(each.name for each in Path(found.path).rglob("part*")) == ["part 0", "part 1", "part 2"]


@pytest.mark.parametrize("by", ["job", "run", "checksum", "key"])
def test_what_is_pinned_never_goes_until_it_is_unpinned(place: Place, session: Embedded, by: str) -> None:
    run = weft.submit(chain, log=place.log)
    run.result()
    job = weft.submit(made, log=place.log, value=1)
    checksum = job.outputs()["result"].checksum
    target = {"job": job.id, "run": run.id, "checksum": str(checksum), "key": job.key}[by]
    row = keeping.pin(session.home, target, "for the paper")
    assert (row.kind, session.home.ledger.pins()[0].note) == (by, "for the paper")
    collect(session, keep=0)
    other = Checksum.of(bytes([2]) * 300_000)
    assert has(session, checksum, other) == [True, by == "run"]
    keeping.unpin(session.home, target)
    collect(session, keep=0)
    assert has(session, checksum, other) == [False, False]
    with pytest.raises(weft.NotFound, match="not pinned"):
        keeping.unpin(session.home, target)


def test_what_cannot_be_made_again_stays(place: Place, session: Embedded) -> None:
    private = weft.submit(made, log=place.log, value=1, cache=False).outputs()["result"]
    chance = [weft.submit(values.chance, log=place.log, cache=cache) for cache in (True, False)]
    varying = weft.submit(values.varying, log=place.log)
    checksums = [private.checksum, *(job.outputs()["result"].checksum for job in (*chance, varying))]
    collect(session, keep=0)
    assert has(session, *checksums) == [True] * 4


def test_what_needs_another_environment_now_stays(place: Place, session: Embedded, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho made\n")
    tool.chmod(0o755)
    document = tmp_path / "made.module.yaml"
    document.write_text(f"name: made\ncommand: [{tool}]\noutputs: {{out: {{type: text, from: stdout}}}}\n")
    ref = weft.submit(weft.load(document)).outputs()["out"]
    before = tool.read_text()
    tool.write_text("#!/bin/sh\necho other\n")
    collect(session, keep=0)
    assert has(session, ref.checksum) == [True]
    tool.write_text(before)
    collect(session, keep=0)
    assert has(session, ref.checksum) == [False]


def test_what_a_live_job_needs_stays(place: Place, session: Embedded) -> None:
    ref = weft.submit(made, log=place.log, value=1).outputs()["result"]

    @weft.module
    def waiting(log: str, value: bytes) -> int:
        work.note(log, "waiting")
        time.sleep(0.8)
        return len(value)

    job = weft.submit(waiting, log=place.log, value=ref)
    place.has("waiting")
    collect(session, keep=0)
    assert has(session, ref.checksum) == [True]
    job.result()
    collect(session, keep=0)
    assert has(session, ref.checksum) == [False]


def test_what_hands_its_input_on_is_no_reason_to_let_it_go(place: Place, session: Embedded) -> None:
    @weft.module
    def same(value: bytes) -> bytes:
        return value

    given = b"given" * 50_000
    assert weft.run(same, value=given) == given
    collect(session, keep=0)
    assert has(session, Checksum.of(given)) == [True]


def test_large_bytes_that_nothing_names_go_after_a_day(place: Place, session: Embedded) -> None:
    store = session.home.store
    old, used, new, small = (store.put(data) for data in (b"o" * 100_000, b"u" * 100_000, b"n" * 100_000, b"small"))
    for each in (old, used):
        path = store.path(each)
        assert path is not None
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    store.put(b"u" * 100_000)
    assert collect(session).freed == 100_000
    assert has(session, old, used, new, small) == [False, True, True, True]


def test_freed_space_is_given_back(place: Place, session: Embedded) -> None:
    rows = 3000
    assert len(list(padded.map(range(rows)))) == rows
    done = collect(session, keep=0)
    assert done.freed > rows * 8000
    assert done.disk[1] < done.disk[0] / 2


@weft.module
def padded(value: int) -> str:
    return f"{value:8d}" * 1000


def test_two_collections_do_not_go_on_at_once(session: Embedded) -> None:
    from weftwork.data.collecting import Alone

    with Alone(session.home.folder / "gc.lock"), pytest.raises(weft.Conflict, match="another"):
        collect(session)


RUN = """
import engine_flows as flows
import engine_values as values
import random
number = int(sys.argv[2])
for turn in range(number, number + 4):
    assert weft.run(flows.over_directory, log=LOG, count=2 + turn % 3) == 40000 * (2 + turn % 3)
    assert weft.run(flows.mapped, log=LOG, count=20 + turn) == sum(range(1, 21 + turn))
    assert weft.run(work.chain, log=LOG, value=turn) == 4 * turn
    assert len(weft.run(values.big, log=LOG, value=turn)) == 200_000
print("right")
"""


@pytest.mark.slow
def test_runs_that_collections_go_through_finish_right(place: Place, session: Embedded) -> None:
    runs = [place.start(RUN, number) for number in (1, 1, 3)]
    turns = 0
    while any(each.poll() is None for each in runs):
        collect(session, keep=0)
        turns += 1
    assert [place.out(each) for each in runs] == ["right"] * 3
    assert turns > 5


COLLECT = """
from weftwork import keeping
from weftwork.config import open_home
home = open_home()
print("begins", flush=True)
keeping.collect(home, keep=0)
"""


@pytest.mark.slow
def test_a_collection_that_is_killed_leaves_a_sound_store_in_which_all_can_be_had(
    place: Place, session: Embedded
) -> None:
    def everything() -> None:
        assert weft.run(chain, log=place.log) == 600_000
        assert weft.run(flows.over_directory, log=place.log, count=3) == 120000
        assert list(padded.map(range(1500))) == [f"{each:8d}" * 1000 for each in range(1500)]

    everything()
    killed = 0
    for turn in range(30):
        process = place.start(COLLECT)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        found = keeping.verify(session.home)
        assert (found.damaged, found.lost) == ([], [])
        if turn % 6 == 5:
            everything()
    assert killed > 15


def test_an_age_that_is_no_number_is_refused(session: Embedded) -> None:
    with pytest.raises(weft.Invalid, match="older is nan"):
        collect(session, older=float("nan"))
