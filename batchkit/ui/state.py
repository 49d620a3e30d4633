"""Where the wizard stands: a frozen value, and the moves from one to the next. It imports no widget and does nothing.

What was done is never lost by going back: a step keeps what it holds until that is changed, and what follows from a
change is worked out anew.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingLike
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from batchkit.core.agent import Agent
from batchkit.core.config import BatchConfig
from batchkit.core.mapping import Field, Input, Mapping, NotBefore, Origin
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.table import Table
from batchkit.core.validation import Validation
from batchkit.errors import MappingError, StateError
from batchkit.ui.draft import Draft
from batchkit.ui.mapping_problems import ColumnProblem, field_in_words, problems_in_words
from batchkit.ui.options import known_zone

__all__ = ["Policy", "Source", "Step", "Undo", "WizardState"]

Policy = Literal["block", "drop"]

#: changes of the mapping that can be undone
_KEPT = 50


class Step(StrEnum):
    """The steps, in order."""

    UPLOAD = "upload"
    MAP = "map"
    PREVIEW = "preview"
    CONFIGURE = "configure"


_ORDER = list(Step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the table came from."""

    kind: Literal["upload", "path", "frame"]
    #: for people
    name: str
    #: of the file; empty for a DataFrame
    path: str = ""
    #: as the user chose; None: found out
    encoding: str | None = None
    delimiter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A change of the mapping that can be taken back."""

    words: str
    mapping: Mapping
    chosen: MappingLike[str, Field]


@dataclass(frozen=True, kw_only=True, eq=False)
class WizardState:
    """Everything the wizard knows."""

    step: Step = Step.UPLOAD
    #: the furthest step that was begun
    reached: Step = Step.UPLOAD
    agent: Agent | None = None
    profiles: tuple[AgentProfile, ...] = ()
    pools: tuple[ProfilePool, ...] = ()
    source: Source | None = None
    table: Table | None = None
    mapping: Mapping | None = None
    #: the mapping before the user changed anything
    suggested: Mapping | None = None
    #: a mapping saved for this agent and header was restored
    is_restored: bool = False
    #: what the user chose by hand, by header; it is kept for other tables and agents
    chosen: MappingLike[str, Field] = field(default_factory=dict)
    undos: tuple[Undo, ...] = ()
    #: the first rows, checked at once
    glimpse: Validation | None = None
    #: all rows
    checked: Validation | None = None
    #: why the rows could not be checked
    failure: str = ""
    policy: Policy = "block"
    draft: Draft = field(default_factory=Draft)
    #: another one whenever the rows have to be checked anew
    round: int = 0
    #: a batch is being made
    launching: bool = False
    #: why the last attempt to make one failed; empty: it did not
    not_made: str = ""
    batch_id: str = ""

    # The agent and the table

    def with_agent(
        self,
        agent: Agent | None,
        saved: Mapping | None = None,
        *,
        profiles: tuple[AgentProfile, ...] = (),
        pools: tuple[ProfilePool, ...] = (),
    ) -> WizardState:
        """Another agent, or another version of it: the table stays, the columns are mapped anew.

        saved: the mapping kept for this agent and the table's header.
        """
        known = {one.id for one in profiles} | {one.id for one in pools}
        draft = self.draft if self.draft.profile in known else replace(self.draft, profile="")
        changed = replace(self, agent=agent, profiles=profiles, pools=pools, draft=draft)
        return changed._mapped_anew(saved)

    def with_table(
        self, source: Source | None, table: Table | None, saved: Mapping | None = None, *, name: str = ""
    ) -> WizardState:
        """Another table, mapped anew; what the user chose stays where the header is the same. None: no table.

        name: what a batch of it may be called.
        """
        draft = self.draft if self.draft.is_named else replace(self.draft, name=name)
        return replace(self, source=source, table=table, draft=draft)._mapped_anew(saved)

    def resumed(
        self,
        draft: Draft,
        *,
        source: Source,
        table: Table,
        agent: Agent | None,
        profiles: tuple[AgentProfile, ...],
        pools: tuple[ProfilePool, ...],
        chosen: MappingLike[str, Field],
        policy: Policy,
        saved: Mapping | None,
        step: Step,
        reached: Step,
    ) -> WizardState:
        """A wizard that was left, at its step or the furthest one before it that is open now.

        agent: None: the one of this wizard, if there is one.
        """
        there = replace(self, source=source, table=table, chosen=chosen, policy=policy, step=step, reached=reached)
        return replace(there, draft=draft).with_agent(agent or self.agent, saved, profiles=profiles, pools=pools)

    def _mapped_anew(self, saved: Mapping | None) -> WizardState:
        if self.table is None or self.agent is None:
            return self._unchecked(mapping=None, suggested=None, is_restored=False, undos=())
        agent, columns = self.agent, self.table.columns
        suggested = suggest_mapping(columns, agent) if saved is None else saved
        mapping = suggested
        for column, chosen in self.chosen.items():
            fits = not isinstance(chosen, Input) or agent.input(chosen.name) is not None
            if column in columns and fits:
                mapping = mapping.set(column, chosen)
        return self._unchecked(mapping=mapping, suggested=suggested, is_restored=saved is not None, undos=())

    def _unchecked(self, **changes: Any) -> WizardState:
        """With those changes; what was checked before does not count any more."""
        changed = replace(self, glimpse=None, checked=None, failure="", not_made="", round=self.round + 1, **changes)
        return replace(changed, step=changed._furthest(changed.step))

    # The mapping

    def set_field(self, column: str, chosen: Field) -> WizardState:
        """Have `column` become `chosen`. Raises MappingError for a column there is not."""
        mapping = self._mapping()
        before = mapping.fields.get(column)
        changed = mapping.set(column, chosen)
        if before == chosen and mapping.origin(column) is Origin.MANUAL:
            return self
        words = f"{column}: {field_in_words(before)} → {field_in_words(chosen)}"
        return self._remapped(words, changed, {**self.chosen, column: chosen})

    def accept_suggestion(self, column: str) -> WizardState:
        """Take the near match offered for `column`. Raises MappingError where there is none."""
        offered = next((one for one in self._mapping().suggestions if one.column == column), None)
        if offered is None:
            raise MappingError(f"Nothing is suggested for column {column!r} any more.")
        return self.set_field(column, offered.field)

    def reset_mapping(self) -> WizardState:
        """Back to what was suggested."""
        assert self.suggested is not None
        chosen = {column: one for column, one in self.chosen.items() if column not in self.suggested.columns}
        return self._remapped("reset to suggested", self.suggested, chosen)

    def forget_saved(self) -> WizardState:
        """The saved mapping is gone: what matches by name is suggested."""
        assert self.table is not None
        assert self.agent is not None
        suggested = suggest_mapping(self.table.columns, self.agent)
        changed = replace(self, suggested=suggested, is_restored=False)
        chosen = {column: one for column, one in self.chosen.items() if column not in suggested.columns}
        return changed._remapped("forget the saved mapping", suggested, chosen)

    def undo(self) -> WizardState:
        """Take the last change of the mapping back; the same state where there is none."""
        if not self.undos:
            return self
        last = self.undos[-1]
        return self._unchecked(mapping=last.mapping, chosen=last.chosen, undos=self.undos[:-1])

    def _remapped(self, words: str, mapping: Mapping, chosen: MappingLike[str, Field]) -> WizardState:
        undo = Undo(words=words, mapping=self._mapping(), chosen=self.chosen)
        return self._unchecked(mapping=mapping, chosen=chosen, undos=(*self.undos, undo)[-_KEPT:])

    def _mapping(self) -> Mapping:
        if self.mapping is None:
            raise MappingError("There are no columns to map yet. Upload a file and choose an agent first.")
        return self.mapping

    def mapping_problems(self) -> list[ColumnProblem]:
        """Every rule the mapping breaks, in words; empty: it can be used."""
        if self.mapping is None or self.agent is None:
            return []
        has_profiles = bool(self.profiles or self.pools)
        return problems_in_words(self.mapping, self.agent, has_profiles=has_profiles, timezone=self.draft.timezone)

    @property
    def has_times(self) -> bool:
        """Whether a column gives rows times of their own."""
        return self.mapping is not None and NotBefore() in self.mapping.assigned

    def with_timezone(self, name: str) -> WizardState:
        """The rows' own times are read in the zone of that IANA name."""
        changed = replace(self, draft=replace(self.draft, timezone=name))
        return changed._unchecked() if self.has_times else changed

    def seen_from(self, zone: str) -> WizardState:
        """The user's own zone is that one: it is meant wherever no other one was chosen."""
        if not known_zone(zone):
            return self
        options = self.draft.options
        changed = self if self.draft.timezone else self.with_timezone(zone)
        if options.hours_zone:
            return changed
        return replace(changed, draft=replace(changed.draft, options=replace(options, hours_zone=zone)))

    # Checking and configuring

    def with_glimpse(self, glimpse: Validation, at: int) -> WizardState:
        """The first rows as they were checked in round `at`; ignored if that is over."""
        return self if at != self.round else replace(self, glimpse=glimpse)

    def with_checked(self, checked: Validation, at: int) -> WizardState:
        """All rows as they were checked in round `at`; ignored if that is over."""
        return self if at != self.round else replace(self, checked=checked.deciding(self.policy), failure="")

    def with_failure(self, failure: str, at: int) -> WizardState:
        """Why the rows could not be checked in round `at`."""
        return self if at != self.round else replace(self, failure=failure)

    def with_policy(self, policy: Policy) -> WizardState:
        """What invalid rows do: block the batch, or drop out of it."""
        checked = None if self.checked is None else self.checked.deciding(policy)
        changed = replace(self, policy=policy, checked=checked)
        return replace(changed, step=changed._furthest(changed.step))

    def with_draft(self, **changes: Any) -> WizardState:
        """Other values in the fields of "Configure Batch"."""
        is_named = self.draft.is_named or "name" in changes
        return replace(self, draft=replace(self.draft, is_named=is_named, **changes))

    @property
    def rows(self) -> int:
        """How many executions a batch would have."""
        return 0 if self.checked is None else self.checked.counts.valid

    # Moving about

    def go_to(self, step: Step) -> WizardState:
        """To that step. Raises StateError where something before it is open."""
        reason = self.obstacle(step)
        if reason:
            raise StateError(reason)
        return replace(self, step=step, reached=max(self.reached, step, key=_ORDER.index))

    def obstacle(self, step: Step) -> str:
        """Why that step cannot be begun yet; empty: it can."""
        reasons = [self._open_in(each) for each in _ORDER[: _ORDER.index(step)]]
        return next(filter(None, reasons), "")

    def is_done(self, step: Step) -> bool:
        """Whether it was begun, and nothing is open in it or before it."""
        begun = _ORDER.index(step) <= _ORDER.index(self.reached)
        return begun and not self.obstacle(step) and not self._open_in(step)

    def why_not_start(self) -> str:
        """Why the batch cannot be made yet; empty: it can."""
        if self.batch_id or self.launching:
            return "The batch was made already."
        return next(filter(None, map(self._open_in, _ORDER)), "")

    def _open_in(self, step: Step) -> str:
        match step:
            case Step.UPLOAD:
                return self._open_in_upload()
            case Step.MAP:
                count = len(self.mapping_problems())
                open_ones = "one problem is" if count == 1 else f"{count} problems are"
                return f"Map the columns first: {open_ones} open." if count else ""
            case Step.PREVIEW:
                return self._open_in_preview()
            case Step.CONFIGURE:
                return "Correct what is marked in the configuration." if self.draft.problems(self.rows) else ""

    def _open_in_upload(self) -> str:
        if self.agent is None:
            return "Choose an agent first."
        if self.table is None:
            return "Upload a CSV first."
        if not self.table.ok:
            return "The file has problems that block a batch. Correct them and replace the file."
        return ""

    def _open_in_preview(self) -> str:
        if self.failure:
            return f"The rows could not be checked: {self.failure}"
        if self.checked is None:
            return "Wait until all rows are checked."
        counts = self.checked.counts
        if not counts.valid:
            return "No row is valid, so there is nothing to run."
        if not self.checked.ok:
            if counts.invalid == 1:
                return "1 row is invalid. Correct it, or leave it out."
            return f"{counts.invalid:,} rows are invalid. Correct them, or leave them out."
        return ""

    def _furthest(self, step: Step) -> Step:
        """That step, or the last one before it that can be begun; to wait for the check is no reason to go back."""
        for each in _ORDER[1 : _ORDER.index(step) + 1]:
            before = _ORDER[_ORDER.index(each) - 1]
            waits = before is Step.PREVIEW and self.checked is None and not self.failure
            if self._open_in(before) and not waits:
                return before
        return step

    # The batch

    def config(self, *, trial: int = 0) -> BatchConfig:
        """How the batch is to run. trial: rows to be tried first. Raises ConfigError."""
        version = None if self.agent is None else self.agent.version
        return self.draft.config(version, self.profiles, self.pools, trial=trial, has_times=self.has_times)

    def launch(self) -> WizardState:
        """A batch is being made. Raises StateError where that cannot be, or was begun already."""
        reason = self.why_not_start()
        if reason:
            raise StateError(reason)
        return replace(self, launching=True, not_made="")

    def launched(self, batch_id: str, why: str = "") -> WizardState:
        """It was made; an empty id: it was not, and `why`."""
        return replace(self, launching=False, batch_id=batch_id, not_made=why)

    def again(self) -> WizardState:
        """A new wizard for the same agent."""
        fresh = WizardState(agent=self.agent, profiles=self.profiles, pools=self.pools, round=self.round + 1)
        return replace(fresh, draft=replace(self.draft, name="", is_named=False, later=False, start_at=""))
