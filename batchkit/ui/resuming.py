"""Going on with a wizard that was left: after a page was loaded anew, a kernel was restarted, or the day after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchkit.core.agent import Agent
from batchkit.core.mapping import Mapping as ColumnMapping
from batchkit.core.table import Table
from batchkit.errors import ConfigError, NotFoundError
from batchkit.ui.background import Background, Task
from batchkit.ui.drafts import Drafts, LeftWizard, drafts_folder
from batchkit.ui.reading import read_source
from batchkit.ui.state import WizardState

if TYPE_CHECKING:
    from batchkit.ui.view import Intent
    from batchkit.workspace import Workspace

__all__ = ["Resuming"]

Move = Callable[[WizardState, ColumnMapping | None], WizardState]


class Resuming:
    """Keeps one wizard, and offers others; merge `intents` into the view's.

    take: is given the move to the wizard that was left, its agent and its table. fail: shows an error, until an agent
    is chosen.
    """

    def __init__(
        self,
        workspace: Workspace,
        background: Background,
        take: Callable[[Move, Agent | None, Table], object],
        *,
        on_change: Callable[[], object],
        fail: Callable[[BaseException], object],
    ) -> None:
        info = workspace.target.info
        self._workspace = workspace
        self._background = background
        self._take = take
        self._on_change = on_change
        self._fail = fail
        self._made = False
        viewer = workspace.viewer
        whose = "" if viewer.sees_all else f" of {viewer.name}"
        self.drafts = Drafts(
            drafts_folder(workspace.store_address),
            f"{info.kind} {info.account or info.url}{whose}",
            workspace.clock.now,
        )
        self.intents: dict[str, Intent] = {"go_on": self._go_on, "discard_draft": self._discard}

    def keep(self, current: Callable[[], WizardState]) -> None:
        """Keep the state for later."""
        self.drafts.keep(current)

    def made(self, source_path: str) -> None:
        """A batch was made. Its file stays while the cell may still want it."""
        self._made = True
        if Path(source_path).parent.parent == self.drafts.folder:
            self.drafts.finish()
        else:
            self.drafts.forget()

    def again(self) -> None:
        """Another batch is begun."""
        self._made = False
        self.drafts.forget()
        self.drafts.look()

    def close(self) -> None:
        """The page is left: what made a batch is not needed any more, anything else is kept."""
        if self._made:
            self.drafts.forget()

    @property
    def snapshot(self) -> list[dict[str, Any]]:
        """What the page offers, the newest first."""
        return [
            {
                "id": one.id,
                "name": one.source.name,
                "at": one.saved_at.isoformat(),
                "rows": one.rows,
                "agent": one.agent_name,
                "step": one.step,
            }
            for one in self.drafts.offered
        ]

    def _go_on(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        try:
            left = self.drafts.left(str(details["id"]))
        finally:
            self._on_change()

        def work(task: Task) -> None:
            agent = self._agent(left)
            workspace = self._workspace
            profiles, pools = tuple(workspace.profiles()), tuple(workspace.pools())
            table = read_source(left.source)
            if not task.is_current:
                return
            # Not before: what cannot be gone on with now is offered again.
            mine = self.drafts.adopt(left)
            self._take(
                lambda state, saved: state.resumed(
                    mine.draft,
                    source=mine.source,
                    table=table,
                    agent=agent,
                    profiles=profiles,
                    pools=pools,
                    chosen=mine.chosen,
                    policy=mine.policy,
                    saved=saved,
                    step=mine.step,
                    reached=mine.reached,
                ),
                agent,
                table,
            )

        self._background.start("read", f"Reading {left.source.name}", work)

    def _agent(self, left: LeftWizard) -> Agent | None:
        if not left.agent_id:
            return None
        try:
            return self._workspace.agent(left.agent_id, left.version)
        except NotFoundError:
            self._fail(ConfigError(f"{left.agent_name} is not there any more in that version. Choose another agent."))
            return None

    def _discard(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        self.drafts.discard(str(details["id"]))
        self._on_change()
