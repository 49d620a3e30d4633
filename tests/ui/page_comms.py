"""The messages of widgets to the page, kept instead of sent."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from comm.base_comm import BaseComm

__all__ = ["Messages"]


class Messages:
    """What widgets sent, in order; make it `comm.create_comm`."""

    def __init__(self) -> None:
        self._all: list[dict[str, Any]] = []
        self._more = threading.Condition()

    def __call__(self, *args: Any, **keywords: Any) -> BaseComm:
        keep = self._keep

        class Keeping(BaseComm):
            def publish_msg(self, _kind: str, data: Any = None, *_args: Any, **_keywords: Any) -> None:
                # What is no JSON is refused, as by a real kernel.
                json.dumps(data.get("content") if data else None)
                keep(data or {})

        return Keeping(*args, **keywords)

    def _keep(self, data: dict[str, Any]) -> None:
        with self._more:
            self._all.append(data)
            self._more.notify_all()

    def answers(self) -> list[dict[str, Any]]:
        """What was sent to browsers that asked."""
        with self._more:
            return [each["content"] for each in self._all if each.get("method") == "custom"]

    def snapshots(self) -> list[dict[str, Any]]:
        with self._more:
            return [each["state"]["snapshot"] for each in self._all if "snapshot" in each.get("state", {})]

    def answer(self, asked: str, seconds: float = 20) -> dict[str, Any]:
        """The answer to `asked`, once it is there."""
        deadline = time.monotonic() + seconds
        with self._more:
            while True:
                for each in self._all:
                    if each.get("method") == "custom" and each["content"]["answer"] == asked:
                        return each["content"]
                if not self._more.wait(deadline - time.monotonic()):
                    raise AssertionError(f"nobody answered {asked}")
