"""Two different results of one calculation: kept, listed with what differs, and told wherever one looks at their job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import engine_clocks as clocks
import pytest
from engine_place import PROJECT, Place

import weftwork as weft
from weftwork.cli import main
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded


class Cli:
    """The command line, in this process."""

    def __init__(self, home: Path, captured: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._captured = captured
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints on standard output."""
        self._captured.readouterr()
        found = main(["--home", str(self._home), *words])
        out, self.err = self._captured.readouterr()
        assert found == code, (words, out, self.err)
        return out


@pytest.fixture
def cli(place: Place, session: Embedded, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(place.home, capsys)


def twice(module: Any, **inputs: Any) -> None:
    weft.run(module, **inputs)
    weft.run(module, cache=False, **inputs)


def test_a_function_that_reads_the_clock_gives_a_conflict(cli: Cli) -> None:
    assert cli("conflicts") == "there are no conflicts\n"
    twice(clocks.seen, x=1)
    head, line = cli("conflicts").splitlines()
    assert head.split() == ["KEY", "MODULE", "STEP", "STANDS", "DIFFERS", "WHAT"]
    assert re.search(r"DIFFERENT at mass: [\d.e+]+ ↔ [\d.e+]+, relative difference [\d.e-]+$", line)
    assert len(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+/local", line)) == 2
    (found,) = json.loads(cli("conflicts", "--json"))
    assert (found["name"], found["state"], found["where"]) == ("seen", "different", "mass")
    stands, differs = found["stands"], found["differs"]
    assert stands["outputs"]["mass"]["checksum"] != differs["outputs"]["mass"]["checksum"]
    assert stands["outputs"]["names"] == differs["outputs"]["names"]
    assert stands["created"] < differs["created"]
    for job in (stands["job"], differs["job"]):
        shown = cli("show", job)
        assert "conflict DIFFERENT at mass" in shown
        assert f"job {stands['job']}" in shown
        assert json.loads(cli("show", job, "--json"))["conflicts"] == [found]
        assert "it gave two results: DIFFERENT at mass" in cli("why", job)


def test_equal_second_results_are_listed_once(cli: Cli) -> None:
    weft.run(clocks.coin, x=1)
    report = weft.check(clocks.coin, repeat=20)
    (found,) = json.loads(cli("conflicts", "--json"))
    assert {found["one"], found["other"]} == {"0", "1"}
    assert report.checked[0].found == "different"
    assert len(cli("conflicts").splitlines()) == 2
    assert cli("show", found["differs"]["job"]).count("conflict ") == 1


def test_conflicts_are_listed_by_module_and_so_many(cli: Cli) -> None:
    for x in (1, 2):
        twice(clocks.seen, x=x)
    assert len(json.loads(cli("conflicts", "--json", "seen"))) == 2
    assert len(json.loads(cli("conflicts", "--json", "--limit", "1"))) == 1
    assert cli("conflicts", "steady") == "there are no conflicts of steady\n"


def test_sums_in_another_order_are_within_what_their_module_declares(cli: Cli) -> None:
    twice(clocks.sums, count=20)
    twice(clocks.exact_sums, count=20)
    exact, tolerant = json.loads(cli("conflicts", "--json"))
    assert (tolerant["name"], tolerant["state"]) == ("sums", "within")
    assert (exact["name"], exact["state"]) == ("exact_sums", "different")
    assert 0 < tolerant["relative"] < 1e-12
    assert re.fullmatch(r"result\[\d+\]", tolerant["where"])
    assert "within tolerance, relative difference " in cli("conflicts", "sums")


def test_a_tolerance_that_is_declared_later_counts_for_what_was_kept(cli: Cli) -> None:
    twice(clocks.exact_sums, count=20)
    assert json.loads(cli("conflicts", "--json"))[0]["state"] == "different"
    weft.run(clocks.tolerant_sums, count=20, cache=False)
    assert {each["state"] for each in json.loads(cli("conflicts", "--json"))} == {"within"}


def test_what_is_declared_not_to_be_deterministic_makes_no_conflict(cli: Cli) -> None:
    weft.run(clocks.seen, x=1)
    for _ in range(2):
        assert weft.submit(clocks.varying, x=1).key == weft.submit(clocks.seen, x=1).key
        weft.run(clocks.varying, x=1)
    assert json.loads(cli("conflicts", "--json")) == []


def test_a_conflict_of_what_is_said_since_not_to_be_deterministic_is_as_declared(cli: Cli) -> None:
    twice(clocks.seen, x=1)
    weft.run(clocks.varying, x=1)
    (found,) = json.loads(cli("conflicts", "--json"))
    assert not found["deterministic"]
    assert "differs at mass" in cli("conflicts")
    assert "as declared (deterministic: false)" in cli("conflicts")


def test_a_step_is_told_with_its_run(cli: Cli, session: Embedded) -> None:
    first = weft.submit(clocks.flow, x=1)
    first.result()
    second = weft.submit(clocks.flow, x=1, cache=False)
    second.result()
    (found,) = json.loads(cli("conflicts", "--json"))
    assert (found["stands"]["run"], found["differs"]["run"]) == (first.id, second.id)
    assert found["differs"]["step"] == "seen"
    assert f"{second.id}:seen" in cli("conflicts")


def test_what_is_made_again_because_its_bytes_are_gone_is_held_against_the_first(cli: Cli, session: Embedded) -> None:
    weft.run(clocks.seen, x=1)
    checksum = weft.submit(clocks.seen, x=1).outputs()["mass"].checksum
    session.home.store.remove([Checksum(checksum)])
    weft.run(clocks.seen, x=1)
    (found,) = json.loads(cli("conflicts", "--json"))
    assert found["where"] == "mass (its bytes are gone)"
    assert checksum in {found[each]["outputs"]["mass"]["checksum"] for each in ("stands", "differs")}


def test_strict_makes_a_conflict_an_error(cli: Cli, session: Embedded) -> None:
    first = weft.run(clocks.seen, x=1, strict=True)
    assert weft.run(clocks.seen, x=1, strict=True) == first, "what is known brings no conflict up"
    assert weft.run(clocks.steady, x=1, strict=True) == weft.run(clocks.steady, x=1, strict=True, cache=False)
    with pytest.raises(weft.Conflict, match=r"seen \(key \w{12}\) gave .* stands: DIFFERENT at mass") as caught:
        weft.run(clocks.seen, x=1, strict=True, cache=False)
    (row,) = session.home.ledger.conflicts()
    for each in (row.stands, row.differs):
        assert dict(each.record.outputs)["mass"].checksum.short in str(caught.value)
    assert "weft conflicts" in str(caught.value)
    assert caught.value.details["key"] == row.key
    assert weft.run(clocks.seen, x=1) == first
    for _ in range(2):
        weft.run(clocks.varying, x=1, strict=True)
    twice(clocks.sums, count=20)
    with pytest.raises(weft.Conflict, match="within tolerance"):
        weft.run(clocks.sums, count=20, cache=False, strict=True)


def test_a_step_that_brings_a_conflict_up_fails_its_strict_run(session: Embedded) -> None:
    assert weft.run(clocks.flow, x=1, strict=True)
    run = weft.submit(clocks.flow, x=1, cache=False, strict=True)
    error = run.exception()
    assert isinstance(error, weft.Conflict)
    assert "seen failed: seen (key" in str(error)
    assert [each.row.name for each in run.conflicts()] == ["seen"]
    assert run.outcome().steps["steady"].state == "succeeded"


def test_the_command_line_warns_and_with_strict_fails(cli: Cli) -> None:
    words = ("run", f"{PROJECT / 'engine_clocks.py'}:seen", "-i", "x=1", "-q")
    cli(*words)
    cli(*words)
    assert "warning" not in cli.err
    cli(*words, "--no-cache")
    assert re.search(r"weft: warning: seen \(key \w{12}\) gave .* stands: DIFFERENT", cli.err)
    assert "`weft conflicts` shows both" in cli.err
    cli(*words, "--no-cache", "--strict", code=5)
    assert "weft: seen (key " in cli.err


def test_the_command_line_fails_a_strict_run_for_its_step(cli: Cli) -> None:
    words = ("run", f"{PROJECT / 'engine_clocks.py'}:flow", "-i", "x=2", "-q")
    cli(*words, "--strict")
    cli(*words, "--strict", "--no-cache", code=5)
    assert "seen failed: seen (key " in cli.err
    cli(*words, "--no-cache")
    assert "weft: warning: seen (key " in cli.err


def test_do_warns_and_with_strict_fails(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    cli("do", "--", "date +%N")
    cli("do", "--no-cache", "--", "date +%N")
    assert "--strict makes it an error" in cli.err
    cli("do", "--no-cache", "--strict", "--", "date +%N", code=5)
    assert "DIFFERENT at stdout line 1" in cli.err
