"""The rules a mapping breaks, in words for a page, each at the column it is about."""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.core.agent import Agent
from batchkit.core.mapping import Field, Input, Mapping, MappingProblem, Metadata, NotBefore, ProfileName
from batchkit.ui.options import known_zone

__all__ = ["ColumnProblem", "field_in_words", "problems_in_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProblem:
    """A rule the mapping breaks, in words for a page."""

    #: None: about no single column
    column: str | None
    text: str


def problems_in_words(mapping: Mapping, agent: Agent, *, has_profiles: bool, timezone: str) -> list[ColumnProblem]:
    """Every rule the mapping breaks; empty: it can be used.

    has_profiles: the platform has profiles or pools. timezone: where times without an offset are meant.
    """
    found = [each for one in mapping.problems(agent) for each in _told(one, mapping, agent)]
    wrong: dict[Field, str] = {}
    if not has_profiles:
        wrong[ProfileName()] = "This platform has no agent profiles. Choose another type."
    if not known_zone(timezone):
        unknown = f"There is no time zone {timezone!r}. " if timezone.strip() else ""
        wrong[NotBefore()] = (
            f"{unknown}Say in which time zone its times without an offset are meant, by an IANA name like "
            "Europe/Berlin."
        )
    found += [ColumnProblem(column=column, text=wrong[one]) for column, one in mapping.mapped.items() if one in wrong]
    return list(dict.fromkeys(found))


def field_in_words(chosen: Field | None) -> str:
    """What a column becomes, as the page calls it."""
    match chosen:
        case Input(name):
            return name
        case Metadata(key):
            return f"Metadata {key}".strip()
        case ProfileName():
            return "Agent Profile Name"
        case NotBefore():
            return "Not Before Time"
    return "Skip"


def _told(problem: MappingProblem, mapping: Mapping, agent: Agent) -> list[ColumnProblem]:
    """The problem as the page says it, at each column it is about."""
    match problem.code:
        case "metadata_unnamed":
            return [ColumnProblem(column=problem.column, text="Give the metadata a name.")]
        case "metadata_reserved":
            text = "Names that begin with batchkit_ are batchkit's own. Choose another name."
            return [ColumnProblem(column=problem.column, text=text)]
        case "unknown_input":
            text = f"{agent.name} has no input variable of this name in this version. Choose another field."
            return [ColumnProblem(column=problem.column, text=text)]
        case "duplicate_field":
            first = next(column for column, one in mapping.mapped.items() if one == problem.field)
            assert problem.column is not None
            what = field_in_words(problem.field)
            return [
                ColumnProblem(column=column, text=f"{what} is mapped by column {other!r}, too. Change one of the two.")
                for column, other in ((first, problem.column), (problem.column, first))
            ]
        case "required_unmapped":
            text = f"The required input variable {field_in_words(problem.field)} is not mapped yet."
            return [ColumnProblem(column=None, text=text)]
    return [ColumnProblem(column=None, text="Map at least one column to a field.")]
