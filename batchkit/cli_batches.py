"""The commands on batches that exist: `list`, `show`, `pause`, `resume`, `cancel`, `delete` and `results`."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from argparse import Namespace
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd

from batchkit.batch import Batch
from batchkit.cli_watch import (
    find,
    follow,
    follow_executions,
    how_to_go_on,
    opened,
    settled_at,
    stop,
    summary,
    where_results,
    where_run,
)
from batchkit.core.lifecycle import BatchStatus, ItemStatus, check_batch_move
from batchkit.core.record import BatchRecord
from batchkit.core.results import own_names
from batchkit.core.wake import RESTING
from batchkit.io.leases import LEASE_SECONDS
from batchkit.io.result_files import check_suffix
from batchkit.terminal import INTERRUPTION, Exit, awaited, clock, line_width, pairs, say, table, warn
from batchkit.workspace import Workspace

__all__ = ["cancel", "delete", "list_batches", "pause", "results", "results_table", "resume", "show", "write_results"]

#: rows of a table of results on a terminal
_RESULT_ROWS = 50
#: a table of results on a line this wide shows two input columns, on a narrower one only the first
_WIDE = 110
_DOUBTFUL = (ItemStatus.REFUSED, ItemStatus.IN_DOUBT)


def list_batches(args: Namespace) -> Exit:
    """The store's batches, newest first."""
    with opened(args.store, existing=True) as ws:
        statuses = [BatchStatus(args.status)] if args.status else []
        found = ws.engine.call(ws.store.batches(statuses=statuses))
        records = [record for record in found if record.archived == args.archived]
        if args.json:
            say(json.dumps([_plain(record) for record in records[: args.limit]], indent=2), wrap=False)
            return Exit.OK
        others = ws.engine.call(ws.store.others())
        if others:
            # Also where one's own are among them, made under another name.
            warn(f"{_others(others)} To see them: BATCHKIT_OWNER=NAME, or BATCHKIT_ADMIN=1 for those of all owners.")
        if not records and (args.archived or found):
            say("None of these batches is archived." if args.archived else "All of them are archived: --archived.")
            return Exit.OK
        if not records:
            which = f"{args.status} batches" if args.status else "batches yet"
            say(f"There are no {which} in {ws.store.label}. `batchkit demo` makes one, `batchkit run --help` says how.")
            return Exit.OK
        now = ws.clock.now()
        listed = records[: args.limit]
        headers = ["id", "name", "agent", "status", "triggered", "created"]
        rows = [_list_row(record, now) for record in listed]
        if any(record.owner != ws.viewer.name for record in listed):
            headers.insert(2, "owner")
            for row, record in zip(rows, listed, strict=True):
                row.insert(2, record.owner)
        say(table(headers, rows, numbers=["triggered"]))
        if len(records) > len(rows):
            say(f"… and {len(records) - len(rows):,} older ones: --limit {len(records)}")
        return Exit.OK


def show(args: Namespace) -> Exit:
    """One batch: its progress, its times, what needs a look, and its log."""
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        record = batch.record
        doubtful = batch.items(status=_DOUBTFUL, limit=args.limit)
        events = batch.events(limit=args.limit)
        if args.json:
            extra = {"items": _records(doubtful), "events": _records(events)}
            say(json.dumps(_plain(record) | extra, indent=2), wrap=False)
            return Exit.OK
        now = ws.clock.now()
        go_on = how_to_go_on(ws, record.id)
        say(_described(record, now, settled_at(ws, record), viewer=ws.viewer.name, go_on=go_on))
        count = record.progress.refused + record.progress.in_doubt
        if count:
            say(f"\n{_doubtful_text(doubtful, count)}")
        say(f"\n{_log_text(events, now)}")
        return Exit.OK


def pause(args: Namespace) -> Exit:
    """Trigger nothing more, until resumed."""
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        batch.pause()
        record = batch.record
        runs = record.runner_alive and record.runner != RESTING
        elsewhere = " The process that runs it stops within a second." if runs else ""
        say(f"Paused {batch.id} ({record.name}): {summary(record)}{elsewhere}\nTo go on:  batchkit resume {batch.id}")
        return Exit.OK


def resume(args: Namespace) -> Exit:
    """Go on with a batch: here, unless another process has it."""
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        try:
            record = _unclaimed(batch)
            if record.status.final:
                check_batch_move(record.status, BatchStatus.RUNNING)
            if record.runner_alive:
                return _left_to_its_runner(ws, record)
            if record.status is BatchStatus.PAUSED:
                batch.resume()
            else:
                batch.take_over()
            place, ctrl_c = where_run(ws)
            say(f"Batch {batch.id} ({record.name}) runs in {place}; Ctrl-C {ctrl_c}.")
            ended = follow(ws, batch, "triggered")
        except KeyboardInterrupt:
            return stop(ws, batch)
        if ended is Exit.OK:
            say(f"{summary(batch.record)}\nFor the results:  {where_results(batch.id)}")
        return ended


def cancel(args: Namespace) -> Exit:
    """End a batch for good."""
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        record = batch.record
        check_batch_move(record.status, BatchStatus.CANCELLED)
        what = f"{record.progress.pending:,} rows of batch {record.id} ({record.name}) will never be triggered"
        if not args.yes and (refusal := _not_confirmed(what, "Cancel it?")) is not Exit.OK:
            return refusal
        batch.cancel()
        say(f"Cancelled {batch.id} ({record.name}): {summary(batch.record)} What was triggered goes on.")
        return Exit.OK


def delete(args: Namespace) -> Exit:
    """Remove a batch that has ended."""
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        record = batch.record
        what = (
            f"Batch {record.id} ({record.name}) and the results of its {record.progress.total:,} rows will be removed"
        )
        if record.status.final and not args.yes and (refusal := _not_confirmed(what, "Delete it?")) is not Exit.OK:
            return refusal
        batch.delete()
        say(f"Deleted {batch.id} ({record.name}). Its executions on the platform stay.")
        return Exit.OK


def results(args: Namespace) -> Exit:
    """The rows with what became of them: in a file, or in the terminal."""
    if args.output is not None:
        check_suffix(args.output)
    with opened(args.store, existing=True) as ws:
        batch = find(ws, args.id)
        if args.wait:
            try:
                ended = follow_executions(ws, batch)
            except KeyboardInterrupt:
                return stop(ws, batch)
            if ended is not Exit.OK:
                return ended
        record = batch.record
        if args.output is None:
            say(f"{results_table(batch, merged=args.merged)}\n\n{summary(record)}")
        else:
            write_results(batch, args.output, merged=args.merged)
        if record.progress.executions.open:
            warn(
                f"{record.progress.executions.open:,} executions had not ended when last seen. "
                f"To follow them to their end:  {where_results(batch.id)}"
            )
        return Exit.OK


def write_results(batch: Batch, path: str, *, merged: bool = False, quiet: bool = False) -> None:
    """Write the rows with what became of them, those left out too. Raises ExportError."""
    frame = batch.save_results(path, merged=merged)
    if not quiet:
        say(f"{len(frame):,} rows with their results are in {path}.")


def results_table(batch: Batch, *, merged: bool = False) -> str:
    """The rows with what became of them, as a table for the terminal."""
    record, frame = batch.record, batch.results(merged=merged, dropped=True, fields=0)
    columns = [entry["column"] for entry in record.mapping["columns"] if entry["field"] == "input"]
    columns = columns[: 2 if line_width(sys.stdout) >= _WIDE else 1]
    names = ["row", "status", "execution_status", "outcome", "reasoning", "error"]
    called = own_names(record.columns)
    own = {name: called[name] for name in names}
    head = frame.head(_RESULT_ROWS)
    cells = head[[*columns, *own.values()]].astype(object).where(lambda each: each.notna(), "")
    rows = []
    for _, row in cells.iterrows():
        said = {name: str(row[key]) for name, key in own.items()}
        rows.append(
            [
                said["row"],
                *(str(row[column]) for column in columns),
                said["execution_status"] or said["status"],
                said["outcome"],
                said["error"] or said["reasoning"],
            ]
        )
    text = table(["row", *columns, "status", "outcome", "what came back"], rows, numbers=["row"])
    more = len(frame) - len(head)
    return f"{text}\n… and {more:,} more rows; --output FILE writes them all." if more else text


def _list_row(record: BatchRecord, now: datetime) -> list[str]:
    progress = record.progress
    counts = f"{progress.triggered:,}/{progress.total:,}  {progress.percent:3.0f} %"
    return [record.id, record.name, record.agent_name, _status(record), counts, clock(record.created_at, now)]


def _described(record: BatchRecord, now: datetime, settled: datetime | None, *, viewer: str, go_on: str) -> str:
    version = "" if record.version is None else f", version {record.version}"
    times = [("created", record.created_at), ("started", record.started_at), ("ended", record.finished_at)]
    if record.status is BatchStatus.PENDING:
        times.insert(1, ("starts", record.start_at))
    ahead = awaited(record, now, settled) if not record.status.final or record.progress.executions.open else ""
    left_out = f", {record.progress.left_out:,} more left out as invalid" if record.progress.left_out else ""
    profile = [("Profile", f"{record.default_profile.name} by default")] if record.default_profile else []
    owner = [("Owner", record.owner)] if record.owner != viewer else []
    lines = [
        ("Batch", f"{record.id}  {record.name}"),
        *owner,
        ("Status", _status(record) + (f" ({ahead})" if ahead and ahead != record.status else "")),
        ("Progress", summary(record)),
        ("Agent", f"{record.agent_name}{version}, on {record.target.label or record.target.url}"),
        *profile,
        ("Rows", f"{record.progress.total:,} of {record.source}{left_out}"),
        ("Pace", f"{record.pace.max_concurrent:,} rows every {record.pace.batch_interval:g} s"),
        ("Times", ", ".join(f"{what} {clock(at, now)}" for what, at in times if at is not None)),
        ("Run by", _runner(record, go_on)),
    ]
    return pairs(lines)


def _others(count: int) -> str:
    return f"{count:,} more {'batch belongs' if count == 1 else 'batches belong'} to other owners."


def _doubtful_text(frame: pd.DataFrame, count: int) -> str:
    which = f", the first {len(frame):,} of {count:,}" if len(frame) < count else ""
    rows = zip(frame["row"], frame["status"], frame["error"].fillna(""), strict=True)
    cells = [[str(row), str(status).replace("_", " "), str(why)] for row, status, why in rows]
    return f"Refused or in doubt{which}:\n{table(['row', 'status', 'why'], cells, numbers=['row'], whole=True)}"


def _log_text(frame: pd.DataFrame, now: datetime) -> str:
    lines = zip(frame["at"], frame["actor"], frame["kind"], frame["message"], strict=True)
    cells = [[clock(at.to_pydatetime(), now), who, f"{kind}: {what}"] for at, who, kind, what in lines]
    return f"Log, the newest last:\n{table(['time', 'who', 'what'], cells, whole=True)}"


def _status(record: BatchRecord) -> str:
    return f"{record.status}, interrupted" if record.interrupted else str(record.status)


def _runner(record: BatchRecord, go_on: str) -> str:
    if record.runner_alive:
        return _who(record)
    if record.status.final and record.progress.executions.open:
        return f"nobody any more; to follow its executions:  batchkit results {record.id} --wait"
    if record.status.final:
        return "nobody any more"
    if record.status is BatchStatus.PAUSED:
        go_on = f"batchkit resume {record.id}"
    return f"nobody; to go on:  {go_on}"


def _who(record: BatchRecord) -> str:
    """Who has the batch, in words."""
    if record.runner == RESTING:
        return "the workers of the cluster"
    host, pid = _place(record)
    return f"process {pid} on {host}"


def _place(record: BatchRecord) -> tuple[str, str]:
    """(host, process id) of a runner that is a process."""
    host, pid, _ = record.runner.rsplit(":", 2)
    return host, pid


def _not_confirmed(what: str, question: str) -> Exit:
    """OK if the person at the terminal agrees."""
    if not sys.stdin.isatty():
        warn(f"batchkit: {what}, and that cannot be undone. To do it without being asked, add --yes.")
        return Exit.WRONG
    warn(f"{what}. This cannot be undone.")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return Exit.OK
    warn("Nothing was done.")
    return Exit.STOPPED


def _left_to_its_runner(ws: Workspace, record: BatchRecord) -> Exit:
    """Tell whoever has the batch to go on."""
    if record.status is not BatchStatus.PAUSED:
        say(f"Batch {record.id} ({record.name}) is {record.status} already, run by {_who(record)}.")
        return Exit.OK
    # A cluster's engine runs nothing here, and wakes a worker, which otherwise finds the batch seconds later.
    engine = ws.store if ws.cluster is None else ws.cluster
    ws.engine.call(engine.resume(record.id, ws.actor))
    go_on = "go on with it within seconds" if record.runner == RESTING else "goes on with it within a second"
    say(f"Resumed {record.id} ({record.name}); {_who(record)} {go_on}.")
    return Exit.OK


def _unclaimed(batch: Batch) -> BatchRecord:
    """The batch, once the claim of a process of this machine that was killed has lapsed."""
    deadline = time.monotonic() + LEASE_SECONDS + 1
    told = False
    with INTERRUPTION.deferred():
        while (record := batch.record).runner_alive and _is_gone(record) and time.monotonic() < deadline:
            INTERRUPTION.check()
            if not told:
                told = True
                warn(
                    f"The process that ran batch {batch.id} is gone; its claim lapses within "
                    f"{LEASE_SECONDS:.0f} seconds."
                )
            time.sleep(0.2)
    return record


def _is_gone(record: BatchRecord) -> bool:
    """Whether the runner's process is known not to exist any more."""
    if record.runner == RESTING:
        return False
    host, pid = _place(record)
    if sys.platform == "win32" or host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _plain(record: BatchRecord) -> dict[str, Any]:
    """What scripts are told of a batch, as JSON values. Times are UTC."""
    progress = asdict(record.progress)
    times = ("created_at", "start_at", "started_at", "finished_at", "next_due")
    return {
        "id": record.id,
        "name": record.name,
        "status": str(record.status),
        "interrupted": record.interrupted,
        "reason": record.reason,
        "agent": {"id": record.agent_id, "name": record.agent_name, "version": record.version},
        "target": {"kind": record.target.kind, "url": record.target.url, "label": record.target.label},
        "source": record.source,
        "max_concurrent": record.pace.max_concurrent,
        "batch_interval": record.pace.batch_interval,
        "progress": progress,
        "runner": record.runner if record.runner_alive else None,
    } | {name: moment.isoformat() if (moment := getattr(record, name)) else None for name in times}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON values."""
    return list(json.loads(frame.to_json(orient="records", date_format="iso")))
