"""The query parameters of the platform's lists: paging, searching, sorting and filtering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from starlette.datastructures import QueryParams

from batchkit.core.execution import ExecutionStatus
from batchkit.targets.demo.executions import micros
from batchkit.targets.demo.listing import ListQuery
from batchkit.targets.demo.problem import HttpProblem

__all__ = ["Paging", "read_executions_query", "read_paging", "search"]

_PAGE_LIMIT = 1_000_000
_PAGE_SIZE_LIMIT = 100
_PAGE_SIZE_DEFAULT = 50
_SORT_FIELDS = ("created_at", "status", "started_at")
_DIRECTIONS = ("asc", "desc")

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which part of a list is asked for."""

    #: from 1
    page: int
    #: 1 to 100
    page_size: int

    def cut(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """The items on the page."""
        start = (self.page - 1) * self.page_size
        return items[start : start + self.page_size]


def read_paging(params: QueryParams) -> Paging:
    """The page asked for. Raises HttpProblem (400)."""
    return Paging(
        page=_read_number(params, "page", 1, _PAGE_LIMIT),
        page_size=_read_number(params, "pageSize", _PAGE_SIZE_DEFAULT, _PAGE_SIZE_LIMIT),
    )


def search(items: Iterable[_Item], params: QueryParams, name: Callable[[_Item], str]) -> list[_Item]:
    """The items whose name contains `searchName`, upper or lower case, by name."""
    wanted = params.get("searchName", "").casefold()
    return sorted((item for item in items if wanted in name(item).casefold()), key=lambda item: name(item).casefold())


def read_executions_query(params: QueryParams) -> ListQuery:
    """Which executions are asked for. Raises HttpProblem (400) naming the parameter."""
    paging = read_paging(params)
    field, direction = _read_sort(params)
    return ListQuery(
        statuses=_read_statuses(params),
        agent_ids=[params[name] for name in ("agentId", "workflowId") if params.get(name)],
        metadata=_read_metadata(params),
        created_after=_read_moment(params, "createdAfter"),
        sort_field=field,
        descending=direction == "desc",
        page=paging.page,
        page_size=paging.page_size,
    )


def _read_number(params: QueryParams, name: str, default: int, limit: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= limit:
        raise HttpProblem.invalid((name, f"must be an integer from 1 to {limit}, not {text!r}"))
    return number


def _read_sort(params: QueryParams) -> tuple[str, str]:
    short = params.get("sort")
    if short is not None:
        if "sortField" in params or "sortDirection" in params:
            raise HttpProblem.invalid(("sort", "cannot be combined with sortField or sortDirection"))
        field, _, direction = short.partition(":")
        names = ("sort", "sort")
    else:
        field, direction = params.get("sortField", "created_at"), params.get("sortDirection", "desc")
        names = ("sortField", "sortDirection")
    for name, value, known in ((names[0], field, _SORT_FIELDS), (names[1], direction, _DIRECTIONS)):
        if value not in known:
            raise HttpProblem.invalid((name, f"must be one of {', '.join(known)}, not {value!r}"))
    return field, direction


def _read_statuses(params: QueryParams) -> list[str]:
    statuses = params.getlist("status")
    for status in statuses:
        if status not in list(ExecutionStatus):
            raise HttpProblem.invalid(("status", f"must be one of {', '.join(ExecutionStatus)}, not {status!r}"))
    return statuses


def _read_metadata(params: QueryParams) -> list[tuple[str, str]]:
    pairs = []
    for text in params.getlist("metadata"):
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise HttpProblem.invalid(("metadata", f"must be key=value, not {text!r}"))
        pairs.append((key, value))
    key_given, value_given = "metadataKey" in params, "metadataValue" in params
    if key_given != value_given:
        missing = "metadataValue" if key_given else "metadataKey"
        raise HttpProblem.invalid((missing, "metadataKey and metadataValue must be used together"))
    if key_given:
        pairs.append((params["metadataKey"], params["metadataValue"]))
    return pairs


def _read_moment(params: QueryParams, name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return micros(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except ValueError as exc:
        raise HttpProblem.invalid((name, f"must be a time in ISO 8601, not {text!r}")) from exc
