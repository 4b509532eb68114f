"""A workflow is its document; what is wrong with one is found before it runs, all of it, each with its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checks import Types, validate
from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.cycles import cycles
from weftwork.core.expression import document, of
from weftwork.core.grammar import parse
from weftwork.core.module import Command, Input, Module, Output
from weftwork.core.placement import Placement, Resources
from weftwork.core.values import Ref, Type
from weftwork.core.workflow import (
    ITEM,
    KEY,
    Candidate,
    Constant,
    Expression,
    ForEach,
    InputOf,
    ListOf,
    Literal,
    OutputOf,
    Overrides,
    Race,
    Step,
    Workflow,
)
from weftwork.errors import Invalid

REF = Ref(Type("file"), Checksum.of(b"data"), 4)


def module(name: str, inputs: dict[str, str], outputs: dict[str, str]) -> Module:
    return Module(
        name,
        tuple(Input(each, Type.of(kind)) for each, kind in inputs.items()),
        tuple(Output(each, Type.of(kind)) for each, kind in outputs.items()),
        Command((name,)),
    )


LOAD = module("load", {"data": "file"}, {"curve": "table", "points": "list[float]", "n": "int", "files": "collection"})
FIT = module(
    "fit", {"curve": "table", "start": "float?"}, {"chi2": "float", "ok": "bool", "note": "str?", "plot": "image"}
)
JOIN = module("join", {"parts": "list[float]"}, {"total": "float", "anything": "any"})
ODD = module("odd", {"x": "float"}, {"done": "bool"})
MODULES = {each.checksum: each for each in (LOAD, FIT, JOIN, ODD)}

LOADING = Step("load", LOAD.checksum, {"data": InputOf("data")})
FITTING = Step("fit", FIT.checksum, {"curve": OutputOf("load", "curve")})


def flow_of(*steps: Step, **outputs: Expression) -> Workflow:
    inputs = (Input("data", Type("file")), Input("limit", Type("float"), 1.2), Input("flag", Type("bool"), True))
    return Workflow("reduction", inputs, (LOADING, *steps), outputs)


RACE = Race(
    (Candidate("lm", FIT.checksum), Candidate("de", FIT.checksum, {"start": Literal(2.0)})),
    parse("$best.chi2 < $limit"),
)
GOOD = flow_of(
    FITTING,
    Step("best", None, {"curve": OutputOf("load", "curve")}, when=parse("$fit.chi2 > 1.2 | $fit.failed"), race=RACE),
    Step(
        "each",
        JOIN.checksum,
        {"parts": ListOf((ITEM, OutputOf("fit", "chi2"), Literal(1)))},
        for_each=ForEach("point", OutputOf("load", "points")),
        placement=Overrides(site="cluster", resources=(("memory", "2 GB"),), retries=0),
        description="one for each point",
    ),
    Step("sum", JOIN.checksum, {"parts": OutputOf("each", "total")}),
    total=OutputOf("sum", "total"),
)


def problems(workflow: Workflow) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        validate(workflow, MODULES)
    found = {".".join(each["path"]): each["message"] for each in caught.value.details["problems"]}
    for path, message in found.items():
        assert f"{path}: {message}" in caught.value.message
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 600])
def test_the_encoding_is_that_of_the_document(count: int) -> None:
    """However many steps there are, more than are encoded in one go among them."""
    steps = tuple(replace(FITTING, name=f"fit_{number}") for number in range(count))
    for each in (
        replace(GOOD, steps=steps),
        replace(GOOD, steps=steps, version="1.2", description='"a" and ü', inputs=()),
    ):
        assert each.encoded() == canonical(each.document())


@pytest.mark.parametrize(
    "step",
    [
        *GOOD.steps,
        Step("plain", JOIN.checksum, {"z": OutputOf("a", "b"), "a": InputOf("i"), "m": Literal({"ü": [1.0, "\n"]})}),
        Step("placed", JOIN.checksum, {}, placement=Overrides(retries=2)),
        Step("told", JOIN.checksum, {}, description="ü"),
        Step("constant", LOAD.checksum, {"data": Constant(REF)}),
    ],
    ids=lambda step: step.name,
)
def test_each_kind_of_step_is_encoded_as_its_document(step: Step) -> None:
    assert step.encoded().encode() == canonical(step.document())


def test_a_workflow_survives_its_document_and_keeps_its_checksum() -> None:
    read = Workflow.of(from_canonical(canonical(GOOD.document())))
    assert read == GOOD
    assert read.checksum == GOOD.checksum
    assert GOOD.modules() == {LOAD.checksum, FIT.checksum, JOIN.checksum}


def test_a_good_workflow_is_valid() -> None:
    validate(GOOD, MODULES)


def test_another_document_is_refused() -> None:
    with pytest.raises(Invalid, match=r"module\.v1"):
        Workflow.of(LOAD.document())
    with pytest.raises(Invalid, match="not an expression"):
        of({"output": "fit"})
    with pytest.raises(Invalid, match="did you mean 'resources'"):
        Overrides.of({"resource": {}})
    with pytest.raises(Invalid, match="either a module or a race"):
        Step("s", None)
    with pytest.raises(Invalid, match="needs candidates"):
        Race(())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=5,
)
names = st.sampled_from(["a", "b", "c"])
expressions = st.recursive(
    st.builds(Literal, values)
    | st.builds(InputOf, names)
    | st.builds(OutputOf, names, names)
    | st.sampled_from([ITEM, KEY, Constant(REF)]),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: ListOf(tuple(items))),
    max_leaves=5,
)


@given(expressions)
def test_an_expression_survives_its_document(expression: Expression) -> None:
    assert of(from_canonical(canonical(document(expression)))) == expression


def test_literals_are_equal_as_their_bytes_are() -> None:
    assert len({Literal(1), Literal(1.0), Literal(True), Literal(-0.0), Literal(0.0), Literal([1])}) == 6
    assert Literal(float("nan")) == Literal(float("nan"))


def test_a_candidate_has_the_inputs_and_overrides_of_its_step_and_its_own() -> None:
    step = Step(
        "s",
        None,
        {"curve": ITEM, "start": Literal(1.0)},
        race=Race(
            (Candidate("a", FIT.checksum, {"start": Literal(2.0)}, Overrides(retries=1, resources=(("cpus", 4),))),)
        ),
        placement=Overrides(site="x", retries=5, resources=(("cpus", 1), ("gpus", 2))),
    )
    (program,) = step.programs()
    assert program.inputs == {"curve": ITEM, "start": Literal(2.0)}
    assert program.placement == Overrides("x", (("cpus", 4), ("gpus", 2)), retries=1)
    assert program.placement.placement(Resources(memory=10), Placement(priority=3)) == Placement(
        "x", Resources(cpus=4, gpus=2, memory=10), 1, 3
    )


@pytest.mark.parametrize(
    ("step", "path", "message"),
    [
        (Step("s", FIT.checksum, {"curve": OutputOf("laod", "curve")}), "steps.s.inputs.curve", "no step 'laod'; did you mean 'load'?"),
        (Step("s", FIT.checksum, {"curve": OutputOf("load", "curv")}), "steps.s.inputs.curve", "no output 'curv'; did you mean 'curve'?; its"),
        (Step("s", FIT.checksum, {"curve": InputOf("dta")}), "steps.s.inputs.curve", "no input 'dta'; did you mean 'data'?"),
        (Step("s", FIT.checksum, {"curve": InputOf("load")}), "steps.s.inputs.curve", "load is a step: write $load.OUTPUT"),
        (Step("s", FIT.checksum, {"curve": OutputOf("load", "n")}), "steps.s.inputs.curve", "$load.n is of type int, and table is expected"),
        (Step("s", FIT.checksum, {"curv": ITEM}), "steps.s.inputs.curv", "has no input 'curv'; did you mean 'curve'?"),
        (Step("s", FIT.checksum), "steps.s.inputs", "input 'curve' of module fit is missing; a value of type table"),
        (Step("s", JOIN.checksum, {"parts": ListOf((Literal("x"),))}), "steps.s.inputs.parts", "'x', a str, was given where a float"),
        (Step("s", JOIN.checksum, {"parts": Literal(["x"])}), "steps.s.inputs.parts", "'x', a str, was given where a float"),
        (Step("s", LOAD.checksum, {"data": Literal("x.dat")}), "steps.s.inputs.data", "written out where file is expected"),
        (Step("s", JOIN.checksum, {"parts": ListOf((ITEM,))}), "steps.s.inputs.parts", "only in a step with for_each"),
        (Step("load", LOAD.checksum, {"data": InputOf("data")}), "steps.load", "two steps are called 'load'"),
        (Step("a-b", LOAD.checksum, {"data": InputOf("data")}), "steps.a-b", "is not a name"),
        (Step("s", ODD.checksum, {"x": Literal(1)}), "steps.s", "has an output 'done'"),
        (Step("s", Checksum.of(b""), {}), "steps.s.module", "is not here"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$s.done")), "steps.s", "waits for itself: s → s"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$lod.done")), "steps.s.when", "no step 'lod'; did you mean 'load'?"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$load.curve < 1")), "steps.s.when", "$load.curve is of type table, and a condition compares"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$load.n < 'x'")), "steps.s.when", "a number and a text cannot be compared by <"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$load.n == 'x'")), "steps.s.when", "a number is never equal to a text"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$flag < true")), "steps.s.when", "cannot be compared by <"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$limit")), "steps.s.when", "$limit is a number, neither true nor false"),
        (Step("s", JOIN.checksum, {"parts": Literal([])}, for_each=ForEach("i", OutputOf("load", "n"))), "steps.s.for_each", "this is of type int"),
        (Step("s", JOIN.checksum, {"parts": ListOf((KEY,))}, for_each=ForEach("i", OutputOf("load", "files"))), "steps.s.inputs.parts", "the key of for_each is of type str"),
        (Step("s", None, {"curve": OutputOf("load", "curve")}, race=Race((Candidate("a", FIT.checksum), Candidate("a", FIT.checksum)))), "steps.s.race.candidates.a", "two candidates"),
        (Step("s", None, {"curve": OutputOf("load", "curve")}, race=Race((Candidate("a", FIT.checksum, {"strat": ITEM}),))), "steps.s.race.candidates.a.inputs.strat", "did you mean 'start'?"),
        (Step("s", None, {"curve": OutputOf("load", "curve")}, race=Race((Candidate("a", FIT.checksum),), parse("$load.n < 1"))), "steps.s.race.accept", "accept may use $s.OUTPUT"),
        (Step("s", None, {"curve": OutputOf("load", "curve")}, race=Race((Candidate("a", FIT.checksum),), parse("$s.done"))), "steps.s.race.accept", "says nothing here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(step: Step, path: str, message: str) -> None:
    found = problems(flow_of(step))
    assert message in found[path]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        flow_of(
            Step("s", FIT.checksum, {"curv": ITEM}, when=parse("$x")), Step("t", JOIN.checksum), r=OutputOf("q", "z")
        )
    )
    assert set(found) == {"steps.s.inputs.curv", "steps.s.inputs", "steps.s.when", "steps.t.inputs", "outputs.r"}


def test_what_is_wrong_with_the_items_is_told_once() -> None:
    step = Step("s", JOIN.checksum, {"parts": ListOf((ITEM, KEY))}, for_each=ForEach("i", OutputOf("load", "n")))
    assert set(problems(flow_of(step))) == {"steps.s.for_each"}


def test_a_cycle_is_named() -> None:
    workflow = flow_of(
        Step("a", JOIN.checksum, {"parts": ListOf((OutputOf("b", "total"),))}),
        Step("b", JOIN.checksum, {"parts": Literal([])}, when=parse("$c.done")),
        Step("c", JOIN.checksum, {"parts": ListOf((OutputOf("a", "total"),))}),
        Step("behind", JOIN.checksum, {"parts": ListOf((OutputOf("a", "total"),))}),
    )
    (message,) = problems(workflow).values()
    assert message.endswith("a → b → c → a")


def test_outputs_that_candidates_do_not_share_cannot_be_used() -> None:
    other = module("other", {"curve": "table"}, {"chi2": "int", "extra": "str"})
    race = Step(
        "s",
        None,
        {"curve": OutputOf("load", "curve")},
        race=Race((Candidate("a", FIT.checksum), Candidate("b", other.checksum))),
    )
    types = Types(flow_of(race), MODULES | {other.checksum: other})
    assert types.output("s", "chi2") == Type("float")
    with pytest.raises(Invalid, match="its outputs are chi2"):
        types.output("s", "ok")


def test_the_type_of_every_expression_is_known() -> None:
    types = Types(GOOD, MODULES)
    each = GOOD.step("each")
    assert types.of(OutputOf("each", "total")) == Type.of("list[float]")
    assert types.of(OutputOf("fit", "note")) == Type.of("str?")
    assert types.item(each) == (Type("int"), Type("float"))
    assert types.of(ListOf((OutputOf("load", "n"), InputOf("limit")))) == Type.of("list[json]")
    assert types.of(ListOf((OutputOf("fit", "plot"),) * 2)) == Type.of("list[image]")
    assert types.of(Constant(REF)) == Type("file")


def test_what_is_declared_any_fits_until_it_is_known() -> None:
    mapped = Step("m", JOIN.checksum, {"parts": Literal([1])}, for_each=ForEach("i", Literal([1, 2])))
    validate(flow_of(mapped, Step("s", JOIN.checksum, {"parts": OutputOf("m", "anything")})), MODULES)
    validate(
        flow_of(FITTING, Step("s", JOIN.checksum, {"parts": Literal([])}, when=parse("$fit.note == null"))), MODULES
    )


graphs = st.dictionaries(st.integers(0, 7).map(str), st.lists(st.integers(0, 7).map(str), max_size=2), max_size=8)


@given(graphs)
def test_cycles_are_found_where_no_order_exists(waits: dict[str, Any]) -> None:
    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        stack = list(waits.get(start, ()))
        while stack:
            at = stack.pop()
            if at not in seen:
                seen.add(at)
                stack.extend(waits.get(at, ()))
        return seen

    found = cycles(waits)
    assert bool(found) == any(name in reaches(name) for name in waits)
    for cycle in found:
        assert all(after in waits[before] for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    members = [name for cycle in found for name in cycle]
    assert len(members) == len(set(members))
    rest = {name: needs for name, needs in waits.items() if name not in members}
    assert not cycles(rest)
