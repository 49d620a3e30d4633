"""Which agents the platform has, and fetching the one that is chosen, in background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchkit.core.agent import Agent
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.errors import BatchkitError, ConfigError
from batchkit.ui.background import Background, Task

if TYPE_CHECKING:
    from batchkit.ui.view import Intent
    from batchkit.workspace import Workspace

__all__ = ["Agents"]

#: the agent, or none, and the platform's profiles and pools
Take = Callable[[Agent | None, tuple[AgentProfile, ...], tuple[ProfilePool, ...]], object]


class Agents:
    """Fetches agents; merge `intents` into the view's.

    wanted: the name or id of the one to begin with. current: the one in use. take: is given the one that was chosen.
    fail: shows an error, until one is chosen.
    """

    def __init__(
        self,
        workspace: Workspace,
        background: Background,
        wanted: str | None,
        *,
        current: Callable[[], Agent | None],
        take: Take,
        fail: Callable[[BaseException], object],
    ) -> None:
        self._workspace = workspace
        self._background = background
        self._wanted = wanted
        #: one is chosen without being asked, once it is known which there are
        self._chooses = True
        self._current = current
        self._take = take
        self._fail = fail
        #: None: not known yet
        self.known: tuple[Agent, ...] | None = None
        #: why the platform could not be asked; empty: it could
        self.failure = ""
        self._retry: Callable[[], object] = self.fetch
        self.intents: dict[str, Intent] = {
            "choose_agent": lambda details, _: self._choose(str(details["id"])),
            "choose_version": self._choose_version,
            "try_again": lambda _details, _: self._retry(),
        }

    def fetch(self) -> None:
        """Ask which there are."""
        self._ask("agents", "Fetching the agents", self._fetched, self.fetch)

    def leave(self) -> None:
        """Another part has an agent of its own: none is chosen here, by itself or because it was asked for before."""
        self._chooses = False
        self._background.cancel("platform")

    def is_name_unique(self, agent: Agent) -> bool:
        """Whether only this agent has its name."""
        return [one.name for one in self.known or ()].count(agent.name) == 1

    def _fetched(self, _task: Task) -> None:
        agents = tuple(self._workspace.agents())
        self.known = agents
        if not self._chooses:
            return
        self._chooses = False
        wanted = [one.id for one in agents if self._wanted in (one.id, one.name)]
        if self._wanted is not None and len(wanted) != 1:
            self._fail(ConfigError(f"There is no single agent {self._wanted!r}. Choose one."))
        elif wanted or len(agents) == 1:
            self._choose((wanted or [agents[0].id])[0])

    def _choose(self, agent_id: str, version: int | None = None) -> None:
        self._chooses = False
        if not agent_id:
            self.failure = ""
            self._background.cancel("platform")
            self._take(None, (), ())
            return
        self._ask(
            "platform",
            "Fetching the agent",
            lambda task: self._take_one(task, agent_id, version),
            lambda: self._choose(agent_id, version),
        )

    def _choose_version(self, details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
        agent = self._current()
        if agent is not None:
            self._choose(agent.id, int(details["version"]))

    def _take_one(self, task: Task, agent_id: str, version: int | None) -> None:
        agent = self._workspace.agent(agent_id, version)
        profiles, pools = tuple(self._workspace.profiles()), tuple(self._workspace.pools())
        if task.is_current:
            self._take(agent, profiles, pools)

    def _ask(self, kind: str, words: str, work: Callable[[Task], object], again: Callable[[], object]) -> None:
        """Ask the platform; if it fails, the page says why and offers to do it again."""

        def failed(error: BatchkitError) -> None:
            self.failure = str(error)

        self.failure, self._retry = "", again
        self._background.start(kind, words, work, failed)
