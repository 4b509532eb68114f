"""Module files: what they mean, what is said of wrong ones, that they survive being written and read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import Checksum
from weftwork.core.module import ABSENT, Command, Module
from weftwork.core.values import Type
from weftwork.errors import Invalid
from weftwork.formats.document import parse, written
from weftwork.formats.module_file import FunctionReference, module_of, read_module

MEAN = """
name: column-mean
version: "1.0"
inputs:
  data: file
  column: {type: int, default: 1, range: [1, null], description: from 1}
  method: {type: str, choices: [mean, median], default: mean}
outputs:
  mean: {type: float, from: stdout}
  report: file?
command: [awk, -v, "c={column}", -f, stats.awk, "{data}"]
files: [stats.awk]
env: {LC_NUMERIC: C}
environment: {tools: [awk], variables: {TZ: UTC}}
resources: {cpus: 1, memory: 1 GB, time: 10m}
network: false
tests: [{inputs: {data: x.dat}, outputs: {mean: 3.5}, tolerance: 1e-9}]
"""


def load(text: str):
    return module_of(parse(text, "m.yaml"))


def test_a_command_is_read_into_the_core():
    found = load(MEAN)
    assert found.program == Command(("awk", "-v", "c={column}", "-f", "stats.awk", "{data}"))
    assert [(each.name, str(each.type), each.default) for each in found.inputs] == [
        ("data", "file", ABSENT),
        ("column", "int", 1),
        ("method", "str", "mean"),
    ]
    assert [(each.name, each.source, each.path) for each in found.outputs] == [
        ("mean", "stdout", None),
        ("report", "path", None),
    ]
    assert found.environment.variables == (("LC_NUMERIC", "C"), ("TZ", "UTC"))
    assert (found.resources.memory, found.resources.time) == (10**9, 600)
    assert found.tests[0].tolerance == 1e-9


def test_a_module_needs_its_helper_files_stored():
    stats = Checksum.of(b"{ print }")
    found = load(MEAN)
    module = found.to_module({"stats.awk": (False, stats)})
    assert module.program.files == (("stats.awk", False, stats),)
    assert Module.of(module.document()) == module
    with pytest.raises(Invalid, match=r"the helper file stats\.awk is not among the stored ones"):
        found.to_module()


def test_a_folder_among_the_helper_files_stands_for_what_is_below_it(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text("name: a\ncommand: x\noutputs: {o: file}\nfiles: {lib: ../shared/lib}\n")
    found = read_module(file)
    assert found.helper_files() == {"lib": tmp_path / "../shared/lib"}
    assert found.to_module({"lib/a.awk": (False, Checksum.of(b""))}).program.files[0][0] == "lib/a.awk"


def test_a_function_stays_a_reference():
    found = load("name: a\nfunction: eos.py:Models.sly\nuses: [tables]\n")
    assert found.program == FunctionReference("eos.py", "Models.sly")
    assert found.program.is_file
    assert found.declared == {"name", "function", "uses"}
    with pytest.raises(Invalid, match="is a Python function; it is resolved, not converted"):
        found.to_module()


def test_a_command_text_is_split_before_values_are_filled_in():
    found = load("""name: a
inputs: {pattern: str, data: file}
outputs: {o: {type: file, from: ./out/o.txt}}
command: grep -e {pattern} "{data}" 'a b' {o} '$x {{y}}'
""")
    assert found.program.words == ("grep", "-e", "{pattern}", "{data}", "a b", "{o}", "$x {{y}}")
    assert found.outputs[0].path == "out/o.txt"


def test_defaults_and_choices_are_converted_to_the_type():
    inputs = load(
        "name: a\ncommand: x\noutputs: {o: file}\ninputs: {x: {type: float, default: 1, choices: [1, 2]}, y: {type: 'int?', default: null}}\n"
    ).inputs
    assert type(inputs[0].default) is float
    assert inputs[0].type.choices == (1.0, 2.0)
    assert inputs[1].default is None


HEAD = "name: a\noutputs: {o: file}\n"
REFUSED = {
    "[]": "m.yaml:1: an empty list is given where a mapping with the keys of a module",
    "name: a\n": "m.yaml:1: a module has none of command, script or function; exactly one is expected",
    "name: 1a\ncommand: x\noutputs: {o: file}": "m.yaml:1: name: '1a', a text, is given where a name of letters",
    "command: x\noutputs: {o: file}": "m.yaml:1: the key 'name' is missing: the module's name",
    HEAD + "comand: x": "m.yaml:3: comand: the key 'comand' is not known in a module; did you mean 'command'?",
    HEAD
    + "command: x\nversion: 1.10": 'm.yaml:4: version: 1.1, a number, is given where a text is expected; put it in quotes: "1.1"',
    HEAD + "command: x\nfunction: a:b": "a module has command and function; exactly one of command, script or function",
    HEAD + "command: x\nuses: [a]": "m.yaml:4: uses: uses has a meaning only beside function",
    HEAD + "function: a:b\nfiles: [x]": "files has a meaning only beside command or script",
    HEAD + "command: x\ninterpreter: sh": "interpreter has a meaning only beside script",
    HEAD + "function: a.b": "m.yaml:3: function: 'a.b' does not name a function; write package.module:name",
    HEAD + "command: sort x | uniq": "m.yaml:3: command: the command has '|', which only a shell understands",
    HEAD + "command: ls $HOME": "the command has '$', which only a shell understands",
    HEAD + "command: cat *.txt": "the command has '*', which only a shell understands",
    HEAD + "command: sort 'x": "m.yaml:3: command: the command cannot be split into words: No closing quotation",
    HEAD + "command: ' '": "the command is empty; its first word is the program",
    HEAD + "command: []": "m.yaml:3: command: an empty list is given where a list of words",
    HEAD
    + "command: [sort, {data}]": "command[1]: a mapping ('data': None) is given where a text is expected; put a text that begins with a brace in quotes: \"{data}\"",
    HEAD
    + "command: [sort, 3]": 'm.yaml:3: command[1]: 3, a whole number, is given where a text is expected; put it in quotes: "3"',
    HEAD
    + 'inputs: {data: file}\ncommand: [sort, "{dat}"]': "command[1]: the command has {dat}, which is neither an input nor an output left in a file; did you mean 'data'?",
    HEAD
    + 'inputs: {data: file}\ncommand: [sort, "{ data }"]': "the command has { data }, which is not a placeholder; write {data}",
    HEAD
    + "inputs: {data: file}\nstdin: dat\ncommand: x": "m.yaml:4: stdin: there is no input 'dat'; did you mean 'data'?",
    "name: a\ncommand: x": "the key 'outputs' is missing",
    "name: a\ncommand: x\noutputs: {}": "m.yaml:3: outputs: it is empty; an output at least is expected",
    "name: a\ncommand: x\noutputs: {o: {type: file, from: ../x}}": "outputs.o.from: '../x' leads out of the work folder; write a path below it",
    "name: a\nfunction: a:b\noutputs: {o: {type: file, from: x}}": "outputs.o.from: a function returns its outputs",
    HEAD
    + "command: x\ninputs:": "m.yaml:4: inputs: nothing (null) is given where a mapping that gives an input by its name is expected",
    HEAD + "command: x\ninputs: {1a: int}": "inputs.'1a': '1a' is not the name of an input; letters, digits and '_'",
    HEAD
    + "command: x\ninputs: {x: floot}": "m.yaml:4: inputs.x: 'floot' is not a value type; the types are any, array",
    HEAD
    + "command: x\ninputs: {x: {typ: int}}": "inputs.x.typ: the key 'typ' is not known in an input; did you mean 'type'?",
    HEAD
    + "command: x\ninputs: {x: {type: int, default: 1.5}}": "m.yaml:4: inputs.x.default: 1.5, a float, was given where an int is expected",
    HEAD
    + "command: x\ninputs: {x: {type: int, default: 7, range: [1, 3]}}": "inputs.x.default: 7 is out of range; from 1 to 3 is expected",
    HEAD + "command: x\ninputs: {x: {type: int, range: [3, 1]}}": "inputs.x.range: the range 3..1 is empty",
    HEAD
    + "command: x\ninputs: {x: {type: int, range: [3]}}": "inputs.x.range: a list (3) is given where a list [smallest, greatest]",
    HEAD + "command: x\ninputs: {x: {type: int, range: [.nan, 1]}}": "inputs.x.range: a bound cannot be NaN",
    HEAD
    + "command: x\ninputs: {x: {type: str, range: [1, 2]}}": "inputs.x.range: a type str has no range; int and float have",
    HEAD
    + "command: x\ninputs: {x: {type: int, choices: [a]}}": "inputs.x.choices[0]: 'a', a str, was given where an int is expected",
    HEAD + "command: x\ninputs: {x: {type: file, choices: [a]}}": "inputs.x.choices: a type file has no choices",
    HEAD
    + "command: x\ninputs: {x: {type: file, default: a.txt}}": "inputs.x.default: an input of type file has no default in a module: a path is no content",
    HEAD + "command: x\ninputs: {x: record}": "inputs.x: a record needs `fields`",
    HEAD + "command: x\ninputs: {x: {type: record}}": "inputs.x.type: a record needs `fields`",
    HEAD + "command: x\ninputs: {x: {type: int, filename: a}}": "inputs.x.filename: an input of type int is no file",
    HEAD + "command: x\ninputs: {x: {type: file, filename: a/b}}": "inputs.x.filename: 'a/b' is not the name of a file",
    HEAD
    + "command: x\nenv: {A: 1}": 'm.yaml:4: env.A: 1, a whole number, is given where a text is expected; put it in quotes: "1"',
    HEAD + "command: x\nenv: {A: a}\nenvironment: {variables: {A: b}}": "env.A: A is in environment.variables too",
    HEAD
    + "command: x\nenvironment: {tool: [awk]}": "environment.tool: the key 'tool' is not known in environment; did you mean 'tools'?",
    HEAD
    + "command: x\nresources: {memory: lots}": "m.yaml:4: resources.memory: 'lots' is not a size; write it as 2 GB",
    HEAD + "command: x\nresources: {time: long}": "resources.time: 'long' is not a duration; write it as 1h30m",
    HEAD
    + "command: x\nresources: {cpus: 0}": "resources.cpus: 0, a whole number, is given where a whole number of at least 1",
    HEAD + "command: x\nfiles: [/etc/passwd]": "files[0]: '/etc/passwd' is not a path relative to this document",
    HEAD + "command: x\nfiles: [../a]": "files[0]: '../a' is not below this document; say what it is called in the job",
    HEAD + "command: x\nfiles: [x, ./x]": "files[1]: two helper files are called x",
    HEAD + "command: x\nfiles: {../a: b}": "'../a' leads out of the work folder",
    HEAD + "command: x\ntests: [{inputs: {x: 1}, outputs: {o: a}}]": "tests[0].inputs.x: the module has no input 'x'",
    HEAD + "command: x\ninputs: {x: int}\ntests: [{outputs: {o: a}}]": "tests[0]: the test gives no value for x",
    HEAD
    + "command: x\ninputs: {x: int}\ntests: [{inputs: {x: a}, outputs: {o: a}}]": "tests[0].inputs.x: 'a', a str, was given where an int",
    HEAD + "command: x\nnetwork: no": "network: 'no', a text, is given where true or false is expected",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_is_wrong_is_told_with_its_place_and_the_remedy(text, expected):
    with pytest.raises(Invalid) as found:
        load(text)
    assert expected in str(found.value)
    assert all(line.startswith("m.yaml:") for line in str(found.value).splitlines())


@pytest.mark.parametrize(
    "value", ["command: '{" + "a" * 200_000 + "'", "command: x\nresources: {time: '1" + " " * 5000 + "x'}"]
)
@pytest.mark.timeout(10)
def test_long_texts_take_no_long_time(value):
    with pytest.raises(Invalid):
        load(HEAD + value + "\nversion: 1\n")
    if "resources" not in value:
        load(HEAD + value)
    else:
        with pytest.raises(Invalid, match="is not an amount"):
            load(HEAD + value)


def test_all_problems_are_told_in_the_order_of_their_lines():
    with pytest.raises(Invalid) as found:
        load(
            "name: a\noutputs: {o: fil}\nresources: {memory: x}\ncommand: [a, '{b}']\ninputs: {i: {type: int, default: x}}\n"
        )
    assert [(each["line"], written(each["path"])) for each in found.value.details["problems"]] == [
        (2, "outputs.o"),
        (3, "resources.memory"),
        (4, "command[1]"),
        (5, "inputs.i.default"),
    ]


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=12)
simple_types = st.sampled_from(
    ["int", "float", "str", "bool", "json", "file", "list[float]", "file?", "collection[image]"]
)
ranges = st.tuples(st.integers(-9, 0) | st.none(), st.integers(1, 9) | st.none()).map(list)
inputs = (
    simple_types
    | st.fixed_dictionaries({"type": simple_types}, optional={"description": texts, "optional": st.booleans()})
    | st.fixed_dictionaries({"type": st.just("int"), "default": st.sampled_from([0, 1]), "range": ranges})
    | st.fixed_dictionaries({"type": st.just("str"), "choices": st.lists(texts, min_size=1)})
)
outputs = simple_types | st.fixed_dictionaries(
    {"type": simple_types},
    optional={
        "from": st.sampled_from(["stdout", "stderr", "a/*.txt"]),
        "description": texts,
        "tolerance": st.just(1e-6),
    },
)
words = texts.map(lambda text: text.replace("{", "").replace("}", ""))
modules = st.fixed_dictionaries(
    {
        "name": names,
        "outputs": st.dictionaries(names, outputs, min_size=1, max_size=3),
        "command": st.lists(words, min_size=0, max_size=4).map(lambda rest: ["program", *rest]),
    },
    optional={
        "version": texts,
        "description": texts,
        "inputs": st.dictionaries(names, inputs, max_size=4),
        "env": st.dictionaries(names, texts, max_size=2),
        "resources": st.fixed_dictionaries({}, optional={"cpus": st.integers(1, 9), "memory": st.just("2 GB")}),
        "network": st.booleans(),
        "deterministic": st.booleans(),
        "tolerance": st.sampled_from([0, 1, 1e-9]),
    },
)


@given(modules)
def test_any_module_is_the_same_from_yaml_and_from_json(as_yaml, document):
    found = load(as_yaml(document)).to_module()
    assert found == module_of(parse(json.dumps(document), "m.json")).to_module()
    assert Module.of(found.document()) == found
    assert [each.name for each in found.inputs] == [*document.get("inputs", {})]
    assert {each.name: each.type for each in found.outputs} == {
        name: Type.of(each if isinstance(each, str) else each["type"]) for name, each in document["outputs"].items()
    }
    assert found.program.words == tuple(document["command"])
    assert found.tolerance == document.get("tolerance", 0)
    for name, each in document["outputs"].items():
        said = None if isinstance(each, str) else each.get("tolerance")
        assert found.output(name).tolerance == said


@given(data=st.data())
def test_a_mutated_module_is_read_or_refused(data):
    text = MEAN
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(st.text("{}[]:,-&*!'\" \n\tax1.\\$~é", max_size=4)) + text[end:]
    try:
        found = load(text)
    except Invalid as error:
        message = str(error)
    else:
        message = "m.yaml: nothing is wrong"
        if not isinstance(found.program, FunctionReference):
            found.to_module({target: (False, Checksum.of(b"")) for target, _ in found.files})
    assert message.startswith("m.yaml:")
