"""Agent profiles and pools: whose credentials an execution uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from batchkit.errors import ConfigError

__all__ = [
    "AgentProfile",
    "PinnedPool",
    "ProfilePool",
    "ProfileRef",
    "SelectionStrategy",
    "picked",
    "profile_refs",
    "wait_for",
    "waits_for_profile",
]

_WAITS = "It waits until "


class SelectionStrategy(StrEnum):
    """How a pool picks a profile."""

    LEAST_RECENTLY_USED = "least_recently_used"
    MOST_RECENTLY_USED = "most_recently_used"
    #: in the order of the members; only pools of batchkit's own
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """A named set of credentials on the target; names are unique in an organization."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePool:
    """A named pool from which a profile is picked per execution.

    One of the target's has an `id`, and the target picks. One with `members` is batchkit's own, for a target without
    pools: `ProfilePool("Clerks", members=["Clerk A", "Clerk B"])`. batchkit then picks when a row is about to be sent,
    and a row for which no member is free waits. Raises ConfigError for members or a limit that make no sense.
    """

    name: str = field(kw_only=False)
    id: str = ""
    strategy: SelectionStrategy = SelectionStrategy.LEAST_RECENTLY_USED
    #: whether one profile may serve two executions at once
    concurrent_use: bool = False
    #: names of profiles of the target, or profiles; empty: the target's own pool
    members: tuple[str | AgentProfile, ...] = ()
    #: executions that one profile may serve at once, over all batches of the store; None: 1, or any number with
    #: `concurrent_use`
    limit_per_profile: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.members, str):
            raise ConfigError(f"The members of a pool are a list of profiles, not the text {self.members!r}.")
        object.__setattr__(self, "members", tuple(self.members))
        if self.strategy not in list(SelectionStrategy):
            known = ", ".join(map(repr, map(str, SelectionStrategy)))
            raise ConfigError(f"The strategy of a pool is one of {known}, not {self.strategy!r}.")
        object.__setattr__(self, "strategy", SelectionStrategy(self.strategy))
        if self.members or self.limit_per_profile is not None or not self.id:
            _check_own(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPool:
    """A pool of batchkit's own as a batch keeps it: its members pinned by id."""

    name: str
    members: tuple[ProfileRef, ...]
    strategy: SelectionStrategy
    #: None: any number
    limit: int | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PinnedPool:
        """What `dataclasses.asdict` made a dictionary of."""
        return cls(
            name=data["name"],
            members=tuple(ProfileRef(**member) for member in data["members"]),
            strategy=SelectionStrategy(data["strategy"]),
            limit=data["limit"],
        )

    @property
    def ref(self) -> ProfileRef:
        """What stands for it as a batch's default profile. No target knows it; a member takes its place."""
        return ProfileRef(id="", name=self.name, is_pool=True)

    @property
    def pool(self) -> ProfilePool:
        """The same as its user gave it."""
        return ProfilePool(
            self.name,
            members=tuple(AgentProfile(name=member.name, id=member.id) for member in self.members),
            strategy=self.strategy,
            concurrent_use=self.limit != 1,
            limit_per_profile=self.limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRef:
    """What a request names: a profile or a pool, pinned by id when the batch is created."""

    id: str
    name: str
    is_pool: bool = False


def wait_for(profile: ProfileRef) -> str:
    """What a pending row says that waits for that profile, or for one of that pool."""
    what = f"a profile of pool {profile.name!r}" if profile.is_pool else f"profile {profile.name!r}"
    return f"{_WAITS}{what} is free."


def waits_for_profile(error: str) -> bool:
    """Whether that is what `wait_for` says."""
    return error.startswith(_WAITS)


def picked(pool: PinnedPool, free: Collection[str], used: Mapping[str, int]) -> ProfileRef | None:
    """Return the member to use next, by the pool's strategy; None: none is free.

    free: ids of members. used: by id, when it was last used, larger is later; a member that never was is not in it.
    Of members that are alike the first is taken.
    """
    members = [member for member in pool.members if member.id in free]
    if not members:
        return None
    if pool.strategy is SelectionStrategy.LEAST_RECENTLY_USED:
        return min(members, key=lambda member: used.get(member.id, -1))
    if pool.strategy is SelectionStrategy.MOST_RECENTLY_USED:
        return max(members, key=lambda member: used.get(member.id, -1))
    known = [at for at, member in enumerate(pool.members) if member.id in used]
    after = max(known, key=lambda at: used[pool.members[at].id]) + 1 if known else 0
    turns = (*pool.members[after:], *pool.members[:after])
    return next(member for member in turns if member.id in free)


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


def _check_own(pool: ProfilePool) -> None:
    """Raise ConfigError unless a pool of batchkit's own can be used."""
    if not isinstance(pool.name, str) or not pool.name.strip():
        raise ConfigError(f"A pool needs a name, not {pool.name!r}.")
    if not pool.members:
        raise ConfigError(
            f"Pool {pool.name!r} has no members. Name the target's profiles: "
            f'bk.ProfilePool({pool.name!r}, members=["Clerk A", "Clerk B"]); ws.pools() gives the target\'s own pools.'
        )
    for member in pool.members:
        if not isinstance(member, str | AgentProfile):
            raise ConfigError(f"A member of pool {pool.name!r} is the name of a profile or a profile, not {member!r}.")
    names = [member.strip() if isinstance(member, str) else member.name for member in pool.members]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"Pool {pool.name!r} names {', '.join(map(repr, twice))} more than once.")
    limit = pool.limit_per_profile
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigError(f"limit_per_profile must be a whole number of executions, 1 or more, not {limit!r}.")
    if limit is not None and limit > 1 and not pool.concurrent_use:
        raise ConfigError(
            f"limit_per_profile={limit} lets a profile serve several executions at once; say so with "
            "concurrent_use=True, or leave the limit out for one at a time."
        )
