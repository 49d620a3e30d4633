"""A row's own time before which it is not to be sent, as a cell says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from batchkit.core.cells import distinct, texts
from batchkit.core.request import NewItem
from batchkit.core.rules import Code, Findings
from batchkit.core.schedule import LAST_YEAR
from batchkit.errors import ConfigError

__all__ = ["check_times", "in_zone", "read_time", "with_times"]


def read_time(cell: str) -> datetime | None:
    """The moment a cell names in ISO 8601, in UTC or, without an offset, naive; None for a missing cell.

    Raises ValueError for anything else.
    """
    text = cell.strip()
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if not 2 <= moment.year < LAST_YEAR:
        raise ValueError(f"the year {moment.year} is out of range")
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def check_times(cells: pa.StringArray) -> Findings:
    """What is wrong with the cells of a column of such times; an empty one is none."""
    values, which = distinct(cells)
    wrong = np.array([not _is_time(cell) for cell in texts(values)], dtype=np.bool_)
    return [(Code.TIME, np.flatnonzero(wrong[which]))]


def with_times(items: Sequence[NewItem], timezone: str | None) -> list[NewItem]:
    """The items with aware times; those without an offset are read in `timezone`, an IANA name.

    Raises ConfigError for one without an offset where there is no zone.
    """
    zone = None if timezone is None else ZoneInfo(timezone)
    return [
        item if item.not_before is None else replace(item, not_before=_aware(item.row, item.not_before, zone))
        for item in items
    ]


def in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """The naive moment in that zone, in UTC.

    One that the clocks skip is the first moment after the gap, one that they show twice is the first of the two.
    """
    utc = moment.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None, fold=0) == moment:
        return utc
    # In a gap the offset before it gives a time after it, by as much as the moment lies in the gap.
    late, early = utc, moment.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while (late - early).total_seconds() > 1e-6:
        middle = early + (late - early) / 2
        before = middle.astimezone(zone).replace(tzinfo=None) < moment
        early, late = (middle, late) if before else (early, middle)
    return late


def _is_time(cell: str) -> bool:
    try:
        read_time(cell)
    except (ValueError, OverflowError):
        return False
    return True


def _aware(row: int, moment: datetime, zone: ZoneInfo | None) -> datetime:
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise ConfigError(
            f"Row {row} is not to be sent before {moment.isoformat(' ', 'minutes')}, which has no time zone. "
            "Say which: bk.BatchConfig(..., timezone='Europe/Berlin'), when rows are run again "
            "config={'timezone': 'Europe/Berlin'}, or write times with an offset into the file."
        )
    return in_zone(moment, zone)
