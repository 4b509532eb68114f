"""How a run ended: what succeeded, failed, was cancelled or skipped, why, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weftwork.core.binding import Values
from weftwork.core.condition import Term, leaves
from weftwork.core.expression import OutputOf
from weftwork.core.expression import leaves as parts
from weftwork.core.messages import Binding, Ended, Outcome, StepResult
from weftwork.core.module import Module
from weftwork.core.workflow import Workflow

_TOLD = 3
"""How many failed items a text names."""


def result_of(event: Ended) -> StepResult:
    """The result of a step or item that is one task."""
    if event.state == "succeeded":
        return StepResult("succeeded", "", event.outputs)
    return StepResult(event.state, event.error or ("it was cancelled" if event.state == "cancelled" else "it failed"))


def gathered(step: str, results: Sequence[StepResult], module: Module) -> StepResult:
    """The result of a mapped step: lists in the order of the items; one failed item fails it."""
    for state in ("failed", "cancelled"):
        bad = [(index, each) for index, each in enumerate(results) if each.state == state]
        if bad:
            told = "; ".join(f"{step}[{index}]: {each.why}" for index, each in bad[:_TOLD])
            more = "; …" if len(bad) > _TOLD else ""
            verb = "failed" if state == "failed" else "were cancelled"
            return StepResult(bad[0][1].state, f"{len(bad)} of {len(results)} items {verb}: {told}{more}")
    names = [each.name for each in module.outputs]
    return StepResult("succeeded", "", {name: tuple(each.outputs[name] for each in results) for name in names})


def outcome(workflow: Workflow, results: Mapping[str, StepResult], values: Values, by: str | None) -> Outcome:
    """The end of a run; ``by`` says who cancelled it, if somebody did."""
    outputs: dict[str, Binding] = {}
    lost: dict[str, list[str]] = {}
    for name, expression in workflow.outputs.items():
        binding = values.resolve(expression)
        if binding is not None:
            outputs[name] = binding
            continue
        for step in {each.step: None for each in parts(expression) if isinstance(each, OutputOf)}:
            if results[step].state in ("failed", "cancelled"):
                lost.setdefault(step, []).append(name)
    if by is not None and any(each.state == "cancelled" for each in results.values()):
        return Outcome("cancelled", f"cancelled by {by}", results, outputs)
    asked = _asked_for(workflow, results)
    failures = {name: f"{name} failed: {each.why}" for name, each in results.items() if each.state == "failed"}
    failed = [text for name, text in failures.items() if name not in asked]
    if failed or lost:
        # What was provided for and cost an output all the same is told beside the loss: it is its cause.
        causes = [text for name, text in failures.items() if name not in lost]
        told = failed or [*(_loss(names, step, results[step]) for step, names in lost.items()), *causes]
        return Outcome("failed", "; ".join(told), results, outputs)
    return Outcome("succeeded", "", results, outputs)


def _loss(names: Sequence[str], step: str, result: StepResult) -> str:
    """Which outputs of the workflow a step did not give, and why."""
    what = "output" if len(names) == 1 else "outputs"
    how = "failed" if result.state == "failed" else "was cancelled"
    return f"{what} {', '.join(names)}: {step} {how}: {result.why}"


def _asked_for(workflow: Workflow, results: Mapping[str, StepResult]) -> set[str]:
    """The steps whose end was asked for by the condition of a step that succeeded: their failure was provided for."""
    return {
        leaf.step
        for step in workflow.steps
        if step.when is not None and results[step.name].state == "succeeded"
        for leaf in leaves(step.when)
        if isinstance(leaf, Term)
    }
