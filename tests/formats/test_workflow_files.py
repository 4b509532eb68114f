"""Workflow files: what they mean, what is said of wrong ones, that any of them survives being written and read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.condition import Compare, Term
from weftwork.core.expression import ITEM, KEY, Constant, InputOf, ListOf, Literal, OutputOf
from weftwork.core.values import File
from weftwork.core.workflow import Workflow
from weftwork.errors import Invalid
from weftwork.formats.document import parse
from weftwork.formats.workflow_file import read_workflow, workflow_of

STAR = """
name: neutron-star
inputs:
  name: {type: str, default: SLy}
modules:
  curve: tov.module.yaml
  count:
    command: [wc, -l, "{table}"]
    inputs: {table: file}
    outputs: {lines: {type: int, from: stdout}}
steps:
  eos:   {module: eos.py:equation_of_state, inputs: {name: $name}}
  curve: {module: curve, inputs: {eos: $eos}}
  peaks:
    for_each: {star: $curve.stars}
    module: peak
    inputs: {star: $star}
    when: $curve.ok & ~$lines.failed
    at: local
    resources: {cpus: 2, memory: 1 GB}
    cache: false
  fit:
    race:
      quick: {module: fits.py:quick, inputs: {data: $curve.table}}
      sure: {module: fits.py:sure, resources: {time: 2h}}
    accept: $fit.chi2 < 1.2
  lines: {module: count, inputs: {table: $curve.table}}
  note: {command: "sort {table}", inputs: {table: $curve.table}, outputs: {sorted: {type: file, from: stdout}}}
  print:
    for_each: $peaks.mass
    script: echo "$mass $index" > text
    inputs: {mass: $item, index: $item.key, unit: solar, template: {type: file, value: form.txt}}
    outputs: {text: text}
outputs:
  masses: $peaks
  note: $note
"""


def build(text: str, resolve, put=None):
    return workflow_of(parse(text, "w.yaml")).to_workflow(resolve, put)


@pytest.fixture
def star(resolve, put):
    return build(STAR, resolve, put)


def test_references_become_expressions(star):
    workflow, _ = star
    assert workflow.step("eos").inputs == {"name": InputOf("name")}
    assert workflow.step("curve").inputs == {"eos": OutputOf("eos", "result")}
    assert workflow.step("peaks").inputs == {"star": ITEM}
    assert workflow.step("print").inputs["index"] == KEY
    assert workflow.outputs == {"masses": OutputOf("peaks", "mass"), "note": OutputOf("note", "sorted")}


def test_a_step_says_when_over_what_and_where_it_runs(star):
    step = star[0].step("peaks")
    assert str(step.when) == "$curve.ok & ~$lines.failed"
    assert (step.for_each.variable, step.for_each.over) == ("star", OutputOf("curve", "stars"))
    assert step.placement.site == "local"
    assert step.placement.cache is False
    assert step.placement.resources == (("cpus", 2), ("memory", 10**9))


def test_a_race_has_candidates_and_what_they_must_satisfy(star):
    race = star[0].step("fit").race
    assert [each.name for each in race.candidates] == ["quick", "sure"]
    assert race.candidates[1].placement.resources == (("time", 7200.0),)
    assert race.accept == Compare(OutputOf("fit", "chi2"), "<", Literal(1.2))


def test_inputs_of_a_command_in_a_step_have_the_types_of_what_they_refer_to(star):
    workflow, modules = star
    module = modules[workflow.step("print").module]
    assert {each.name: str(each.type) for each in module.inputs} == {
        "mass": "float",
        "index": "int",
        "unit": "str",
        "template": "file",
    }
    assert str(modules[workflow.step("note").module].input("table").type) == "file"


def test_the_workflow_survives_its_own_document(star):
    workflow, modules = star
    assert Workflow.of(workflow.document()).checksum == workflow.checksum
    assert workflow.modules() == modules.keys()


def test_a_reference_knows_where_it_stands():
    found = {each.text: each for each in workflow_of(parse(STAR, "folder/w.yaml")).references()}
    assert str(found["tov.module.yaml"].path) == "folder/tov.module.yaml"
    assert found["tov.module.yaml"].line == 6
    assert (found["eos.py:equation_of_state"].function.where, found["eos.py:equation_of_state"].line) == ("eos.py", 12)
    assert found["peak"].name == "peak"
    assert found["count"].inline.name == "count"
    assert found["note"].inline.program.words == ("sort", "{table}")


def test_a_module_that_several_steps_use_is_resolved_once(resolve):
    asked = []
    build(
        "name: a\nsteps:\n" + "".join(f"  s{index}: {{module: fits.py:quick}}\n" for index in range(9)),
        lambda reference: asked.append(reference.text) or resolve(reference),
    )
    assert asked == ["fits.py:quick"]


def test_paths_in_a_workflow_are_relative_to_it_and_put_into_the_store(tmp_path, resolve, put):
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "w.yaml"
    file.write_text(
        "name: a\ninputs: {levels: {type: file, default: data/x.txt}}\nsteps:\n"
        "  split: {module: gauges.py:split, inputs: {table: $levels}}\n"
        "  again: {module: gauges.py:split, inputs: {table: ../y.txt}}\n"
        "  far: {module: gauges.py:split, inputs: {table: 'https://example.org/x.txt'}}\n"
    )
    given = []
    workflow, _ = read_workflow(file).to_workflow(
        resolve, lambda declared, value: given.append((str(declared), value)) or put(declared, value)
    )
    assert workflow.inputs[0].default == str(tmp_path / "sub" / "data/x.txt")
    assert given == [("file", File(f"{tmp_path}/sub/../y.txt")), ("file", File("https://example.org/x.txt"))]
    assert isinstance(workflow.step("again").inputs["table"], Constant)


def test_dollars_lists_and_literals(resolve):
    text = (
        "name: a\ninputs: {name: str}\nsteps:\n  eos: {module: eos.py:equation_of_state, inputs: {name: $$name}}\n"
        "  tov: {module: tov.module.yaml, inputs: {eos: {text: $$x, list: [1, $$y]}}}\n"
        "  plot: {module: plot.py:plot, inputs: {curves: [$eos, $tov.stars, 1], background: null}}\n"
    )
    workflow, _ = build(text, resolve)
    assert workflow.step("eos").inputs == {"name": Literal("$name")}
    assert workflow.step("tov").inputs == {"eos": Literal({"text": "$x", "list": [1, "$y"]})}
    assert workflow.step("plot").inputs == {
        "curves": ListOf((OutputOf("eos", "result"), OutputOf("tov", "stars"), Literal(1))),
        "background": Literal(None),
    }


def test_a_step_alone_stands_for_its_only_output_in_conditions_too(resolve):
    text = "name: a\nsteps:\n  peak: {module: peak, inputs: {star: 1}}\n  eos: {module: eos.py:equation_of_state, inputs: {name: x}, when: $peak > 1 | $peak.failed}\n"
    parts = build(text, resolve)[0].step("eos").when.parts
    assert parts == (Compare(OutputOf("peak", "mass"), ">", Literal(1)), Term("peak", "failed"))


A = "name: a\ninputs: {n: int}\nsteps:\n"
EOS = "  eos: {module: eos.py:equation_of_state, inputs: {name: x}}\n"
TOV = EOS + "  tov: {module: tov.module.yaml, inputs: {eos: $eos}}\n"
REFUSED = {
    "name: a": "w.yaml:1: the key 'steps' is missing: the steps, in any order",
    "name: a\nsteps: {}": "w.yaml:2: steps: it is empty; a step at least is expected",
    "name: a\nsteps: [a]": "w.yaml:2: steps: a list ('a') is given where a mapping that gives a step by its name",
    A + "  a: {modul: peak}": "w.yaml:4: steps.a.modul: the key 'modul' is not known in a step; did you mean 'module'?",
    A + "  a: {inputs: {}}": "w.yaml:4: steps.a: a step has none of module, command, script or race",
    A + "  a: {module: peak, command: x}": "steps.a.command: a step has module and command; exactly one",
    A
    + "  a: {module: peak, outputs: {o: file}}": "steps.a.outputs: outputs has a meaning only beside command or script",
    A + "  a: {module: peak, accept: $a.mass < 1}": "steps.a.accept: accept has a meaning only beside race",
    A + "  a: {module: x y}": "w.yaml:4: steps.a.module: 'x y' does not name a module; write a module file",
    A + "  a: {module: eos.py}": "steps.a.module: 'eos.py' does not name a module",
    A + "  a: {module: eos.py:1}": "steps.a.module: 'eos.py:1' does not name a function",
    A + "  a: {module: pea}": "w.yaml:4: steps.a.module: there is no module pea",
    A + "  n: {module: peak}": "w.yaml:4: steps.n: 'n' is an input as well; $n could be either: rename one",
    A
    + "  a: {module: peak, inputs: {star: $m}}": "w.yaml:4: steps.a.inputs.star: $m is no input and no step of this workflow",
    A
    + EOS
    + "  a: {module: peak, inputs: {star: $eoss}}": "$eoss is no input and no step of this workflow; did you mean 'eos'?",
    A + "  a: {module: peak, inputs: {star: $n.x}}": "$n is an input of the workflow and has no outputs; write $n",
    A
    + "  a: {module: peak, inputs: {star: $5}}": "'$5' is no reference; write $input or $step.output, or $$5 for the text itself",
    A + "  a: {module: peak, inputs: {star: {x: $n}}}": "steps.a.inputs.star.x: a reference cannot be inside a mapping",
    A
    + "  a: {module: peak, inputs: {sta: 1}}": "w.yaml:4: steps.a.inputs.sta: module peak has no input 'sta'; did you mean 'star'?",
    A + "  a: {module: peak}": "w.yaml:4: steps.a.inputs: input 'star' of module peak is missing",
    A
    + "  a: {module: peak, inputs: {star: blue}}": "w.yaml:4: steps.a.inputs.star: the value: 'blue', a str, was given where a float is expected",
    A
    + TOV
    + "  a: {module: peak, inputs: {star: $tov.stars}}": "w.yaml:6: steps.a.inputs.star: $tov.stars is of type list[float], and float is expected",
    A + TOV + "  a: {module: peak, inputs: {star: $tov.star}}": "step tov has no output 'star'; did you mean 'stars'?",
    A
    + TOV
    + "  a: {module: peak, inputs: {star: $tov}}": "$tov alone is its only output, and it has 3; write $tov.stars or $tov.ok or $tov.table",
    A
    + TOV
    + "  a: {module: peak, inputs: {star: 1}, when: $tov & $n > 1}": "steps.a.when: $tov alone is its only output",
    A
    + "  a: {module: gauges.py:split, inputs: {table: x.txt}}": "steps.a.inputs.table: 'x.txt' names a file, and there is no store to put it into",
    A + "  a: {module: peak, inputs: {star: 1}, when: $n <}": "w.yaml:4: steps.a.when: the condition cannot be read",
    A + "  a: {module: peak, inputs: {star: 1}, when: $n < x}": "did you mean $x?",
    A + "  a: {module: peak, inputs: {star: 1}, when: $b.done}": "steps.a.when: $b is no step of this workflow",
    A
    + "  a: {module: peak, inputs: {star: 1}, when: $n.done}": "$n is an input of the workflow and has neither outputs nor an end",
    A
    + "  a: {module: peak, inputs: {star: 1}, when: $n == 'x'}": 'w.yaml:4: steps.a.when: $n == "x": a number is never equal to a text',
    A
    + "  a: {module: peak, inputs: {star: $b}}\n  b: {module: peak, inputs: {star: $a}}": "w.yaml:4: steps.a: is part of a cycle",
    A + "  a: {module: peak, inputs: {star: $a}}": "w.yaml:4: steps.a: waits for itself",
    A
    + "  a: {for_each: 3, module: peak}": "steps.a.for_each: 3, a whole number, is given where a reference, a list, or a mapping",
    A
    + "  a: {for_each: x, module: peak, inputs: {star: $item}}": "steps.a.for_each: 'x' has no items; write a reference",
    A
    + "  a: {for_each: {x: [1], y: [2]}, module: peak, inputs: {star: $x}}": "steps.a.for_each: 2 variables (x, y); a map has one",
    A
    + "  a: {for_each: {n: [1]}, module: peak, inputs: {star: $n}}": "$n is a step or an input as well; give the variable another name",
    A
    + "  a: {for_each: {x: $n}, module: peak, inputs: {star: $x}}": "w.yaml:4: steps.a.for_each: for_each needs a list, a collection, a directory or json, and this is of type int",
    A
    + "  a: {for_each: {x: [1]}, module: peak, inputs: {star: $x.mass}}": "$x is the item of the map and has no outputs; write $x, or $x.key",
    A
    + "  a: {for_each: {x: [1]}, module: peak, inputs: {star: $x}, when: $x > 1}": "$x is the item of the map; a condition is about the whole step",
    A + "  a: {module: peak, inputs: {star: $item}}": "$item is no input and no step of this workflow",
    A + "  a: {race: {}}": "steps.a.race: it is empty; a candidate at least is expected",
    A
    + "  a: {race: {x: {modul: peak}}}": "w.yaml:4: steps.a.race.x.modul: the key 'modul' is not known in a candidate",
    A
    + "  a: {race: {x: {module: peak, inputs: {sta: 1}}}}": "w.yaml:4: steps.a.race.x.inputs.sta: module peak has no input 'sta'",
    A
    + "  a: {race: {x: {module: peak, inputs: {star: 1}}}, accept: $b.c < 1}": "steps.a.accept: $b is no step of this workflow",
    A
    + "  a: {race: {x: {module: peak, inputs: {star: 1}}}, accept: $a.chi < 1}": "w.yaml:4: steps.a.accept: step a has no output 'chi'",
    A + "  a: {command: sort, outputs: {o: fil}}": "w.yaml:4: steps.a.outputs.o: 'fil' is not a value type",
    A + "  a: {command: sort}": "w.yaml:4: steps.a: the key 'outputs' is missing",
    A
    + "  a: {command: 'sort {x}', outputs: {o: file}}": "steps.a.command: the command has {x}, which is neither an input nor an output",
    A
    + "  a: {command: x, inputs: {t: a.txt}, outputs: {o: file}}": "steps.a.inputs.t: 'a.txt' could be a text or a file; write {type: file, value: a.txt} or",
    A
    + "  a: {command: x, inputs: {t: {type: file}}, outputs: {o: file}}": "steps.a.inputs.t: an input without value and default",
    A
    + "  a: {command: x, inputs: {t: {type: int, valu: 1}}, outputs: {o: file}}": "steps.a.inputs.t.valu: the key 'valu' is not known in an input with its type; did you mean 'value'?",
    A + "  a: {command: x, inputs: {t: [$n, a]}, outputs: {o: file}}": "the type of the list's items is not obvious",
    A
    + EOS
    + "outputs: {o: eos.result}": "w.yaml:5: outputs.o: 'eos.result' is no reference; an output is $step.output or $input; did you mean $eos.result?",
    A + EOS + "outputs: {o: $eos.reslt}": "w.yaml:5: outputs.o: step eos has no output 'reslt'; did you mean 'result'?",
    A + EOS + "modules: {x: {command: sort}}": "w.yaml:5: modules.x: the key 'outputs' is missing",
    A + EOS + "modules: {x: a b}": "w.yaml:5: modules.x: 'a b' does not name a module",
    A + "  a: {module: peak, resources: {memory: x}}": "steps.a.resources.memory: 'x' is not a size",
    A + EOS + EOS: "w.yaml:5:3: the key 'eos' is in lines 4 and 5",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_wrong_is_told_with_its_place_and_the_remedy(text, expected, resolve):
    with pytest.raises(Invalid) as found:
        build(text, resolve)
    assert expected in str(found.value)
    assert str(found.value).startswith("w.yaml:")


def test_problems_of_all_steps_are_told_at_once(resolve):
    text = (
        A + "  a: {module: peak, inputs: {sta: 1}}\n  b: {module: peak, inputs: {star: x}}\noutputs: {o: $a.m, p: $b}\n"
    )
    with pytest.raises(Invalid) as found:
        build(text, resolve)
    assert [each["line"] for each in found.value.details["problems"]] == [4, 4, 5, 6]


names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
numbers = st.integers(-9, 9) | st.floats(-9, 9).map(lambda value: round(value, 3))


@st.composite
def workflows(draw):
    """Documents of ``peak`` steps, each of which takes a number, an input of the workflow, an earlier step or an item."""
    found = draw(st.lists(names.filter(lambda each: each != "item"), min_size=1, max_size=6, unique=True))
    inputs = {name: draw(st.sampled_from(["float", {"type": "float", "default": 1}])) for name in found[1::3]}
    steps: dict[str, dict] = {}
    for name in [each for each in found if each not in inputs]:
        earlier = [each for each in steps if "for_each" not in steps[each]]
        options = (
            [str(draw(numbers))] + [f"${each}" for each in (*inputs, *earlier)] + [f"${each}.mass" for each in earlier]
        )
        star = draw(st.sampled_from(options))
        step: dict = {"inputs": {"star": star if star.startswith("$") else float(star)}}
        if draw(st.booleans()):
            step |= {"for_each": draw(st.lists(numbers, max_size=3)), "inputs": {"star": "$item"}}
        if draw(st.booleans()):
            step["race"] = {
                each: {"module": "peak"} for each in draw(st.lists(names, min_size=1, max_size=3, unique=True))
            }
            step["accept"] = f"${name}.mass < {draw(numbers)}"
        else:
            step["module"] = "peak"
        if earlier and draw(st.booleans()):
            step["when"] = f"~${draw(st.sampled_from(earlier))}.failed"
        steps[name] = step | draw(st.fixed_dictionaries({}, optional={"cache": st.booleans(), "at": names}))
    outputs = {f"out_{each}": f"${each}.mass" for each in steps}
    return {"name": "any", "inputs": inputs, "steps": steps, "outputs": outputs}


@given(workflows())
def test_any_workflow_is_the_same_from_yaml_and_from_json(as_yaml, resolve, document):
    workflow, _ = build(as_yaml(document), resolve)
    assert workflow == workflow_of(parse(json.dumps(document), "w.json")).to_workflow(resolve)[0]
    assert Workflow.of(workflow.document()) == workflow
    assert [each.name for each in workflow.steps] == [*document["steps"]]


@given(data=st.data())
def test_a_mutated_workflow_is_read_or_refused(data, resolve, put):
    text = STAR
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.text("{}[]:,-&*!'\" \n\tax1.\\$~é", max_size=4)) + text[end:]
    message = "w.yaml: nothing is wrong"
    try:
        build(text, resolve, put)
    except Invalid as error:
        message = str(error)
    assert message.startswith("w.yaml:")
