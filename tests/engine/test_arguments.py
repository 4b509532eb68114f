"""Inputs in order and by name: for modules, workflows and documents alike."""

from __future__ import annotations

from pathlib import Path

import pytest

import weftwork as weft


@weft.module
def power(base: float, exponent: float = 2.0) -> float:
    return base**exponent


@weft.workflow
def chain(at: float, exponent: float = 2.0) -> dict[str, float]:
    return {"result": power(power(at, exponent), exponent)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> object:
    return weft.use(tmp_path / "home")


def test_arguments_may_be_given_in_order() -> None:
    assert weft.run(power, 3, 3) == weft.run(power, base=3, exponent=3.0) == power(3, 3)
    assert weft.run(chain, 2.0) == 16.0
    assert power.submit(3).result() == 9.0
    assert weft.submit(power, 3, exponent=1.0).result() == 3.0


def test_too_many_and_twice_are_refused() -> None:
    with pytest.raises(weft.Invalid, match="3 arguments are given in order, and its inputs are base, exponent"):
        weft.run(power, 1, 2, 3)
    with pytest.raises(weft.Invalid, match="'base' is given twice"):
        weft.run(power, 1, base=2)

    @weft.workflow
    def wrong(x: float) -> dict[str, float]:
        return {"result": power(x, 2.0, 3.0)}

    with pytest.raises(weft.Invalid, match="3 arguments"):
        weft.run(wrong, 1.0)


def test_a_document_takes_them_too(tmp_path: Path) -> None:
    path = tmp_path / "echo.module.yaml"
    path.write_text(
        'name: echo\ninputs: {word: str}\noutputs: {said: {type: str, from: stdout}}\ncommand: [echo, "{word}"]\n'
    )
    assert weft.run(path, "hello").said == "hello"
