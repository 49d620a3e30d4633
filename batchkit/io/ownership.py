"""Which batches there are for whoever asks.

A batch of another owner is as if it did not exist, but for `count_others` and `account_wait.hold_others`. A statement
that finds batches has one of these conditions in itself, or, built once for all, the same as `reading.find_batch`: so
nothing of such a batch is locked, waited for or read, and looking for it takes no other time. What goes by the id of a
batch that was found asks no more.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from batchkit.core.viewer import Viewer
from batchkit.io.schema import batches

__all__ = ["count_others", "owned", "seen", "viewer_of"]


def viewer_of(connection: Connection) -> Viewer:
    """Who asks. A connection that does not say so is not `Database`'s, and an error."""
    viewer: Viewer = connection.get_execution_options()["batchkit_viewer"]
    return viewer


def owned(connection: Connection) -> ColumnElement[bool]:
    """Whether a batch, also one that is being made, is the viewer's to see and change."""
    viewer = viewer_of(connection)
    return true() if viewer.sees_all else batches.c.owner == viewer.name


def seen(connection: Connection) -> ColumnElement[bool]:
    """Whether a batch is there for the viewer."""
    return and_(batches.c.ready, owned(connection))


def count_others(connection: Connection) -> int:
    """How many batches there are in the file that the viewer does not see: he may have had another name.

    A database is there for several people; what others have in it is not told.
    """
    viewer = viewer_of(connection)
    if viewer.sees_all or connection.dialect.name != "sqlite":
        return 0
    query = select(func.count()).select_from(batches).where(batches.c.ready, batches.c.owner != viewer.name)
    return connection.scalar(query) or 0
