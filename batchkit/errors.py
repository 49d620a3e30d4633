"""Every exception batchkit raises.

    BatchkitError
    ├── TableError           the CSV or DataFrame cannot be read as a table
    ├── ExportError          a file cannot be written
    ├── MappingError         the columns are not mapped to a runnable whole
    ├── ValidationError      rows are invalid and the policy is "block"
    ├── ConfigError          a parameter of a batch or a workspace is wrong
    ├── NotFoundError        no agent, profile, batch or item of that name or id
    ├── StateError           a move the state machine does not allow
    ├── TargetError          the target did not answer as agreed
    │   ├── AuthError        it refused the credentials, or asks for payment
    │   └── UnreachableError no connection
    ├── StoreError           the store cannot be read or written
    ├── EngineError          called from the wrong thread, or the engine is closed
    └── BatchError           waiting for a batch cannot succeed
        ├── BatchPaused      it paused itself; `reason` says why
        ├── BatchCancelled   it was cancelled
        ├── BatchInterrupted whoever ran it is gone; take it over to go on
        └── BatchInDoubt     it needs a decision about rows in doubt

A bad row is a value (`batchkit.core.validation.Issue`), a refused row an outcome
(`batchkit.core.outcome`); neither is ever raised.
"""

from __future__ import annotations

__all__ = [
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
]


class BatchkitError(Exception):
    """The root: `except bk.BatchkitError` catches whatever batchkit raises on purpose."""


class TableError(BatchkitError):
    """The CSV or DataFrame cannot be read as a table."""


class ExportError(BatchkitError):
    """A file cannot be written; what was there before is unchanged."""


class MappingError(BatchkitError):
    """The columns are not mapped to a runnable whole."""


class ValidationError(BatchkitError):
    """Rows are invalid and the policy is "block"."""


class ConfigError(BatchkitError):
    """A parameter of a batch or a workspace is wrong."""


class NotFoundError(BatchkitError):
    """There is no agent, profile, batch or item of that name or id."""


class StateError(BatchkitError):
    """A move the state machine does not allow; nothing was changed."""


class TargetError(BatchkitError):
    """The target did not answer as agreed."""


class AuthError(TargetError):
    """The target refused the credentials (401, 403) or asks for payment (402)."""


class UnreachableError(TargetError):
    """No connection to the target could be made."""


class StoreError(BatchkitError):
    """The store cannot be read or written."""

    #: its server cannot be reached at the moment: what runs waits, and goes on by itself once it can
    passing = False
    #: its server works, and another process was at work on the same batch for longer than is waited
    busy = False


class EngineError(BatchkitError):
    """A blocking call was made from the engine's own thread, or the engine is closed."""


class BatchError(BatchkitError):
    """Waiting for a batch cannot succeed; `batch_id` names it."""

    def __init__(self, message: str, *, batch_id: str) -> None:
        super().__init__(message)
        self.batch_id = batch_id


class BatchPaused(BatchError):
    """The batch paused itself; the message gives the reason."""


class BatchCancelled(BatchError):
    """The batch was cancelled."""


class BatchInterrupted(BatchError):
    """Whoever ran the batch is gone; `batch.take_over()` continues it here."""


class BatchInDoubt(BatchError):
    """Rows are in doubt and the target cannot look them up; `batch.settle()` decides."""
