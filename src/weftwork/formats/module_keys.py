"""The keys of a module file: the one table that the reader, the JSON Schema and the reference share."""

from __future__ import annotations

from weftwork.formats.kinds import (
    ANYTHING,
    AT_LEAST_ZERO,
    NOTHING,
    NUMBER,
    SOME_TEXT,
    TEXT,
    TRUTH,
    Either,
    Key,
    Listed,
    Named,
    Section,
    matching,
    whole,
)

VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"

WORDS = Listed(TEXT, "a list of words", least=1)
TEXTS = Listed(SOME_TEXT, "a list of texts")
AMOUNT = Either((NUMBER, SOME_TEXT), "a number, or a text with a unit such as 2 GB or 1h30m,")
BOUND = Either((NUMBER, NOTHING), "a number, or null where there is no bound,")

TYPE = Section("a type", "The type of a value: its name, and what restricts it.")
TYPE_KEYS = {
    "type": Key(SOME_TEXT, "a type by name, such as float, file, list[file] or int?", required=True),
    "item": Key(Either((SOME_TEXT, TYPE), "a type"), "the type of the items of a list or collection"),
    "fields": Key(Named(Either((SOME_TEXT, TYPE), "a type"), "a field"), "the fields of a record and their types"),
    "optional": Key(TRUTH, "whether null is allowed; the same as a ? after the type's name"),
    "choices": Key(Listed(ANYTHING, "a list of at least one value", least=1), "the values that are allowed"),
    "range": Key(
        Listed(BOUND, "a list [smallest, greatest]", least=2, most=2),
        "[smallest, greatest], both allowed; null for no bound",
    ),
}
TYPE.keys.update(TYPE_KEYS)

INPUT = Section(
    "an input",
    "An input: its type, a default, and what restricts its values.",
    {
        **TYPE_KEYS,
        "default": Key(ANYTHING, "the value that is taken when none is given"),
        "filename": Key(SOME_TEXT, "the name under which a command sees the file; it counts in the key"),
        "description": Key(TEXT, "a text for people"),
    },
)
OUTPUT = Section(
    "an output",
    "An output: its type, and where a command leaves it.",
    {
        **{name: TYPE_KEYS[name] for name in ("type", "item", "fields", "optional")},
        "from": Key(
            SOME_TEXT,
            "stdout, stderr, or a path or pattern below the work folder; the output's name where nothing is said",
        ),
        "tolerance": Key(AT_LEAST_ZERO, "the module's `tolerance`, for this output"),
        "scratch": Key(TRUTH, "true: its bytes are not kept; they are made again when somebody needs them"),
        "description": Key(TEXT, "a text for people"),
    },
)
ENVIRONMENT = Section(
    "environment",
    "What the program needs around it.",
    {
        "image": Key(SOME_TEXT, "a container image by name"),
        "conda": Key(SOME_TEXT, "a conda lock: its checksum or text"),
        "venv": Key(SOME_TEXT, "a Python lock: its checksum or text"),
        "packages": Key(TEXTS, "Python distributions that count beyond those that were found"),
        "tools": Key(TEXTS, "programs that count by content"),
        "variables": Key(Named(TEXT, "a variable", VARIABLE), "variables that are set for the program and count"),
    },
)
RESOURCES = Section(
    "resources",
    "What a job needs. Never part of a key.",
    {
        "cpus": Key(whole(1), "CPUs"),
        "memory": Key(AMOUNT, "2 GB (10^9), 512 MiB (2^20), or a number of bytes"),
        "disk": Key(AMOUNT, "what the job may write: 2 GB, 512 MiB, or a number of bytes"),
        "gpus": Key(whole(0), "GPUs"),
        "time": Key(AMOUNT, "the time limit: 1h30m, 45 s, 01:30:00, or a number of seconds"),
    },
)
TEST = Section(
    "a test",
    "Inputs, and the outputs that are expected of them.",
    {
        "name": Key(TEXT, "a text for people"),
        "inputs": Key(Named(ANYTHING, "an input"), "values by input; a file by its path, relative to this document"),
        "outputs": Key(
            Named(ANYTHING, "an output"),
            "expected values by output; a file by the path of one with that content",
            required=True,
        ),
        "tolerance": Key(AT_LEAST_ZERO, "the relative difference that numbers may have; 0 where nothing is said"),
    },
)

COMMAND = Key(
    Either((WORDS, SOME_TEXT), "a list of words, or one text,"),
    "the command: a list of words, or a text that is split into words as a shell does; {name} is an input or output",
)
SCRIPT = Key(SOME_TEXT, "the text of a script; it gets its inputs as variables")
FUNCTION = Key(SOME_TEXT, "a Python function: package.module:name, or file.py:name relative to this document")

INPUTS = Key(
    Named(Either((SOME_TEXT, INPUT), "a type or an input"), "an input"), "the inputs: name to type, or to more"
)
OUTPUTS = Key(
    Named(Either((SOME_TEXT, OUTPUT), "a type or an output"), "an output", least=1),
    "the outputs: name to type, or to more",
)

PROGRAM_KEYS = {
    "command": COMMAND,
    "script": SCRIPT,
    "interpreter": Key(
        Either((WORDS, SOME_TEXT), "a list of words, or one text,"),
        "what runs the script; sh where nothing is said",
        beside=("script",),
    ),
    "stdin": Key(SOME_TEXT, "the input that is read on standard input", beside=("command", "script")),
    "files": Key(
        Either(
            (TEXTS, Named(SOME_TEXT, "a helper file", r"[^\x00]+", "a relative path")),
            "a list of paths, or a mapping of paths,",
        ),
        "helper files, relative to this document: a list, or a mapping of the path in the job to where the file is",
        beside=("command", "script"),
    ),
    "env": Key(Named(TEXT, "a variable", VARIABLE), "variables that are set for the program and count"),
    "environment": Key(ENVIRONMENT, "what the program needs around it"),
    "network": Key(TRUTH, "whether the program may use the network; false where nothing is said"),
    "deterministic": Key(TRUTH, "whether equal inputs give equal outputs; true where nothing is said"),
    "tolerance": Key(
        AT_LEAST_ZERO,
        "the relative difference that numbers may have where it runs again; 0, the same bytes, where nothing is said",
    ),
}

MODULE = Section(
    "a module",
    "A program with typed inputs and outputs.",
    {
        "name": Key(
            matching(
                r"[A-Za-z_][A-Za-z0-9_.\-]*", "a name of letters, digits, '_', '-' and '.', not beginning with a digit,"
            ),
            "the module's name",
            required=True,
        ),
        "version": Key(TEXT, 'the version, a text: "1.0"'),
        "description": Key(TEXT, "a text for people"),
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "function": FUNCTION,
        **PROGRAM_KEYS,
        "uses": Key(
            TEXTS,
            "what the function uses beyond what is found by reading it: package.module:name",
            beside=("function",),
        ),
        "resources": Key(RESOURCES, "what a job needs; never part of a key"),
        "tests": Key(Listed(TEST, "a list of tests"), "inputs with the outputs expected of them"),
    },
    one_of=("command", "script", "function"),
)
