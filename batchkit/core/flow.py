"""What holds a batch back beside its pace: what may be in flight, when, and how many failures are too many."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingLike
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from batchkit.core.hours import WorkingHours
from batchkit.errors import ConfigError

__all__ = ["LONGEST_DEADLINE", "CapacityLimit", "FailureThreshold", "Flow"]

#: seconds; a longer item deadline is a mistake in the unit
LONGEST_DEADLINE = 366 * 86_400

#: what the target is asked to do with a row it has no room for: "reject" it, so that it is sent again, or "queue" it
CapacityLimit = Literal["reject", "queue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureThreshold:
    """How many failed executions pause a batch: a `share` of those that ended, or a `count`, whichever comes first.

    Counted since the batch was last resumed. Raises ConfigError.
    """

    #: 0 to 1; None: the share does not matter
    share: float | None = None
    #: >= 1; None: the number does not matter
    count: int | None = None
    #: the share is not looked at before so many executions have ended, >= 1
    minimum: int = 20

    def __post_init__(self) -> None:
        if self.share is None and self.count is None:
            raise ConfigError("A FailureThreshold needs a share of failed executions, a count, or both.")
        is_number = isinstance(self.share, int | float) and not isinstance(self.share, bool)
        if self.share is not None and not (is_number and 0 < self.share <= 1):
            raise ConfigError(f"share must be a number above 0, at most 1, not {self.share!r}.")
        for name, value in (("count", self.count), ("minimum", self.minimum)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} must be a whole number of executions, 1 or more, not {value!r}.")

    def crossed(self, failed: int, ended: int) -> str:
        """Why the batch pauses after so many executions have failed of those that ended; empty: it does not."""
        if self.count is not None and failed >= self.count:
            return f"{failed:,} executions failed; the limit is {self.count:,}."
        if self.share is not None and ended >= self.minimum and failed >= self.share * ended:
            return f"{failed:,} of {ended:,} executions failed ({failed / ended:.0%}); the limit is {self.share:.0%}."
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The limits of a batch beside its pace; by default none. Raises one ConfigError that names all that is wrong."""

    #: executions not finished at a time, those being sent and those in doubt included, >= 1; None: any number
    max_in_flight: int | None = None
    #: None: as the target is set
    on_capacity_limit: CapacityLimit | None = None
    working_hours: WorkingHours | None = None
    failure_threshold: FailureThreshold | None = None
    #: seconds after which an execution that has not finished is not waited for any longer; None: for ever
    item_deadline: float | None = None
    #: IANA name of the zone in which a row's own time without an offset is read; None: not given
    timezone: str | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        limit, deadline = self.max_in_flight, self.item_deadline
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            yield f"max_in_flight must be a whole number of executions, 1 or more, or None, not {limit!r}."
        if self.on_capacity_limit not in (None, "reject", "queue"):
            yield f'on_capacity_limit must be "reject", "queue" or None, not {self.on_capacity_limit!r}.'
        if not isinstance(self.working_hours, WorkingHours | None):
            yield f"working_hours must be a bk.WorkingHours or None, not {self.working_hours!r}."
        if not isinstance(self.failure_threshold, FailureThreshold | None):
            yield f"failure_threshold must be a bk.FailureThreshold or None, not {self.failure_threshold!r}."
        valid = isinstance(deadline, int | float) and not isinstance(deadline, bool) and 0 < deadline < float("inf")
        if deadline is not None and not valid:
            yield f"item_deadline must be a number of seconds above 0, or None, not {deadline!r}."
        elif deadline is not None and deadline > LONGEST_DEADLINE:
            yield f"item_deadline={deadline!r} is longer than a year; it is in seconds."

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without what is not set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.working_hours is not None:
            values["working_hours"] = self.working_hours.to_dict()
        if self.failure_threshold is not None:
            values["failure_threshold"] = asdict(self.failure_threshold)
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, data: MappingLike[str, Any]) -> Flow:
        """What `to_dict` gave, also where an older version allowed more than today's."""
        values = dict(data)
        if "item_deadline" in values:
            values["item_deadline"] = min(values["item_deadline"], LONGEST_DEADLINE)
        if "working_hours" in values:
            values["working_hours"] = WorkingHours.from_dict(values["working_hours"])
        if "failure_threshold" in values:
            values["failure_threshold"] = FailureThreshold(**values["failure_threshold"])
        return cls(**values)
