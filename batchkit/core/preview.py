"""A few rows as they will be sent, for looking at before anything is."""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from collections.abc import Sequence

import numpy as np
import pandas as pd

from batchkit.core.cells import Json
from batchkit.core.issues import Issue, Issues
from batchkit.core.mapping import Field, Input, ProfileName
from batchkit.core.payload import NOT_SENT, cells_at, typed
from batchkit.core.table import Severity

__all__ = ["preview_frame"]

#: the preview's own columns; an input of that name is shown as "input.<name>"
_OWN = frozenset({"row", "status", "profile", "errors"})


def preview_frame(found: Issues, fields: MappingLike[str, Field], positions: Sequence[int]) -> pd.DataFrame:
    """Return the records at those positions as they will be sent: row, status, a column per mapped field, errors.

    found: the issues of the whole table. fields: of the mapped columns.
    Columns are called as the inputs, "profile" and "metadata.<key>". Values are typed; None is not sent; a cell with
    an error is shown as it was read.
    """
    labels = [_label(item) for item in fields.values()]
    data: dict[str, list[Json]] = {name: [] for name in ["row", "status", *labels, "errors"]}
    for position in positions:
        issues = found.between(position, position + 1).listed()
        wrong = {issue.column for issue in issues if issue.severity is Severity.ERROR}
        cells = cells_at(found.table, np.array([position]))
        data["row"].append(found.table.row_number(position))
        data["status"].append(_status(issues))
        data["errors"].append("\n".join(issue.message for issue in issues))
        for label, (column, item) in zip(labels, fields.items(), strict=True):
            data[label].append(cells[column][0] if column in wrong else _value(cells[column][0], item, column, found))
    kinds = dict.fromkeys(labels, "object") | {"row": "int64", "status": "str", "errors": "str"}
    return pd.DataFrame({name: pd.Series(values, dtype=kinds[name]) for name, values in data.items()})


def _value(cell: str, item: Field, column: str, found: Issues) -> Json:
    if isinstance(item, ProfileName):
        return cell.strip() or None
    (value,) = typed([cell], found.rules.get(column))
    return None if value is NOT_SENT else value


def _status(issues: Sequence[Issue]) -> str:
    if any(issue.severity is Severity.ERROR for issue in issues):
        return "invalid"
    return "warning" if issues else "valid"


def _label(item: Field) -> str:
    return f"input.{item.name}" if isinstance(item, Input) and item.name in _OWN else item.label
