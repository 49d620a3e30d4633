"""Run an agent once per row of a CSV: mapped, validated, staggered, followed and joined back.

    import batchkit as bk

    ws = bk.Workspace()
    agent = ws.agent("Permit filer")
    table = bk.read_csv("permits.csv")
    mapping = ws.suggest_mapping(table, agent)
    checked = ws.validate(table, mapping, agent)
    batch = ws.create_batch(checked, bk.BatchConfig(name="March permits"))
    await batch.wait("finished")        # batch.join("finished") in a plain script
    batch.results()

Names are loaded when they are first used, so that importing batchkit costs next to nothing.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchkit.batch import Batch
    from batchkit.core.agent import Agent, InputVariable, WorkflowVersion
    from batchkit.core.config import BatchConfig
    from batchkit.core.flow import FailureThreshold
    from batchkit.core.hours import WorkingHours
    from batchkit.core.lifecycle import BatchStatus, ItemStatus
    from batchkit.core.mapping import Input, Mapping, Metadata, NotBefore, ProfileName, Skip
    from batchkit.core.notice import Notice
    from batchkit.core.profile import AgentProfile, ProfilePool, SelectionStrategy
    from batchkit.core.progress import Progress
    from batchkit.core.table import Table
    from batchkit.core.validation import Validation
    from batchkit.errors import (
        AuthError,
        BatchCancelled,
        BatchError,
        BatchInDoubt,
        BatchInterrupted,
        BatchkitError,
        BatchPaused,
        ConfigError,
        EngineError,
        ExportError,
        MappingError,
        NotFoundError,
        StateError,
        StoreError,
        TableError,
        TargetError,
        UnreachableError,
        ValidationError,
    )
    from batchkit.io.exports import write_csv
    from batchkit.io.result_files import write_results
    from batchkit.io.tables import read_csv
    from batchkit.targets.answers import Lookup, Polling
    from batchkit.targets.asteroid import AsteroidTarget
    from batchkit.targets.demo import DemoPlatform
    from batchkit.targets.function import FunctionTarget
    from batchkit.targets.http import HttpTarget
    from batchkit.targets.secret import Secret
    from batchkit.webhook import webhook_app
    from batchkit.workspace import Workspace

__version__ = "0.1.0"

logging.getLogger("batchkit").addHandler(logging.NullHandler())

_HOMES = {
    "batchkit.batch": ("Batch",),
    "batchkit.core.agent": ("Agent", "InputVariable", "WorkflowVersion"),
    "batchkit.core.config": ("BatchConfig",),
    "batchkit.core.flow": ("FailureThreshold",),
    "batchkit.core.hours": ("WorkingHours",),
    "batchkit.core.lifecycle": ("BatchStatus", "ItemStatus"),
    "batchkit.core.mapping": ("Input", "Mapping", "Metadata", "NotBefore", "ProfileName", "Skip"),
    "batchkit.core.notice": ("Notice",),
    "batchkit.core.profile": ("AgentProfile", "ProfilePool", "SelectionStrategy"),
    "batchkit.core.progress": ("Progress",),
    "batchkit.core.table": ("Table",),
    "batchkit.core.validation": ("Validation",),
    "batchkit.errors": (
        "AuthError",
        "BatchCancelled",
        "BatchError",
        "BatchInDoubt",
        "BatchInterrupted",
        "BatchPaused",
        "BatchkitError",
        "ConfigError",
        "EngineError",
        "ExportError",
        "MappingError",
        "NotFoundError",
        "StateError",
        "StoreError",
        "TableError",
        "TargetError",
        "UnreachableError",
        "ValidationError",
    ),
    "batchkit.io.exports": ("write_csv",),
    "batchkit.io.result_files": ("write_results",),
    "batchkit.io.tables": ("read_csv",),
    "batchkit.targets.answers": ("Lookup", "Polling"),
    "batchkit.targets.asteroid": ("AsteroidTarget",),
    "batchkit.targets.demo": ("DemoPlatform",),
    "batchkit.targets.function": ("FunctionTarget",),
    "batchkit.targets.http": ("HttpTarget",),
    "batchkit.targets.secret": ("Secret",),
    "batchkit.webhook": ("webhook_app",),
    "batchkit.workspace": ("Workspace",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Agent",
    "AgentProfile",
    "AsteroidTarget",
    "AuthError",
    "Batch",
    "BatchCancelled",
    "BatchConfig",
    "BatchError",
    "BatchInDoubt",
    "BatchInterrupted",
    "BatchPaused",
    "BatchStatus",
    "BatchkitError",
    "ConfigError",
    "DemoPlatform",
    "EngineError",
    "ExportError",
    "FailureThreshold",
    "FunctionTarget",
    "HttpTarget",
    "Input",
    "InputVariable",
    "ItemStatus",
    "Lookup",
    "Mapping",
    "MappingError",
    "Metadata",
    "NotBefore",
    "NotFoundError",
    "Notice",
    "Polling",
    "ProfileName",
    "ProfilePool",
    "Progress",
    "Secret",
    "SelectionStrategy",
    "Skip",
    "StateError",
    "StoreError",
    "Table",
    "TableError",
    "TargetError",
    "UnreachableError",
    "Validation",
    "ValidationError",
    "WorkflowVersion",
    "WorkingHours",
    "Workspace",
    "__version__",
    "read_csv",
    "webhook_app",
    "write_csv",
    "write_results",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'batchkit' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
