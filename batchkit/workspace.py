"""The workspace: where target, store and engine are put together, and everything begins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import pandas as pd

from batchkit.batch import Batch
from batchkit.core.agent import Agent
from batchkit.core.config import BatchConfig
from batchkit.core.lifecycle import BatchStatus
from batchkit.core.mapping import Mapping, header_fingerprint
from batchkit.core.names import did_you_mean
from batchkit.core.notice import Notice
from batchkit.core.ports import Clock, Store, Target
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.record import BatchRecord
from batchkit.core.rerun import Again
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.table import Table
from batchkit.defaults import (
    EngineKind,
    address_to_tell,
    demo_target,
    engine_kind,
    is_configured,
    shared_demo,
    store_address,
    viewer_of,
)
from batchkit.engine.kernel import KernelEngine
from batchkit.errors import ConfigError, NotFoundError
from batchkit.io.address import conninfo_of
from batchkit.io.backup import copy_store
from batchkit.io.clock import SystemClock
from batchkit.io.leases import CLUSTER_LEASE_SECONDS, LEASE_SECONDS
from batchkit.io.store import SqlStore
from batchkit.io.tables import read_csv
from batchkit.making import make_batch
from batchkit.notices import Notices
from batchkit.targets.asteroid import AsteroidTarget
from batchkit.targets.secret import Secret
from batchkit.targets.standard_webhook import StandardWebhook

if TYPE_CHECKING:
    from batchkit.core.validation import Validation
    from batchkit.engine.cluster import ClusterEngine
    from batchkit.ui.view import View

__all__ = ["Workspace"]

_DEMO_HINT = (
    "batchkit: no platform is configured, so this is the demo platform on this machine. "
    "Set BATCHKIT_URL and BATCHKIT_API_KEY for a real one."
)


class Workspace:
    """A target, a store and an engine, and the way from a CSV to a running batch.

    target: None means the platform named by BATCHKIT_URL and BATCHKIT_API_KEY, or else the demo platform.
    store: the SQLite file of batches, or for several machines the URL of a PostgreSQL database (postgresql+psycopg://…);
    None means BATCHKIT_STORE, or else a file in the user's data folder. A password is better kept out of the URL: the
    driver also finds it in PGPASSWORD and ~/.pgpass.
    engine: "kernel" runs batches in this process, "worker" leaves them to a `batchkit worker` on the same store, and
    "cluster" to any number of `batchkit worker --cluster`, over a PostgreSQL store; None means BATCHKIT_ENGINE, or else
    "kernel".
    owner: whose the batches made here are, and who is named in their logs; None means BATCHKIT_OWNER, or else the user
    of JupyterHub, or else the operating system's. Of several owners on one store each sees and steers only his own
    batches; any other id is NotFoundError. Without a name, all batches in a file only this user can open are his own.
    admin: sees and steers the batches of all owners; None means BATCHKIT_ADMIN=1, or else no.
    A context manager: leaving it stops what runs here (`close`).
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        store: str | os.PathLike[str] | None = None,
        engine: EngineKind | None = None,
        clock: Clock | None = None,
        owner: str | None = None,
        admin: bool | None = None,
    ) -> None:
        #: who runs the batches made here
        self.engine_kind: EngineKind = engine_kind(engine)
        used = clock or SystemClock()
        #: target and store are those a workspace has without arguments
        self.has_default_target, self.has_default_store = target is None, store is None
        self._demo = shared_demo() if target is None and not is_configured() else None
        self.target: Target = target or (AsteroidTarget() if self._demo is None else demo_target(self._demo))
        #: where the batches are: a file's path, or a URL
        self.store_address = store_address(store)
        #: whose batches are seen and made here
        self.viewer = viewer_of(self.store_address, owner, admin)
        lease_seconds = CLUSTER_LEASE_SECONDS if self.engine_kind == "cluster" else LEASE_SECONDS
        self._sql_store = SqlStore(self.store_address, used, lease_seconds=lease_seconds, viewer=self.viewer)
        self.store: Store = self._sql_store
        #: the engine, where that is the cluster's
        self.cluster = self._cluster_engine(used) if self.engine_kind == "cluster" else None
        runs = self.engine_kind == "kernel"
        self.engine: KernelEngine = self.cluster or KernelEngine(
            store=self.store, target=self.target, clock=used, runs=runs
        )
        self.clock = used
        self._notices = Notices(self.store_address, used, viewer=self.viewer)
        if (told := address_to_tell()) is not None:
            self._notices.add(told)
        #: who is named in the logs of batches
        self.actor = self.viewer.name
        #: said once where rows may be meant for another platform; the pages say it themselves
        self._demo_hint = _DEMO_HINT if self._demo is not None else ""

    def __repr__(self) -> str:
        return f"<Workspace on {self.target.info.label or self.target.info.url}, store {self.store.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs here: nothing more is sent, what is under way is recorded, others may take over."""
        # Callbacks may still ask about their batches.
        self._notices.flush()
        self.engine.close()
        self._notices.close()
        self._sql_store.shutdown()
        if self._demo is not None:
            self._demo.close()

    # Agents and profiles

    def agents(self) -> list[Agent]:
        """The target's agents, by name; their inputs come with `agent`."""
        self._hint_at_demo()
        return self.engine.call(self.target.agents())

    def agent(self, name: str | None = None, version: int | None = None) -> Agent:
        """The agent of that name or id, with its versions and the inputs of `version` (None: the published one).

        Without a name: the target's only agent. Raises NotFoundError with near matches, ConfigError if a name is
        shared by several agents.
        """
        if name is not None:
            _require(name, str, "name", "an agent's name or id")
        if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
            raise ConfigError(f"version must be a whole number, not {version!r}.")
        self._hint_at_demo()
        return self.engine.call(self._agent(name, version))

    def profiles(self) -> list[AgentProfile]:
        """The target's agent profiles."""
        return self.engine.call(self.target.profiles())

    def pools(self) -> list[ProfilePool]:
        """The target's profile pools."""
        return self.engine.call(self.target.pools())

    # From a table to a batch

    def suggest_mapping(self, table: Table | pd.DataFrame, agent: Agent) -> Mapping:
        """The mapping saved for this agent and header, else one by matching names."""
        _require(agent, Agent, "agent", "ws.agent(name) gives one")
        columns = _table(table).columns
        saved = self.engine.call(self.store.mapping(agent.id, header_fingerprint(columns)))
        return suggest_mapping(columns, agent) if saved is None else Mapping.from_dict(saved).restored(columns)

    def save_mapping(self, mapping: Mapping, agent: Agent) -> None:
        """Keep the mapping for the next table with the same header; `create_batch` does so by itself."""
        key = header_fingerprint(tuple(mapping.fields))
        self.engine.call(self.store.save_mapping(agent.id, key, mapping.to_dict()))

    def forget_mapping(self, table: Table | pd.DataFrame, agent: Agent) -> bool:
        """Delete the mapping saved for this agent and header; whether there was one."""
        return self.engine.call(self.store.delete_mapping(agent.id, header_fingerprint(_table(table).columns)))

    def validate(
        self,
        table: Table | pd.DataFrame,
        mapping: Mapping,
        agent: Agent,
        *,
        invalid: Literal["block", "drop"] = "block",
    ) -> Validation:
        """Every row checked against the agent's inputs and the target's profiles.

        invalid: what invalid rows do: "block" the batch, or "drop" out of it. Raises MappingError, TableError.
        """
        _require(agent, Agent, "agent", "ws.agent(name) gives one")
        _require(mapping, Mapping, "mapping", "ws.suggest_mapping(table, agent) gives one")
        # Here and not above: it brings jsonschema, which beside Jupyter takes a second to import.
        from batchkit.core.validation import validate

        # A target without profiles is another thing than one that does not know a name.
        profiles, pools = self.profiles() or None, self.pools() or None
        return validate(_table(table), mapping, agent, profiles=profiles, pools=pools, invalid=invalid)

    def create_batch(self, checked: Validation, config: BatchConfig, *, again: Again | None = None) -> Batch:
        """A batch of the checked rows: running at once, or pending until its start time.

        again: set by `batch.rerun`, which checks rows of another batch.
        Raises ValidationError where rows block it, ConfigError where the version or the profile does not exist.
        """
        from batchkit.core.validation import Validation

        _require(checked, Validation, "checked", "ws.validate(table, mapping, agent) gives one")
        _require(config, BatchConfig, "config", 'for example bk.BatchConfig(name="March permits")')
        return Batch(self, make_batch(self, checked, config, again))

    def same_file(self, table: Table, agent: Agent) -> list[Batch]:
        """Batches in which the same rows already ran for this agent, newest first."""
        found = self.engine.call(self.store.same_file(agent.id, table.fingerprint))
        return [Batch(self, record.id) for record in found]

    # Batches

    def batches(
        self,
        *,
        agent: Agent | None = None,
        status: BatchStatus | str | Iterable[BatchStatus | str] = (),
        archived: bool = False,
    ) -> list[Batch]:
        """The store's batches that are seen here, newest first, whoever runs them; `status`: only those.

        archived: those that were put away, instead of the others.
        """
        statuses = [_status(one) for one in ([status] if isinstance(status, str) else status)]
        found = self.engine.call(self.store.batches(agent_id=None if agent is None else agent.id, statuses=statuses))
        return [Batch(self, record.id) for record in found if record.archived == archived]

    def batch(self, batch_id: str) -> Batch:
        """The batch of that id, from any process on this store. Raises NotFoundError."""
        self.engine.call(self.store.batch(batch_id))
        return Batch(self, batch_id)

    # Notice

    def on_event(self, callback: Callable[[Notice], object]) -> None:
        """Call `callback(notice)` when a batch that is seen here completes, finishes or pauses itself, whoever runs it.

        notice: kind ("completed", "finished", "paused", "failure_threshold"), batch_id, name, at, message. It is called
        in a thread of its own, one notice at a time; what it raises is logged. Raises StoreError.
        """
        if not callable(callback):
            raise ConfigError(f"on_event takes a function that is called with each notice, not {callback!r}.")
        self._notices.call(callback)

    def notify(self, url: str, *, secret: Secret | str, allow_private: bool = False) -> None:
        """Send the same to a URL, signed by the Standard Webhooks rule, until it answers 2xx, for up to three days.

        secret: "whsec_" and Base64, or where that is kept: "env:NAME" or "keyring:service/user". allow_private: an
        address on your own network, or http, is meant. The environment says the same with BATCHKIT_NOTIFY_URL,
        BATCHKIT_NOTIFY_SECRET and BATCHKIT_NOTIFY_PRIVATE=1. What a process leaves unsent is sent by the next one that
        notifies the same URL; what was not taken for three days is given up, and the batch's log says so. Raises
        ConfigError, StoreError.
        """
        kept = secret if isinstance(secret, Secret) else _secret(secret)
        self._notices.add(StandardWebhook(url, kept, allow_private=allow_private))
        self._notices.start()

    def begin_notices(self) -> None:
        """Deliver what the environment asks for from now on; whoever runs batches calls this. Raises StoreError."""
        self._notices.start()

    @property
    def is_demo(self) -> bool:
        """Whether no platform is configured, so that this is the demo platform on this machine."""
        return self._demo is not None

    def wizard(
        self, table: Table | pd.DataFrame | None = None, *, agent: str | None = None, dashboard: str = ""
    ) -> View:
        """From a file to a running batch in four steps, for a notebook's output.

        table: a DataFrame or a table to begin with, instead of a file. agent: the name or id of the one to choose.
        dashboard: the address of a page with the dashboard, to be linked to.
        What was begun and not finished is kept beside the store for a week, for this user alone, and offered again.
        JupyterLab saves no rows of it with a notebook; a tool that runs a notebook and saves its widgets' state, as
        nbconvert --execute does, saves what the page shows: the first rows of `table`, too.
        """
        # Here and not above: who works without a page needs no widgets.
        from batchkit.ui.wizard import Wizard

        self._demo_hint = ""
        return Wizard(self, table, agent, dashboard=dashboard).view

    def dashboard(self, *, wizard: str = "") -> View:
        """The batches as cards, for a notebook's output: watch, pause, resume, cancel, look at every row.

        wizard: the address of a page with the wizard, to be linked to.
        """
        # Here and not above: who works without a page needs no widgets.
        from batchkit.ui.dashboard import Dashboard

        self._demo_hint = ""
        return Dashboard(self, wizard=wizard).view

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a consistent copy of the store to a new file, while batches run. Raises StoreError.

        ConfigError where the store may hold batches of others: only an admin copies those.
        """
        if not self.viewer.sees_all:
            raise ConfigError(
                "A copy of the store holds the batches of all its owners, so only an admin makes one: admin=True, or "
                "BATCHKIT_ADMIN=1."
            )
        copy_store(self.store_address, Path(path))

    def check_runs_here(self, record: BatchRecord) -> None:
        """Raise ConfigError unless this workspace's target is the one the batch was made for."""
        mine, its = self.target.info, record.target
        if (mine.kind, mine.account or mine.url) != (its.kind, its.account or its.url):
            secret = f" Its key is kept in {its.secret}." if its.secret else ""
            raise ConfigError(
                f"Batch {record.id} was made for {its.label or its.url} ({its.kind}); this workspace sends to "
                f"{mine.label or mine.url} ({mine.kind}). Open a workspace on its own target.{secret}"
            )

    # Inside

    def _cluster_engine(self, clock: Clock) -> ClusterEngine:
        if isinstance(self.store_address, Path):
            raise ConfigError(
                f'engine="cluster" needs a store in PostgreSQL, which all of its workers reach; {self.store_address} '
                "is a file. Set BATCHKIT_STORE, or store=, to a URL like postgresql+psycopg://user@host/database."
            )
        try:
            # Here and not above: it is an extra of its own.
            from batchkit.engine.cluster import ClusterEngine
        except ImportError as error:
            raise ConfigError(
                f'engine="cluster" needs Procrastinate, which cannot be loaded ({str(error).splitlines()[0]}): '
                "pip install 'batchkit[cluster]'."
            ) from error
        return ClusterEngine(
            conninfo_of(self.store_address),
            store=self.store,
            target=self.target,
            clock=clock,
            lease_seconds=CLUSTER_LEASE_SECONDS,
        )

    def _hint_at_demo(self) -> None:
        hint, self._demo_hint = self._demo_hint, ""
        if hint:
            print(hint, file=sys.stderr)

    async def _agent(self, name: str | None, version: int | None) -> Agent:
        agents = await self.target.agents()
        if name is None:
            if len(agents) != 1:
                names = ", ".join(repr(agent.name) for agent in agents)
                raise ConfigError(f"Which agent? The target has {len(agents)}: {names}.")
            return await self.target.agent(agents[0].id, version)
        found = [agent for agent in agents if name == agent.id] or [agent for agent in agents if name == agent.name]
        if len(found) > 1:
            ids = ", ".join(agent.id for agent in found)
            raise ConfigError(f"{len(found)} agents are named {name!r}; give an id instead: {ids}.")
        if not found:
            known = [agent.name for agent in agents]
            has = did_you_mean(name, known) or f" The target has: {', '.join(map(repr, known[:10])) or 'none'}."
            raise NotFoundError(f"There is no agent {name!r}.{has}")
        return await self.target.agent(found[0].id, version)


def _secret(given: str) -> Secret:
    """What was given, or what it says where to find."""
    kept_elsewhere = isinstance(given, str) and given.startswith(("env:", "keyring:"))
    return Secret.from_reference(given) if kept_elsewhere else Secret(given)


def _require(value: object, kind: type, name: str, advice: str) -> None:
    if not isinstance(value, kind):
        shown = repr(value) if isinstance(value, str | int | float) else type(value).__name__
        raise ConfigError(f"{name} must be a {kind.__name__}, not {shown}: {advice}.")


def _status(status: BatchStatus | str) -> BatchStatus:
    if status not in list(BatchStatus):
        raise ConfigError(f"There is no status {status!r}; there are {', '.join(BatchStatus)}.")
    return BatchStatus(status)


def _table(source: Table | pd.DataFrame) -> Table:
    return source if isinstance(source, Table) else read_csv(source)
