"""Modules: documents come back, inputs are bound or refused by name, names and descriptions do not count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from valued import identifiers, texts

from weftwork.core.checksum import Checksum, canonical, from_canonical
from weftwork.core.environment import Environment
from weftwork.core.module import ABSENT, Command, Function, Input, Module, Output, expand_word
from weftwork.core.placement import Resources
from weftwork.core.values import Type
from weftwork.errors import Invalid

NUMBER = Type("float")
FUNCTION = Function(Checksum.of(b"bundle"), Checksum.of(b"identity"))
types = st.sampled_from(
    [NUMBER, Type("int", choices=(1, 2)), Type("list", Type("float", minimum=0)), Type("record", fields=(("a", Type("file")),)),
     Type("list", Type("record", fields=(("a", Type("int", optional=True)),)))]
)  # fmt: skip
tolerances = st.floats(0, 1e300)
commands = st.builds(
    Command,
    words=st.just(("prog", "{{literal}}")),
    script=st.none() | texts,
    files=st.lists(
        st.tuples(identifiers, st.booleans(), st.just(Checksum.of(b"f"))), max_size=2, unique_by=lambda f: f[0]
    ).map(lambda files: tuple(sorted(files))),
)
modules = st.builds(
    Module,
    name=identifiers,
    inputs=st.lists(
        st.builds(Input, identifiers, types, st.just(ABSENT) | st.integers(), st.booleans(), st.none() | st.just("f.txt"), texts),
        max_size=3,
        unique_by=lambda each: each.name,
    ).map(tuple),
    outputs=st.lists(
        st.builds(Output, identifiers, types, st.none() | texts, st.sampled_from(["path", "stdout"]), texts, st.none() | tolerances),
        min_size=1,
        max_size=3,
        unique_by=lambda each: each.name,
    ).map(tuple),
    program=st.just(FUNCTION) | commands.map(lambda each: replace(each, words=()) if each.script is not None else each),
    environment=st.builds(
        Environment, packages=st.lists(identifiers, max_size=2).map(lambda names: tuple(sorted(names))),
        variables=st.dictionaries(identifiers, texts, max_size=2).map(lambda them: tuple(sorted(them.items()))),
    ),
    resources=st.builds(Resources, cpus=st.integers(1, 8), memory=st.none() | st.integers(1, 10**12)),
    network=st.booleans(),
    deterministic=st.booleans(),
    tolerance=tolerances,
    version=texts,
    description=texts,
)  # fmt: skip


@settings(max_examples=60)
@given(modules)
def test_a_module_comes_back_from_its_document(module: Module) -> None:
    again = Module.of(from_canonical(canonical(module.document())))
    assert again == module
    assert again.checksum == module.checksum


def test_an_output_may_have_a_tolerance_of_its_own() -> None:
    module = Module("m", (), (Output("a", NUMBER), Output("b", NUMBER, tolerance=0.0)), FUNCTION, tolerance=1e-9)
    assert (module.tolerance_of("a"), module.tolerance_of("b")) == (1e-9, 0.0)
    assert "tolerance" not in replace(module, tolerance=0.0).document()


@settings(max_examples=60)
@given(modules, texts)
def test_names_descriptions_and_tolerances_do_not_count(module: Module, text: str) -> None:
    other = replace(
        module,
        name="another",
        version="9",
        description=text,
        deterministic=not module.deterministic,
        tolerance=module.tolerance + 1,
        inputs=tuple(replace(each, description=text) for each in module.inputs),
        outputs=tuple(replace(each, description=text, tolerance=0.5) for each in module.outputs),
    )
    assert canonical(other.counted_outputs()) == canonical(module.counted_outputs())
    assert canonical(other.counted_program()) == canonical(module.counted_program())


def module_of(*inputs: Input, program: Any = FUNCTION) -> Module:
    return Module("m", inputs, (Output("result", NUMBER),), program)


def test_inputs_are_converted_and_defaults_filled_in() -> None:
    module = module_of(
        Input("x", NUMBER),
        Input("y", Type("int"), 3),
        Input("z", NUMBER, bound=False),
        Input("o", Type("int", optional=True)),
    )
    bound = module.bind({"x": 1})
    assert bound == {"x": 1.0, "y": 3, "o": None}
    assert type(bound["x"]) is float
    assert module.bind({"x": 1, "z": 2, "y": 4, "o": 5}) == {"x": 1.0, "y": 4, "z": 2.0, "o": 5}
    assert [each.required for each in module.inputs] == [True, False, False, False]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "m: input 'radius' is missing; a value of type float is expected"),
        ({"radius": "1"}, "m: input 'radius': '1', a str, was given where a float is expected"),
        ({"radius": 1, "raduis": 2}, "has no input 'raduis'; did you mean 'radius'"),
        ({"radius": None}, "None"),
    ],
)
def test_wrong_inputs_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        module_of(Input("radius", NUMBER)).bind(values)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Module("1m", (), (Output("o", NUMBER),), FUNCTION), "'1m' is not a module name"),
        (lambda: Module("m", (), (), FUNCTION), "has no outputs"),
        (lambda: replace(module_of(), tolerance=-1e-9), "tolerance -1e-09 is no number of at least 0"),
        (lambda: replace(module_of(), outputs=(Output("o", NUMBER, tolerance=float("nan")),)), "tolerance nan"),
        (lambda: module_of(Input("a b", NUMBER)), "'a b' is not the name of an input"),
        (lambda: module_of(Input("a", NUMBER), Input("a", NUMBER)), "two inputs are called 'a'"),
        (lambda: module_of(Input("size", NUMBER), program=Command(("p", "{sise}"))), "{sise}.* did you mean 'size'"),
    ],
)
def test_what_is_no_module_is_refused(make: Any, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        make()


@given(texts, texts)
def test_a_value_is_one_word_whatever_is_in_it(value: str, other: str) -> None:
    values = {"x": value, "y": other}
    assert expand_word("{x}", values) == value
    assert expand_word("-o={x}/{y}", values) == f"-o={value}/{other}"
    assert expand_word("{{x}} {x}", values) == "{x} " + value
    assert expand_word("plain } {", values) == "plain } {"
