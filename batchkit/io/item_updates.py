"""Changing many items of a batch at once, each in its own way, with one statement where the database can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ARRAY, Connection, Update, bindparam, column, func, update

from batchkit.io.schema import items

__all__ = ["update_items"]


def update_items(connection: Connection, batch_id: str, rows: Sequence[Mapping[str, Any]], **same: Any) -> None:
    """Set columns of items. rows: "position", and the same other columns in each; same: what all of them get."""
    if not rows:
        return
    names = tuple(name for name in rows[0] if name != "position")
    common = {f"same_{name}": value for name, value in same.items()} | {"b_batch": batch_id}
    if connection.dialect.name == "postgresql":
        # The last word on an item counts, as it would one after the other.
        last = list({row["position"]: row for row in rows}.values())
        columns = {f"all_{name}": [row[name] for row in last] for name in ("position", *names)}
        connection.execute(_at_once(names, tuple(same)), common | columns)
    else:
        statement = _one_by_one(names, tuple(same))
        connection.execute(statement, [common | {f"its_{name}": value for name, value in row.items()} for row in rows])


@lru_cache(maxsize=64)
def _one_by_one(names: tuple[str, ...], same: tuple[str, ...]) -> Update:
    """Executed once for each item."""
    values = {name: bindparam(f"its_{name}", type_=items.c[name].type) for name in names}
    return _update(same, values).where(items.c.position == bindparam("its_position"))


@lru_cache(maxsize=64)
def _at_once(names: tuple[str, ...], same: tuple[str, ...]) -> Update:
    """Executed once with a list for each column."""
    columns = [items.c[name] for name in ("position", *names)]
    lists = [bindparam(f"all_{each.name}", type_=ARRAY(each.type)) for each in columns]
    source = func.unnest(*lists).table_valued(*(column(each.name, each.type) for each in columns), name="new")
    source = source.render_derived()
    return _update(same, {name: source.c[name] for name in names}).where(items.c.position == source.c.position)


def _update(same: tuple[str, ...], values: Mapping[str, Any]) -> Update:
    common = {name: bindparam(f"same_{name}", type_=items.c[name].type) for name in same}
    return update(items).where(items.c.batch_id == bindparam("b_batch")).values({**common, **values})
