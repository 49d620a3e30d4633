"""Making a batch: from checked rows and a configuration to one that is in the store, and runs."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from batchkit.core import results
from batchkit.core.agent import Agent
from batchkit.core.config import BatchConfig, resolve_default
from batchkit.core.record import NewBatch
from batchkit.core.rerun import Again
from batchkit.core.slots import check_last_slot
from batchkit.errors import ConfigError, ValidationError

if TYPE_CHECKING:
    from batchkit.core.validation import Validation
    from batchkit.workspace import Workspace

__all__ = ["make_batch"]

#: rows written in one transaction
_CHUNK = 10_000


def make_batch(workspace: Workspace, checked: Validation, config: BatchConfig, again: Again | None) -> str:
    """Return the id of a new batch of the checked rows; nobody sees it before all of them are in the store.

    again: what it runs again, None where it does not.
    Raises ValidationError where rows block it, ConfigError where the version or the profile does not exist.
    """
    if not checked.ok:
        raise ValidationError(_blocking(checked))
    workspace.begin_notices()
    new, agent = _described(workspace, checked, config, again)
    batch_id = workspace.engine.call(workspace.store.begin(new))
    try:
        _fill(workspace, batch_id, checked, config)
        if again is None:
            workspace.save_mapping(checked.mapping, agent)
        workspace.engine.call(_publish(workspace, batch_id, forced=again is not None and again.forced))
    except BaseException:
        with suppress(Exception):
            workspace.engine.call(workspace.store.abandon(batch_id))
        raise
    return batch_id


def _described(
    workspace: Workspace, checked: Validation, config: BatchConfig, again: Again | None
) -> tuple[NewBatch, Agent]:
    """What the batch is, without its rows, and the agent it runs."""
    start = config.start_at or workspace.clock.now()
    check_last_slot(checked.counts.valid, config.pace, start, config.working_hours)
    agent = _pinned_agent(workspace, checked, config)
    profile, pool = resolve_default(config.default_profile, workspace.profiles(), workspace.pools())
    table = checked.table
    new = NewBatch(
        name=config.name,
        agent_id=agent.id,
        agent_name=agent.name,
        version=agent.version,
        target=workspace.target.info,
        pace=config.pace,
        flow=config.flow,
        start_at=start,
        trial=config.trial if config.trial < checked.counts.valid else 0,
        default_profile=profile,
        columns=table.columns,
        mapping=checked.mapping.to_dict(),
        source=table.source,
        fingerprint=table.fingerprint,
        index_kind=results.index_kind(table.index),
        owner=workspace.actor,
        pool=pool,
        parent=None if again is None else again.parent,
        origin=None if again is None else again.origin,
    )
    return new, agent


def _pinned_agent(workspace: Workspace, checked: Validation, config: BatchConfig) -> Agent:
    """The agent at the version to run, whose inputs are those the rows were checked against."""
    agent = checked.agent
    if config.version is None or config.version == agent.version:
        return agent
    wanted = workspace.engine.call(workspace.target.agent(agent.id, config.version))
    if wanted.inputs != agent.inputs:
        raise ConfigError(
            f"version={config.version} of {agent.name!r} has other inputs than version {agent.version}, against "
            f"which the rows were checked. Check them with ws.agent({agent.name!r}, version={config.version})."
        )
    return wanted


def _fill(workspace: Workspace, batch_id: str, checked: Validation, config: BatchConfig) -> None:
    # Here and not above: it brings jsonschema, which beside Jupyter takes a second to import.
    from batchkit.core.not_before import with_times

    call, store = workspace.engine.call, workspace.store
    index = checked.table.index
    labels = None if index is None else results.index_labels(index[checked.valid_mask])
    first = 0
    for chunk in checked.items(_CHUNK):
        mine = None if labels is None else labels[first : first + len(chunk)]
        call(store.add(batch_id, with_times(chunk, config.timezone), mine))
        first += len(chunk)
    rows = iter(checked.left_out())
    while some := list(islice(rows, _CHUNK)):
        call(store.leave_out(batch_id, some))


async def _publish(workspace: Workspace, batch_id: str, *, forced: bool) -> None:
    await workspace.store.publish(batch_id, workspace.actor, forced=forced)
    await workspace.engine.begin(batch_id)


def _blocking(checked: Validation) -> str:
    counts = checked.counts
    if not counts.valid:
        return f"None of the {counts.total:,} rows is valid; checked.issues says why."
    first = checked.issues[checked.issues["severity"] == "error"]["message"].head(3)
    return (
        f"{counts.invalid:,} of {counts.total:,} rows are invalid, for example: {' '.join(first)} "
        'checked.issues lists all. Correct them, or leave them out with ws.validate(..., invalid="drop").'
    )
