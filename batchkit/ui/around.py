"""What a card depends on beside the record: who runs the batch, and whether this workspace could."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from batchkit.core.listing import Relative
from batchkit.core.record import BatchRecord
from batchkit.errors import ConfigError
from batchkit.io.leases import CLUSTER_LEASE_SECONDS, LEASE_SECONDS
from batchkit.ui.cards import Surroundings

if TYPE_CHECKING:
    from batchkit.workspace import Workspace

__all__ = ["Around"]

#: of a lease that is renewed in time so much is left at any time
_LEFT = 0.4


class Around:
    """Tells the surroundings of a workspace's batches, and remembers since when one has nobody who runs it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        #: batch to when it was first seen without a runner, on the monotonic clock
        self._alone_since: dict[str, float] = {}
        # Workers of a cluster may run any batch of a database, and have the shorter leases.
        is_file = isinstance(workspace.store_address, Path)
        self._overdue = _LEFT * (LEASE_SECONDS if is_file else CLUSTER_LEASE_SECONDS)

    def of(
        self, record: BatchRecord, last_due: datetime | None = None, relatives: tuple[Relative, ...] = ()
    ) -> Surroundings:
        """Those of that batch. last_due: when its last pending item is due, where known; relatives: its family."""
        workspace, engine = self._workspace, self._workspace.engine
        is_here = record.id in engine.active
        since = now = time.monotonic()
        if record.interrupted and not is_here:
            since = self._alone_since.setdefault(record.id, now)
        else:
            self._alone_since.pop(record.id, None)
        missing = ""
        try:
            workspace.check_runs_here(record)
        except ConfigError as error:
            missing = str(error)
        trouble = engine.trouble(record.id) if is_here else None
        return Surroundings(
            now=workspace.clock.now(),
            last_due=last_due,
            is_here=is_here,
            unattended=now - since,
            has_worker=workspace.engine_kind != "kernel",
            missing=missing,
            trouble="" if trouble is None else str(trouble),
            overdue=self._overdue,
            viewer=workspace.viewer.name,
            relatives=relatives,
        )
