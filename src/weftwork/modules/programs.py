"""Which programs a command line names: those count by content, wherever they lie.

The program of a list of words is the first one; of a line for the shell, each word where a command may stand. After
an interpreter the script counts too, and before a script its interpreter. What a program reads beside that is not
found here: it is declared, or found by tracing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weftwork.errors import Refused

_INTERPRETER = re.compile(r"(python|pypy|perl|ruby|node|Rscript|julia|lua|php|tclsh|octave|(ba|da|k|z|a)?sh)[\d.]*\Z")
_SHELL = re.compile(r"[\s;&|<>()$`\"'\\*?\[#~!{}]")
_NO_SCRIPT = re.compile(r"-(m|c|e|E|-eval|-execute)\Z")
_WRAPPERS = frozenset(
    ("env", "nice", "nohup", "timeout", "time", "stdbuf", "setsid", "ionice", "taskset", "xargs", "mpirun", "mpiexec")
)
_MAGIC = (b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How scripts, ELF and Mach-O files begin."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_KEYWORDS = frozenset(
    (
        "if",
        "then",
        "elif",
        "else",
        "fi",
        "for",
        "do",
        "done",
        "while",
        "until",
        "case",
        "esac",
        "in",
        "function",
        "time",
        "!",
        "{",
        "}",
    )
)


@dataclass(slots=True)
class Programs:
    """What a command names: ``local`` files by their path below the folder, and ``tools`` of this machine.

    ``first`` is the first word as it must be written in the fresh folder, ``None`` where it stays as it is.
    """

    name: str
    local: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    first: str | None = None

    def read(self, folder: Path) -> Iterator[tuple[str, bytes]]:
        for relative in self.local:
            yield relative, (folder / relative).read_bytes()

    def executable(self, folder: Path) -> Iterator[bool]:
        for relative in self.local:
            yield os.access(folder / relative, os.X_OK)


def named_programs(folder: Path, words: Sequence[str]) -> Programs:
    """The programs of a command in a folder. Raises Refused for a first word that is no program here."""
    if is_line(words):
        found = Programs(_first_name(words[0]))
        for command in _commands(words[0]):
            _add(found, folder, command, required=False)
        return found
    found = Programs(os.path.basename(words[0]))
    _add(found, folder, words, required=True)
    return found


def is_line(words: Sequence[str]) -> bool:
    """Whether a command is a line for the shell: one word alone, with a space or a character that a shell reads."""
    return len(words) == 1 and _SHELL.search(words[0]) is not None


def _add(found: Programs, folder: Path, words: Sequence[str], *, required: bool) -> None:
    word = words[0]
    local = _local(folder, word)
    if local is None and "/" not in word and shutil.which(word) is None and required:
        local = _local(folder, f"./{word}")
    if local is not None:
        _keep(found.local, local)
        _shebang(found, folder / local)
        if required:
            found.first = f"./{local}".replace("{", "{{").replace("}", "}}")
            _runnable(folder / local, word)
    else:
        path = shutil.which(word) if "/" not in word else str(folder / word)
        if path is not None and os.path.isfile(path):
            tool = word if "/" not in word else os.path.normpath(path)
            _keep(found.tools, tool)
            _shebang(found, Path(path))
            if required and tool != word:
                found.first = tool.replace("{", "{{").replace("}", "}}")
    if _INTERPRETER.match(os.path.basename(word)):
        _script(found, folder, words[1:])
    elif os.path.basename(word) in _WRAPPERS:
        _wrapped(found, folder, words[1:])


def _wrapped(found: Programs, folder: Path, words: Sequence[str]) -> None:
    """The program that a program such as ``nice`` runs: the first word that is one."""
    for position, word in enumerate(words):
        if word.startswith("-") or _ASSIGNMENT.match(word):
            continue
        if _local(folder, word) is not None or shutil.which(word) is not None:
            _add(found, folder, words[position:], required=False)
            return


def is_program(path: Path) -> bool:
    """Whether a file may be run and is a script or binary: a program that is given as an input keeps its right to be run."""
    try:
        with open(path, "rb") as stream:
            return os.access(path, os.X_OK) and stream.read(4).startswith(_MAGIC)
    except OSError:
        return False


def _runnable(path: Path, word: str) -> None:
    if not os.access(path, os.X_OK):
        raise Refused(
            f"{word} is not executable: `chmod +x {word}`, or name the program that runs it, as in `python {word}`"
        )


def _script(found: Programs, folder: Path, words: Sequence[str]) -> None:
    """The script that an interpreter is given."""
    for word in words:
        if _NO_SCRIPT.match(word):
            return
        if not word.startswith("-"):
            local = _local(folder, word if "/" in word else f"./{word}")
            if local is not None:
                _keep(found.local, local)
            return


def _local(folder: Path, word: str) -> str | None:
    """The path below the folder of a file that a word with a slash names."""
    if "/" not in word:
        return None
    path = Path(os.path.normpath(folder / word))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path.is_file() else None


def _shebang(found: Programs, path: Path) -> None:
    """A script's interpreter is a program too."""
    try:
        with open(path, "rb") as stream:
            line = stream.readline(256)
    except OSError:
        return
    if not line.startswith(b"#!"):
        return
    words = line[2:].decode("utf-8", "replace").split()
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and shutil.which(words[0]) is not None:
        _keep(found.tools, words[0])


def _commands(line: str) -> Iterator[list[str]]:
    """The simple commands of a line for the shell, as well as that can be told without running it."""
    command: list[str] = []
    redirected = False
    for token in _tokens(line):
        if set(token) <= set("();<>|&\n"):
            redirected = "<" in token or ">" in token
            if not redirected:
                if command:
                    yield command
                command = []
        elif redirected:
            redirected = False
        elif command or not (_ASSIGNMENT.match(token) or token in _KEYWORDS):
            command.append(token)
    if command:
        yield command


def _tokens(line: str) -> Iterable[str]:
    lexer = shlex.shlex(line.replace("\n", " ; "), posix=True, punctuation_chars=True)
    try:
        return list(lexer)
    except ValueError:
        return []


def _first_name(line: str) -> str:
    return next((os.path.basename(command[0]) for command in _commands(line)), "sh")


def _keep(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
