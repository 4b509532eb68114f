"""``@weft.module``: a Python function as a module, which is still a plain function when it is called."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from weftwork.core.checksum import Checksum, canonical
from weftwork.core.environment import Environment
from weftwork.core.module import Carried, Function, Module, Output, by_name, nearest
from weftwork.core.placement import Resources
from weftwork.errors import CalculationFailed, Invalid
from weftwork.python import default, tracing
from weftwork.python.bundling import Bundled, Caution, bundle
from weftwork.python.signature import signature, workflow_inputs

P = ParamSpec("P")
R = TypeVar("R")


class FunctionModule(Generic[P, R]):
    """A Python function that is also a module. Calling it calls the function, here and now.

    Inside a function traced by ``@weft.workflow`` a call is a step, and answers a promise of its outputs.
    """

    def __init__(self, function: Callable[P, R], declared: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.__weft_function__ = function
        self.declared = dict(declared)
        self._lock = threading.Lock()
        self._signature: Any = None
        self._resolved: tuple[tuple[bytes, str, str], Module] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        trace = tracing.current()
        if trace is not None:
            return cast("R", trace.call(self, args, kwargs))
        return self.__weft_function__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<module {self.name}>"

    @property
    def name(self) -> str:
        """The module's name, for people: the function's own unless another was given."""
        return self.declared.get("name") or _clean(self.__weft_function__.__qualname__)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(each.name for each in self._signed()[0])

    def _signed(self) -> Any:
        with self._lock:
            if self._signature is None:
                self._signature = signature(self.__weft_function__)
            return self._signature

    def resolve(self) -> tuple[Module, Carried]:
        """The module as it is at this moment, with its bundle.

        Identity is taken now, not at decoration: a global that changed since counts as it is.
        """
        self._signed()
        bundled = bundle(self.__weft_function__, uses=self.declared.get("uses") or ())
        document = canonical(bundled.document)
        # All else that a module says is either declared, once and for all, or one of these.
        about = document, self.name, (self.__weft_function__.__doc__ or "").strip().partition("\n")[0]
        known = self._resolved
        if known is None or known[0] != about:
            known = self._resolved = about, self._module(bundled, *about)
        return known[1], Carried((document, *bundled.blobs.values()), tuple(map(_said, bundled.warnings)))

    def _module(self, bundled: Bundled, document: bytes, name: str, description: str) -> Module:
        inputs, outputs, returns = self._signed()
        environment = Environment.of(
            {
                "packages": sorted({*bundled.packages, *(self.declared.get("packages") or ())}),
                "variables": dict(self.declared.get("variables") or {}),
            }
        )
        tolerance = self.declared.get("tolerance") or 0.0
        return Module(
            name=name,
            version=self.declared.get("version") or "",
            description=description,
            inputs=inputs,
            outputs=_scratch(name, _tolerant(name, outputs, tolerance), self.declared.get("scratch") or ()),
            program=Function(Checksum.of(document), bundled.identity, returns),
            environment=environment,
            resources=Resources.of(self.declared.get("resources") or {}),
            network=bool(self.declared.get("network", False)),
            deterministic=bool(self.declared.get("deterministic", True)),
            tolerance=0.0 if isinstance(tolerance, Mapping) else tolerance,
        )

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by the names of the inputs. Raises Invalid for too many, and for one that is given twice."""
        return by_name(self.name, self.parameters, args, kwargs)

    def options(self, **options: Any) -> Configured:
        """The module with what a call says besides its inputs: ``name`` of the step, ``when`` (a condition), ``at`` (a
        site), ``resources``, ``cache``, ``retries``, ``priority``. Outside a workflow they do nothing."""
        return Configured(self, tracing.Options(**_known(options, tracing.Options.__dataclass_fields__, ".options")))

    def bind(self, *args: Any, **kwargs: Any) -> tracing.Bound:
        """The module with its inputs, not called yet: a candidate for ``weft.race``."""
        return tracing.Bound(self, args, kwargs)

    def map(self, *columns: Iterable[Any], **constants: Any) -> Any:
        """Call the module for each item of the columns, side by side, as the built-in ``map`` does; results in order.

        A column may be a generator: it is read as fast as results are taken. Inputs that stay the same are given by
        name. The first failure is raised where its result would have come.
        """
        trace = tracing.current()
        if trace is not None:
            return trace.map(self, columns, constants)
        return default.session().map(self, *columns, **constants)

    def submit(self, *args: Any, **inputs: Any) -> Any:
        """Start the module without waiting; see ``weft.submit``."""
        return default.session().submit(self, self.bound(args, inputs))


def _tolerant(name: str, outputs: tuple[Output, ...], tolerance: Any) -> tuple[Output, ...]:
    """The outputs with the tolerances that are said of them. Raises Invalid for an output that there is not."""
    if not isinstance(tolerance, Mapping):
        return outputs
    known = [each.name for each in outputs]
    for output in tolerance:
        if output not in known:
            raise Invalid(
                f"{name}: tolerance names the output {output!r}{nearest(output, known)}; its outputs are {', '.join(known)}"
            )
    return tuple(replace(each, tolerance=tolerance.get(each.name)) for each in outputs)


def _scratch(name: str, outputs: tuple[Output, ...], chosen: Any) -> tuple[Output, ...]:
    """The outputs with those marked that are not kept. Raises Invalid for an output that there is not."""
    known = [each.name for each in outputs]
    wanted = known if chosen is True else [chosen] if isinstance(chosen, str) else list(chosen)
    for output in wanted:
        if output not in known:
            raise Invalid(
                f"{name}: scratch names the output {output!r}{nearest(str(output), known)}; its outputs are {', '.join(known)}"
            )
    return tuple(replace(each, scratch=each.name in wanted) for each in outputs)


def _said(caution: Caution) -> str:
    """``numpy.random.rand in study.noise (study.py:16): random``."""
    return f"{caution.what} in {caution.function} ({caution.file}:{caution.line}): {caution.kind}"


def _clean(qualname: str) -> str:
    return qualname.replace("<locals>.", "").replace("<lambda>", "lambda_")


@overload
def module(function: Callable[P, R], /) -> FunctionModule[P, R]: ...


@overload
def module(**declared: Any) -> Callable[[Callable[P, R]], FunctionModule[P, R]]: ...


def module(function: Callable[..., Any] | None = None, /, **declared: Any) -> Any:
    """Make a function a module. It stays a plain function when called.

    Options: ``name``, ``version``; ``resources={"cpus": 2, "memory": "1 GB", "time": "10m"}``; ``packages`` and ``uses``
    (what counts although the walk through the source cannot find it: distributions; functions, modules, files);
    ``variables`` (set while it runs, and in the key); ``network``; ``deterministic=False`` for one that may differ from
    call to call; ``tolerance=1e-9`` for one whose numbers may differ so much, relatively, when it runs again, or a
    dict of such by output; ``scratch=True``, or a set of its outputs, whose bytes are not kept once nobody needs them.

    Raises :class:`~weftwork.errors.Invalid` for an option that is not known.
    """
    _known(declared, OPTIONS, "@weft.module")
    if function is None:
        return lambda each: FunctionModule(each, declared)
    return FunctionModule(function, declared)


def _known(given: dict[str, Any], known: Iterable[str], what: str) -> dict[str, Any]:
    """The options as they are. Raises Invalid for one that is not known, with the nearest."""
    for name in given:
        if name not in known:
            raise Invalid(f"{what} has no option {name!r}{nearest(name, known)}; the options are {', '.join(known)}")
    return given


@dataclass(frozen=True, slots=True)
class Configured:
    """A module with options of its call."""

    module: FunctionModule[..., Any]
    chosen: tracing.Options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = tracing.current()
        if trace is not None:
            return trace.call(self.module, args, kwargs, self.chosen)
        return self.module(*args, **kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> tracing.Bound:
        return tracing.Bound(self.module, args, kwargs, self.chosen)

    def map(self, *columns: Iterable[Any], **constants: Any) -> Any:
        trace = tracing.current()
        if trace is not None:
            return trace.map(self.module, columns, constants, self.chosen)
        return self.module.map(*columns, **constants)


class WorkflowFunction(Generic[P, R]):
    """A Python function that describes a workflow. Calling it runs it plainly, here and now, as the function it is."""

    def __init__(self, function: Callable[P, R], name: str | None = None) -> None:
        functools.update_wrapper(self, function)
        self.__weft_function__ = function
        self.name = name or _clean(function.__qualname__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__weft_function__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    def bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by the names of the inputs. Raises Invalid for too many, and for one that is given twice."""
        return by_name(self.name, [each.name for each in signature(self.__weft_function__)[0]], args, kwargs)

    def trace(self, keep: tracing.Keep) -> tracing.Traced:
        """The workflow that the function describes, with the modules as they are at this moment."""
        return tracing.trace(self.__weft_function__, self.name, workflow_inputs(self.__weft_function__), keep)


@overload
def workflow(function: Callable[P, R], /) -> WorkflowFunction[P, R]: ...


@overload
def workflow(*, name: str) -> Callable[[Callable[P, R]], WorkflowFunction[P, R]]: ...


def workflow(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function that calls modules a workflow: ``weft.run`` traces it once, with promises for its arguments."""
    if function is None:
        return lambda each: WorkflowFunction(each, name)
    return WorkflowFunction(function, name)


def race(*, accept: Any = None, name: str | None = None, when: Any = None, **candidates: tracing.Bound) -> Any:
    """The outputs of the first candidate that ends well and that ``accept`` holds for; the others are cancelled.

    ``weft.race(lm=fit_lm.bind(data), de=fit_de.bind(data), accept=lambda fit: fit.chi2 < 1.2)``. Outside a workflow the
    candidates are called one after the other, in order. Raises :class:`~weftwork.errors.CalculationFailed` when none is good.
    """
    trace = tracing.current()
    if trace is not None:
        return trace.race(candidates, accept, tracing.Options(name=name, when=when))
    for bound in candidates.values():
        answer = bound()
        if accept is None or accept(answer):
            return answer
    raise CalculationFailed(f"no candidate of the race was accepted: {', '.join(candidates)}")


OPTIONS = (
    "name",
    "version",
    "resources",
    "packages",
    "uses",
    "variables",
    "network",
    "deterministic",
    "tolerance",
    "scratch",
)


def as_module(function: Callable[..., Any]) -> FunctionModule[..., Any]:
    """A function or module as a module: a plain function may be run without decoration."""
    return function if isinstance(function, FunctionModule) else FunctionModule(function, {})
