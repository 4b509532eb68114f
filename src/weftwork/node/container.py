"""Owns the ``container`` part of ``job.json``: the words that start a command in a container, and what they leave behind.

Which words these are is for the runtimes to know (``weftwork.sites.runtimes``); nothing here names any engine. In each word
``{folder}`` stands for the job folder on this node, ``{{`` and ``}}`` for braces; a word ``{command}`` for all words of the
command. In the container the job folder is seen at :data:`ROOT`, whichever runtime it is::

    {"runtime": "docker",                      for messages
     "prepare": [[words], ...],                run one after the other before; the first that fails is the site's failure
     "start": [words],                         the process that is watched, and whose streams are the job's
     "inspect": [words] | null,                where the container is no child of the node program: prints one line of JSON,
                                               {"status": "exited", "exit_code": int, "oom": bool, "error": text, "id": text}
     "ask": [words] | null,                    there: asks the program to end, as SIGTERM does
     "spared": bool,                           what is started would end its container by ending: only what comes from it is asked to
     "send": [words] | null,                   where the engine does not see this folder: reads a tar archive of what the job needs
     "fetch": [words] | null,                  and this writes one of what is in its work folder at the end
     "remove": [words] | null,                 run at the end in every case, and for whoever finds the folder of a dead runner
     "absent": pattern, "fault": pattern,      last lines of stderr: the image has no such program; the runtime itself failed
     "shell_codes": bool}                      an exit code above 128 tells a signal, as with a shell
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from weftwork.errors import Invalid

ROOT: Final = "/weft"
FOLDERS: Final = ("inputs", "work", "tmp", "home")
PATIENCE: Final = 120.0  # seconds for one command of ours to an engine
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{folder\}")


@dataclass(frozen=True, slots=True)
class Container:
    """The ``container`` part of a job; see the module's text."""

    runtime: str
    start: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    inspect: tuple[str, ...] | None = None
    ask: tuple[str, ...] | None = None
    send: tuple[str, ...] | None = None
    fetch: tuple[str, ...] | None = None
    remove: tuple[str, ...] | None = None
    absent: str | None = None
    fault: str | None = None
    shell_codes: bool = True
    spared: bool = False

    @property
    def detached(self) -> bool:
        """Whether the processes of the command are not descendants of what is started: the engine holds them, and their limits."""
        return self.inspect is not None

    def document(self) -> dict[str, Any]:
        document = {name: getattr(self, name) for name in self.__slots__}
        return json.loads(json.dumps(document))  # type: ignore[no-any-return]

    @classmethod
    def from_document(cls, document: Any) -> Container:
        """Raises :class:`~weftwork.errors.Invalid` for what is not such a part."""
        if not isinstance(document, dict) or set(document) - set(cls.__slots__):
            raise Invalid(f"job.json: container has unknown keys, or is no object: {str(document)[:80]}")
        try:
            return cls(
                runtime=str(document["runtime"]),
                start=_words(document["start"]),
                prepare=tuple(_words(each) for each in document.get("prepare") or ()),
                inspect=_optional(document.get("inspect")),
                ask=_optional(document.get("ask")),
                send=_optional(document.get("send")),
                fetch=_optional(document.get("fetch")),
                remove=_optional(document.get("remove")),
                absent=_pattern(document.get("absent")),
                fault=_pattern(document.get("fault")),
                shell_codes=bool(document.get("shell_codes", True)),
                spared=bool(document.get("spared", False)),
            )
        except (KeyError, TypeError, re.error) as error:
            raise Invalid(f"job.json: container: {type(error).__name__}: {error}") from None


def plain(text: str) -> str:
    """Text as it must be written in a word so that it stands for itself."""
    return text.replace("{", "{{").replace("}", "}}")


def expand(words: tuple[str, ...], folder: str, command: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The words as they are run."""
    out: list[str] = []
    for word in words:
        if word == "{command}":
            out.extend(command)
        else:
            out.append(_PLACEHOLDER.sub(lambda found: folder if found[0] == "{folder}" else found[0][0], word))
    return tuple(out)


def remove_left(folder: str, document: Any) -> None:
    """Remove the container of a job whose runner is dead; ``document`` is its ``job.json``. Nothing is raised: it may be gone."""
    try:
        container = Container.from_document(document["container"])
        environment = {str(name): str(value) for name, value in document["environment"].items()}
    except (Invalid, KeyError, TypeError, AttributeError):
        return
    if container.remove is None:
        return
    # Imported here: a document is read more often than a container is left.
    import subprocess

    try:
        subprocess.run(
            expand(container.remove, folder),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise TypeError(f"{str(value)[:80]} is not a list of words")
    return tuple(value)


def _optional(value: Any) -> tuple[str, ...] | None:
    return None if value is None else _words(value)


def _pattern(value: Any) -> str | None:
    if value is not None:
        re.compile(value)
    return value  # type: ignore[no-any-return]
