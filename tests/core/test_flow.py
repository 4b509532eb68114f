"""The flow: every step ends as a slow, obviously right evaluator says, in whatever order events come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from flow_model import FLOAT, MODULE, MODULES, Case, Driver, Model, cases, ref

from weftwork.core.binding import scalar_inputs
from weftwork.core.checks import validate
from weftwork.core.expression import ITEM, KEY, Expression, InputOf, ListOf, Literal, OutputOf
from weftwork.core.flow import Flow
from weftwork.core.grammar import parse
from weftwork.core.messages import (
    Cancel,
    CancelAll,
    Choose,
    Chosen,
    Ended,
    Expand,
    Finish,
    Instruction,
    Items,
    LookUp,
    Outcome,
    Settle,
    Submit,
)
from weftwork.core.module import Command, Input, Module, Output
from weftwork.core.step import Candidate, ForEach, Race, Step
from weftwork.core.values import Type
from weftwork.core.workflow import Workflow
from weftwork.errors import Conflict, Invalid

M = MODULE.checksum
seeds = st.integers(0, 2**32)


@settings(max_examples=1000, deadline=None)
@given(cases, seeds)
def test_every_step_ends_as_the_model_says_in_any_order(case: Case, seed: int) -> None:
    validate(case.workflow, MODULES)
    outcome = Driver(case, seed).run()
    assert {name: each.state for name, each in outcome.steps.items()} == Model(case).states
    for name, each in outcome.steps.items():
        assert bool(each.why) is (each.state != "succeeded"), name
        mapped = case.workflow.step(name).for_each is not None
        assert all(isinstance(value, tuple) is mapped for value in each.outputs.values())
    for name, expression in case.workflow.outputs.items():
        assert isinstance(expression, OutputOf)
        assert (name in outcome.outputs) is (outcome.steps[expression.step].state == "succeeded")


@settings(max_examples=200, deadline=None)
@given(cases, seeds)
def test_the_same_events_give_the_same_instructions(case: Case, seed: int) -> None:
    driver = Driver(case, seed)
    driver.run()
    again = Flow(case.workflow, MODULES, {"seed": ref("seed")})
    told = again.start()
    for batch in driver.log:
        told += again.handle(batch)
    assert told == driver.instructions


@settings(max_examples=500, deadline=None)
@given(cases, seeds, st.integers(0, 6))
def test_a_run_that_is_withdrawn_ends_and_begins_nothing_new(case: Case, seed: int, after: int) -> None:
    driver = Driver(case, seed, cancel_after=after)
    outcome = driver.run()
    states = {each.state for each in outcome.steps.values()}
    if len(driver.log) > after:
        cancelled = "cancelled" in states and any("user" in each.why for each in outcome.steps.values())
        assert not cancelled or outcome.state == "cancelled"
    else:
        assert {name: each.state for name, each in outcome.steps.items()} == Model(case).states
    assert set(driver.ended) == set(driver.submitted)


# Single rules, by hand


def step(name: str, when: str | None = None, **inputs: Any) -> Step:
    bound: dict[str, Expression] = {"x": Literal(1.0)} | inputs
    return Step(name, M, bound, None if when is None else parse(when))


def out(name: str, output: str = "r") -> OutputOf:
    return OutputOf(name, output)


def flow_of(
    *steps: Step, inputs: tuple[Input, ...] = (), given: Any = None, outputs: Any = None, **scalars: Any
) -> Flow:
    return Flow(Workflow("w", inputs, steps, outputs or {}), MODULES, given or {}, scalars)


def good(task: str, v: Any = 1.0) -> Ended:
    return Ended(task, "succeeded", {"r": ref(task), "v": ref(f"{task}.v")}, {"v": v})


def bad(task: str) -> Ended:
    return Ended(task, "failed", error="it broke")


def tasks(instructions: list[Instruction]) -> list[str]:
    return [each.task for each in instructions if isinstance(each, Submit)]


def ending(instructions: list[Instruction]) -> Outcome:
    assert isinstance(instructions[-1], Finish)
    assert sum(isinstance(each, Finish) for each in instructions) == 1
    return instructions[-1].outcome


def states(outcome: Outcome) -> dict[str, str]:
    return {name: each.state for name, each in outcome.steps.items()}


def test_an_empty_workflow_is_finished_at_once() -> None:
    assert ending(flow_of().start()).state == "succeeded"


def test_a_step_begins_as_soon_as_its_own_inputs_are_there() -> None:
    flow = flow_of(step("a"), step("slow"), step("b", x=out("a")), outputs={"result": out("b", "v")})
    assert tasks(flow.start()) == ["a", "slow"]
    (submit,) = flow.handle([good("a")])
    assert submit == Submit("b", "b", M, {"x": ref("a")}, flow.workflow.step("b").placement)
    outcome = ending(flow.handle([good("b"), good("slow")]))
    assert outcome.outputs == {"result": ref("b.v")}


def test_a_failed_step_cancels_what_cannot_run_and_nothing_else() -> None:
    flow = flow_of(
        step("a"),
        step("b", x=out("a")),
        step("c", x=out("b")),
        step("either", "$a.succeeded | $d.succeeded"),
        step("d"),
        step("rescue", "$a.failed"),
    )
    flow.start()
    told = flow.handle([bad("a")])
    assert tasks(told) == ["rescue"]
    assert [each for each in told if isinstance(each, Settle)] == [
        Settle("b", "cancelled", "a failed"),
        Settle("c", "cancelled", "a failed"),
    ]
    assert tasks(flow.handle([good("d")])) == ["either"]
    outcome = ending(flow.handle([good("either"), good("rescue")]))
    assert outcome.state == "succeeded", "the failure was provided for"
    assert outcome.steps["a"].why == "it broke"


def test_a_failure_that_nobody_provided_for_fails_the_run() -> None:
    flow = flow_of(step("a"), step("b"), outputs={"r": out("b")})
    flow.start()
    outcome = ending(flow.handle([good("b"), bad("a")]))
    assert outcome.state == "failed"
    assert outcome.why == "a failed: it broke"
    assert outcome.outputs == {"r": ref("b")}


def test_an_output_lost_by_a_failure_fails_the_run() -> None:
    flow = flow_of(step("a"), step("b", x=out("a")), step("c", "$a.done"), outputs={"r": out("b")})
    flow.start()
    flow.handle([bad("a")])
    outcome = ending(flow.handle([good("c")]))
    assert (outcome.state, outcome.why) == ("failed", "output r: b was cancelled: a failed; a failed: it broke")


def test_the_consumer_of_a_skipped_step_is_skipped_unless_its_input_can_do_without() -> None:
    flow = flow_of(
        step("check"),
        step("off", "$check.v > 5"),
        step("needs", x=out("off")),
        step("default", y=out("off")),
        step("optional", z=out("off")),
        step("listed", x=ListOf((out("off"), Literal(1.0)))),
    )
    flow.start()
    told = flow.handle([good("check", 1.9)])
    submits = {each.task: each.inputs for each in told if isinstance(each, Submit)}
    assert submits == {"default": {"x": Literal(1.0)}, "optional": {"x": Literal(1.0)}}
    outcome = ending(flow.handle([good("default"), good("optional")]))
    assert outcome.steps["off"].why == "check.v = 1.9, not > 5"
    assert outcome.steps["needs"].why == "its input x comes from off.r, which was skipped"
    assert outcome.steps["listed"].state == "skipped"
    assert outcome.state == "succeeded"


def test_the_consumer_of_a_failed_step_is_cancelled_even_with_a_default() -> None:
    flow = flow_of(step("a"), step("b", y=out("a")))
    flow.start()
    assert states(ending(flow.handle([bad("a")]))) == {"a": "failed", "b": "cancelled"}


def test_a_condition_that_can_never_be_true_cancels_its_step_and_says_why() -> None:
    flow = flow_of(step("a"), step("b", "$a.v < 1"), step("c", "$b.v < 1"))
    flow.start()
    outcome = ending(flow.handle([bad("a")]))
    assert outcome.steps["b"].why == "a failed: a.v will never be known"
    assert outcome.steps["c"].why == "b was cancelled: b.v will never be known"


def test_a_condition_over_values_without_order_fails_its_step() -> None:
    flow = flow_of(step("a"), step("b", "$a.v < 1"))
    flow.start()
    outcome = ending(flow.handle([good("a", "high")]))
    assert states(outcome) == {"a": "succeeded", "b": "failed"}
    assert outcome.state == "failed"
    assert 'a.v = "high" cannot be compared by < with 1' in outcome.why


def test_conditions_ask_for_the_scalars_that_they_need() -> None:
    inputs = (Input("limit", FLOAT), Input("other", FLOAT, 2.0))
    steps = (step("a"), step("b", "$a.v < $limit & $other > 1"))
    assert scalar_inputs(Workflow("w", inputs, steps)) == {"limit", "other"}
    with pytest.raises(Invalid, match="value of the input 'limit'"):
        flow_of(*steps, inputs=inputs, given={"limit": ref("limit")})
    flow = flow_of(*steps, inputs=inputs, given={"limit": ref("limit")}, limit=1.5)
    assert flow.needs_scalars("a") == {"v"}
    assert flow.needs_scalars("b") == frozenset()
    flow.start()
    assert tasks(flow.handle([good("a", 1.4)])) == ["b"]
    written = flow_of(*steps, inputs=inputs, given={"limit": Literal(1.5)})
    written.start()
    with pytest.raises(Invalid, match="without the value of v"):
        written.handle([Ended("a", "succeeded", {"r": ref("a")})])


def test_inputs_are_bound_with_their_defaults() -> None:
    inputs = (Input("a", FLOAT), Input("b", FLOAT, 3.0), Input("c", Type("float", optional=True)))
    with pytest.raises(Invalid, match="input 'a' is missing; a value of type float"):
        flow_of(inputs=inputs)
    with pytest.raises(Invalid, match="no input 'aa'; did you mean 'a'"):
        flow_of(inputs=inputs, given={"aa": ref("a")})
    bound = {"x": InputOf("a"), "y": InputOf("b"), "z": InputOf("c")}
    (submit,) = flow_of(Step("s", M, bound), inputs=inputs, given={"a": ref("a")}).start()
    assert isinstance(submit, Submit)
    assert submit.inputs == {"x": ref("a"), "y": Literal(3.0), "z": Literal(None)}


def mapped(name: str, over: Expression, race: Race | None = None) -> Step:
    return Step(name, None if race else M, {"x": ITEM, "key": KEY}, for_each=ForEach("i", over), race=race)


def test_a_map_keeps_the_order_of_the_collection_whatever_ends_first() -> None:
    flow = flow_of(step("a"), mapped("m", out("a")), step("sum", x=out("m")), mapped("again", out("m")))
    flow.start()
    assert flow.handle([good("a")]) == [Expand("m", ref("a"))]
    told = flow.handle([Items("m", (("q", ref("1")), ("p", ref("2")), ("r", ref("3"))))])
    assert tasks(told) == ["m[0]", "m[1]", "m[2]"]
    assert [each.inputs for each in told if isinstance(each, Submit)][1] == {"x": ref("2"), "key": Literal("p")}
    assert flow.handle([good("m[2]"), good("m[0]")]) == []
    told = flow.handle([good("m[1]")])
    assert told[0] == Settle("m", "succeeded", "")
    submits = {each.task: each.inputs for each in told if isinstance(each, Submit)}
    assert submits["sum"] == {"x": (ref("m[0]"), ref("m[1]"), ref("m[2]"))}
    assert submits["again[2]"] == {"x": ref("m[2]"), "key": Literal(2)}


def test_an_empty_map_succeeds_with_empty_lists() -> None:
    flow = flow_of(mapped("m", Literal([])), step("sum", x=out("m")), step("after", "$m.succeeded"))
    told = flow.start()
    assert {each.task: each.inputs["x"] for each in told if isinstance(each, Submit)} == {
        "sum": (),
        "after": Literal(1.0),
    }


def test_a_failed_item_fails_the_map_after_the_others_have_run() -> None:
    flow = flow_of(mapped("m", Literal([1, 2, 3])), step("sum", x=out("m")))
    flow.start()
    assert flow.handle([bad("m[1]")]) == []
    outcome = ending(flow.handle([good("m[0]"), good("m[2]")]))
    assert outcome.steps["m"].why == "1 of 3 items failed: m[1]: it broke"
    assert states(outcome) == {"m": "failed", "sum": "cancelled"}


def test_items_that_cannot_be_had_fail_the_map() -> None:
    flow = flow_of(mapped("m", InputOf("data")), inputs=(Input("data", Type("json")),), given={"data": ref("data")})
    flow.start()
    assert ending(flow.handle([Ended("m", "failed", error="not a list")])).steps["m"].why == "not a list"
    flow = flow_of(mapped("m", InputOf("data")), inputs=(Input("data", Type("json"), 3),))
    assert "needs a list" in ending(flow.start()).steps["m"].why


def racing(accept: str | None = "$fit.v < $limit", candidates: str = "ab") -> Flow:
    race = Race(tuple(Candidate(name, M) for name in candidates), None if accept is None else parse(accept))
    fit = Step("fit", None, {"x": Literal(1.0)}, race=race)
    return flow_of(fit, step("plot", x=out("fit")), inputs=(Input("limit", FLOAT, 1.2),))


def test_a_race_looks_for_a_recorded_choice_before_anything_runs() -> None:
    flow = racing()
    (look,) = flow.start()
    assert isinstance(look, LookUp)
    assert (look.task, look.accept, list(look.candidates)) == ("fit", "$candidate.v < 1.2", ["a", "b"])
    (submit,) = flow.handle([Chosen("fit", "b")])
    assert submit == look.candidates["b"]
    told = flow.handle([good("fit{b}")])
    assert told[0] == Settle("fit", "succeeded", "")
    assert tasks(told) == ["plot"]


def test_the_first_acceptable_candidate_is_chosen_on_record_before_the_others_are_cancelled() -> None:
    flow = racing(candidates="abc")
    flow.start()
    assert tasks(flow.handle([Chosen("fit", None)])) == ["fit{a}", "fit{b}", "fit{c}"]
    assert flow.handle([good("fit{a}", 1.9)]) == []
    assert flow.handle([good("fit{c}"), good("fit{b}")]) == [Choose("fit", "fit", "c")]
    told = flow.handle([Chosen("fit", "c")])
    assert told[0] == Settle("fit", "succeeded", "")
    assert isinstance(told[1], Submit)
    assert told[1].inputs == {"x": ref("fit{c}")}


def test_losers_are_cancelled_and_waited_for() -> None:
    flow = racing(accept=None)
    flow.start()
    flow.handle([Chosen("fit", None)])
    flow.handle([good("fit{a}")])
    told = flow.handle([Chosen("fit", "a")])
    assert told[0] == Cancel("fit{b}", "race")
    assert flow.handle([good("plot")]) == [], "a loser is still alive"
    assert ending(flow.handle([Ended("fit{b}", "cancelled")])).state == "succeeded"


def test_the_choice_that_another_process_recorded_stands() -> None:
    flow = racing(accept=None, candidates="abc")
    flow.start()
    flow.handle([Chosen("fit", None)])
    flow.handle([good("fit{a}")])
    assert flow.handle([Chosen("fit", "b")]) == [Cancel("fit{c}", "race")]
    told = flow.handle([good("fit{b}")])
    assert [each.inputs for each in told if isinstance(each, Submit)] == [{"x": ref("fit{b}")}]


def test_a_recorded_choice_that_does_not_prove_good_gives_way_to_the_whole_race() -> None:
    for end in (bad("fit{b}"), good("fit{b}", 3.0)):
        flow = racing()
        flow.start()
        flow.handle([Chosen("fit", "b")])
        assert tasks(flow.handle([end])) == ["fit{a}"], "the one that is out is not submitted again"
        assert flow.handle([good("fit{a}")]) == [Choose("fit", "fit", "a")]
        assert tasks(flow.handle([Chosen("fit", "b")])) == ["plot"]


def test_a_race_without_a_good_candidate_fails_and_tells_each_reason() -> None:
    flow = racing()
    flow.start()
    flow.handle([Chosen("fit", None)])
    outcome = ending(flow.handle([good("fit{b}", 1.9), bad("fit{a}")]))
    assert outcome.steps["fit"].why == (
        "no candidate was accepted: a: failed: it broke; b: fit.v = 1.9, not < limit = 1.2"
    )
    assert states(outcome) == {"fit": "failed", "plot": "cancelled"}


def test_a_race_in_each_item_of_a_map() -> None:
    race = Race((Candidate("a", M), Candidate("b", M)))
    flow = flow_of(mapped("m", Literal([1, 2]), race), step("sum", x=out("m")))
    looks = flow.start()
    assert [each.task for each in looks if isinstance(each, LookUp)] == ["m[0]", "m[1]"]
    assert tasks(flow.handle([Chosen("m[1]", "a"), Chosen("m[0]", None)])) == ["m[1]{a}", "m[0]{a}", "m[0]{b}"]
    assert flow.handle([good("m[1]{a}"), good("m[0]{b}")]) == [Choose("m[0]", "m", "b")]
    told = flow.handle([Chosen("m[0]", "b")])
    assert Cancel("m[0]{a}", "race") in told
    assert [each.inputs["x"] for each in told if isinstance(each, Submit)] == [(ref("m[0]{b}"), ref("m[1]{a}"))]


def test_withdrawing_cancels_what_runs_and_keeps_what_succeeded() -> None:
    flow = flow_of(step("a"), step("b", x=out("a")), step("c", x=out("b")))
    flow.start()
    flow.handle([good("a")])
    assert flow.handle([CancelAll("ana")]) == [Settle("c", "cancelled", "cancelled by ana"), Cancel("b", "ana")]
    assert flow.handle([CancelAll("ana")]) == []
    outcome = ending(flow.handle([Ended("b", "cancelled", error="cancelled by ana")]))
    assert (outcome.state, outcome.why) == ("cancelled", "cancelled by ana")
    assert states(outcome) == {"a": "succeeded", "b": "cancelled", "c": "cancelled"}


def test_an_event_about_what_never_began_is_a_conflict_and_a_late_one_changes_nothing() -> None:
    flow = flow_of(step("a"), step("b", x=out("a")))
    with pytest.raises(Conflict, match="not started"):
        flow.handle([])
    flow.start()
    with pytest.raises(Conflict, match="started already"):
        flow.start()
    with pytest.raises(Conflict, match="never submitted"):
        flow.handle([good("b")])
    flow.handle([good("a")])
    assert flow.handle([bad("a")]) == []


def test_a_module_with_an_optional_output_that_is_not_there_gives_null() -> None:
    module = Module("n", (Input("x", FLOAT),), (Output("r", Type("float", optional=True)),), Command(("n",)))
    workflow = Workflow("w", (), (Step("n", module.checksum, {"x": Literal(1.0)}), step("b", z=out("n"))))
    flow = Flow(workflow, MODULES | {module.checksum: module}, {})
    flow.start()
    (submit,) = flow.handle([Ended("n", "succeeded")])
    assert isinstance(submit, Submit)
    assert submit.inputs["z"] == Literal(None)


def test_a_chain_of_many_steps_costs_its_length_and_no_stack() -> None:
    count = 20_000
    chain = [step("s0", "$flag")] + [step(f"s{index}", x=out(f"s{index - 1}")) for index in range(1, count)]
    flow = flow_of(*chain, inputs=(Input("flag", Type("bool"), False),))
    assert set(states(ending(flow.start())).values()) == {"skipped"}
    validate(flow.workflow, MODULES)
