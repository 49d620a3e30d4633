"""Agent profiles and pools: whose credentials an execution uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AgentProfile", "ProfilePool", "ProfileRef", "SelectionStrategy", "profile_refs"]


class SelectionStrategy(StrEnum):
    """How a pool picks a profile."""

    LEAST_RECENTLY_USED = "least_recently_used"
    MOST_RECENTLY_USED = "most_recently_used"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """A named set of credentials on the target; names are unique in an organization."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePool:
    """A named pool from which the target picks a profile per execution."""

    name: str
    id: str
    strategy: SelectionStrategy = SelectionStrategy.LEAST_RECENTLY_USED
    #: whether one profile may serve two executions at once
    concurrent_use: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRef:
    """What a request names: a profile or a pool, pinned by id when the batch is created."""

    id: str
    name: str
    is_pool: bool = False


def profile_refs(
    profiles: Sequence[AgentProfile] | None, pools: Sequence[ProfilePool] | None
) -> dict[str, ProfileRef | None]:
    """Return what each name means, by the name without surrounding whitespace; None where it means several things."""
    refs: dict[str, ProfileRef | None] = {}
    everything: list[AgentProfile | ProfilePool] = [*(profiles or ()), *(pools or ())]
    for known in everything:
        name = known.name.strip()
        ref = ProfileRef(id=known.id, name=known.name, is_pool=isinstance(known, ProfilePool))
        refs[name] = None if name in refs else ref
    return refs
