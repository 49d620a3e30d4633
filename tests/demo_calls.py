"""Calls of the demo platform's API, as any client makes them."""

from __future__ import annotations

from typing import Any

import httpx

from batchkit.targets.demo import DemoPlatform

__all__ = ["agent_id", "call", "execute", "filed", "get"]


def call(demo: DemoPlatform, method: str, path: str, **options: Any) -> httpx.Response:
    with httpx.Client(base_url=demo.url, headers={"X-Api-Key": demo.api_key}, trust_env=False) as client:
        return client.request(method, path, **options)


def get(demo: DemoPlatform, path: str, **params: Any) -> Any:
    answer = call(demo, "GET", f"/agents/v2{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def agent_id(demo: DemoPlatform, name: str) -> str:
    return str(get(demo, "/agents", searchName=name)["items"][0]["id"])


def execute(demo: DemoPlatform, agent: str, **body: Any) -> httpx.Response:
    return call(demo, "POST", f"/agents/v2/agents/{agent}/execute", json=body)


def filed(demo: DemoPlatform, client: str, **metadata: str) -> str:
    answer = execute(demo, agent_id(demo, "Filer"), inputs={"client": client}, metadata=metadata)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["executionId"])
