"""A worker by itself: real processes, spoken to over their own channel."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import weftwork
from weftwork.core import codecs
from weftwork.core.checksum import Checksum, canonical
from weftwork.core.module import Function, Module, Output
from weftwork.core.values import Directory, File, Ref, Type, convert
from weftwork.node.frames import Frame, Unpacker, pack
from weftwork.python.bundling import bundle
from weftwork.python.environment import python_environment
from weftwork.python.signature import signature

ROOT = str(Path(weftwork.__file__).parent.parent)
BOOT = "import sys; sys.path.append(sys.argv[1]); from weftwork.node.worker import main; main(sys.argv[2:])"


@dataclass
class Answer:
    """What a worker said about a call."""

    header: dict[str, Any]
    blobs: list[bytes]
    types: dict[str, Any]

    @property
    def log(self) -> str:
        return self.blobs[0].decode() if "log" in self.header else ""

    @property
    def error(self) -> dict[str, Any]:
        assert "error" in self.header, self.header
        return dict(self.header["error"])

    def raw(self, name: str = "result") -> bytes:
        assert "error" not in self.header, self.header["error"]
        where = {each: where for each, _, where in self.header["out"]}[name]
        return Path(where).read_bytes() if isinstance(where, str) else self.blobs[where]

    def value(self, name: str = "result") -> Any:
        kind = {each: kind for each, kind, _ in self.header["out"]}[name] if "error" not in self.header else None
        return codecs.decode(Type.of(kind), self.raw(name), None, None)  # type: ignore[arg-type]


class Engine:
    """The other end of one worker's channel."""

    def __init__(self, folder: Path, function: Callable[..., Any], **changes: Any) -> None:
        bundled = bundle(function)
        document = canonical(bundled.document)
        inputs, outputs, returns = _signature(function, changes.pop("result", None))
        program = Function(Checksum.of(document), bundled.identity, returns)
        self.module = Module(function.__name__, inputs, outputs, program)
        self.store: dict[str, bytes | Path] = dict(bundled.blobs)
        self.folder = folder
        self.unpacker = Unpacker()
        self.number = 0
        for name in ("scratch", "spool"):
            (folder / name).mkdir(parents=True)
        self.start(changes.pop("environment_variables", {}))
        set_up = {
            "bundle": program.bundle,
            "identity": program.identity,
            "environment": python_environment(bundled.packages),
            "scratch": str(folder / "scratch"),
            "inputs": str(folder / "inputs"),
            "spool": str(folder / "spool"),
            "prefix": "w",
        }
        self.send({"set up": {**set_up, **changes}}, [document])
        self.shapes = 0
        self.send({"modules": {"m": self.module.document()}, "calls": []})

    def start(self, variables: dict[str, str]) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        self.tokens, self.token_in = os.pipe()
        os.set_blocking(self.tokens, False)
        self.bell, bell = os.pipe()
        passed = (theirs.fileno(), self.tokens, bell)
        with open(self.folder / "log", "ab+") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOT, ROOT, str(os.getpid()), *map(str, passed)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", **variables},
                pass_fds=passed,
                start_new_session=True,
            )
        theirs.close()
        os.close(bell)

    def send(self, header: dict[str, Any], blobs: list[bytes] | None = None) -> None:
        self.socket.sendall(pack(header, blobs or []))

    def hear(self) -> Frame:
        while (frame := self.unpacker.next()) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self.unpacker.feed(data)
        if "need" in frame.header:
            checksum = frame.header["need"]
            have = self.store.get(checksum)
            more = {"path": str(have)} if isinstance(have, Path) else {}
            self.send({"have": checksum, **more}, [have] if isinstance(have, bytes) else [])
            return self.hear()
        return frame

    def ready(self) -> Engine:
        header = self.hear().header
        assert "ready" in header, header
        return self

    def put(self, data: bytes) -> Checksum:
        self.store[Checksum.of(data)] = data
        return Checksum.of(data)

    def row(self, key: str | None, inputs: dict[str, Any], blobs: list[bytes]) -> list[Any]:
        self.number += 1
        rows: list[Any] = []
        kinds = []
        for name, value in inputs.items():
            kind, where = self.module.input(name).type, None
            if not isinstance(value, Ref):
                concrete, data = codecs.encode(kind, convert(kind, value), self.put)
                value = Ref(concrete, Checksum.of(data), len(data))
                blobs.append(data)
                where = len(blobs) - 1
            kinds.append([name, value.type.document()])
            rows.append(where if where is not None and value.type.inline else [value.checksum, where])
        self.shapes += 1
        self.send({"shapes": [[self.shapes, "m", kinds]], "calls": []})
        return [self.number, self.shapes, key or Checksum.of(str(self.number).encode()), rows]

    def submit(self, *calls: dict[str, Any], key: str | None = None) -> list[int]:
        blobs: list[bytes] = []
        rows = [self.row(key, each, blobs) for each in calls]
        self.send({"calls": rows}, blobs)
        os.write(self.token_in, b"".join(struct.pack("=Q", row[0]) for row in rows))
        return [row[0] for row in rows]

    def call(self, *, key: str | None = None, **inputs: Any) -> Answer:
        self.submit(inputs, key=key)
        return self.answer()

    def answer(self) -> Answer:
        header, blobs = self.hear()
        return Answer(header, blobs, {})

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.socket.close()
        for each in (self.tokens, self.token_in, self.bell):
            os.close(each)


def _signature(function: Callable[..., Any], result: str | None) -> tuple[Any, Any, str]:
    if result is None:
        return signature(function)
    bare = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    bare.__annotations__ = {**function.__annotations__, "return": "int"}
    return signature(bare)[0], (Output("result", Type(result)),), "value"


Start = Callable[..., Engine]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    engines: list[Engine] = []

    def start(function: Callable[..., Any], **changes: Any) -> Engine:
        engines.append(Engine(tmp_path / str(len(engines)), function, **changes))
        return engines[-1]

    yield start
    for each in engines:
        each.close()


# Values


def scaled(xs: list[float], by: float = 2.0) -> list[float]:
    return [x * by for x in xs]


def test_a_call_gives_what_the_function_returns(start: Start) -> None:
    worker = start(scaled).ready()
    assert worker.call(xs=[1, 2.5], by=2).value() == [2.0, 5.0]
    assert worker.call(xs=[]).value() == []


class Fit(NamedTuple):
    slope: float
    residuals: np.ndarray
    note: str | None


def fit(y: np.ndarray) -> Fit:
    y += 1  # its own copy
    return Fit(float(y[1] - y[0]), y - y.mean(), None)


def test_arrays_come_writable_and_fields_become_outputs(start: Start) -> None:
    worker = start(fit).ready()
    for _ in range(2):
        answer = worker.call(y=np.array([1.0, 3.0]))
        assert answer.value("slope") == 2.0
        assert answer.value("residuals").tolist() == [-1.0, 1.0]
        assert answer.value("note") is None


def large() -> bytes:
    return b"x" * (3 << 20)


def test_a_large_output_travels_as_a_file(start: Start) -> None:
    answer = start(large).ready().call()
    assert isinstance(answer.header["out"][0][2], str)
    assert answer.value() == b"x" * (3 << 20)


def copy(source: File, folder: Directory) -> File:
    names = sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())
    with open("out.txt", "w") as out:
        out.write(source.path.read_text() + ",".join(names) + str(os.access(folder.path / names[0], os.X_OK)))
    return File("out.txt")


def test_files_and_directories_are_read_and_a_written_file_is_taken(start: Start) -> None:
    worker = start(copy, result="file").ready()
    content = worker.put(b"hello ")
    tree = worker.put(codecs.directory_bytes([("sub/é b", True, content), ("z", False, content)]))
    inputs = {
        "source": Ref(Type("file"), content, 6),
        "folder": Ref(Type("directory"), tree, 0),
    }
    answer = worker.call(**inputs)
    assert answer.raw() == b"hello sub/\xc3\xa9 b,zTrue"
    assert not list((worker.folder / "scratch").iterdir())
    assert worker.call(**inputs).raw() == answer.raw()


def spoil(source: File) -> str:
    text = source.path.read_text()
    os.chmod(source.path, 0o666)
    source.path.write_text("spoilt!")
    return text


def test_a_function_that_writes_into_its_input_harms_nobody(start: Start, tmp_path: Path) -> None:
    worker = start(spoil).ready()
    kept = tmp_path / "kept"
    kept.write_bytes(b"content")
    worker.store[Checksum.of(b"content")] = kept
    for _ in range(3):
        assert worker.call(source=Ref(Type("file"), Checksum.of(b"content"), 7)).value() == "content"
    assert kept.read_bytes() == b"content"


def test_a_damaged_input_is_seen(start: Start, tmp_path: Path) -> None:
    worker = start(spoil).ready()
    kept = tmp_path / "kept"
    kept.write_bytes(b"damaged")
    worker.store[Checksum.of(b"content")] = kept
    error = worker.call(source=Ref(Type("file"), Checksum.of(b"content"), 7)).error
    assert error["type"] == "Corrupt"


class Tree(NamedTuple):
    folder: Directory
    files: list[File]


def trees() -> Tree:
    os.makedirs("out/deep")
    for name in ("out/a", "out/deep/b", "c"):
        Path(name).write_text(name)
    os.symlink("a", "out/link")
    return Tree(Directory("out"), [File("c"), File("out/a")])


def test_directories_and_lists_of_files_are_taken_apart(start: Start) -> None:
    answer = start(trees).ready().call()
    sums = {name: str(Checksum.of(name.encode())) for name in ("out/a", "out/deep/b", "c")}
    raw = answer.raw("folder").decode()
    assert (
        raw
        == canonical(
            [["a", False, sums["out/a"]], ["deep/b", False, sums["out/deep/b"]], ["link", False, sums["out/a"]]]
        ).decode()
    )
    assert answer.raw("files") == canonical([sums["c"], sums["out/a"]])
    held = {str(Checksum.of(Path(each).read_bytes())) for each in answer.header["buffers"] if isinstance(each, str)}
    assert held == set(sums.values())


# What may be wrong with what is returned


def wrong(kind: str) -> float:
    return {"none": None, "text": "3", "good": 1}[kind]  # type: ignore[return-value]


def test_a_result_that_is_not_what_was_declared_is_no_output(start: Start) -> None:
    worker = start(wrong).ready()
    none, text = worker.call(kind="none").error, worker.call(kind="text").error
    assert none["type"] == text["type"] == "NoOutput"
    assert "'result'" in none["message"]
    assert "None" in none["message"]
    assert "float" in none["message"]
    assert "'3'" in text["message"]
    assert worker.call(kind="good").raw() == b"1.0"


def outside(name: str) -> File:
    return File(name)


def test_a_returned_file_that_is_not_there_is_no_output_and_one_from_elsewhere_is_copied(
    start: Start, tmp_path: Path
) -> None:
    worker = start(outside, result="file").ready()
    assert worker.call(name="absent").error["type"] == "NoOutput"
    assert worker.call(name="/dev/null").error["type"] == "NoOutput"
    (tmp_path / "there").write_text("kept")
    assert worker.call(name=str(tmp_path / "there")).raw() == b"kept"
    assert (tmp_path / "there").read_text() == "kept"


# Failures


def helper(kind: str) -> int:
    if kind == "zero":
        return 1 // 0
    if kind == "deep":
        return helper(kind) + 1
    raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "memory": MemoryError, "value": ValueError}[kind]("why")


def failing(kind: str) -> int:
    return 5 if kind == "well" else helper(kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("zero", "ZeroDivisionError"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("memory", "MemoryError"),
        ("deep", "RecursionError"),
    ],
)
def test_what_a_function_raises_fails_that_call_alone(start: Start, kind: str, name: str) -> None:
    worker = start(failing).ready()
    worker.submit({"kind": kind}, {"kind": "well"})
    error = worker.answer().error
    assert error["type"] == "Raised"
    assert error["message"].startswith(f"failing: {name}")
    assert worker.answer().value() == 5


def test_a_traceback_has_the_users_frames_alone_with_file_and_line(start: Start) -> None:
    error = start(failing).ready().call(kind="zero").error
    text = error["details"]["traceback"]
    line = helper.__code__.co_firstlineno + 2
    assert f"({__file__}:{line})" in error["message"]
    assert f'File "{__file__}", line {line}, in helper' in text
    assert "return 1 // 0" in text
    assert str(Path(weftwork.__file__).parent) not in text


# Surroundings


def streams(text: str) -> None:
    print(text)
    sys.stderr.write(text + "-err\n")
    ctypes.CDLL(None).printf(b"%s-c\n", text.encode())
    subprocess.run(["echo", text + "-child"], check=True)
    warnings.warn(text + "-warning", UserWarning, stacklevel=1)
    logging.getLogger("science").info("%s-record", text)


def test_streams_warnings_and_records_belong_to_their_call(start: Start) -> None:
    worker = start(streams).ready()
    texts = {"first-call", "second-call", "third-call"}
    for text in sorted(texts):
        answer = worker.call(text=text)
        for end in ("", "-err", "-c", "-child", "-warning", "-record"):
            assert text + end in answer.log, end
        assert answer.header["warnings"] == [f"UserWarning: {text}-warning"]
        for other in texts - {text}:
            assert other not in answer.log
    assert worker.call(text="x").header["log_end"] == (worker.folder / "log").stat().st_size


def flood() -> int:
    for _ in range(20):
        os.write(1, b"z" * (1 << 20))
    return 1


def test_a_flood_is_capped_with_a_note(start: Start) -> None:
    answer = start(flood).ready().call()
    assert len(answer.blobs[0]) < (16 << 20) + 200
    assert answer.blobs[0].endswith(b"not kept]\n")
    assert answer.value() == 1


def untidy(what: str) -> str:
    if what == "cwd":
        os.chdir("/")
    elif what == "environ":
        os.environ["LEAK"] = "x"
        del os.environ["PATH"]
    elif what == "logging":
        logging.getLogger().setLevel(logging.ERROR)
        logging.getLogger("a.b").addHandler(logging.NullHandler())
        logging.getLogger("a.b").setLevel(logging.CRITICAL)
        logging.disable(logging.CRITICAL)
    elif what == "warnings":
        warnings.simplefilter("ignore")
    elif what == "signal":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
    elif what == "stdout":
        sys.stdout.close()
        sys.stderr = None
        os.close(1)
    elif what == "redirect":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        os.dup2(sys.stdout.fileno(), 2)
    elif what == "files":
        os.makedirs("left/over")
        os.chmod("left", 0)
    elif what == "scratch":
        os.rmdir(os.getcwd())
    elif what == "recursion":
        sys.setrecursionlimit(50)
    return "done"


def state(what: str) -> str:
    if what != "look":
        return untidy(what)
    print("seen")
    logging.getLogger("a.b").warning("recorded")
    warnings.warn("warned", stacklevel=1)
    parts = [os.getcwd(), sorted(os.environ.items()), logging.getLogger().level, logging.getLogger("a.b").handlers]
    parts += [logging.getLogger("a.b").level, signal.getsignal(signal.SIGTERM), os.listdir(), sys.getrecursionlimit()]
    parts += [signal.getitimer(signal.ITIMER_REAL)]
    return str(parts)


def test_a_call_finds_the_surroundings_that_every_call_finds(start: Start) -> None:
    worker = start(state).ready()
    first = worker.call(what="look")
    assert first.log == "seen\nWARNING a.b: recorded\n" + first.log.split("recorded\n")[1]
    assert "warned" in first.log
    kinds = ["cwd", "environ", "logging", "warnings", "signal", "stdout", "redirect", "files", "scratch", "recursion"]
    for what in kinds:
        assert worker.call(what=what).value() == "done"
        again = worker.call(what="look")
        assert again.value() == first.value(), what
        assert again.log == first.log, what
    assert worker.process.poll() is None


def environment(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names} | {
        "cwd": os.getcwd(),
        "python": str([n for n in os.environ if n.startswith("PYTHON")]),
    }


def dice(n: int) -> list[float]:
    return [random.random(), float(np.random.random()), *map(float, {str(i): 0 for i in range(n)})]


def test_random_and_numpy_are_seeded_from_the_key(start: Start) -> None:
    worker, other = start(dice).ready(), start(dice).ready()
    key, key2 = Checksum.of(b"1"), Checksum.of(b"2")
    first = worker.call(key=key, n=0).value()
    assert worker.call(key=key2, n=0).value() != first
    assert worker.call(key=key, n=0).value() == first
    assert other.call(key=key, n=0).value() == first


def peek(path: str) -> int:
    return len(Path(path).read_text()) if path else 0


def test_files_that_are_read_are_told(start: Start, tmp_path: Path) -> None:
    worker = start(peek).ready()
    assert any(__file__ in each for each in worker.call(path=__file__).header["outside"])
    (tmp_path / "other").write_text("elsewhere")
    assert any(str(tmp_path / "other") in each for each in worker.call(path=str(tmp_path / "other")).header["outside"])
    assert "outside" not in worker.call(path="/etc/passwd").header
    assert "outside" not in worker.call(path="").header


def order() -> list[str]:
    return list({f"name{i}" for i in range(50)})


def test_the_order_of_sets_is_the_same_in_every_worker(start: Start) -> None:
    assert start(order).ready().call().value() == start(order).ready().call().value()


def stay(what: str) -> int:
    if what == "thread":
        threading.Thread(target=time.sleep, args=(60,)).start()
    elif what == "child":
        return subprocess.Popen(["sleep", "60"]).pid
    elif what == "grandchild":
        subprocess.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 &"], check=True)
    elif what == "daemon":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return 0


@pytest.mark.parametrize("what", ["thread", "child", "grandchild"])
def test_a_worker_with_left_over_threads_or_children_says_so_and_ends(start: Start, what: str) -> None:
    worker = start(stay).ready()
    worker.submit({"what": what}, {"what": "none"})
    answer = worker.answer()
    assert "left" in answer.header["retire"]
    assert worker.process.wait(5) == 0
    # The second call was not begun: its token is there.
    assert struct.unpack("=Q", os.read(worker.tokens, 8)) == (2,)


def test_daemon_threads_do_not_end_a_worker(start: Start) -> None:
    worker = start(stay).ready()
    assert "retire" not in worker.call(what="daemon").header
    assert worker.call(what="none").value() == 0


def forker() -> int:
    return os.getpid() if os.fork() == 0 else 0


def test_a_forked_copy_of_the_worker_never_answers(start: Start) -> None:
    worker = start(forker).ready()
    answer = worker.call()
    assert answer.value() == 0
    worker.process.wait(5)
    worker.socket.settimeout(0.5)
    with pytest.raises((EOFError, TimeoutError)):
        worker.hear()


# Tokens and the end


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_calls_whose_tokens_are_taken_back_are_not_begun(start: Start) -> None:
    worker = start(nap).ready()
    worker.submit({"seconds": 0.2}, {"seconds": 5.0}, {"seconds": 5.0}, {"seconds": 0.0})
    time.sleep(0.05)
    assert struct.unpack("=QQ", os.read(worker.tokens, 16)) == (2, 3)
    assert [worker.answer().value() for _ in range(2)] == [0.2, 0.0]


def die(how: str) -> int:
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "close":
        os.closerange(3, 64)
    return 1


@pytest.mark.parametrize(("how", "code"), [("exit", 7), ("segfault", -signal.SIGSEGV), ("close", 97)])
def test_a_function_that_ends_its_process_leaves_the_tokens_of_the_others(start: Start, how: str, code: int) -> None:
    worker = start(die).ready()
    worker.submit({"how": "well"}, {"how": how}, {"how": "well"})
    assert worker.answer().value() == 1
    assert worker.process.wait(10) == code
    assert struct.unpack("=Q", os.read(worker.tokens, 8)) == (3,)


def spin() -> None:
    # PyDLL keeps the interpreter's lock: no thread of the worker could do anything about it.
    ctypes.PyDLL(None).sleep(30)


def test_a_worker_in_a_long_call_into_c_ends_with_its_engine(tmp_path: Path) -> None:
    text = (
        "import sys, os, time; from pathlib import Path; sys.path[:0] = sys.argv[1:3]; import test_worker as t\n"
        "e = t.Engine(Path(sys.argv[3]), t.spin).ready(); e.submit({}); print(e.process.pid, flush=True); time.sleep(60)\n"
    )
    words = [sys.executable, "-c", text, ROOT, str(Path(__file__).parent), str(tmp_path / "w")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        time.sleep(0.2)
        engine.kill()
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


# Set-up


def test_an_environment_that_differs_is_refused_and_names_both_versions(start: Start) -> None:
    have = np.__version__
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"packages": {"numpy": "0.1"}}, "0.1", have),
        ({"python": "2.7"}, "2.7", "3."),
        ({"system": "plan9"}, "plan9", "linux"),
    ]
    for said, wanted, found in cases:
        worker = start(dice, environment=said)
        error = worker.hear().header["refused"]
        assert error["type"] == "EnvironmentDiffers"
        assert found in error["message"]
        assert wanted in error["message"]
        assert worker.process.wait(5) == 0


def test_a_bundle_that_is_not_the_program_of_the_key_is_refused(start: Start) -> None:
    worker = start(dice, identity=Checksum.of(b"other"))
    error = worker.hear().header["refused"]
    assert error["type"] == "Corrupt"
    assert Checksum.of(b"other") in error["message"]


def test_the_users_main_is_never_run(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[1:3]; import test_worker as t\n"
        "def double(x: int) -> int:\n    return 2 * x\n"
        "open(sys.argv[3] + '/ran', 'a').write('x')\n"
        "e = t.Engine(Path(sys.argv[3]) / 'w', double).ready(); print(e.call(x=4).value()); e.close()\n"
    )
    words = [sys.executable, str(script), ROOT, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.stdout == "8\n", done.stderr
    assert (tmp_path / "ran").read_text() == "x"
