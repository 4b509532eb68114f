"""What the lines of a run say of their steps, event by event."""

from __future__ import annotations

from weftwork.cli.progress import Board
from weftwork.engine.driver import StepEvent


def board(*events: tuple[str, str]) -> Board:
    found = Board(["fit"])
    for time, (step, state) in enumerate(events):
        found.watch(StepEvent(step, state, float(time)))
    found.take()
    return found


def test_a_race_is_over_though_its_losers_end_later() -> None:
    line = board(
        ("fit{quick}", "running"),
        ("fit{sure}", "running"),
        ("fit{quick}", "succeeded"),
        ("fit", "succeeded"),
        ("fit{sure}", "cancelled"),
    ).lines["fit"]
    assert (line.state, line.done, line.total) == ("succeeded", 2, 2)
    assert line.until == 3.0


def test_a_map_runs_until_its_step_has_ended() -> None:
    events = [("fit[0]", "running"), ("fit[1]", "running"), ("fit[0]", "succeeded"), ("fit[1]", "succeeded")]
    assert board(*events).lines["fit"].state == "running"
    assert board(*events, ("fit", "succeeded")).lines["fit"].state == "succeeded"
