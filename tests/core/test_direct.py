"""What is made directly is what the dataclass would have been."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from weftwork.core.direct import direct


@dataclass(frozen=True, slots=True)
class Written:
    one: int
    two: str = "two"
    many: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.one < 0:
            raise ValueError(f"{self.one} is below 0")


@direct
@dataclass(frozen=True, slots=True)
class Direct:
    one: int
    two: str = "two"
    many: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.one < 0:
            raise ValueError(f"{self.one} is below 0")


@pytest.mark.parametrize(
    ("args", "named"), [((1,), {}), ((1, "x"), {}), ((1,), {"many": [3]}), ((), {"two": "y", "one": 2})]
)
def test_it_takes_what_the_dataclass_takes(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    written, made = Written(*args, **named), Direct(*args, **named)
    assert repr(made) == repr(written).replace("Written", "Direct")
    assert made == Direct(*args, **named)
    assert replace(made, one=7).one == 7
    assert copy.deepcopy(made) == made == pickle.loads(pickle.dumps(made))


def test_what_a_factory_makes_is_fresh_for_each() -> None:
    assert Direct(1).many is not Direct(1).many


def test_it_stays_frozen_and_slotted() -> None:
    with pytest.raises(FrozenInstanceError):
        Direct(1).one = 2  # type: ignore[misc]
    assert not hasattr(Direct(1), "__dict__")


def test_it_is_checked_after_it_was_made() -> None:
    with pytest.raises(ValueError, match="-1 is below 0"):
        Direct(-1)


@pytest.mark.parametrize("args", [(), (1, "two", [], 4)])
def test_it_refuses_what_the_dataclass_refuses(args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        Direct(*args)


def test_a_class_without_slots_is_refused() -> None:
    @dataclass(frozen=True)
    class Loose:
        one: int

    with pytest.raises(TypeError, match=r"Loose\.one"):
        direct(Loose)
