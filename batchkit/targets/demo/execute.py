"""The body of an execute call: read, checked against the catalog, and turned into a value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.core.profile import AgentProfile
from batchkit.targets.demo.catalog import Catalog, Pool
from batchkit.targets.demo.problem import HttpProblem

__all__ = ["ExecuteCall", "parse_json_object", "read_execute_call"]

_MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteCall:
    """One valid request to run an agent."""

    agent: Agent
    version: WorkflowVersion
    #: as sent; declared defaults are not yet in
    inputs: Mapping[str, Any]
    metadata: Mapping[str, str]
    #: at most one of these two is given
    profile: AgentProfile | None
    pool: Pool | None
    #: whether to wait for room rather than be turned away
    queue: bool
    options: Mapping[str, Any]


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, {} for an empty body. Raises HttpProblem (400) for anything else."""
    if not body:
        return {}
    try:
        value = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as exc:
        raise HttpProblem(400, f"The body is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise HttpProblem(400, f"The body must be a JSON object, not {_type_name(value)}.")
    return value


def read_execute_call(catalog: Catalog, agent_id: str, body: Mapping[str, Any]) -> ExecuteCall:
    """Return what the call asks for. Raises HttpProblem: 404 for an unknown agent, 400 naming the parameters."""
    agent = catalog.agents.get(agent_id)
    if agent is None:
        raise HttpProblem(404, f"There is no agent {agent_id!r}.")
    version = _read_version(catalog, agent, body.get("version"))
    profile, pool = _read_profile(catalog, body)
    inputs = _read_object(body, "inputs")
    metadata = _read_object(body, "metadata")
    errors = [*_metadata_errors(metadata), *_input_errors(catalog, version, inputs)]
    if errors:
        raise HttpProblem.invalid(*errors)
    return ExecuteCall(
        agent=agent,
        version=version,
        inputs=inputs,
        metadata=metadata,
        profile=profile,
        pool=pool,
        queue=_read_queue(body.get("onCapacityLimit")),
        options=_read_options(body),
    )


def _read_version(catalog: Catalog, agent: Agent, number: object) -> WorkflowVersion:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise HttpProblem.invalid(("version", f"must be an integer, not {_type_name(number)}"))
    version = catalog.version(agent, number)
    if version is None:
        raise HttpProblem.invalid(
            ("version", f"agent {agent.name!r} has no version {number}")
            if number is not None
            else ("version", f"agent {agent.name!r} has no published version, name one")
        )
    return version


def _read_profile(catalog: Catalog, body: Mapping[str, Any]) -> tuple[AgentProfile | None, Pool | None]:
    profile_parameter, profile_id = _read_either(body, "agentProfileId", "profileId")
    pool_parameter, pool_id = _read_either(body, "agentProfilePoolId", "profileGroupId")
    if profile_id is not None and pool_id is not None:
        detail = "a profile and a pool cannot be given together"
        raise HttpProblem.invalid((profile_parameter, detail), (pool_parameter, detail))
    profile = pool = None
    if profile_id is not None:
        profile = catalog.profiles.get(profile_id)
        if profile is None:
            raise HttpProblem.invalid((profile_parameter, f"there is no profile {profile_id!r}"))
    if pool_id is not None:
        pool = catalog.pools.get(pool_id)
        if pool is None:
            raise HttpProblem.invalid((pool_parameter, f"there is no pool {pool_id!r}"))
    return profile, pool


def _read_either(body: Mapping[str, Any], documented: str, newer: str) -> tuple[str, str | None]:
    """Which of two names for one parameter is used, and its text."""
    given = [(name, body[name]) for name in (documented, newer) if body.get(name) is not None]
    for name, value in given:
        if not isinstance(value, str):
            raise HttpProblem.invalid((name, f"must be a string, not {_type_name(value)}"))
    if len({value for _, value in given}) > 1:
        raise HttpProblem.invalid((newer, f"differs from {documented}, which means the same"))
    return given[0] if given else (documented, None)


def _read_object(body: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    value = body.get(parameter)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HttpProblem.invalid((parameter, f"must be an object, not {_type_name(value)}"))
    return value


def _read_queue(choice: object) -> bool:
    if choice not in (None, "reject", "queue"):
        raise HttpProblem.invalid(("onCapacityLimit", f"must be reject or queue, not {choice!r}"))
    return choice == "queue"


def _read_options(body: Mapping[str, Any]) -> dict[str, Any]:
    options = _read_object(body, "executionOptions")
    minutes = options.get("softTimeoutMins")
    if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int) or minutes < 1):
        raise HttpProblem.invalid(("executionOptions.softTimeoutMins", f"must be an integer >= 1, not {minutes!r}"))
    variant = options.get("variantKey")
    if variant is not None and not isinstance(variant, str):
        raise HttpProblem.invalid(("executionOptions.variantKey", f"must be a string, not {_type_name(variant)}"))
    return options


def _metadata_errors(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    errors = []
    for key, value in metadata.items():
        if not isinstance(value, str):
            errors.append((f"metadata.{key}", f"must be a string, not {_type_name(value)}"))
        elif not _is_unicode(key) or not _is_unicode(value):
            errors.append(("metadata", "holds text that is not valid Unicode"))
    return errors


def _input_errors(catalog: Catalog, version: WorkflowVersion, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    errors = [
        (f"inputs.{variable.name}", "is required")
        for variable in version.inputs or ()
        if variable.required and variable.name not in inputs
    ]
    for name, validator in catalog.validators(version).items():
        if name in inputs:
            for error in validator.iter_errors(inputs[name]):
                path = ".".join(["inputs", name, *map(str, error.absolute_path)])
                errors.append((path, error.message[:_MESSAGE_LIMIT]))
    return errors


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored: JSON may escape half a surrogate pair."""
    if text.isascii():
        return True
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _type_name(value: object) -> str:
    """The JSON type of a parsed value."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _read_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_read_float)
