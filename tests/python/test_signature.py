"""What a function's annotations and defaults become as the inputs of a module or of a workflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

import weftwork as weft
from weftwork.core.values import Type
from weftwork.errors import Invalid
from weftwork.python.signature import signature, workflow_inputs

np = pytest.importorskip("numpy")

TABLE = {"SLy": 2.05}


class Star(NamedTuple):
    mass: float
    radius: float


CURVE = np.arange(3.0)


def test_a_path_like_is_a_file() -> None:
    def reduce(scan: os.PathLike, beam: os.PathLike[str], dark: os.PathLike | None = None) -> None: ...

    inputs, _, _ = signature(reduce)
    assert [str(each.type) for each in inputs] == ["file", "file", "file?"]


def test_a_workflow_has_its_defaults_in_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def fit(
        scan: weft.File = weft.File("scan.dat"),
        remote: weft.File = weft.File("https://example.org/scan.dat"),
        scans: list[weft.File] = [weft.File("a.dat")],  # noqa: B006
        names=("SLy", "MS1"),
        table: dict = TABLE,
        bare=weft.File("b.dat"),
        nothing: weft.File | None = None,
    ) -> None: ...

    inputs = {each.name: each for each in workflow_inputs(fit)}
    assert all(each.bound for each in inputs.values())
    assert inputs["scan"].default == str(tmp_path / "scan.dat")
    assert inputs["remote"].default == "https://example.org/scan.dat"
    assert inputs["scans"].default == [str(tmp_path / "a.dat")]
    assert inputs["names"].default == ["SLy", "MS1"]
    assert inputs["table"].default == {"SLy": 2.05}
    assert (inputs["bare"].type, inputs["bare"].default) == (Type("file"), str(tmp_path / "b.dat"))
    assert inputs["nothing"].default is None


@pytest.mark.parametrize(
    ("default", "told"),
    [(CURVE, "cannot be written"), (b"\0", "cannot be written"), (weft.File("x", "0" * 64), "checksum")],
)
def test_a_default_that_no_document_can_hold_is_refused(default: object, told: str) -> None:
    def fit(curve=default) -> None: ...

    with pytest.raises(Invalid, match=f"fit: input 'curve'.*{told}"):
        workflow_inputs(fit)


def test_a_tolerance_is_the_modules_or_that_of_an_output() -> None:
    def star(x: float) -> Star:
        return Star(x, x)

    module = weft.module(tolerance=1e-9)(star).resolve()[0]
    assert (module.tolerance_of("mass"), module.tolerance_of("radius")) == (1e-9, 1e-9)
    module = weft.module(tolerance={"radius": 1e-6})(star).resolve()[0]
    assert (module.tolerance_of("mass"), module.tolerance_of("radius")) == (0.0, 1e-6)
    with pytest.raises(Invalid, match="the output 'radios'; did you mean 'radius'"):
        weft.module(tolerance={"radios": 1e-6})(star).resolve()
    with pytest.raises(Invalid, match="tolerance 'little' is no number"):
        weft.module(tolerance="little")(star).resolve()
