"""Fixtures of the acceptance tests: a platform that outlives the processes under test, and those processes.

The long form, with 200 kills and several seeds: BATCHKIT_ACCEPTANCE=full
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchkit as bk

# The modules beside the tests; the processes of the tests find them by this path, too.
sys.path.insert(0, str(Path(__file__).parent))

from postgres_server import PostgresServer
from processes import Processes
from sending import Plan, Planner


@pytest.fixture
def processes() -> Iterator[Processes]:
    them = Processes()
    yield them
    them.end_all()


@pytest.fixture
def demo() -> Iterator[bk.DemoPlatform]:
    agent = bk.Agent(name="Filer", inputs=[bk.InputVariable("value", schema={"type": "string"}, required=True)])
    with bk.DemoPlatform(agents=[agent], duration=0.05, failure_share=0) as platform:
        yield platform


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of this test's own, which it may end."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def plan(demo: bk.DemoPlatform, tmp_path: Path) -> Plan:
    return Plan(url=demo.url, api_key=demo.api_key, store=tmp_path / "runs.sqlite", journal=tmp_path / "journal")


@pytest.fixture
def planner(plan: Plan) -> Iterator[Planner]:
    with Planner(plan) as ws:
        yield ws
