"""What can be run, from what a person names: a document, ``file.py:name``, ``package.module:name``, or an object.

Owns the resolution of references. Reading documents is the business of :mod:`weftwork.formats`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from weftwork.core.building import building
from weftwork.core.checks import validate
from weftwork.core.checksum import Checksum
from weftwork.core.module import Carried, Module, by_name, nearest
from weftwork.errors import Invalid, NotFound
from weftwork.formats.document import Document, read
from weftwork.formats.module_file import FunctionReference, ModuleFile, module_of
from weftwork.formats.references import ModuleReference
from weftwork.formats.workflow_file import workflow_of
from weftwork.modules.prepared import Keep, Prepared
from weftwork.modules.wrapping import Wrapped
from weftwork.python import tracing
from weftwork.python.decorators import Configured, FunctionModule, WorkflowFunction, as_module


class FileModule:
    """A module from a document, which can be called within a traced workflow as a Python one can."""

    def __init__(self, file: ModuleFile) -> None:
        self._file = file
        self._function = None
        if isinstance(file.program, FunctionReference):
            function = as_module(load_function(file.program, file.folder))
            self._function = FunctionModule(function.__weft_function__, {**function.declared, **_declared(file)})
        self.name = file.name
        self.parameters = tuple(each.name for each in self.resolve()[0].inputs)

    def resolve(self) -> tuple[Module, Carried]:
        """The module as it is now: helper files are read, a function is bundled."""
        if self._function is not None:
            module, carried = self._function.resolve()
            return _with_signature(module, self._file), carried
        files, buffers = {}, []
        for target, path in self._file.helper_files().items():
            for name, executable, data in _helper(target, path):
                files[name] = (executable, Checksum.of(data))
                buffers.append(data)
        return self._file.to_module(files), Carried(tuple(buffers))

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return by_name(self.name, self.parameters, args, kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> tracing.Bound:
        return tracing.Bound(self, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = tracing.current()
        if trace is None:
            raise Invalid(
                f"{self.name} is a document's module: run it with weft.run, or call it within a @weft.workflow"
            )
        return trace.call(self, args, kwargs)

    def __repr__(self) -> str:
        return f"<module {self.name} of {self._file.source}>"


class FileWorkflow:
    """A workflow from a document."""

    def __init__(self, document: Document) -> None:
        self._file = workflow_of(document)
        self.name = self._file.name

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return by_name(self.name, [each.name for each in self._file.inputs], args, kwargs)

    def prepare(self, keep: Keep) -> Prepared:
        """The workflow, its modules resolved and checked. Raises Invalid with the line of each problem."""
        carried: list[Carried] = []

        def resolve(reference: ModuleReference) -> Module:
            module, brought = _of_reference(reference).resolve()
            carried.append(brought)
            return module

        workflow, modules = self._file.to_workflow(resolve, lambda declared, value: keep(declared, value, self.name))
        return Prepared(self.name, workflow.inputs, None, workflow, modules, tuple(carried))


Runnable = FunctionModule[..., Any] | WorkflowFunction[..., Any] | FileModule | FileWorkflow | Wrapped


def load(reference: str | os.PathLike[str]) -> Runnable:
    """What a text names: a module or workflow document, ``file.py:name``, or ``package.module:name``.

    Raises :class:`~weftwork.errors.NotFound` when there is no such file or name, :class:`~weftwork.errors.Invalid`
    when it is neither a module nor a workflow.
    """
    text = os.fspath(reference)
    if text.endswith((".yaml", ".yml", ".json")):
        return load_document(Path(text))
    if ":" in text:
        return _runnable(load_function(FunctionReference.of(text), Path()))
    if text.endswith(".py"):
        raise Invalid(f"{text} may hold several functions: say which one, as in {text}:name")
    raise Invalid(
        f"{text!r} names nothing that can be run; give a .yaml document, file.py:name, or package.module:name"
    )


def load_document(path: Path) -> FileModule | FileWorkflow:
    """A document: a workflow where it has ``steps``, else a module."""
    with building():
        document = read(path)
        if isinstance(document.value, dict) and "steps" in document.value:
            return FileWorkflow(document)
    return FileModule(module_of(document))


def runnable(thing: Any) -> Runnable:
    """What can be run, from an object or the text that names one."""
    if isinstance(thing, (str, os.PathLike)):
        return load(thing)
    return _runnable(thing)


def _runnable(thing: Any) -> Runnable:
    if isinstance(thing, Configured):
        return thing.module
    if isinstance(thing, (FunctionModule, WorkflowFunction, FileModule, FileWorkflow, Wrapped)):
        return thing
    if callable(thing):
        return as_module(thing)
    raise Invalid(f"{thing!r} cannot be run; give a function, a module, a workflow, or the text that names one")


def prepare(thing: Any, keep: Keep) -> Prepared:
    """Resolve what is to be run, as it is at this moment. ``keep`` stores values that a workflow has in itself."""
    found = runnable(thing)
    if isinstance(found, FileWorkflow):
        return found.prepare(keep)
    if isinstance(found, WorkflowFunction):
        traced = found.trace(keep)
        validate(traced.workflow, traced.modules)
        return Prepared(found.name, traced.workflow.inputs, None, traced.workflow, traced.modules, traced.carried)
    return Prepared.of(*found.resolve())


def _of_reference(reference: ModuleReference) -> FunctionModule[..., Any] | FileModule:
    if reference.inline is not None:
        return FileModule(reference.inline)
    if reference.path is not None:
        found: Any = load_document(reference.path)
    elif reference.function is not None:
        found = _runnable(load_function(reference.function, reference.folder))
    else:
        raise NotFound(f"there is no module {reference.text!r}: name it under `modules`, or give a file or a function")
    if isinstance(found, (FileWorkflow, WorkflowFunction)):
        raise Invalid(f"{reference.text} is a workflow, and a step needs a module")
    return found  # type: ignore[no-any-return]


def load_function(reference: FunctionReference, folder: Path) -> Any:
    """The object that a reference names. Imports its module, from a file or a package."""
    module = (
        _from_file((folder / reference.where).absolute())
        if reference.is_file
        else _from_package(reference.where, folder)
    )
    found: Any = module
    for part in reference.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [name for name in vars(found) if not name.startswith("_")] if hasattr(found, "__dict__") else []
            raise NotFound(f"{reference.where} has no {reference.name!r}{nearest(part, known)}") from None
    return found


def _from_package(name: str, folder: Path) -> ModuleType:
    with _OnPath(folder.absolute()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise Invalid(f"{name} cannot be imported: {error}") from error
            raise NotFound(
                f"there is no Python module {name!r}, neither installed nor in {folder.absolute()}"
            ) from None


def _from_file(path: Path) -> ModuleType:
    """The module of a file, imported once, with its folder on the path so that it finds its neighbours."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) and os.path.samefile(str(known.__file__), path):
        return known
    if known is not None:
        name = f"{name}_{Checksum.of(str(path).encode())[:8]}"
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _OnPath(path.parent):
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, Exception) and not isinstance(error, Invalid):
                raise Invalid(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
            raise
    return module


class _OnPath:
    """Within this, and after it, a folder is on the import path: a script's own folder is there too when it is run."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __enter__(self) -> None:
        if self._folder not in sys.path:
            sys.path.insert(0, self._folder)

    def __exit__(self, *_: object) -> None:
        return None


def _declared(file: ModuleFile) -> dict[str, Any]:
    """What a document says about a function, as ``@weft.module`` takes it."""
    out: dict[str, Any] = {"name": file.name}
    if "version" in file.declared:
        out["version"] = file.version
    if "resources" in file.declared:
        out["resources"] = file.resources.document()
    if file.environment.packages:
        out["packages"] = file.environment.packages
    if file.environment.variables:
        out["variables"] = dict(file.environment.variables)
    if "network" in file.declared:
        out["network"] = file.network
    if "deterministic" in file.declared:
        out["deterministic"] = file.deterministic
    if "tolerance" in file.declared:
        out["tolerance"] = file.tolerance
    if file.uses:
        out["uses"] = tuple(file.folder / each if (file.folder / each).exists() else each for each in file.uses)
    return out


def _with_signature(module: Module, file: ModuleFile) -> Module:
    """The module with what the document says of inputs and outputs, instead of or beside the annotations."""
    said = {each.name: each for each in file.inputs}
    known = [each.name for each in module.inputs]
    for name in said:
        if name not in known:
            raise Invalid(f"{file.source}: the function {file.program} has no parameter {name!r}{nearest(name, known)}")
    inputs = tuple(said.get(each.name, each) for each in module.inputs)
    outputs = file.outputs or module.outputs
    if {each.name for each in outputs} != {each.name for each in module.outputs}:
        raise Invalid(
            f"{file.source}: the function {file.program} has the outputs {', '.join(each.name for each in module.outputs)}, "
            f"and the document says {', '.join(each.name for each in outputs)}"
        )
    return replace(module, inputs=inputs, outputs=outputs)


def _helper(target: str, path: Path) -> list[tuple[str, bool, bytes]]:
    """A helper file, or all files of a helper folder: (path in the job, executable, bytes)."""
    if path.is_dir():
        return [each for child in sorted(path.iterdir()) for each in _helper(f"{target}/{child.name}", child)]
    if not path.is_file():
        raise NotFound(f"the helper file {path} does not exist")
    return [(target, os.access(path, os.X_OK), path.read_bytes())]
