"""The keys of a workflow file: the one table that the reader, the JSON Schema and the reference share."""

from __future__ import annotations

from dataclasses import replace

from weftwork.formats.kinds import ANYTHING, SOME_TEXT, TEXT, TRUTH, Either, Key, Leaf, Listed, Named, Section, whole
from weftwork.formats.module_keys import INPUT, INPUTS, MODULE, OUTPUTS, PROGRAM_KEYS, RESOURCES

STEP_INPUTS = Key(
    Named(ANYTHING, "an input"),
    "values by input: $input, $step.output, a value as it stands ($$ begins a text with a dollar), or a list of these",
)

PLACEMENT_KEYS = {
    "at": Key(SOME_TEXT, "the site where it runs; never part of a key"),
    "resources": Key(RESOURCES, "what the job needs beyond what its module says; never part of a key"),
    "cache": Key(TRUTH, "false: run although a result is known, and keep the new one for this run"),
    "retries": Key(whole(0), "how often a failure of the site is tried again"),
    "priority": Key(
        Leaf("a whole number", {"type": "integer"}, lambda value: type(value) is int), "steps with more go first"
    ),
}

_INLINE_KEYS = {
    name: replace(key, beside=key.beside or ("command", "script"))
    for name, key in {"outputs": OUTPUTS, **PROGRAM_KEYS}.items()
    if name not in ("command", "script")
}

WORK_KEYS = {
    "module": Key(
        SOME_TEXT,
        "what is run: a module file (column.module.yaml), a Python function (eos.py:name, package.module:name), "
        "or a name from `modules`",
    ),
    "command": PROGRAM_KEYS["command"],
    "script": PROGRAM_KEYS["script"],
    "inputs": STEP_INPUTS,
    **_INLINE_KEYS,
    **PLACEMENT_KEYS,
}

CANDIDATE = Section("a candidate", "One way to do a step.", WORK_KEYS, one_of=("module", "command", "script"))

CONDITION = (
    "a condition: $step.output < 1.2, $step.done, $step.succeeded, $step.failed, joined by & | ~ and parentheses"
)

STEP = Section(
    "a step",
    "A module with its inputs: once, for each item of a list or collection, or as a race.",
    {
        **WORK_KEYS,
        "description": Key(TEXT, "a text for people"),
        "when": Key(SOME_TEXT, f"the step runs only where this holds, {CONDITION}"),
        "for_each": Key(
            Either(
                (
                    SOME_TEXT,
                    Listed(ANYTHING, "a list"),
                    Named(ANYTHING, "the variable", least=1),
                ),
                "a reference, a list, or a mapping of one variable to one of these,",
            ),
            "the step runs for each item: {variable: $step.output}, or $step.output with $item as the variable",
        ),
        "race": Key(
            Named(CANDIDATE, "a candidate", least=1),
            "candidates that run at once; the first that ends well, and that `accept` holds for, is the result",
        ),
        "accept": Key(SOME_TEXT, f"what the winner of a race must satisfy, {CONDITION}", beside=("race",)),
    },
    one_of=("module", "command", "script", "race"),
)

INLINE_MODULE = Section(
    "an inline module",
    "A module within a workflow file; its name is the one that it is listed under.",
    {name: replace(key, required=False) for name, key in MODULE.keys.items()},
    one_of=MODULE.one_of,
)

WORKFLOW = Section(
    "a workflow",
    "Steps, and what is calculated from what.",
    {
        "name": MODULE.keys["name"],
        "version": MODULE.keys["version"],
        "description": Key(TEXT, "a text for people"),
        "inputs": Key(
            INPUTS.kind, "the inputs: name to type, or to more; a default that is a path is relative to this document"
        ),
        "modules": Key(
            Named(Either((SOME_TEXT, INLINE_MODULE), "a module"), "a module", r"[A-Za-z_][A-Za-z0-9_\-]*"),
            "short names for modules: name to a file or function, or to a module itself",
        ),
        "steps": Key(Named(STEP, "a step", least=1), "the steps, in any order", required=True),
        "outputs": Key(Named(SOME_TEXT, "an output"), "the results: name to $step.output or $input"),
    },
)

DECLARED_INPUT = Section(
    "an input with its type",
    "An input of a command in a step, with its type: {type: file, value: $curve.table}.",
    {**INPUT.keys, "value": Key(ANYTHING, "the value: a reference, a value as it stands, or a list of these")},
)
