"""Modules and workflows by checksum: what a run or a share names, read back from a store."""

from __future__ import annotations

from weftwork.core.checksum import Checksum, from_canonical
from weftwork.core.module import Module
from weftwork.core.workflow import Workflow
from weftwork.modules.prepared import Prepared
from weftwork.ports import Store


def stored_module(store: Store, checksum: str) -> Module:
    """The module whose document has a checksum."""
    return Module.of(from_canonical(store.get(Checksum(checksum))))


def stored_workflow(store: Store, checksum: str) -> Prepared:
    """The workflow whose document has a checksum, with its modules. Raises NotFound when any of it is gone."""
    workflow = Workflow.of(from_canonical(store.get(Checksum(checksum))))
    modules = {each: stored_module(store, each) for each in workflow.modules()}
    return Prepared(workflow.name, workflow.inputs, None, workflow, modules, ())
