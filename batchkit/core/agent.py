"""Agents, their workflow versions and the input variables those declare."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingLike
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchkit.errors import ConfigError

__all__ = ["Agent", "InputVariable", "WorkflowVersion"]

_VARIABLE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputVariable:
    """One input an agent's workflow declares: `InputVariable("client", schema={"type": "string"}, required=True)`.

    Raises ConfigError for a name the platform would not take.
    """

    #: matches [a-zA-Z_][a-zA-Z0-9_]* (platform API)
    name: str = field(kw_only=False)
    #: JSON Schema fragment for one value; {} allows anything, and a cell is then sent as text
    schema: MappingLike[str, Any] = field(default_factory=dict)
    required: bool = False
    #: what the platform uses where the input is not sent; None: no default
    default: Any = None
    description: str = ""

    def __post_init__(self) -> None:
        if not _VARIABLE_NAME.match(self.name):
            raise ConfigError(
                f"{self.name!r} is not a name for an input variable: use letters, digits and _, no digit first."
            )

    @property
    def type_name(self) -> str:
        """The JSON type the schema names, "any" where it names none or several."""
        kind = self.schema.get("type", "any")
        return kind if isinstance(kind, str) else "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowVersion:
    """One version of an agent's workflow."""

    #: what an execute call names, >= 1
    version: int
    #: the platform's id of this version
    id: str = ""
    #: what runs where no version is named; at most one of an agent
    published: bool = False
    created_at: datetime | None = None
    #: None: not fetched
    inputs: tuple[InputVariable, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Agent:
    """Something that runs once per row, with the inputs of one of its versions."""

    name: str
    #: the target's id; empty for an agent not yet known to a target
    id: str = ""
    #: of `version`, in the target's order
    inputs: Sequence[InputVariable] = ()
    #: the version `inputs` belong to; None: the target has no versions
    version: int | None = None
    #: newest first
    versions: Sequence[WorkflowVersion] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "versions", tuple(self.versions))
        names = [variable.name for variable in self.inputs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"Agent {self.name!r} declares an input variable twice: {', '.join(twice)}.")

    def __repr__(self) -> str:
        version = "" if self.version is None else f", version {self.version}"
        names = ", ".join(f"{one.name}: {one.type_name}{'' if one.required else '?'}" for one in self.inputs)
        return f"<Agent {self.name!r}{version}({names})>"

    def input(self, name: str) -> InputVariable | None:
        """The input variable of that exact name, or None."""
        return next((variable for variable in self.inputs if variable.name == name), None)
