"""The browser asks for pages of a table, and gets no more than a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from batchkit.errors import ConfigError, StoreError
from batchkit.ui.table import Page, PagedTable, PageRequest


def rows_of(count: int, asked: list[PageRequest]) -> Callable[[PageRequest], Page]:
    def page(request: PageRequest) -> Page:
        asked.append(request)
        end = min(request.offset + request.limit, count)
        return Page(rows=[{"key": row, "row": row + 1} for row in range(request.offset, end)], total=count)

    return page


def ask(pages: PagedTable, **details: Any) -> Any:
    return pages.intents["table_page"]({"table": "rows", "offset": 0, "limit": 50, **details}, [])


def test_a_page_is_asked_for_as_the_browser_wants_it() -> None:
    asked: list[PageRequest] = []
    table = PagedTable({"rows": rows_of(1000, asked)})
    answer = ask(table, offset=100, limit=3, sort="row", descending=True, filter={"status": "Pending"})
    assert answer == {"rows": [{"key": n, "row": n + 1} for n in (100, 101, 102)], "total": 1000, "offset": 100}
    assert asked == [PageRequest(offset=100, limit=3, sort="row", descending=True, filter={"status": "Pending"})]


@pytest.mark.parametrize(
    ("count", "offset", "expected"), [(120, 150, 100), (100, 100, 50), (1, 50, 0), (120, 10_000_000, 100), (51, 50, 50)]
)
def test_behind_the_last_row_the_last_page_is_given(count: int, offset: int, expected: int) -> None:
    answer = ask(PagedTable({"rows": rows_of(count, [])}), offset=offset)
    assert answer["offset"] == expected
    assert answer["rows"][0]["key"] == expected
    assert len(answer["rows"]) == min(50, count - expected)


def test_no_rows_are_an_empty_page_and_asked_for_once() -> None:
    asked: list[PageRequest] = []
    assert ask(PagedTable({"rows": rows_of(0, asked)}), offset=100) == {"rows": [], "total": 0, "offset": 100}
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("details", "offset", "limit"),
    [({"offset": -5, "limit": 0}, 0, 1), ({"offset": None, "limit": None}, 0, 1), ({"limit": 10_000_000}, 0, 500)],
)
def test_a_page_is_never_larger_than_a_browser_bears(details: Mapping[str, Any], offset: int, limit: int) -> None:
    request = PageRequest.of(details)
    assert (request.offset, request.limit, request.sort, request.filter) == (offset, limit, None, {})


def test_each_table_of_a_view_has_its_own_rows() -> None:
    table = PagedTable({"rows": rows_of(5, []), "others": rows_of(2, [])})
    assert ask(table, table="others")["total"] == 2
    with pytest.raises(ConfigError, match="no table 'nothing'"):
        ask(table, table="nothing")


def test_what_reading_raises_reaches_the_browser() -> None:
    def fail(_request: PageRequest) -> Page:
        raise StoreError("The store cannot be read.")

    with pytest.raises(StoreError):
        ask(PagedTable({"rows": fail}))
