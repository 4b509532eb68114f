"""Calculations are run again on purpose, and the results compared."""

from __future__ import annotations

import json
from pathlib import Path

import engine_clocks as clocks
import pytest
from engine_place import PROJECT, Place

import weftwork as weft
from weftwork.cli import main
from weftwork.core.checksum import Checksum
from weftwork.embedded import Embedded

CLOCKS = str(PROJECT / "engine_clocks.py")


def cli(place: Place, captured: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    captured.readouterr()
    found = main(["--home", str(place.home), *words])
    out, err = captured.readouterr()
    assert found == code, (words, out, err)
    return out or err


def test_a_deterministic_module_is_identical(place: Place, session: Embedded) -> None:
    list(clocks.cubed.map(range(30)))
    report = weft.check(clocks.cubed, repeat=3, sample=5, seed=7)
    assert report.ok
    assert [each.found for each in report.checked] == ["identical"] * 5
    assert str(report) == "cubed: a sample of 5 of 30 calculations (seed 7), each run again 3 times: 5 identical"
    assert [each.key for each in weft.check("cubed", sample=5, seed=7, repeat=1).checked] == [
        each.key for each in report.checked
    ]
    others = {each.key for seed in range(4) for each in weft.check("cubed", sample=5, seed=seed, repeat=1).checked}
    assert len(others) > 5
    assert sum(not row.job.cached for row in session.home.ledger.jobs(limit=1000)) == 30 + 15 + 5 * 5
    assert session.home.ledger.conflicts() == []


def test_what_differs_is_told_with_both_values_and_fails(
    place: Place, session: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    first = weft.run(clocks.seen, x=1)
    out = cli(place, capsys, "check", f"{CLOCKS}:seen", "--repeat", "2", code=1)
    assert f"DIFFERENT at mass: {first.mass!r} ↔ " in out
    assert "seen: 1 calculation, each run again 2 times: 1 DIFFERENT" in out
    assert len(session.home.ledger.conflicts()) == 2
    assert weft.run(clocks.seen, x=1) == first
    document = json.loads(cli(place, capsys, "check", "seen", "--json", "--repeat", "1", code=1))
    assert not document["ok"]
    assert (document["checked"][0]["state"], document["checked"][0]["where"]) == ("different", "mass")


def test_numbers_within_what_a_module_declares_are_no_failure_unless_strict(
    place: Place, session: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    weft.run(clocks.shaken, x=2)
    assert not weft.check(clocks.shaken).ok
    report = weft.check(clocks.tolerant_shaken)
    assert report.ok
    (checked,) = report.checked
    assert checked.found == "within"
    assert checked.agreement is not None
    assert 0 < checked.agreement.relative < 1e-6
    assert weft.check("shaken").ok, "it was declared so last"
    assert "within tolerance, relative difference" in cli(place, capsys, "check", "shaken", "--strict", code=1)
    assert not weft.check("shaken", strict=True).ok


def test_what_says_that_it_is_not_deterministic_differs_as_declared(place: Place, session: Embedded) -> None:
    weft.run(clocks.varying, x=1)
    report = weft.check(clocks.varying, repeat=2, strict=True)
    assert report.ok
    assert [each.found for each in report.checked] == ["varies"]
    assert "differs at mass" in str(report.checked[0])
    assert "as declared" in str(report.checked[0])
    assert session.home.ledger.conflicts() == []


def test_a_run_is_checked_by_its_steps_and_an_environment_that_changed_is_told(
    place: Place, session: Embedded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = place.folder / "measure"
    tool.write_text("#!/bin/sh\necho 1 > out\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(place.folder), prepend=":")
    (place.folder / "flow.workflow.yaml").write_text(
        f"name: flow\nsteps:\n  measured: {{command: [measure], outputs: {{out: int}}}}\n"
        f"  cubed: {{module: '{CLOCKS}:cubed', inputs: {{x: $measured.out}}}}\noutputs: {{y: $cubed.result}}\n"
    )
    run = weft.submit(place.folder / "flow.workflow.yaml")
    run.result()
    assert [each.found for each in weft.check(run).checked] == ["identical", "identical"]
    before = Checksum.of(tool.read_bytes())
    tool.write_text("#!/bin/sh\necho 2 > out\n")
    out = cli(place, capsys, "check", run.id[:8])
    assert f"{run.id}:measured" in out
    assert "not run: measured (key" in out
    assert before in out
    assert Checksum.of(tool.read_bytes()) in out
    assert "2 calculations, each run again 2 times: 1 identical, 1 not run" in out
    job = next(row.job.id for row in session.home.ledger.jobs(run=run.id) if row.step == "measured")
    with pytest.raises(weft.SiteFailed, match="cannot be run again as it was"):
        weft.check(job)


def test_a_function_that_fails_when_it_is_run_again_fails_the_check(place: Place, session: Embedded) -> None:
    job = weft.submit(clocks.once, marker=str(place.folder / "marker"))
    job.result()
    report = weft.check(job, repeat=1)
    assert not report.ok
    assert report.checked[0].found == "failed"
    assert "FileExistsError" in str(report.checked[0])


def test_a_module_as_it_is_now_is_told_from_what_it_was(place: Place, session: Embedded) -> None:
    path = place.folder / "moving.py"
    path.write_text("import weftwork as weft\n@weft.module\ndef moving(x: int) -> int:\n    return x\n")
    weft.run(f"{path}:moving", x=1)
    assert weft.check(f"{path}:moving").ok
    other = place.folder / "later" / "moving.py"
    other.parent.mkdir()
    other.write_text(path.read_text().replace("return x", "return x + 1"))
    with pytest.raises(weft.NotFound, match="1 of it as it was before: `weft check moving`"):
        weft.check(f"{other}:moving")
    assert weft.check("moving").ok


@pytest.mark.parametrize(
    ("target", "error", "told"),
    [
        ("nothing", weft.NotFound, "no calculation of it is known here"),
        (f"{CLOCKS}:flow", weft.Invalid, "is a workflow: check a run of it"),
        (f"{CLOCKS}:cubed", weft.NotFound, "no calculation of cubed as it is now has succeeded here"),
        ("no.module:cubed", weft.NotFound, "no Python module"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    session: Embedded, target: str, error: type[weft.WeftError], told: str
) -> None:
    with pytest.raises(error, match=told):
        weft.check(target)
    with pytest.raises(weft.Invalid, match="repeat is 0"):
        weft.check(target, repeat=0)


def test_a_command_is_checked_by_its_files(place: Place, session: Embedded, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(place.folder)
    (folder / "now.module.yaml").write_text(
        "name: now\nscript: |\n  echo same > out\n  date +%N >> out\noutputs: {out: file}\n"
    )
    weft.run(folder / "now.module.yaml")
    out = cli(place, capsys, "check", str(folder / "now.module.yaml"), "--repeat", "1", code=1)
    assert "DIFFERENT at out line 2: '" in out
