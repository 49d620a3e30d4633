"""Reader: fetches JSON over a Connection, again where that is harmless, and says in words what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from batchkit.core.outcome import NotSent, Unclear
from batchkit.errors import AuthError, NotFoundError, TargetError, UnreachableError
from batchkit.targets import wire
from batchkit.targets.connection import Answer, Connection

__all__ = ["Reader"]

_PAGE_SIZE = "100"


class Reader:
    """Reads lists below one path of a Connection's base URL.

    root: the path's segments. retry_delays: seconds before each further try after a lost connection or a 5xx.
    Everything raises AuthError, UnreachableError, NotFoundError (404 for an id), or TargetError for the rest.
    """

    def __init__(self, connection: Connection, root: Sequence[str], *, retry_delays: Sequence[float]) -> None:
        self._connection = connection
        self._root = tuple(root)
        self._retry_delays = tuple(retry_delays)

    async def items(self, *segments: str, key: str = "items") -> list[dict[str, Any]]:
        """All objects of a list, paged or not, in its order; one that comes twice, by its id, only once."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        async for page in self.pages(*segments, key=key):
            for item in page:
                identity = item.get("id")
                if not isinstance(identity, str) or identity not in seen:
                    found.append(item)
                if isinstance(identity, str):
                    seen.add(identity)
        return found

    async def pages(
        self, *segments: str, query: Sequence[tuple[str, str]] = (), key: str = "items"
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a list, none of them empty, until as many items have come as the answer says there are.

        key: of the list in the answer; only "items" is paged.
        Raises TargetError for a page that comes twice: to take it for the end could make a row look never sent.
        """
        number, count, before = 1, 0, None
        while True:
            answer = await self._get(segments, [*query, ("page", str(number)), ("pageSize", _PAGE_SIZE)])
            page = answer.get(key) if isinstance(answer, dict) else answer
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise TargetError(f"{self._place(segments)} did not answer with a list. {self._doubt()}")
            if page and page == before:
                raise TargetError(f"{self._place(segments)} answers page {number} with the page before it.")
            if page:
                yield page
            number, count, before = number + 1, count + len(page), page
            if not page or isinstance(answer, list) or key != "items" or count >= _total(answer):
                return

    async def page(
        self, *segments: str, query: Sequence[tuple[str, str]] = ()
    ) -> tuple[list[dict[str, Any]], int | None]:
        """The first page of a list, and how many items the list has; None: the answer does not say."""
        answer = await self._get(segments, [*query, ("page", "1"), ("pageSize", _PAGE_SIZE)])
        page = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
            raise TargetError(f"{self._place(segments)} did not answer with a list. {self._doubt()}")
        total = _total(answer)
        return page, None if total == float("inf") else int(total)

    async def one(self, *segments: str) -> dict[str, Any]:
        """One object."""
        answer = await self._get(segments, [])
        if not isinstance(answer, dict):
            raise TargetError(f"{self._place(segments)} did not answer with an object. {self._doubt()}")
        return answer

    async def _get(self, segments: Sequence[str], query: Sequence[tuple[str, str]]) -> Any:
        url = self._connection.url(*self._root, *segments, query=query)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._connection.total_timeout
        answer = await self._connection.send("GET", url)
        for delay in self._retry_delays:
            if (isinstance(answer, Answer) and answer.status < 500) or loop.time() + delay >= deadline:
                break
            await asyncio.sleep(delay)
            answer = await self._connection.send("GET", url)
        if not isinstance(answer, Answer):
            raise self._unreachable(segments, answer)
        if not 200 <= answer.status < 300:
            raise self._problem(segments, answer)
        try:
            return wire.parse(answer.content)
        except ValueError:
            pass  # not chained: it holds the whole answer, in which a server may echo the secret
        raise TargetError(f"{self._place(segments)} did not answer in JSON. {self._doubt()}")

    def _unreachable(self, segments: Sequence[str], failure: NotSent | Unclear) -> UnreachableError:
        advice = " Try again, and if it stays so, check the address." if isinstance(failure, Unclear) else ""
        return UnreachableError(f"{self._place(segments)} could not be read. {failure.message}{advice}")

    def _problem(self, segments: Sequence[str], answer: Answer) -> TargetError | NotFoundError:
        """The error that an answer other than success means for whoever fetched."""
        message = self._connection.clean(wire.read_problem(answer.status, answer.content))
        said = f"{self._place(segments)} answered {answer.status}: {message}"
        match answer.status:
            case 401 | 403:
                return AuthError(f"{said} – check the API key, and that it belongs to {self._connection.base}.")
            case 402:
                return AuthError(f"{said} – the account has to be paid for before it goes on.")
            case 404 if len(segments) > 1:
                return NotFoundError(f"{said} – it does not exist, or this API key may not see it.")
            case 429:
                return TargetError(f"{said} – too many requests, try again later.")
            case 404:
                return TargetError(f"{said}. {self._doubt()}")
            case status if 300 <= status < 400:
                return TargetError(f"{said} – it points to {self._connection.elsewhere(answer)}. {self._doubt()}")
            case _:
                return TargetError(f"{said} – try again later.")

    def _place(self, segments: Sequence[str]) -> str:
        return str(self._connection.url(*self._root, *segments))

    def _doubt(self) -> str:
        return f"Is {self._connection.base} the right address?"


def _total(answer: dict[str, Any]) -> float:
    """How many items the list has in all; infinite where the answer does not say."""
    total = answer.get("total")
    return total if isinstance(total, int) and not isinstance(total, bool) else float("inf")
