"""Resources and placements: written by people, read exactly, the same when read again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import canonical, from_canonical
from weftwork.core.placement import Placement, Resources, parse_size, parse_time
from weftwork.errors import Invalid

resources = st.builds(
    Resources,
    cpus=st.integers(1, 1000),
    memory=st.none() | st.integers(1, 10**15),
    disk=st.none() | st.integers(1, 10**15),
    gpus=st.integers(0, 16),
    time=st.none() | st.floats(0, 1e9),
)
placements = st.builds(
    Placement,
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    resources,
    st.integers(0, 9),
    st.integers(),
    st.booleans(),
)


@given(placements)
def test_a_placement_comes_back_from_its_document(placement: Placement) -> None:
    assert Placement.of(from_canonical(canonical(placement.document()))) == placement
    assert Resources.of(placement.resources.document()) == placement.resources


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 GB", 2 * 10**9), ("512 MiB", 512 * 2**20), ("1.5k", 1500), ("7", 7), (7, 7), (None, None), ("1 tib", 2**40),
        ("3G", 3 * 10**9), ("9007199254740993", 2**53 + 1), ("9007199254740993 B", 2**53 + 1), ("0.1 GB", 10**8),
    ],
)  # fmt: skip
def test_sizes(text: Any, expected: int | None) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h30m", 5400), ("45 s", 45), ("2d", 172800), ("01:30:00", 5400), ("2:30", 150), (90, 90), ("90", 90),
        (None, None), ("1d 2h 3m 4s", 93784), ("5 min", 300), ("0.5h", 1800),
    ],
)  # fmt: skip
def test_durations(text: Any, expected: float | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "1 XB", "-1", "1e3", True, [], "٣", "1 GB 2"])
def test_what_is_no_size_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(Invalid, match="512 MiB"):
        Resources.of({"memory": text})


@pytest.mark.parametrize("text", ["", "soon", "1x", True, [], "1h garbage"])
def test_what_is_no_duration_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(Invalid, match="1h30m"):
        Resources.of({"time": text})


@pytest.mark.parametrize(
    "document",
    [
        {"cpus": 0}, {"cpus": "4"}, {"cpus": 1.5}, {"cpus": True}, {"gpus": -1}, {"memory": 0}, {"memory": -5},
        {"time": -1}, {"time": float("nan")}, {"time": "nan"}, {"time": 10**400}, {"ram": 1},
    ],
)  # fmt: skip
def test_wrong_resources_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Resources.of(document)
