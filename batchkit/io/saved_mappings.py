"""Mappings kept for the next table with the same header, each for who saved it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from batchkit.io.ownership import viewer_of
from batchkit.io.schema import mappings

__all__ = ["forget", "read", "save"]


def save(connection: Connection, agent_id: str, fingerprint: str, mapping: Mapping[str, Any], now: datetime) -> None:
    """Keep it for the viewer, in place of his former one."""
    owner = viewer_of(connection).name
    connection.execute(delete(mappings).where(_key(agent_id, fingerprint), mappings.c.owner == owner))
    values = {"mapping": json.dumps(dict(mapping)), "saved_at": now}
    connection.execute(insert(mappings).values(owner=owner, agent_id=agent_id, fingerprint=fingerprint, **values))


def read(connection: Connection, agent_id: str, fingerprint: str) -> dict[str, Any] | None:
    """The viewer's own, or for one who sees all also the newest of anybody; None: there is none."""
    viewer = viewer_of(connection)
    query = select(mappings.c.mapping).where(_key(agent_id, fingerprint))
    if not viewer.sees_all:
        query = query.where(mappings.c.owner == viewer.name)
    text = connection.scalar(query.order_by((mappings.c.owner == viewer.name).desc(), mappings.c.saved_at.desc()))
    return None if text is None else dict(json.loads(text))


def forget(connection: Connection, agent_id: str, fingerprint: str) -> bool:
    """Delete what `read` may return; whether there was any."""
    viewer = viewer_of(connection)
    statement = delete(mappings).where(_key(agent_id, fingerprint))
    if not viewer.sees_all:
        statement = statement.where(mappings.c.owner == viewer.name)
    return connection.execute(statement).rowcount > 0


def _key(agent_id: str, fingerprint: str) -> ColumnElement[bool]:
    return and_(mappings.c.agent_id == agent_id, mappings.c.fingerprint == fingerprint)
