"""What each column of a table becomes: an input, the agent profile, metadata, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping as MappingLike
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from batchkit.core.agent import Agent
from batchkit.core.names import did_you_mean
from batchkit.core.request import RESERVED_PREFIX
from batchkit.errors import MappingError

__all__ = [
    "Field",
    "Input",
    "Mapping",
    "MappingProblem",
    "Metadata",
    "NotBefore",
    "Origin",
    "ProfileName",
    "Skip",
    "Suggestion",
    "header_fingerprint",
]


@dataclass(frozen=True, slots=True)
class Input:
    """The column gives an input variable its value."""

    #: the variable's exact name
    name: str

    @property
    def label(self) -> str:
        """The field's name in issues and previews."""
        return self.name

    def __str__(self) -> str:
        return f"input {self.name!r}"


@dataclass(frozen=True, slots=True)
class ProfileName:
    """The column names the agent profile, or the pool, of its row."""

    @property
    def label(self) -> str:
        """The field's name in issues and previews."""
        return "profile"

    def __str__(self) -> str:
        return "the agent profile"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The column is attached to the execution as metadata, as text."""

    #: trimmed; an empty one is a problem of the mapping
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key.strip())

    @property
    def label(self) -> str:
        """The field's name in issues and previews."""
        return f"metadata.{self.key}"

    def __str__(self) -> str:
        return f"metadata {self.key!r}"


@dataclass(frozen=True, slots=True)
class NotBefore:
    """The column says before when its row is not to be sent: ISO 8601, without an offset in the batch's `timezone`.

    A time that the zone's clocks skip is the first moment after the gap, one that they show twice the first of the two.
    """

    @property
    def label(self) -> str:
        """The field's name in issues and previews."""
        return "not before"

    def __str__(self) -> str:
        return "the row's earliest time"


@dataclass(frozen=True, slots=True)
class Skip:
    """The column is not used."""

    @property
    def label(self) -> str:
        """Empty: a skipped column has no field."""
        return ""

    def __str__(self) -> str:
        return "skipped"


Field = Input | ProfileName | Metadata | NotBefore | Skip


class Origin(StrEnum):
    """How a column came by its field."""

    #: the header matches an input variable's name, or matches nothing and is skipped
    AUTO = "auto"
    #: likely from the header, and worth a look
    SUGGESTED = "suggested"
    #: from a mapping saved before
    RESTORED = "restored"
    #: set by the user
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A field a column may be meant for; never applied unasked."""

    column: str
    field: Field
    #: 0 to 100; 100: only case, spaces and punctuation differ
    score: float
    #: one sentence
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingProblem:
    """A rule of the specification ("Map Columns", validation rules) or of ours that a mapping breaks."""

    #: "required_unmapped", "duplicate_field", "nothing_mapped", "metadata_unnamed" (the specification's);
    #: "unknown_input", "metadata_reserved" (ours)
    code: str
    #: None: not about one column
    column: str | None
    #: None: not about one field
    field: Field | None
    #: what is wrong and what to do next
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Mapping:
    """A field for each column: `Mapping(table.columns)` skips all, `set` returns a changed copy.

    Raises MappingError for columns that are not unique.
    """

    #: the header, in order
    columns: tuple[str, ...] = field(kw_only=False)
    #: per column
    assigned: tuple[Field, ...] = ()
    #: per column
    origins: tuple[Origin, ...] = ()
    #: for columns still open, best first
    suggestions: tuple[Suggestion, ...] = ()
    #: what the user should know of how the mapping was made
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.columns, str | MappingLike):
            raise MappingError(
                "A Mapping is made of the columns' names: Mapping(table.columns).set(column, field), "
                "or ws.suggest_mapping(table, agent)."
            )
        columns = tuple(self.columns)
        if len(set(columns)) < len(columns):
            twice = sorted({name for name in columns if columns.count(name) > 1})
            raise MappingError(f"These columns occur twice: {', '.join(map(repr, twice))}. Give each its own name.")
        assigned = tuple(self.assigned) or (Skip(),) * len(columns)
        origins = tuple(self.origins) or (Origin.AUTO,) * len(columns)
        if not len(columns) == len(assigned) == len(origins):
            raise MappingError(f"{len(columns)} columns need as many fields and origins, not {len(assigned)}.")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "assigned", assigned)
        object.__setattr__(self, "origins", origins)

    def __repr__(self) -> str:
        pairs = [f"{column} → {item.label}" for column, item in self.mapped.items()]
        skipped = len(self.columns) - len(pairs)
        return f"<Mapping: {', '.join(pairs) or 'nothing mapped'}; {skipped} skipped>"

    @property
    def fields(self) -> dict[str, Field]:
        """The field of every column, in column order."""
        return dict(zip(self.columns, self.assigned, strict=True))

    @property
    def mapped(self) -> dict[str, Field]:
        """The columns that are not skipped, in column order."""
        return {column: item for column, item in self.fields.items() if not isinstance(item, Skip)}

    def origin(self, column: str) -> Origin:
        """How that column came by its field. Raises MappingError for an unknown column."""
        return self.origins[self._position(column)]

    def set(self, column: str, field: Field) -> Mapping:
        """Return a copy in which `column` becomes `field`, by the user's hand.

        A field that another column has already is a problem of the copy, not an error here.
        Raises MappingError for an unknown column, or for something that is not a field.
        """
        if not isinstance(field, Field):
            raise MappingError(
                f"{field!r} is not a field for column {column!r}: use bk.Input(name), bk.ProfileName(), "
                "bk.Metadata(key), bk.NotBefore() or bk.Skip()."
            )
        at = self._position(column)
        return replace(
            self,
            assigned=(*self.assigned[:at], field, *self.assigned[at + 1 :]),
            origins=(*self.origins[:at], Origin.MANUAL, *self.origins[at + 1 :]),
            suggestions=tuple(s for s in self.suggestions if s.column != column and s.field != field),
        )

    def restored(self, columns: Sequence[str]) -> Mapping:
        """Return this mapping for a table with the same header, every field marked as restored.

        Raises MappingError where `header_fingerprint` of the two headers differs.
        """
        if header_fingerprint(columns) != header_fingerprint(self.columns):
            raise MappingError(f"The mapping is for other columns: {_difference(self.columns, columns)}.")
        fields = self.fields
        return Mapping(
            tuple(columns),
            assigned=tuple(fields[column] for column in columns),
            origins=(Origin.RESTORED,) * len(columns),
        )

    def problems(self, agent: Agent) -> list[MappingProblem]:
        """Every rule this mapping breaks for `agent`; empty: it can be used.

        A required variable must be mapped unless it has a default: the platform uses that where an input is not sent.
        """
        return [
            *_unusable_fields(self, agent),
            *_duplicates(self),
            *_nothing_mapped(self),
            *_required_unmapped(self, agent),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The mapping as JSON values, for saving. Origins, suggestions and notes are not saved."""
        return {"columns": [_saved(column, item) for column, item in self.fields.items()]}

    @classmethod
    def from_dict(cls, data: MappingLike[str, Any]) -> Mapping:
        """The saved mapping, every field marked as restored. Raises MappingError if `data` is not one."""
        try:
            saved = [(str(entry["column"]), _loaded(entry)) for entry in data["columns"]]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise MappingError(
                f"This is not a saved mapping ({type(error).__name__}: {error}). Map the columns anew and save it."
            ) from error
        return cls(
            tuple(column for column, _ in saved),
            assigned=tuple(item for _, item in saved),
            origins=(Origin.RESTORED,) * len(saved),
        )

    def _position(self, column: str) -> int:
        try:
            return self.columns.index(column)
        except ValueError:
            known = ", ".join(map(repr, self.columns)) or "none"
            raise MappingError(
                f"There is no column {column!r}.{did_you_mean(column, self.columns)} The columns are: {known}."
            ) from None


def header_fingerprint(columns: Sequence[str]) -> str:
    """A key for tables of the same structure: the same column names, exactly, in any order.

    A mapping goes by name, so the order of the columns does not matter to it. Hexadecimal, 64 characters.
    """
    return hashlib.sha256(json.dumps(sorted(columns)).encode()).hexdigest()


def _unusable_fields(mapping: Mapping, agent: Agent) -> list[MappingProblem]:
    found = []
    names = [variable.name for variable in agent.inputs]
    for column, item in mapping.mapped.items():
        code = ""
        if isinstance(item, Input) and item.name not in names:
            code = "unknown_input"
            meant = did_you_mean(item.name, names) or f" Its inputs are: {', '.join(names) or 'none'}."
            message = f"Column {column!r} is mapped to {item}, which agent {agent.name!r} does not have.{meant}"
        elif isinstance(item, Metadata) and not item.key:
            code = "metadata_unnamed"
            message = f"Column {column!r} is mapped to metadata without a name. Give it one: bk.Metadata({column!r})."
        elif isinstance(item, Metadata) and item.key.startswith(RESERVED_PREFIX):
            code = "metadata_reserved"
            message = (
                f"Column {column!r} is mapped to {item}, but names beginning {RESERVED_PREFIX!r} are batchkit's own. "
                "Choose another name."
            )
        if code:
            found.append(MappingProblem(code=code, column=column, field=item, message=message))
    return found


def _duplicates(mapping: Mapping) -> list[MappingProblem]:
    first: dict[Field, str] = {}
    found = []
    for column, item in mapping.mapped.items():
        if item == Metadata(""):
            continue
        if item not in first:
            first[item] = column
            continue
        message = (
            f"Columns {first[item]!r} and {column!r} are both mapped to {item}. Map one of them to something else."
        )
        found.append(MappingProblem(code="duplicate_field", column=column, field=item, message=message))
    return found


def _nothing_mapped(mapping: Mapping) -> list[MappingProblem]:
    if mapping.mapped:
        return []
    message = "No column is mapped. Map at least one to an input, the agent profile or metadata."
    return [MappingProblem(code="nothing_mapped", column=None, field=None, message=message)]


def _required_unmapped(mapping: Mapping, agent: Agent) -> list[MappingProblem]:
    mapped = set(mapping.assigned)
    return [
        MappingProblem(
            code="required_unmapped",
            column=None,
            field=Input(variable.name),
            message=f"The agent requires input {variable.name!r}, but no column is mapped to it. Map one to it.",
        )
        for variable in agent.inputs
        if variable.required and variable.default is None and Input(variable.name) not in mapped
    ]


def _difference(saved: Sequence[str], columns: Sequence[str]) -> str:
    gone = [repr(name) for name in saved if name not in columns]
    new = [repr(name) for name in columns if name not in saved]
    parts = [f"the table lacks {', '.join(gone)}"] if gone else []
    return " and ".join([*parts, f"the mapping lacks {', '.join(new)}"] if new else parts)


def _saved(column: str, item: Field) -> dict[str, str]:
    match item:
        case Input(name):
            return {"column": column, "field": "input", "name": name}
        case Metadata(key):
            return {"column": column, "field": "metadata", "name": key}
        case ProfileName():
            return {"column": column, "field": "profile"}
        case NotBefore():
            return {"column": column, "field": "not_before"}
        case Skip():
            return {"column": column, "field": "skip"}


def _loaded(entry: MappingLike[str, Any]) -> Field:
    match entry["field"]:
        case "input":
            return Input(str(entry["name"]))
        case "metadata":
            return Metadata(str(entry["name"]))
        case "profile":
            return ProfileName()
        case "not_before":
            return NotBefore()
        case "skip":
            return Skip()
    raise ValueError(f"unknown field {entry['field']!r}")
