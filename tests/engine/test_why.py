"""``why`` in words, for each part of a key and each way in which a job can come about."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import weftwork as weft

_names = itertools.count()

FUNCTION = """
import weftwork as weft
SCALE = {scale}

def helper(x):
    return x + {shift}

@weft.module(variables={variables})
def model(x: float, kind: str = "a") -> float:
    return SCALE * helper(x)
"""

COMMAND = """
name: tell
inputs: {{word: str}}
outputs: {{said: {{type: str, from: {source}}}}}
env: {{MODE: "{mode}"}}
command: [{program}, "{{word}}"]
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[None]:
    weft.use(tmp_path / "home")
    yield
    weft.close()


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., object]:
    """The model as its file says it after an edit: a new file of the same content would be the same calculation."""

    def written(scale: float = 2.0, shift: float = 1.0, variables: str = "{}") -> object:
        path = tmp_path / str(next(_names)) / "why_model.py"
        path.parent.mkdir()
        sys.modules.pop("why_model", None)
        path.write_text(FUNCTION.format(scale=scale, shift=shift, variables=variables))
        return weft.load(f"{path}:model")

    return written


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., object]:
    def written(program: str = "echo", mode: str = "x", source: str = "stdout") -> object:
        path = tmp_path / "tell.module.yaml"
        path.write_text(COMMAND.format(program=program, mode=mode, source=source))
        return weft.load(path)

    return written


def why(thing: object, **inputs: object) -> str:
    job = weft.submit(thing, **inputs)
    job.wait()
    return job.why()


def test_the_first_and_a_repeated_one(model: Callable[..., object]) -> None:
    assert "never calculated here before" in why(model(), x=1.0)
    assert "came from the cache" in why(model(), x=1)


def test_a_constant_of_a_helper(model: Callable[..., object]) -> None:
    why(model(shift=1.0), x=1.0)
    told = why(model(shift=1.5), x=1.0)
    assert "helper" in told
    assert "1.0 → 1.5" in told


def test_a_captured_value(model: Callable[..., object]) -> None:
    why(model(scale=2.0), x=1.0)
    told = why(model(scale=3.0), x=1.0)
    assert "SCALE" in told
    assert "2.0 → 3.0" in told


def test_an_input(model: Callable[..., object]) -> None:
    why(model(), x=1.0)
    assert "input x: 1.0 → 2.0" in why(model(), x=2.0)
    assert "input kind: 'a' → 'b'" in why(model(), x=2.0, kind="b")


def test_a_variable_of_the_environment(model: Callable[..., object], command: Callable[..., object]) -> None:
    why(model(), x=1.0)
    assert "environment variables: nothing →" in why(model(variables="{'MODE': 'x'}"), x=1.0)
    why(command(mode="x"), word="hello")
    assert "environment variables MODE: x → y" in why(command(mode="y"), word="hello")


def test_a_program(command: Callable[..., object]) -> None:
    why(command(program="echo"), word="hello")
    told = why(command(program="printf"), word="hello")
    assert "program words:" in told
    assert "environment tools" in told


def test_an_output(command: Callable[..., object]) -> None:
    why(command(source="stdout"), word="hello")
    told = why(command(source="stderr"), word="hello")
    assert "output said" in told
    assert "stdout" in told
    assert "stderr" in told


def test_one_that_failed_before_and_one_that_was_asked_to_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.module.yaml"
    path.write_text("name: bad\noutputs: {said: {type: str, from: stdout}}\ncommand: ['false']\n")
    why(weft.load(path))
    told = why(weft.load(path))
    assert "the same calculation was tried before" in told
    assert "failed" in told

    path.write_text("name: good\noutputs: {said: {type: str, from: stdout}}\ncommand: [echo, x]\n")
    weft.run(weft.load(path))
    job = weft.submit(weft.load(path), cache=False)
    job.wait()
    assert "to run whether or not a result is known" in job.why()


def test_what_was_read_outside(tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("1")

    @weft.module
    def read(path: str) -> str:
        with open(path) as file:
            return file.read()

    told = why(read, path=str(data))
    assert "its result is not reused" in told
    assert str(data) in told
    assert "weft.File" in told


def test_one_float_however_it_is_written(model: Callable[..., object]) -> None:
    keys = {weft.explain(model(), x=value).key for value in (1, 1.0)}
    assert len(keys) == 1
