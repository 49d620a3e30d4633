"""How a batch is to run, checked once when it is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import TypeVar
from zoneinfo import ZoneInfo

from batchkit.core.flow import CapacityLimit, FailureThreshold, Flow
from batchkit.core.hours import WorkingHours
from batchkit.core.names import did_you_mean
from batchkit.core.profile import AgentProfile, PinnedPool, ProfilePool, ProfileRef, profile_refs
from batchkit.core.schedule import LAST_YEAR, Pace
from batchkit.errors import ConfigError, NotFoundError

__all__ = ["BatchConfig", "aware", "checked_pace", "resolve_default", "resolve_profile"]

#: the fields that make up `flow`
_FLOW = tuple(field.name for field in fields(Flow))
#: seconds; a longer interval is a mistake in the unit
_LONGEST_INTERVAL = 366 * 86_400
#: seconds; times are kept to the microsecond
_SHORTEST_INTERVAL = 1e-6
#: the largest whole number that every kind of store keeps
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, init=False)
class BatchConfig:
    """The parameters of a batch (specification, "Configure Batch").

    start_at may also be text, as `datetime.fromisoformat` reads it: with an offset ("2026-03-01T09:00+01:00"), or
    without one ("2026-03-01T09:00") together with `timezone`. A local time that the clocks skip is refused; one that
    they pass twice means the first time.
    Raises one ConfigError that names everything that is wrong.
    """

    #: not empty, trimmed
    name: str
    #: the workflow version to run; None: the published one
    version: int | None
    #: for rows that name no profile: a profile, a pool, or the name of one; None: none
    default_profile: str | AgentProfile | ProfilePool | None
    #: UTC; None: at once
    start_at: datetime | None
    #: rows sent per interval, >= 1
    max_concurrent: int
    #: seconds between groups, >= 0
    batch_interval: float
    #: IANA name of the user's zone; None: not given
    timezone: str | None
    #: so many rows are tried first, at once; then the batch pauses itself until it is resumed; 0: no trial
    trial: int
    #: executions not finished at a time, >= 1; None: any number
    max_in_flight: int | None
    #: what the target is asked to do with a row it has no room for; None: as the target is set
    on_capacity_limit: CapacityLimit | None
    #: when rows may be sent; None: always
    working_hours: WorkingHours | None
    #: how many failed executions pause it; None: any number is borne
    failure_threshold: FailureThreshold | None
    #: seconds after which an execution that has not finished is not waited for any longer; None: for ever
    item_deadline: float | None

    def __init__(
        self,
        *,
        name: str,
        version: int | None = None,
        default_profile: str | AgentProfile | ProfilePool | None = None,
        start_at: datetime | str | None = None,
        max_concurrent: int = 5,
        batch_interval: float = 60,
        timezone: str | None = None,
        trial: int = 0,
        max_in_flight: int | None = None,
        on_capacity_limit: CapacityLimit | None = None,
        working_hours: WorkingHours | None = None,
        failure_threshold: FailureThreshold | None = None,
        item_deadline: float | None = None,
    ) -> None:
        problems: list[str] = []
        values = {
            "name": _kept(problems, _name, name),
            "version": _kept(problems, _version, version),
            "default_profile": _kept(problems, _default_profile, default_profile),
            "timezone": _kept(problems, _timezone, timezone),
            "start_at": _kept(problems, _start_at, start_at, timezone),
            "max_concurrent": _kept(problems, _max_concurrent, max_concurrent),
            "batch_interval": _kept(problems, _batch_interval, batch_interval),
            "trial": _kept(problems, _trial, trial),
        }
        flow = _kept(
            problems,
            lambda: Flow(
                max_in_flight=max_in_flight,
                on_capacity_limit=on_capacity_limit,
                working_hours=working_hours,
                failure_threshold=failure_threshold,
                item_deadline=item_deadline,
            ),
        )
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))
        limits = {name: getattr(flow, name) for name in _FLOW if name not in values}
        for field, value in (values | limits).items():
            object.__setattr__(self, field, value)

    @property
    def pace(self) -> Pace:
        """How fast rows may be sent."""
        return Pace(max_concurrent=self.max_concurrent, batch_interval=self.batch_interval)

    @property
    def flow(self) -> Flow:
        """What holds it back beside its pace."""
        return Flow(**{name: getattr(self, name) for name in _FLOW})


def checked_pace(max_concurrent: object, batch_interval: object) -> Pace:
    """Return that pace. Raises ConfigError, also for what is no number and for an interval out of range."""
    return Pace(max_concurrent=_max_concurrent(max_concurrent), batch_interval=_batch_interval(batch_interval))


def aware(value: datetime | str, timezone: str | None = None, *, what: str = "The time", advice: str = "") -> datetime:
    """Return a moment in UTC, to the microsecond.

    value: an aware datetime, text with an offset, or local text together with `timezone` (an IANA name).
    what: begins a message. advice: what else could be done about text without an offset.
    Raises ConfigError for anything else and for a local time that the zone's clocks skip; of one that they pass
    twice, the first is meant.
    """
    moment = _parsed(value, what) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ConfigError(f"{what} must be a datetime or text like '2026-03-01T09:00', not {moment!r}.")
    if moment.tzinfo is None or moment.utcoffset() is None:
        if not isinstance(value, str):
            raise ConfigError(
                f"{what} {moment} has no time zone; give it one: datetime(..., tzinfo=ZoneInfo('Europe/Berlin'))."
            )
        if timezone is None:
            raise ConfigError(f"{what} {value!r} has no time zone; add an offset, like '{value}+01:00'{advice}.")
        moment = _local(moment, _zone(timezone), what)
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        utc = datetime.max.replace(tzinfo=UTC)
    if not 2 <= utc.year <= LAST_YEAR:
        raise ConfigError(f"{what} {value} is out of range; use a date between the years 2 and {LAST_YEAR}.")
    return datetime.combine(utc.date(), utc.time(), UTC)


def resolve_default(
    default: str | AgentProfile | ProfilePool | None,
    profiles: Sequence[AgentProfile] | None,
    pools: Sequence[ProfilePool] | None,
) -> tuple[ProfileRef | None, PinnedPool | None]:
    """Return what a batch's default profile is, and the pool behind it where that is one of batchkit's own.

    As `resolve_profile`; the members of an own pool are looked up likewise, and must be profiles.
    """
    if not isinstance(default, ProfilePool) or not default.members:
        return resolve_profile(default, profiles, pools), None
    if default.name.strip() in profile_refs(profiles, pools):
        raise ConfigError(
            f"The target has a profile or pool {default.name!r} already. Call your own pool by another name, so that "
            "it is clear which one is meant."
        )
    if not profiles:
        raise NotFoundError(f"The target has no agent profiles, so pool {default.name!r} cannot pick one of them.")
    members = tuple(ref for member in default.members if (ref := resolve_profile(member, profiles, ())) is not None)
    if len({member.id for member in members}) < len(members):
        raise ConfigError(f"Pool {default.name!r} names a profile more than once.")
    limit = default.limit_per_profile if default.concurrent_use else 1
    pinned = PinnedPool(name=default.name.strip(), members=members, strategy=default.strategy, limit=limit)
    return pinned.ref, pinned


def resolve_profile(
    default: str | AgentProfile | ProfilePool | None,
    profiles: Sequence[AgentProfile] | None,
    pools: Sequence[ProfilePool] | None,
) -> ProfileRef | None:
    """Return what a batch's default profile names, None for no default.

    profiles, pools: the target's. Names compare exactly after trimming. Raises NotFoundError for one the target does
    not have, and ConfigError for a name that is several profiles or pools.
    """
    if default is None:
        return None
    if isinstance(default, AgentProfile | ProfilePool):
        known: list[AgentProfile | ProfilePool] = [*(profiles or ()), *(pools or ())]
        if not any(one.id == default.id and type(one) is type(default) for one in known):
            raise NotFoundError(f"The target has no agent profile or pool {default.name!r} with id {default.id!r}.")
        return ProfileRef(id=default.id, name=default.name, is_pool=isinstance(default, ProfilePool))
    refs = profile_refs(profiles, pools)
    name = default.strip()
    if name not in refs:
        has = did_you_mean(name, refs) or f" It has: {', '.join(map(repr, refs)) or 'none'}."
        raise NotFoundError(f"The target has no agent profile or pool {name!r}.{has}")
    ref = refs[name]
    if ref is None:
        raise ConfigError(
            f"{name!r} is the name of several agent profiles or pools. Give the AgentProfile or ProfilePool itself "
            "as default_profile."
        )
    return ref


_Value = TypeVar("_Value")


def _kept(problems: list[str], check: Callable[..., _Value], *values: object) -> _Value | None:
    """What `check` makes of the values; what it says against them is added to the problems."""
    try:
        return check(*values)
    except ConfigError as error:
        problems.append(str(error))
        return None


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"name must be a text that says what the batch is, like 'March permits', not {value!r}.")
    return value.strip()


def _version(value: object) -> int | None:
    if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
        raise ConfigError(f"version must be a workflow version, a whole number from 1, or None, not {value!r}.")
    return None if value is None else _storable("version", value)


def _default_profile(value: object) -> str | AgentProfile | ProfilePool | None:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if value is None or isinstance(value, AgentProfile | ProfilePool):
        return value
    raise ConfigError(f"default_profile must be a profile, a pool, the name of one, or None, not {value!r}.")


def _max_concurrent(value: object) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"max_concurrent must be a whole number of rows, 1 or more, not {value!r}.")
    return _storable("max_concurrent", value)


def _trial(value: object) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"trial must be a whole number of rows to try first, 0 or more, not {value!r}.")
    return _storable("trial", value)


def _storable(name: str, value: Integral) -> int:
    if int(value) > _LARGEST:
        raise ConfigError(f"{name} must be at most {_LARGEST:,}, not {value}.")
    return int(value)


def _batch_interval(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        seconds = math.inf
    if not 0 <= seconds < math.inf:
        raise ConfigError(f"batch_interval must be a number of seconds, 0 or more and finite, not {value!r}.")
    if seconds > _LONGEST_INTERVAL:
        raise ConfigError(f"batch_interval={value!r} is longer than a year; it is in seconds.")
    if 0 < seconds < _SHORTEST_INTERVAL:
        raise ConfigError(f"batch_interval={value!r} is shorter than a microsecond; use 0 for no interval.")
    return seconds


def _timezone(value: object) -> str | None:
    return None if value is None else _zone(value).key


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"timezone {name!r} is not known; use an IANA name like 'Europe/Berlin'.") from None


def _start_at(value: datetime | str | None, timezone: str | None) -> datetime | None:
    return None if value is None else aware(value, timezone, what="start_at", advice=", or timezone='Europe/Berlin'")


def _parsed(text: str, what: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"{what} {text!r} is not a date and time; write it like '2026-03-01T09:00'.") from None


def _local(moment: datetime, zone: ZoneInfo, what: str) -> datetime:
    """The moment in that zone, the first of two where the clocks are set back."""
    local = moment.replace(tzinfo=zone, fold=0)
    try:
        back = local.astimezone(UTC).astimezone(zone)
    except OverflowError:
        return local
    if back.replace(tzinfo=None, fold=0) != moment:
        raise ConfigError(
            f"{what} {moment.isoformat(' ', 'minutes')} does not exist in {zone.key}: the clocks are set forward then. "
            f"Use {back.isoformat(' ', 'minutes')[:16]} or an earlier time."
        )
    return local
