"""What the demo platform offers: its agents with their versions, its profiles and its pools, all with ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from batchkit.core.agent import Agent, WorkflowVersion
from batchkit.core.profile import AgentProfile, SelectionStrategy
from batchkit.errors import ConfigError

__all__ = ["Catalog", "DemoPool", "Pool", "stable_id"]

_NAMESPACE = uuid.UUID("5f0f6f0e-6f3e-4d52-9a0b-0d6c1f6f8a11")
#: when the demo's organization came into being; what has no date of its own counts from here
_FOUNDED = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPool:
    """What a pool of the demo platform is made of."""

    #: names of profiles, in order
    members: Sequence[str]
    strategy: SelectionStrategy = SelectionStrategy.LEAST_RECENTLY_USED
    #: whether a profile serves one execution at a time
    exclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool with an id and its members resolved."""

    id: str
    name: str
    members: tuple[AgentProfile, ...]
    strategy: SelectionStrategy
    exclusive: bool


_Thing = TypeVar("_Thing", Agent, AgentProfile, Pool)


class Catalog:
    """Agents, profiles and pools by id, with validators compiled once per version. Does not change."""

    def __init__(
        self,
        agents: Iterable[Agent],
        profiles: Iterable[str | AgentProfile],
        pools: Mapping[str, Sequence[str] | DemoPool],
    ) -> None:
        """Raise ConfigError for names used twice, unknown members and input schemas that are not JSON Schema."""
        self.organization_id = stable_id("organization")
        self.user_id = stable_id("user")
        self.agents = _by_id((_complete_agent(agent) for agent in agents), "agent")
        self.profiles = _by_id((_complete_profile(profile) for profile in profiles), "profile")
        by_name = {profile.name: profile for profile in self.profiles.values()}
        self.pools = _by_id((_complete_pool(name, pool, by_name) for name, pool in pools.items()), "pool")
        self._validators = {
            version.id: _compile(agent.name, version) for agent in self.agents.values() for version in agent.versions
        }

    def version(self, agent: Agent, number: int | None) -> WorkflowVersion | None:
        """That version of the agent, the published one for None; None where there is no such version."""
        if number is None:
            return next((version for version in agent.versions if version.published), None)
        return next((version for version in agent.versions if version.version == number), None)

    def validators(self, version: WorkflowVersion) -> Mapping[str, Draft202012Validator]:
        """What checks a value, by the name of the version's input."""
        return self._validators[version.id]


def stable_id(*parts: str) -> str:
    """A UUID that is the same for the same words, in every process."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


def created_at(name: str) -> datetime:
    """When the agent, profile or pool of that name was made: believable, and always the same."""
    return _FOUNDED + timedelta(hours=uuid.UUID(stable_id("created", name)).int % 2000)


def _by_id(things: Iterable[_Thing], kind: str) -> dict[str, _Thing]:
    found: dict[str, _Thing] = {}
    names: set[str] = set()
    for thing in things:
        if thing.name in names or thing.id in found:
            raise ConfigError(f"The demo platform was given the {kind} {thing.name!r} twice: give each its own name.")
        names.add(thing.name)
        found[thing.id] = thing
    return found


def _complete_agent(agent: Agent) -> Agent:
    """The agent with an id, and with at least one version, newest first, each with an id, a date and its inputs."""
    agent_id = agent.id or stable_id("agent", agent.name)
    given = agent.versions or (WorkflowVersion(version=agent.version or 1, published=True),)
    if len({version.version for version in given}) < len(given) or sum(version.published for version in given) > 1:
        raise ConfigError(
            f"The versions of agent {agent.name!r} do not go together: each needs its own number, "
            "and at most one can be published."
        )
    versions = [
        replace(
            version,
            id=version.id or stable_id("version", agent_id, str(version.version)),
            created_at=version.created_at or created_at(agent.name) + timedelta(days=9 * version.version),
            inputs=tuple(agent.inputs) if version.inputs is None else version.inputs,
        )
        for version in sorted(given, key=lambda version: version.version, reverse=True)
    ]
    return replace(agent, id=agent_id, versions=versions)


def _complete_profile(profile: str | AgentProfile) -> AgentProfile:
    if isinstance(profile, str):
        return AgentProfile(name=profile, id=stable_id("profile", profile))
    return profile


def _complete_pool(name: str, pool: Sequence[str] | DemoPool, profiles: Mapping[str, AgentProfile]) -> Pool:
    if not isinstance(pool, DemoPool):
        pool = DemoPool(members=pool)
    unknown = [member for member in pool.members if member not in profiles]
    if unknown:
        raise ConfigError(
            f"Pool {name!r} of the demo platform names the profile {unknown[0]!r}, which does not exist. "
            f"There are: {', '.join(profiles) or 'none'}."
        )
    if not pool.members:
        raise ConfigError(f"Pool {name!r} of the demo platform has no members: name at least one profile.")
    return Pool(
        id=stable_id("pool", name),
        name=name,
        members=tuple(profiles[member] for member in pool.members),
        strategy=pool.strategy,
        exclusive=pool.exclusive,
    )


def _compile(agent_name: str, version: WorkflowVersion) -> dict[str, Draft202012Validator]:
    validators = {}
    for variable in version.inputs or ():
        try:
            Draft202012Validator.check_schema(variable.schema)
        except SchemaError as exc:
            raise ConfigError(
                f"The schema of input {variable.name!r} of agent {agent_name!r} is not JSON Schema: {exc.message}. "
                "Correct it, or use {} to allow anything."
            ) from exc
        validators[variable.name] = Draft202012Validator(
            dict(variable.schema), format_checker=Draft202012Validator.FORMAT_CHECKER
        )
    return validators
