"""A filtered, sorted page of executions as SQL over the state's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

__all__ = ["STATUS_SQL", "ListQuery", "Listing"]

#: the status of a row of executions at :now
STATUS_SQL = """CASE
    WHEN terminal_at <= :now THEN final
    WHEN starting_at IS NULL OR starting_at > :now THEN 'queued'
    WHEN paused_at IS NOT NULL THEN 'paused'
    WHEN running_at > :now THEN 'starting'
    WHEN attention_at <= :now AND attention_until > :now THEN attention
    ELSE 'running'
END"""

# executions are numbered in the order of their creation, so that `created_at` needs no column
_SORT_COLUMNS = {"started_at": "starting_at", "status": "status"}

_Value = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which executions are asked for, and in which order."""

    #: any may match; empty: all
    statuses: Sequence[str] = ()
    #: all must match
    agent_ids: Sequence[str] = ()
    #: all pairs must match
    metadata: Sequence[tuple[str, str]] = ()
    #: microseconds, exclusive
    created_after: int | None = None
    #: microseconds, inclusive; younger ones are not listed yet
    listed_until: int | None = None
    sort_field: str = "created_at"
    descending: bool = True
    page: int = 1
    page_size: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Two statements and the values both are run with."""

    count_sql: str
    page_sql: str
    values: dict[str, _Value]

    @classmethod
    def of(cls, query: ListQuery, now: int, tag_count: Callable[[tuple[str, str]], int]) -> Self:
        """The statements for `query`.

        now: microseconds since 1970. tag_count: how many executions have a pair of metadata; the rarest is looked
        up first.
        """
        values: dict[str, _Value] = {
            "now": now,
            "limit": query.page_size,
            "offset": (query.page - 1) * query.page_size,
        }
        pairs = sorted(dict.fromkeys(query.metadata), key=tag_count)
        condition = " AND ".join(["1", *_metadata_conditions(pairs, values), *_conditions(query, values)])
        source = "tags CROSS JOIN executions ON executions.seq = tags.seq" if pairs else "executions"
        # in the order in which the source yields them, so that nothing needs sorting
        number = "tags.seq" if pairs else "executions.seq"
        column = _SORT_COLUMNS.get(query.sort_field, number)
        direction = "DESC" if query.descending else "ASC"
        return cls(
            count_sql=f"SELECT count(*) FROM {source} WHERE {condition}",
            page_sql=f"SELECT executions.*, {STATUS_SQL} AS status FROM {source} WHERE {condition} "
            f"ORDER BY {column} {direction}, {number} {direction} LIMIT :limit OFFSET :offset",
            values=values,
        )


def _metadata_conditions(pairs: Sequence[tuple[str, str]], values: dict[str, _Value]) -> list[str]:
    matches = [f"key = {_bind(values, key)} AND value = {_bind(values, value)}" for key, value in pairs]
    others = [f"EXISTS (SELECT 1 FROM tags WHERE {match} AND seq = executions.seq)" for match in matches[1:]]
    return matches[:1] + others


def _conditions(query: ListQuery, values: dict[str, _Value]) -> list[str]:
    conditions = [f"agent_id = {_bind(values, agent_id)}" for agent_id in query.agent_ids]
    if query.created_after is not None:
        conditions.append(f"created_at > {_bind(values, query.created_after)}")
    if query.listed_until is not None:
        conditions.append(f"created_at <= {_bind(values, query.listed_until)}")
    if query.statuses:
        conditions.append(f"{STATUS_SQL} IN ({', '.join(_bind(values, status) for status in query.statuses)})")
    return conditions


def _bind(values: dict[str, _Value], value: _Value) -> str:
    """A new parameter of that value, as SQL names it."""
    name = f"v{len(values)}"
    values[name] = value
    return f":{name}"
