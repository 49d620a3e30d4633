"""The paged table's half in Python: whatever the browser shows is one page, asked for when it is turned to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from batchkit.errors import ConfigError

if TYPE_CHECKING:
    from batchkit.ui.view import Intent

__all__ = ["Page", "PageRequest", "PagedTable"]

#: rows on a page, at the most: more would freeze the browser
_MOST_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which rows the browser wants to show."""

    #: the first row's position in what the filter leaves, 0-based
    offset: int
    limit: int
    #: a column's key; None: the order they come in
    sort: str | None = None
    descending: bool = False
    #: the values of the filters that are set, by their keys
    filter: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> PageRequest:
        """The request in what the browser sent."""
        sort = details.get("sort")
        return cls(
            offset=max(int(details.get("offset") or 0), 0),
            limit=min(max(int(details.get("limit") or 1), 1), _MOST_ROWS),
            sort=None if sort is None else str(sort),
            descending=bool(details.get("descending")),
            filter=dict(details.get("filter") or {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The rows asked for: each a `key`, unlike any other row's, and a value for every column's key."""

    rows: Sequence[Mapping[str, Any]]
    #: rows that the filter leaves, on all pages
    total: int


class PagedTable:
    """Answers the browser's `pagedTable` of each name in `pages`; merge `intents` into the view's."""

    def __init__(self, pages: Mapping[str, Callable[[PageRequest], Page]]) -> None:
        self._pages = dict(pages)
        self.intents: dict[str, Intent] = {"table_page": self._page}

    def _page(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> dict[str, Any]:
        name = details.get("table")
        page_of = self._pages.get(str(name))
        if page_of is None:
            raise ConfigError(f"There is no table {name!r} in this view.")
        request = PageRequest.of(details)
        page = page_of(request)
        if not page.rows and 0 < page.total <= request.offset:
            # Rows went away meanwhile: the last page there is.
            request = replace(request, offset=(page.total - 1) // request.limit * request.limit)
            page = page_of(request)
        return {"rows": [dict(row) for row in page.rows], "total": page.total, "offset": request.offset}
