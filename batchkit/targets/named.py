"""What "module:name" stands for: how a worker is told which function or target is meant."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from batchkit.core.ports import Target
from batchkit.errors import ConfigError
from batchkit.targets.call import describe

__all__ = ["at", "imported", "target_named"]

_MEANT = (
    "Name a bk.HttpTarget or another target, or a function without parameters that makes one. A function to be called "
    "with each row is named by --function."
)


def at(module: object, path: str) -> Any:
    """What "name" or "Class.name" means in a module. Raises AttributeError."""
    return functools.reduce(getattr, path.split("."), module)


def imported(reference: str, what: str) -> Any:
    """What "module:name" stands for. what: what it is to be. Raises ConfigError where there is nothing to import."""
    module, _, path = reference.partition(":")
    try:
        return at(importlib.import_module(module), path)
    except Exception as exc:  # a module does what it likes while it is imported
        said = (
            str(exc) if isinstance(exc, ImportError | AttributeError | ValueError) else f"{type(exc).__name__}: {exc}"
        )
        raise ConfigError(f"There is no {what} {reference!r} to import: {said}. Start where it can be.") from exc


def target_named(reference: str) -> Target:
    """The target "module:name", or the one that a function of that name makes. Raises ConfigError."""
    found = imported(reference, "target")
    if not isinstance(found, Target) and callable(found):
        try:
            found = found()
        except Exception as exc:  # somebody else's code
            raise ConfigError(f"{reference} made no target: {describe(exc)} {_MEANT}") from exc
    if not isinstance(found, Target):
        raise ConfigError(f"{reference} is no target but {type(found).__name__!r}. {_MEANT}")
    return found
