"""The JSON documents of the platform's answers, as its SDK's models read them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.core.execution import ExecutionStatus
from batchkit.core.profile import AgentProfile
from batchkit.targets.demo.agents import report
from batchkit.targets.demo.catalog import Catalog, Pool, created_at, stable_id
from batchkit.targets.demo.executions import from_micros

__all__ = [
    "Document",
    "agent_document",
    "execution_document",
    "inputs_document",
    "member_document",
    "page_document",
    "pool_document",
    "profile_document",
    "version_document",
]

#: a JSON object
Document = dict[str, Any]


def page_document(items: Sequence[Document], page: int, page_size: int, total: int) -> Document:
    """One page of a list."""
    return {"items": items, "page": page, "pageSize": page_size, "total": total}


def agent_document(agent: Agent, catalog: Catalog) -> Document:
    """An agent, without its versions."""
    return {
        "id": agent.id,
        "name": agent.name,
        "createdAt": _text(created_at(agent.name)),
        "organizationId": catalog.organization_id,
        "userId": catalog.user_id,
    }


def version_document(version: WorkflowVersion, parent: WorkflowVersion | None, deletable: bool) -> Document:
    """A workflow version, without its inputs; `parent` is the one before it."""
    document: Document = {
        "id": version.id,
        "version": version.version,
        "isPublished": version.published,
        "createdAt": _text(version.created_at or created_at(version.id)),
        "isDeletable": deletable,
        "author": "someone@example.com",
    }
    if parent is not None:
        document["parentId"] = parent.id
    return document


def inputs_document(version: WorkflowVersion) -> Document:
    """The input variables of a version."""
    inputs = []
    for variable in version.inputs or ():
        document: Document = {
            "name": variable.name,
            "schema": dict(variable.schema),
            "required": variable.required,
        }
        if variable.default is not None:
            document["defaultValue"] = variable.default
        if variable.description:
            document["description"] = variable.description
        inputs.append(document)
    return {"inputs": inputs}


def profile_document(profile: AgentProfile, catalog: Catalog) -> Document:
    """A profile; the demo's have no credentials."""
    return {
        **member_document(profile, catalog),
        "description": f"{profile.name} of the demo platform",
        "tracingEnabled": False,
        "stickyIP": False,
        "vaultItems": [],
        "inboxEmail": f"{profile.id[:8]}@example.com",
        "credentials": [],
        "cookies": [],
    }


def member_document(profile: AgentProfile, catalog: Catalog) -> Document:
    """A profile as a member of a pool."""
    return {"id": profile.id, "name": profile.name, **_origin(profile.name, catalog)}


def pool_document(pool: Pool, catalog: Catalog) -> Document:
    """A pool, without its members."""
    return {
        "id": pool.id,
        "name": pool.name,
        "selectionStrategy": pool.strategy.value,
        "allowConcurrentUse": not pool.exclusive,
        **_origin(pool.name, catalog),
    }


def execution_document(row: sqlite3.Row, catalog: Catalog, url: str = "") -> Document:
    """An execution as it stands, from its row in the state; `url` is where a person can look at it."""
    status = ExecutionStatus(row["status"])
    inputs = json.loads(row["inputs"])
    document: Document = {
        "id": row["id"],
        "agentId": row["agent_id"],
        "workflowId": row["agent_id"],
        "workflowVersionId": row["version_id"],
        "workflowVersion": row["version"],
        "status": status.value,
        "createdAt": _text(from_micros(row["created_at"])),
        "organizationId": catalog.organization_id,
        "agentName": row["agent_name"],
        "workflowName": row["agent_name"],
        "inputs": inputs,
        "metadata": json.loads(row["metadata"]),
        "humanLabels": [],
        "comments": [],
        "hasBeenRerun": False,
    }
    if url:
        document["platformUrl"] = url
    if row["options"] != "{}":
        document["executionOptions"] = json.loads(row["options"])
    if row["profile_id"] is not None:
        document["agentProfileId"] = document["profileId"] = row["profile_id"]
        document["agentProfileName"] = document["profileName"] = row["profile_name"]
    if row["starting_at"] is not None:
        document["startedAt"] = _text(from_micros(row["starting_at"]))
    if status.terminal:
        _add_end(document, row, status, inputs)
    return document


def _add_end(document: Document, row: sqlite3.Row, status: ExecutionStatus, inputs: Document) -> None:
    ended_at = _text(from_micros(row["terminal_at"]))
    document["terminalAt"] = ended_at
    if row["starting_at"] is not None:
        document["duration"] = (row["terminal_at"] - row["starting_at"]) / 1_000_000
    if status is ExecutionStatus.CANCELLED:
        return
    told = report(row["agent_name"], inputs, row["draw"], status, row["outcome"])
    document["executionResult"] = {
        "id": stable_id("result", row["id"]),
        "executionId": row["id"],
        "outcome": row["outcome"],
        "reasoning": told.reasoning,
        "result": told.result,
        "createdAt": ended_at,
    }


def _origin(name: str, catalog: Catalog) -> Document:
    moment = _text(created_at(name))
    return {"organizationId": catalog.organization_id, "createdAt": moment, "updatedAt": moment}


def _text(moment: datetime) -> str:
    """The moment in ISO 8601, in UTC, with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
