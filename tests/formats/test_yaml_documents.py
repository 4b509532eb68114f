"""What a YAML or JSON text means, and what is said of one that cannot be read."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftwork.core.checksum import canonical
from weftwork.errors import Invalid, NotFound
from weftwork.formats.document import inputs_of, parse, read, read_inputs

CORE_SCHEMA = {
    "1e-3": 0.001,
    "1.5E+2": 150.0,
    ".5": 0.5,
    "1.": 1.0,
    "-.5": -0.5,
    "no": "no",
    "yes": "yes",
    "on": "on",
    "y": "y",
    "0o17": 15,
    "010": 10,
    "0x1F": 31,
    "+1": 1,
    "-0": 0,
    "0b11": "0b11",
    "1_000": "1_000",
    "190:20:30": "190:20:30",
    "2001-01-01": "2001-01-01",
    "2001-01-01T00:00:00Z": "2001-01-01T00:00:00Z",
    "=": "=",
    "<<": "<<",
    "+0x1": "+0x1",
    "e3": "e3",
    ".": ".",
    "TRUE": True,
    "tRUE": "tRUE",
    "False": False,
    "~": None,
    "Null": None,
    "": None,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "'1'": "1",
    '"true"': "true",
}


@pytest.mark.parametrize(("text", "value"), CORE_SCHEMA.items())
def test_plain_scalars_mean_what_the_core_schema_says(text, value):
    found = parse(f"key: {text}\n").value["key"]
    assert (type(found), found) == (type(value), value)


FLOW = {
    "[?;, ?0, :0, a?b, c:d, -e, http://x/y?z=1, -]": ["?;", "?0", ":0", "a?b", "c:d", "-e", "http://x/y?z=1", "-"],
    '{"a":1, b: :0, c: ?x, "d" :2}': {"a": 1, "b": ":0", "c": "?x", "d": 2},
    "[? a : b]": [{"a": "b"}],
    "{a: b#c, d: [e] # f\n}": {"a": "b#c", "d": ["e"]},
}


@pytest.mark.parametrize(("text", "value"), FLOW.items())
def test_indicators_within_brackets_are_those_of_yaml_1_2(text, value):
    assert parse(f"key: {text}\n").value == {"key": value}


def test_nan_is_a_float():
    assert math.isnan(parse("key: .NaN").value["key"])


def test_aliases_are_written_out():
    assert parse("a: &x [1, {b: 2}]\nc: *x\n").value == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


REFUSED = {
    "a:\n\tb: 1\n": ("2:1: a tab is used for indentation; indent with spaces", "    \tb: 1\n    ^"),
    "a: b: c\n": ("1:5: a ': ' where none can be; put a text with ': ' in quotes", "    a: b: c\n        ^"),
    "x: 1\na: 'text\n": ("2:4: the quote that begins here is never closed",),
    "a: [1,2\nb: 3\n": ("2:2: ',' or ']' is expected before ':'; close the bracket",),
    "a: [awk, c={column}]\n": ("1:12: ',' or ']' is expected before '{'", "in quotes"),
    "a:\n  - 1\n b: 2\n": ("3:2: this line is indented like nothing above it; indent",),
    "a: 1\nb\nc: 2\n": ("2:1: a line that is no 'key: value'; add the ': '",),
    "a: @x\n": ("1:4: a text cannot begin with '@' here; put it in quotes",),
    'a: "\\q"\n': ("1:6: '\\q' is no escape in double quotes; write '\\\\' for a backslash",),
    "a: *b\n": ("1:4: *b refers to nothing; &b must come before it",),
    "a: &a [*a]\n": ("1:8: *a is inside what &a names; a value cannot contain itself",),
    "a: !!int 3\n": ("1:4: the tag 'tag:yaml.org,2002:int'; tags are not used",),
    "a: !x 3\n": ("1:4: the tag '!x'; tags are not used in these documents: remove it",),
    "a: 1\nb: 2\na: 3\n": ("3:1: the key 'a' is in lines 1 and 3; a key may be in a mapping once",),
    "a: &x {b: 1}\n<<: *x\n": ("2:1: merge keys ('<<') are not part of YAML 1.2; write the keys out",),
    "1: a\n": ('1:1: the key 1 is no text; put it in quotes: "1"',),
    "[a]: b\n": ("1:1: a list, mapping or alias as a key; keys are texts",),
    "&x a: b\n": ("1:1: a key with a tag or an anchor",),
    "a: 1\n---\nb: 2\n": ("2:1: a second document begins; one file holds one document",),
    "%YAML 1.1\n---\na: no\n": ("%YAML 1.1 is asked for; documents are read as YAML 1.2: remove the line",),
    "": ("1:1: the document is empty; at least one 'key: value' is expected",),
    "# only this\n": ("the document is empty",),
    "a: 1e999\n": ("1:4: 1e999 is too large for a float",),
    "a: " + "9" * 5000: ("a number of more than 4000 digits; put it in quotes",),
    'a: "\\ud800"\n': ("1:4: an escape that is half a character",),
    'a: "\\U00110000"\n': ("a character that YAML does not allow",),
    "a: 1\nb: \x00\n": ("2:4: a character that YAML does not allow",),
    "a: x\u2028b: 2\n": ("1:5: the character U+2028, which some readers take for the end of a line", "\\u2028"),
    "[" * 200: ("1:101: more than 100 mappings and lists within each other",),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_text_that_is_refused_names_the_place_and_the_remedy(text, expected):
    with pytest.raises(Invalid) as found:
        parse(text, "folder/a.yaml")
    assert str(found.value).startswith("folder/a.yaml:")
    for each in expected:
        assert each in str(found.value)


def test_a_bomb_of_aliases_is_refused_before_it_is_written_out():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)]
    with pytest.raises(Invalid, match="aliases add more than 100000 values"):
        parse("\n".join(lines))


def test_aliases_cannot_make_a_document_deeper_than_the_limit():
    lines = ["a0: &a0 [x]", *(f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 120))]
    with pytest.raises(Invalid, match="more than 100 mappings and lists"):
        parse("\n".join(lines))


JSON_REFUSED = {
    '{"a": 1,\n "b": {"c": 1,\n "c": 2}}': "a.json:3:2: the key 'c' is in lines 2 and 3",
    '{"a": 1,}': "a.json:1:",
    "{'a': 1}": "keys and texts are in double quotes",
    '{"a": 1e999}': "a.json:1:7: 1e999 is too large for a float",
    '["\\ud800"]': "an escape that is half a character",
    "[" * 100_000: "more than 100 objects and arrays",
    "[" * 150 + "]" * 150: "more than 100 objects and arrays",
    "[" + "9" * 5000 + "]": "a number of more than 4000 digits",
    "": "not JSON",
}


@pytest.mark.parametrize(("text", "expected"), JSON_REFUSED.items(), ids=range(len(JSON_REFUSED)))
def test_json_that_is_refused_names_the_place_and_the_remedy(text, expected):
    with pytest.raises(Invalid) as found:
        parse(text, "a.json")
    assert expected in str(found.value)


def test_bytes_that_are_not_utf8_name_the_line():
    with pytest.raises(Invalid, match=r"a\.yaml:2: the text is not UTF-8: .*; save the file as UTF-8"):
        parse(b"a: 1\nb: \xff\n", "a.yaml")


def test_a_byte_order_mark_is_not_part_of_the_text():
    assert parse("\ufeffa: 1".encode()).value == {"a": 1}


def test_a_document_that_is_too_large_is_refused():
    with pytest.raises(Invalid, match="larger than 16 MiB; write a large workflow as JSON"):
        parse(" " * (16 * 1024**2 + 1))


TEXT = '{"a": 1,\n "b": [1, 2,\n  {"c": "\\"x", "d": []}, [],\n  {}]}'


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_places_are_those_of_keys_and_items_whatever_the_notation(name):
    document = parse(TEXT, name)
    places = [("a",), ("b",), ("b", 1), ("b", 2, "d"), ("b", 4), ("b", 2, "none"), ("z",)]
    assert [document.place(each) for each in places] == [(1, 2), (2, 2), (2, 11), (3, 16), (4, 3), (3, 3), (1, 1)]


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="there is no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(Invalid, match="the file cannot be read: Is a directory"):
        read(tmp_path)


def test_inputs_are_read_from_yaml_and_json(tmp_path):
    (tmp_path / "a.yaml").write_text("x: 1e-3\nname: no\n")
    (tmp_path / "a.json").write_text('{"x": 0.001, "name": "no"}')
    assert read_inputs(tmp_path / "a.yaml") == read_inputs(tmp_path / "a.json") == {"x": 0.001, "name": "no"}
    with pytest.raises(Invalid, match="where inputs are expected; write name: value"):
        inputs_of(parse("[1, 2]", "inputs.yaml"))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_infinity=False, allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z_]\w{0,8}", fullmatch=True), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from("abcdef"), values, min_size=1))
def test_values_survive_being_written_as_json_and_read_as_either(value):
    text = json.dumps(value)
    assert canonical(parse(text, "a.json").value) == canonical(value)
    assert canonical(parse(text, "a.yaml").value) == canonical(value)


@given(st.dictionaries(st.sampled_from("abcdef"), values, min_size=1))
def test_values_survive_being_written_as_yaml(as_yaml, value):
    assert canonical(parse(as_yaml(value)).value) == canonical(value)


@given(st.binary(max_size=80) | st.text(max_size=80) | st.text("{}[]:,-&*!|>'\"%@`#? \t\nab01.\\<~", max_size=60))
def test_any_bytes_are_read_or_refused(data):
    for name in ("a.yaml", "a.json"):
        try:
            document = parse(data, name)
        except Invalid:
            continue
        document.place(("a", 0))
        canonical(document.value)
