"""Every command, option and exit code is in docs/commands.md, and the help is quick and whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from weft_command import Weft

from weftwork.cli.group import COMMANDS, weft
from weftwork.cli.quick import plain_do
from weftwork.config import SETTINGS
from weftwork.errors import WeftError

DOCS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")


def command(name: str) -> click.Command:
    found = weft.get_command(click.Context(weft), name)
    assert found is not None
    return found


def section(name: str) -> str:
    parts = re.split(r"^## ", DOCS, flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"`weft {name}`"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented_with_all_its_options(name: str) -> None:
    text = section(name)
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            for option in parameter.opts:
                assert f"`{option}" in text, f"{option} of weft {name}"
            assert parameter.help


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_documented_that_is_not_there(name: str) -> None:
    known = {option for parameter in command(name).params for option in parameter.opts}
    rows = [line.split("|")[1] for line in section(name).splitlines() if line.startswith("| `-")]
    assert {option for row in rows for option in re.findall(r"`(--?[a-z-]+)", row)} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_that_of_the_command(name: str) -> None:
    assert command(name).short_help == COMMANDS[name][1]


def test_each_exit_code_is_documented_beside_its_errors() -> None:
    codes: dict[int, set[str]] = {}
    for error in [WeftError, *WeftError.__subclasses__()]:
        codes.setdefault(error.exit_code, set()).add(error.__name__)
    rows = dict(re.findall(r"^\| (\d+) \|.*\| (.*) \|$", DOCS, flags=re.MULTILINE))
    for code, names in codes.items():
        assert names == set(re.findall(r"`(\w+)`", rows[str(code)]))


def test_each_setting_is_documented() -> None:
    assert [name for name in SETTINGS if f"| `{name}` |" not in DOCS] == []


def test_version_and_help_import_nothing_of_the_engine() -> None:
    code = (
        "import sys; from weftwork.cli import main; main([{word!r}]); "
        "print([each for each in sys.modules if each.split('.')[0] in "
        "('asyncio', 'rich', 'pydantic', 'ruamel', 'numpy', 'httpx2', 'sqlite3')])"
    )
    for word in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(word=word)], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_a_hit_of_do_starts_no_engine(weft: Weft) -> None:
    code = (
        "import sys; from weftwork.cli import main; main(['do', '--', 'echo', 'x']); "
        "print([each for each in sys.modules if each in ('asyncio', 'weftwork.engine.engine') or each.split('.')[0] in "
        "('click', 'rich', 'pydantic', 'ruamel', 'numpy', 'httpx2')])"
    )
    weft("do", "--", "echo", "x")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=weft.folder, env=weft.environment
    )
    assert done.stdout.splitlines() == ["x", "[]"]


@pytest.mark.parametrize(
    "words",
    [
        ["--", "echo"],
        ["-i", "a", "--input", "b c", "-o", "d/", "--", "x", "-i", "y"],
        ["--name", "n", "--env", "A=1", "--env", "B", "-i", "--", "--", "x"],
    ],
)
def test_the_quick_reading_of_do_is_that_of_click(words: list[str]) -> None:
    plain = plain_do(words)
    assert plain is not None
    parameters = command("do").make_context("do", list(words)).params
    expected = {name: parameters[name] for name in ("inputs", "outputs", "variables", "name")}
    assert list(parameters["command"]) == plain[0]
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in plain[1].items()} == {
        name: value for name, value in expected.items() if value
    }


@pytest.mark.parametrize(
    "words", [[], ["--"], ["x"], ["-i", "a"], ["-ia", "--", "x"], ["--trace", "--", "x"], ["--help"]]
)
def test_what_is_not_plain_is_left_to_click(words: list[str]) -> None:
    assert plain_do(words) is None
