"""The wizard's state as the page draws it: JSON, with nothing in it that is not shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.mapping import Field, Input, Metadata, NotBefore, Origin, ProfileName
from batchkit.core.not_before import in_zone, read_time
from batchkit.core.record import BatchRecord
from batchkit.core.table import Severity, Table
from batchkit.core.validation import Validation
from batchkit.errors import ConfigError
from batchkit.ui.draft import Outlook
from batchkit.ui.options import known_zone
from batchkit.ui.state import Step, WizardState

__all__ = ["PREVIEW_ROWS", "Drawing", "preview_rows"]

PREVIEW_ROWS = 10
#: rows tried before the rest
TRIAL = 3
_SAMPLES = 3
#: rows in which samples are looked for
_LOOKED_AT = 200
#: problems of a file that are listed; the rest is counted
_LISTED = 100
#: characters of a cell in the page
_CELL = 400
#: columns of the first rows that are shown; all of them are in "Map Columns"
_COLUMNS = 60
_LABELS = {
    Step.UPLOAD: "Upload CSV",
    Step.MAP: "Map Columns",
    Step.PREVIEW: "Preview & Validate",
    Step.CONFIGURE: "Configure Batch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What is shown of a table, found once."""

    table: Table
    rows: list[list[str]]
    samples: list[list[str]]


class Drawing:
    """Draws states. What takes a while is kept from one drawing to the next."""

    def __init__(self) -> None:
        self._look: _Look | None = None
        self._preview: tuple[Validation, str, list[dict[str, Any]]] | None = None
        #: what it follows from, and what follows, or why nothing does
        self._outlook: tuple[object, Outlook | None, str] | None = None

    def draw(self, state: WizardState, earlier: Sequence[BatchRecord], now: datetime) -> dict[str, Any]:
        """Everything of the four steps."""
        return {
            "step": state.step,
            "steps": [_step(state, step) for step in Step],
            "agent": None if state.agent is None else _agent(state.agent),
            "source": _source(state),
            "table": None if state.table is None else self._table(state.table),
            "map": self._map(state),
            "preview": self._previewed(state),
            "configure": self._configure(state, earlier, now),
        }

    def _table(self, table: Table) -> dict[str, Any]:
        look = self._looked(table)
        dialect = table.dialect
        return {
            "rows": len(table),
            "columns": len(table.columns),
            "ok": table.ok,
            "errors": len(table.errors),
            "encoding": None if dialect is None else dialect.encoding,
            "encoding_guessed": dialect is not None and dialect.encoding_guessed,
            "delimiter": None if dialect is None else dialect.delimiter,
            "delimiter_guessed": dialect is not None and dialect.delimiter_guessed,
            "header": list(table.columns[:_COLUMNS]),
            "first": look.rows,
            "problems": [
                {"severity": str(one.severity), "line": one.line, "message": one.message}
                for one in sorted(table.problems, key=lambda one: one.severity is not Severity.ERROR)[:_LISTED]
            ],
            "more_problems": max(0, len(table.problems) - _LISTED),
        }

    def _looked(self, table: Table) -> _Look:
        if self._look is None or self._look.table is not table:
            first = table.data.slice(0, PREVIEW_ROWS)
            rows = zip(*(map(_cut, _texts(column)) for column in first.columns[:_COLUMNS]), strict=True)
            near = table.data.slice(0, _LOOKED_AT)
            samples = [
                list(islice(map(_cut, filter(str.strip, dict.fromkeys(_texts(column)))), _SAMPLES))
                for column in near.columns
            ]
            self._look = _Look(table=table, rows=[list(row) for row in rows], samples=samples)
        return self._look

    def _map(self, state: WizardState) -> dict[str, Any] | None:
        mapping, agent = state.mapping, state.agent
        if mapping is None or agent is None or state.table is None:
            return None
        samples = self._looked(state.table).samples
        problems: dict[str, list[str]] = {}
        general = []
        for problem in state.mapping_problems():
            if problem.column is None:
                general.append(problem.text)
            else:
                problems.setdefault(problem.column, []).append(problem.text)
        offered = {one.column: one for one in mapping.suggestions}
        columns = []
        for at, (column, field) in enumerate(mapping.fields.items()):
            near = offered.get(column)
            columns.append(
                {
                    "column": column,
                    "samples": samples[at],
                    **_field(field),
                    "mark": _mark(mapping.origin(column), field),
                    "problems": problems.get(column, []),
                    "near": None if near is None else {"field": near.field.label, "reason": near.reason},
                }
            )
        mapped = {field.name: column for column, field in mapping.mapped.items() if isinstance(field, Input)}
        return {
            "columns": columns,
            "variables": [{**_variable(one), "column": mapped.get(one.name)} for one in agent.inputs],
            "general": general,
            "notes": list(mapping.notes),
            "restored": state.is_restored,
            "undo": state.undos[-1].words if state.undos else None,
            "changed": state.suggested is not None and mapping.assigned != state.suggested.assigned,
            "has_profiles": bool(state.profiles or state.pools),
            "timezone": state.draft.timezone,
        }

    def _previewed(self, state: WizardState) -> dict[str, Any]:
        checked = state.checked
        shown = checked or state.glimpse
        counts = None if checked is None else checked.counts
        return {
            "labels": [] if shown is None else [field.label for field in shown.mapping.mapped.values()],
            "rows": [] if shown is None else self._rows(shown, state.draft.timezone),
            "counts": None
            if counts is None
            else {
                "total": counts.total,
                "valid": counts.valid,
                "invalid": counts.invalid,
                "warnings": counts.warnings,
            },
            "policy": state.policy,
            "failure": state.failure,
            "round": state.round,
            "unmapped": bool(state.mapping_problems()),
        }

    def _rows(self, shown: Validation, timezone: str) -> list[dict[str, Any]]:
        if self._preview is None or self._preview[0].found is not shown.found or self._preview[1] != timezone:
            rows = preview_rows(shown, range(min(PREVIEW_ROWS, len(shown.table))), timezone)
            self._preview = shown, timezone, rows
        return self._preview[2]

    def _configure(self, state: WizardState, earlier: Sequence[BatchRecord], now: datetime) -> dict[str, Any]:
        problems = state.draft.problems(state.rows)
        outlook, too_far = self._looked_out(state, now)
        if too_far:
            problems["batch_interval"] = too_far
        return {
            **state.draft.to_json(),
            "options_set": state.draft.options.count,
            "ends_next_day": state.draft.options.ends_next_day,
            "has_times": state.has_times,
            "problems": problems,
            "profiles": [{"id": one.id, "name": one.name, "kind": "Profile"} for one in state.profiles]
            + [{"id": one.id, "name": one.name, "kind": "Pool"} for one in state.pools],
            "rows": state.rows,
            "needed": 0 if state.checked is None else state.checked.default_needed,
            "dropped": 0 if state.checked is None else state.checked.counts.dropped,
            "outlook": None
            if outlook is None
            else {
                "groups": outlook.groups,
                "seconds": outlook.seconds,
                "first_at": outlook.first_at.isoformat(),
                "waits": outlook.waits,
                "last_at": outlook.last_at.isoformat(),
                "bars": [list(bar) for bar in outlook.bars],
                "left_out": outlook.left_out,
            },
            "earlier": [
                {
                    "id": one.id,
                    "name": one.name,
                    "status": one.status.capitalize(),
                    "at": one.created_at.isoformat(),
                    "progress": str(one.progress),
                }
                for one in earlier
            ],
            "obstacle": state.why_not_start() or too_far,
            "trial": TRIAL if state.rows > TRIAL else 0,
            "launching": state.launching,
            "not_made": state.not_made,
        }

    def _looked_out(self, state: WizardState, now: datetime) -> tuple[Outlook | None, str]:
        """What follows from the configuration, or why it is too far away. Working hours take a while to work out."""
        minute = now.replace(second=0, microsecond=0) if state.draft.options.hours else now
        basis = state.draft, state.rows, minute
        if self._outlook is None or self._outlook[0] != basis:
            try:
                self._outlook = basis, state.draft.outlook(state.rows, now), ""
            except ConfigError as error:
                self._outlook = basis, None, str(error)
        return self._outlook[1:]


def preview_rows(checked: Validation, positions: Sequence[int], timezone: str = "") -> list[dict[str, Any]]:
    """The rows at those positions as they will be sent, with what is said of them.

    timezone: the one in which times without an offset are meant.
    """
    if not len(positions):
        return []
    frame = pd.concat([checked.preview(1, start=at) for at in positions], ignore_index=True)
    rows = []
    for at, values in zip(positions, frame.itertuples(index=False), strict=True):
        issues = checked.issues_for(at)
        cells = []
        for (column, field), value in zip(checked.mapping.mapped.items(), values[2:-1], strict=True):
            mine = [issue for issue in issues if issue.column == column]
            cell = {
                "text": _shown(value),
                "sent": value is not None,
                "issues": [issue.message for issue in mine],
                "wrong": any(issue.severity is Severity.ERROR for issue in mine),
            }
            if field == NotBefore() and not cell["wrong"]:
                cell["time"] = _moment(value, timezone)
            cells.append(cell)
        rows.append(
            {
                "row": int(values[0]),
                "line": checked.table.line_number(at),
                "status": str(values[1]),
                "cells": cells,
                "issues": [issue.message for issue in issues],
            }
        )
    return rows


def _moment(cell: object, timezone: str) -> str | None:
    """The moment that a cell without fault names; None for an empty one, and where its zone is not known."""
    moment = read_time(cell) if isinstance(cell, str) else None
    if moment is None or (moment.tzinfo is None and not known_zone(timezone)):
        return None
    return (moment if moment.tzinfo is not None else in_zone(moment, ZoneInfo(timezone.strip()))).isoformat()


def _step(state: WizardState, step: Step) -> dict[str, Any]:
    return {
        "key": step,
        "label": _LABELS[step],
        "current": state.step is step,
        "done": state.is_done(step),
        "obstacle": state.obstacle(step),
    }


def _agent(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": agent.name,
        "version": agent.version,
        "versions": [{"version": one.version, "published": one.published} for one in agent.versions],
    }


def _source(state: WizardState) -> dict[str, Any] | None:
    source = state.source
    if source is None:
        return None
    return {
        "kind": source.kind,
        "name": source.name,
        "path": source.path if source.kind == "path" else "",
        "encoding": source.encoding,
        "delimiter": source.delimiter,
    }


def _field(field: Field) -> dict[str, str]:
    match field:
        case Input(name):
            return {"kind": "input", "name": name}
        case Metadata(key):
            return {"kind": "metadata", "name": key}
        case ProfileName():
            return {"kind": "profile", "name": ""}
        case NotBefore():
            return {"kind": "not_before", "name": ""}
    return {"kind": "skip", "name": ""}


def _mark(origin: Origin, field: Field) -> str:
    if origin is Origin.RESTORED:
        return "Restored"
    if origin is Origin.MANUAL:
        return "Set by you"
    if origin is Origin.SUGGESTED:
        return "Suggested"
    return "Auto-mapped" if isinstance(field, Input) else ""


def _variable(variable: InputVariable) -> dict[str, Any]:
    has_default = variable.default is not None
    return {
        "name": variable.name,
        "type": variable.type_name,
        "required": variable.required and not has_default,
        "default": json.dumps(variable.default, ensure_ascii=False) if has_default else "",
        "description": variable.description,
    }


def _texts(column: pa.ChunkedArray[Any]) -> list[str]:
    return [str(cell) for cell in column.to_pylist()]


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"


def _shown(value: object) -> str:
    if value is None:
        return ""
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
