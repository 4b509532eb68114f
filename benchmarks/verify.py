"""The second process of each line: reads all records and bytes of a home back, and compares.

Nothing here trusts what the measured process said. For each job: it succeeded; its record's outputs are in the store;
the bytes hash to their names; and the output is what the work gives for the inputs that the record names.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import work
from weftwork import config
from weftwork.core.checksum import Checksum

CHUNK = 1000

RESULTS: dict[str, Callable[..., Any]] = {"affine": work.affine, "combine": work.combine, "print_number": work.printed}
"""What a calculation of a name gives for its inputs."""

T = TypeVar("T")


def main() -> None:
    home, out = sys.argv[1:]
    opened = config.open_home(home)
    try:
        found = {**records(opened), **stored(opened)}
    finally:
        opened.close()
    Path(out).write_text(json.dumps(found))


def records(home: config.Home) -> dict[str, Any]:
    """How many distinct calculations there are of each name, how many jobs ran, and what is wrong."""
    keys: dict[Checksum, str] = {}
    ran, wrong = Counter[str](), []
    for row in home.ledger.jobs(limit=100_000_000):
        keys[row.job.key] = row.job.name
        if row.job.state != "succeeded":
            wrong.append(f"job {row.job.id} of {row.job.name} has {row.job.state}")
        if not row.job.cached:
            ran[row.job.name] += 1
    for chunk in chunks(list(keys)):
        wrong += compared(home, {key: keys[key] for key in chunk})
    return {"records": dict(Counter(keys.values())), "ran": dict(ran), "wrong": wrong[:10], "number wrong": len(wrong)}


def compared(home: config.Home, keys: Mapping[Checksum, str]) -> Iterator[str]:
    """What is wrong with some records."""
    answers = home.ledger.records(list(keys))
    inputs = {key: json.loads(home.ledger.calculation(key) or b"{}").get("inputs", {}) for key in keys}
    wanted = [Checksum(ref["checksum"]) for named in inputs.values() for ref in named.values()]
    wanted += [ref.checksum for record in answers.values() for _, ref in record.outputs]
    data = home.store.get_many(wanted)
    for key, name in keys.items():
        if key not in answers:
            yield f"{name} {key}: there is no record"
            continue
        outputs = dict(answers[key].outputs)
        lost = [ref.checksum for ref in outputs.values() if ref.checksum not in data]
        if lost:
            yield f"{name} {key}: the bytes of {lost[0]} are gone"
        elif name in RESULTS:
            given = {each: json.loads(data[Checksum(ref["checksum"])]) for each, ref in inputs[key].items()}
            result = outputs["result"]
            text = data[result.checksum].decode()
            value = text if result.type.name == "text" else json.loads(text)
            if value != RESULTS[name](**given):
                yield f"{name} {key}: {given} gave {value!r}"


def stored(home: config.Home) -> dict[str, Any]:
    """All bytes of the store, hashed."""
    number, size, wrong = 0, 0, []
    for chunk in chunks(list(home.store.checksums())):
        small = [name for name, length in chunk if length <= 1 << 20]
        data = home.store.get_many(small)
        for name, length in chunk:
            number, size = number + 1, size + length
            if (hash_of(data[name]) if name in data else hash_of_large(home, name)) != name:
                wrong.append(str(name))
    return {"buffers": number, "bytes": size, "corrupt": wrong}


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hash_of_large(home: config.Home, name: Checksum) -> str:
    with home.store.open(name) as stream:
        hasher = hashlib.sha256()
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


if __name__ == "__main__":
    main()
