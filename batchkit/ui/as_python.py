"""The cell that makes a batch without the page: Python that runs as it stands and holds no secret."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchkit.core.agent import Agent
from batchkit.core.config import BatchConfig
from batchkit.core.mapping import Field, Input, Mapping, Metadata, NotBefore, ProfileName, Skip
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.target import TargetInfo
from batchkit.ui.options import plain_number
from batchkit.ui.state import Policy, Source

__all__ = ["Recipe", "as_python"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a batch was made of."""

    target: TargetInfo
    #: the target is the one a Workspace has without arguments
    is_default: bool
    #: the store's file; empty: the one a Workspace has without arguments
    store: str
    #: the default target is the demo platform
    is_demo: bool = False
    agent: Agent
    #: only this agent has its name
    is_name_unique: bool
    source: Source
    #: where the cell can read the table
    path: str
    mapping: Mapping
    policy: Policy
    config: BatchConfig
    #: names that are both a profile and a pool, or several
    ambiguous: Sequence[str] = ()


def as_python(recipe: Recipe) -> str:
    """The cell."""
    lines = ["import batchkit as bk"]
    if _is_ambiguous(recipe):
        kind = type(recipe.config.default_profile).__name__
        lines.append(f"from batchkit.core.profile import {kind}")
    return "\n".join(
        [*lines, "", *_workspace(recipe), *_agent(recipe), *_table(recipe), *_mapping(recipe.mapping), *_batch(recipe)]
    )


def _workspace(recipe: Recipe) -> list[str]:
    notes, target = _target(recipe)
    store = f"store={recipe.store!r}" if recipe.store else ""
    return [*notes, f"ws = bk.Workspace({', '.join(filter(None, (target, store)))})"]


def _target(recipe: Recipe) -> tuple[list[str], str]:
    info = recipe.target
    if recipe.is_demo:
        return ["# On the demo platform, as long as BATCHKIT_URL and BATCHKIT_API_KEY are not set."], ""
    if recipe.is_default:
        return [], ""
    if info.kind == "asteroid" and info.secret:
        return [], f"bk.AsteroidTarget({info.url!r}, bk.Secret.from_reference({info.secret!r}))"
    if info.kind == "asteroid":
        note = "# The API key is nowhere to be read again: put it in the environment variable BATCHKIT_API_KEY."
        return [note], f"bk.AsteroidTarget({info.url!r})"
    if info.kind == "function":
        note = "# The function must be importable; one of a notebook is given itself: bk.FunctionTarget(function)."
        return [note], f"bk.FunctionTarget.load({info.url!r})"
    note = f"# target: what was given to bk.Workspace(...), {info.label or info.url!r}."
    return [note], "target"


def _agent(recipe: Recipe) -> list[str]:
    agent = recipe.agent
    name = agent.name if recipe.is_name_unique else agent.id
    version = "" if agent.version is None else f", version={agent.version}"
    note = "" if recipe.is_name_unique else f"  # {agent.name!r}"
    return [f"agent = ws.agent({name!r}{version}){note}"]


def _table(recipe: Recipe) -> list[str]:
    source = recipe.source
    notes = {
        "path": [],
        "upload": [f"# {source.name!r} was uploaded; this is where it is kept."],
        "frame": ["# The rows of the DataFrame given to ws.wizard(...), as text."],
    }[source.kind]
    chosen = {"encoding": source.encoding, "delimiter": source.delimiter}
    more = "".join(f", {name}={value!r}" for name, value in chosen.items() if value is not None)
    return [*notes, f"table = bk.read_csv({recipe.path!r}{more})"]


def _mapping(mapping: Mapping) -> list[str]:
    sets = [f"    .set({column!r}, {_field(one)})" for column, one in mapping.mapped.items()]
    return ["mapping = (", "    bk.Mapping(table.columns)", *sets, ")"]


def _field(one: Field) -> str:
    match one:
        case Input(name):
            return f"bk.Input({name!r})"
        case Metadata(key):
            return f"bk.Metadata({key!r})"
        case ProfileName():
            return "bk.ProfileName()"
        case NotBefore():
            return "bk.NotBefore()"
        case Skip():
            return "bk.Skip()"


def _batch(recipe: Recipe) -> list[str]:
    config = recipe.config
    arguments: dict[str, Any] = {"name": config.name}
    if config.start_at is not None:
        arguments["start_at"] = config.start_at.isoformat()
    arguments |= {"max_concurrent": config.max_concurrent, "batch_interval": plain_number(config.batch_interval)}
    if config.trial:
        arguments["trial"] = config.trial
    if config.timezone is not None:
        arguments["timezone"] = config.timezone
    texts = {name: repr(value) for name, value in arguments.items()} | _flow(config)
    if config.default_profile is not None:
        texts["default_profile"] = _profile(recipe)
    lines = [f"    {name}={text}," for name, text in texts.items()]
    return [
        f"checked = ws.validate(table, mapping, agent, invalid={recipe.policy!r})",
        "config = bk.BatchConfig(",
        *lines,
        ")",
        "batch = ws.create_batch(checked, config)",
        "batch",
    ]


def _flow(config: BatchConfig) -> dict[str, str]:
    """What was set under "More options", as it is written."""
    hours, failures, deadline = config.working_hours, config.failure_threshold, config.item_deadline
    texts = {
        name: repr(value)
        for name in ("max_in_flight", "on_capacity_limit")
        if (value := getattr(config, name)) is not None
    }
    if hours is not None:
        arguments = ", ".join(f"{name}={_plain(value)}" for name, value in hours.to_dict().items())
        texts["working_hours"] = f"bk.WorkingHours({arguments})"
    if failures is not None:
        values = {name: value for name, value in asdict(failures).items() if value is not None}
        texts["failure_threshold"] = f"bk.FailureThreshold({', '.join(f'{k}={v!r}' for k, v in values.items())})"
    if deadline is not None:
        texts["item_deadline"] = f"{plain_number(deadline)}"
    return texts


def _plain(value: list[str] | str) -> str:
    """Days as they are, and times without seconds that say nothing."""
    return repr(value.removesuffix(":00") if isinstance(value, str) and value.count(":") == 2 else value)


def _profile(recipe: Recipe) -> str:
    chosen = recipe.config.default_profile
    if isinstance(chosen, AgentProfile | ProfilePool) and _is_ambiguous(recipe):
        return f"{type(chosen).__name__}(name={chosen.name!r}, id={chosen.id!r})"
    return repr(chosen if isinstance(chosen, str | None) else chosen.name)


def _is_ambiguous(recipe: Recipe) -> bool:
    chosen = recipe.config.default_profile
    return isinstance(chosen, AgentProfile | ProfilePool) and chosen.name.strip() in recipe.ambiguous
