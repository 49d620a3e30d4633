"""Inquiry: asks an endpoint what became of requests it took: by its status URL, and by the key they carried."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from batchkit.core.execution import Execution, ExecutionStatus
from batchkit.core.outcome import NotSent, Unclear
from batchkit.core.request import BATCH_KEY, ITEM_KEY
from batchkit.errors import AuthError, TargetError, UnreachableError
from batchkit.targets import wire
from batchkit.targets.answers import Answers, read_document
from batchkit.targets.connection import Answer, Connection
from batchkit.targets.json_path import Absent
from batchkit.targets.template import KEY, UrlTemplate

__all__ = ["ID", "Inquiry"]

logger = logging.getLogger("batchkit")

#: the placeholder of a status URL
ID = "id"
#: status URLs asked at a time
_AT_ONCE = 8


class _LaterError(TargetError):
    """The endpoint does not answer for now (429, 5xx), whichever execution is asked for."""


class Inquiry:
    """Fetches over one Connection. status_url: with {{id}}. lookup_url: with {{batchkit_key}}. None: there is none."""

    def __init__(
        self,
        connection: Connection,
        *,
        answers: Answers,
        status_url: UrlTemplate | None,
        lookup_url: UrlTemplate | None,
        headers: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self._connection = connection
        self._answers = answers
        self.status_url = status_url
        self._lookup_url = lookup_url
        self._headers = tuple(headers)

    def over(self, connection: Connection) -> Inquiry:
        """The same over another connection."""
        return Inquiry(
            connection,
            answers=self._answers,
            status_url=self.status_url,
            lookup_url=self._lookup_url,
            headers=self._headers,
        )

    async def look(self, identity: str) -> Execution:
        """The execution as its status URL describes it. Raises TargetError."""
        if self.status_url is None:
            raise TargetError("There is no status URL to ask: give polling=.")
        try:
            url = self.status_url.fill({ID: identity})
        except ValueError as exc:
            raise TargetError(f"Execution {identity!r} cannot be asked for: {exc}.") from exc
        return self._answers.polled(identity, self._read(url, await self._get(url)))

    async def by_id(self, batch_id: str, known: Sequence[tuple[int, str]]) -> list[Execution]:
        """What the status URL says of these executions, (item, execution id) each, without those it fails for.

        Raises TargetError where it fails for all, and not because of what is asked for.
        """
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(item: int, identity: str) -> Execution | TargetError:
            async with gate:
                try:
                    seen = await self.look(identity)
                except TargetError as error:
                    return error
            return replace(seen, metadata={BATCH_KEY: batch_id, ITEM_KEY: str(item)})

        seen = await asyncio.gather(*(one(item, identity) for item, identity in known))
        failures = [each for each in seen if isinstance(each, TargetError)]
        general = [each for each in failures if isinstance(each, AuthError | UnreachableError | _LaterError)]
        if general and len(failures) == len(seen):
            raise general[0]
        if failures:
            logger.warning("%s: %s of %s executions, lastly: %s", batch_id, len(failures), len(seen), failures[-1])
        return [each for each in seen if isinstance(each, Execution)]

    async def find(self, key: str) -> Execution | None:
        """The execution of the request that carried the key, or None.

        Raises TargetError where the answer leaves that open: to take it for "none" would have the row sent again.
        """
        if self._lookup_url is None:
            raise TargetError("This target has no lookup=, so rows in doubt are decided with batch.settle().")
        url = self._lookup_url.fill({KEY: key})
        answer = await self._get(url)
        if isinstance(answer, Answer) and answer.status == 404 and KEY in self._lookup_url.in_path:
            return None
        document = self._read(url, answer)
        identity = self._answers.found_id(document)
        if isinstance(identity, Absent):
            if identity.empty:
                return None
            raise TargetError(f"{_bare(url)} does not tell whether a request arrived. {identity.message} See lookup=.")
        if self.status_url is not None:
            return Execution(id=identity, status=ExecutionStatus.QUEUED)
        return self._answers.finished(identity, document, finished_at=datetime.now(UTC))

    async def _get(self, url: httpx.URL) -> Answer | NotSent | Unclear:
        return await self._connection.send("GET", url, headers=self._headers)

    def _read(self, url: httpx.URL, answer: Answer | NotSent | Unclear) -> Any:
        """The document that was fetched. Raises TargetError and its kinds."""
        if not isinstance(answer, Answer):
            raise UnreachableError(f"{_bare(url)} could not be read. {answer.message}")
        if 200 <= answer.status < 300:
            return read_document(answer.content)
        told = self._answers.error(read_document(answer.content)) or wire.read_problem(answer.status, answer.content)
        message = self._connection.clean(told)
        said = f"{_bare(url)} answered {answer.status}: {message}"
        if answer.status in (401, 402, 403):
            raise AuthError(said)
        if answer.status == 429 or answer.status >= 500:
            raise _LaterError(said)
        raise TargetError(said)


def _bare(url: httpx.URL) -> str:
    """A URL for messages, without its query."""
    return str(url.copy_with(query=None))
