"""A workflow is traced with promises: what needs their values is refused, and nothing wrong gets into a step."""

from __future__ import annotations

import math

import pytest

import weftwork as weft
from weftwork.errors import Invalid
from weftwork.python.signature import workflow_inputs
from weftwork.python.tracing import trace


@weft.module
def twice(x: float) -> float:
    return 2 * x


def _keep(*_: object) -> None:
    raise AssertionError("nothing is kept")


@pytest.mark.parametrize(
    "use",
    [
        lambda x: f"value {x}",
        lambda x: f"{x:.3f}",
        str,
        lambda x: "value %s" % x,  # noqa: UP031
        lambda x: " ".join(["value", str(twice(x))]),
        lambda x: x * 2,
        lambda x: 1 - twice(x),
        lambda x: -x,
        math.sqrt,
        float,
        len,
        lambda x: x[0],
        list,
        bool,
    ],
)
def test_a_workflow_that_needs_a_value_before_the_run_is_refused(use):
    def workflow(x: float):
        return twice(use(x))

    with pytest.raises(Invalid, match="before the run"):
        trace(workflow, "workflow", workflow_inputs(workflow), _keep)
