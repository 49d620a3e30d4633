"""Proposing a mapping from the header alone. What is merely likely is offered, never applied."""

from __future__ import annotations

from collections.abc import Sequence

from batchkit.core.agent import Agent
from batchkit.core.mapping import Field, Input, Mapping, Origin, ProfileName, Skip, Suggestion
from batchkit.core.names import likeness, normalized, squeezed

__all__ = ["suggest_mapping"]

#: squeezed headers that mean the agent profile
_PROFILE_HEADERS = frozenset({"agentprofile", "agentprofilename", "profile", "profilename"})
#: near matches below this score are not offered
_WORTH_OFFERING = 70.0


def suggest_mapping(columns: Sequence[str], agent: Agent) -> Mapping:
    """Return the mapping the header suggests; every column it says nothing about is skipped.

    A header that matches an input variable (specification: case-insensitive, whitespace as underscores) is mapped to
    it. Of two headers for one variable the first wins, the other is skipped with a note. A header like "Agent Profile"
    is mapped to the profile, marked as suggested, unless the agent has an input of that name. Near matches are in
    `suggestions`, at most one a column and one a variable.
    """
    fields: dict[str, Field] = {}
    notes = []
    taken: dict[Field, str] = {}
    for column in columns:
        item = _field_for(column, agent)
        if item in taken:
            notes.append(f"Column {column!r} is skipped: {taken[item]!r} is already mapped to {item}.")
            item = Skip()
        if not isinstance(item, Skip):
            taken[item] = column
        fields[column] = item
    return Mapping(
        tuple(columns),
        assigned=tuple(fields.values()),
        origins=tuple(Origin.SUGGESTED if isinstance(f, ProfileName) else Origin.AUTO for f in fields.values()),
        suggestions=_near_matches([column for column in columns if fields[column] == Skip()], agent, taken),
        notes=tuple(notes),
    )


def _field_for(column: str, agent: Agent) -> Field:
    exact = agent.input(column.strip())
    if exact is not None:
        return Input(exact.name)
    for variable in agent.inputs:
        if normalized(column) == variable.name.lower():
            return Input(variable.name)
    own = {squeezed(variable.name) for variable in agent.inputs}
    if squeezed(column) in _PROFILE_HEADERS - own:
        return ProfileName()
    return Skip()


def _near_matches(columns: Sequence[str], agent: Agent, taken: dict[Field, str]) -> tuple[Suggestion, ...]:
    free = [variable.name for variable in agent.inputs if Input(variable.name) not in taken]
    scored = [(likeness(column, name), column, name) for column in columns for name in free]
    scored.sort(key=lambda entry: -entry[0])
    offered: list[Suggestion] = []
    used: set[str] = set()
    for score, column, name in scored:
        if score < _WORTH_OFFERING or name in used or any(s.column == column for s in offered):
            continue
        used.add(name)
        likely = "is written like" if score == 100 else "looks like"
        reason = f"{column!r} {likely} the input variable {name!r}."
        offered.append(Suggestion(column=column, field=Input(name), score=score, reason=reason))
    return tuple(offered)
