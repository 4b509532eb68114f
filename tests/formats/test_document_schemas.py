"""The JSON Schemas are current, take what the readers take, and refuse what they refuse of the structure."""

import copy
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from weftwork.errors import Invalid
from weftwork.formats import schema
from weftwork.formats.document import inputs_of, parse
from weftwork.formats.module_file import module_of
from weftwork.formats.module_keys import MODULE
from weftwork.formats.workflow_file import workflow_of
from weftwork.formats.workflow_keys import WORKFLOW

DOCS = Path(__file__).parents[2] / "docs"
VALIDATORS = {kind: Draft202012Validator(each) for kind, each in schema.schemas().items()}
SECTIONS = {"module": MODULE, "workflow": WORKFLOW}


def examples() -> dict[str, str]:
    """The YAML examples of the reference, by the file name in their first line."""
    blocks = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", (DOCS / "documents.md").read_text(), re.MULTILINE | re.DOTALL)
    return dict(blocks)


EXAMPLES = examples()


def kind_of(name: str) -> str:
    return name.split(".")[-2]


DOCUMENTS = [
    (kind_of(name), parse(text).value) for name, text in EXAMPLES.items() if kind_of(name) in ("module", "workflow")
]


@pytest.mark.parametrize("name", schema.texts())
def test_the_written_schemas_are_current(name):
    assert (DOCS / "schemas" / name).read_text(encoding="utf-8") == schema.texts()[name], (
        "run python -m weftwork.formats.schema docs/schemas"
    )


def test_the_script_writes_the_schemas(tmp_path, capsys):
    assert schema.main([str(tmp_path / "new")]) == 0
    assert {each.name: each.read_text() for each in (tmp_path / "new").iterdir()} == schema.texts()
    assert schema.main([]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("kind", VALIDATORS)
def test_the_schemas_are_schemas(kind):
    Draft202012Validator.check_schema(VALIDATORS[kind].schema)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_of_the_reference_is_read(name, resolve, put):
    document = parse(EXAMPLES[name], name)
    if kind_of(name) == "inputs":
        assert inputs_of(document) == {"levels": "data/levels-2024.txt", "limit": 12.5}
        return
    VALIDATORS[kind_of(name)].validate(document.value)
    if kind_of(name) == "module":
        module_of(document)
    else:
        workflow_of(document).to_workflow(resolve, put)


def test_every_key_is_in_the_reference():
    text = (DOCS / "documents.md").read_text()
    pending, seen = [MODULE, WORKFLOW], set()
    while pending:
        section = pending.pop()
        if section.name in seen:
            continue
        seen.add(section.name)
        for name, key in section.keys.items():
            assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text), f"{name} of {section.name} is not in documents.md"
            pending.extend(key.kind.sections())


def places(value, path=()):
    """All mappings and lists in a document, by path."""
    if isinstance(value, (dict, list)):
        yield path
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def at(value, path):
    for part in path:
        value = value[part]
    return value


@given(st.data())
def test_reader_and_schema_refuse_the_same_structures(data):
    kind, document = data.draw(st.sampled_from(DOCUMENTS))
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        target = at(document, data.draw(st.sampled_from([*places(document)])))
        keys = [*target] if isinstance(target, dict) else [*range(len(target))]
        change = data.draw(st.sampled_from(["add", "remove", "replace"]))
        value = data.draw(st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], ["x"], {}, {"x": 1}, {"type": "int"}]))
        if change == "add" and isinstance(target, dict):
            target[
                data.draw(st.sampled_from(["x", "comand", "1x", "type", "command", "module", "accept", "outputs"]))
            ] = value
        elif keys and change == "remove":
            del target[data.draw(st.sampled_from(keys))]
        elif keys:
            target[data.draw(st.sampled_from(keys))] = value
    faults = [*SECTIONS[kind].faults(document, ())]
    assert VALIDATORS[kind].is_valid(document) == (not faults), faults


@pytest.mark.parametrize(("kind", "document"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_an_unknown_key_is_refused_by_both(kind, document):
    wrong = {**document, "nam": "x"}
    assert not VALIDATORS[kind].is_valid(wrong)
    read = {"module": module_of, "workflow": workflow_of}[kind]
    source = parse("name: x", "m.yaml")
    source.value = wrong
    with pytest.raises(Invalid, match=r"the key 'nam' is not known in a (module|workflow); did you mean 'name'\?"):
        read(source)
