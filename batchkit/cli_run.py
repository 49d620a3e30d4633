"""The commands that start something: `demo`, `run` and `demo-platform`."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from datetime import datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

from batchkit.batch import Batch
from batchkit.cli_batches import results_table, write_results
from batchkit.cli_watch import follow, opened, stop, summary, where_results, where_run
from batchkit.core.agent import Agent, InputVariable
from batchkit.core.config import BatchConfig, resolve_profile
from batchkit.core.mapping import Field, Input, Mapping, Metadata, NotBefore, Origin, ProfileName, Skip
from batchkit.core.progress import Progress
from batchkit.core.schedule import plan
from batchkit.core.table import Table
from batchkit.core.validation import Validation
from batchkit.core.waiting import Until
from batchkit.errors import ExportError, MappingError, TableError
from batchkit.io.exports import write_csv
from batchkit.io.result_files import check_suffix
from batchkit.io.tables import read_csv
from batchkit.targets.demo import DemoPlatform, serve_forever
from batchkit.terminal import Exit, clock, say, table, warn
from batchkit.workspace import Workspace

__all__ = ["demo", "demo_platform", "run"]

#: problems of the table, and invalid rows, that are shown; the rest is counted
_SHOWN = 5
_PREVIEW = 10
_ORIGINS = {
    Origin.AUTO: "",
    Origin.SUGGESTED: "from the header, worth a look",
    Origin.RESTORED: "as the last time",
    Origin.MANUAL: "set by hand",
}
_DEMO_AGENT = "Permit filer"
#: for the demo: a few groups within a few seconds
_DEMO_CONCURRENT, _DEMO_INTERVAL = 4, 2


def demo(args: Namespace) -> Exit:
    """A small batch on the demo platform, to its end."""
    with opened(args.store, demo=True) as ws, as_file(files("batchkit") / "sample.csv") as path:
        say(
            "This runs an agent of the demo platform, a server on this machine that behaves like the real one, once "
            "for each row of a sample CSV.\n"
        )
        agent, rows = ws.agent(_DEMO_AGENT), read_csv(path)
        mapping = ws.suggest_mapping(rows, agent).set("Reference", Metadata("reference"))
        say(_mapping_text(mapping, rows, agent))
        config = BatchConfig(
            name=f"Demo of {_today()}",
            default_profile="Clerks",
            max_concurrent=_DEMO_CONCURRENT,
            batch_interval=_DEMO_INTERVAL,
        )
        checked = ws.validate(rows, mapping, agent)
        say(f"\n{_plan_text(ws, checked, config)}\n")
        batch = None
        try:
            batch = ws.create_batch(checked, config)
            ended = follow(ws, batch, "finished")
        except KeyboardInterrupt:
            return stop(ws, batch)
        if ended is Exit.OK:
            say(f"\n{results_table(batch)}\n\n{summary(batch.record)}\n\n{_what_next(batch.id)}")
        return ended


def run(args: Namespace) -> Exit:
    """Run an agent once per row of a CSV."""
    tell = (lambda text: None) if args.quiet else say
    config = _config(args)
    _check_outputs(args)
    rows = _read(args)
    with opened(args.store) as ws:
        tell(f"Platform: {ws.target.info.label or ws.target.info.url}. Store: {ws.store.label}.")
        agent = ws.agent(args.agent, args.version)
        mapping = _mapped(ws.suggest_mapping(rows, agent), args.map)
        tell(f"\n{_mapping_text(mapping, rows, agent)}\n")
        checked = _checked(ws, rows, mapping, agent, args)
        resolve_profile(config.default_profile, ws.profiles(), ws.pools())
        if args.dry_run:
            tell(f"{_preview_text(checked)}\n")
        _tell_warnings(checked)
        _tell_invalid(checked, args)
        if not checked.ok:
            return Exit.WRONG
        tell(_plan_text(ws, checked, config))
        for earlier in ws.same_file(rows, agent)[:1]:
            warn(f"The same rows ran for this agent before, in batch {earlier.id} ({earlier.name}).")
        if args.dry_run:
            tell("This was a dry run: nothing was sent and no batch was made.")
            return Exit.OK
        return _launch(ws, checked, config, args)


def demo_platform(args: Namespace) -> Exit:
    """The demo platform in a process of its own, until it is told to end."""

    def tell(platform: DemoPlatform) -> None:
        say(
            f"The demo platform listens at {platform.url} until Ctrl-C. For whoever is to use it:\n"
            f"export BATCHKIT_URL={platform.url}\nexport BATCHKIT_API_KEY={platform.api_key}"
        )
        if args.webhook_url:
            say(f"export BATCHKIT_WEBHOOK_KEY={platform.webhook_public_key}", wrap=False)

    serve_forever(ready=tell, port=args.port, state=args.state, webhook_url=args.webhook_url)
    return Exit.OK


# From the command line to values


def _config(args: Namespace) -> BatchConfig:
    return BatchConfig(
        name=args.name if args.name is not None else f"{Path(args.file).stem or 'Batch'} {_today()}",
        version=args.version,
        default_profile=args.profile,
        start_at=_start(args.start_at, args.timezone),
        max_concurrent=args.max_concurrent,
        batch_interval=args.batch_interval,
        timezone=args.timezone,
    )


def _today() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"


def _start(text: str | None, timezone: str | None) -> datetime | str | None:
    """A local time without a zone means this machine's; what is no time is left for BatchConfig to refuse."""
    if text is None or timezone is not None:
        return text
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.utcoffset() is not None else moment.astimezone()
    except (ValueError, OverflowError):
        return text


def _check_outputs(args: Namespace) -> None:
    """Raise ExportError for what could not be written in the end."""
    for option, given in (("--output", args.output), ("--save-invalid", args.save_invalid)):
        if given is None:
            continue
        path = os.path.expanduser(given)
        folder = os.path.dirname(os.path.realpath(path))
        if os.path.exists(path) and os.path.exists(args.file) and os.path.samefile(path, args.file):
            raise ExportError(f"{option} {path!r} is the file the rows come from. Give another name.")
        if os.path.isdir(path) or path.endswith(os.sep):
            raise ExportError(f"{option} {path!r} is a folder. Give the name of a file in it.")
        if not os.path.isdir(folder):
            raise ExportError(f"{option} {path!r}: there is no folder {folder!r}. Create it first.")
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            raise ExportError(f"{option} {path!r} may not be written. Choose another folder or name.")
    if args.output is not None:
        check_suffix(args.output)


def _read(args: Namespace) -> Table:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(args.delimiter, args.delimiter)
    rows = read_csv(args.file, encoding=args.encoding, delimiter=delimiter)
    if not rows.ok:
        more = len(rows.errors) - _SHOWN
        rest = [f"… and {more:,} more."] if more > 0 else []
        messages = [f"  {problem.message}" for problem in rows.errors[:_SHOWN]]
        raise TableError("\n".join([f"{args.file} cannot be used as it is.", *messages, *rest]))
    for problem in rows.problems[:_SHOWN]:
        warn(f"{args.file}: {problem.message}")
    if len(rows.problems) > _SHOWN:
        warn(f"{args.file}: … and {len(rows.problems) - _SHOWN:,} more remarks.")
    return rows


def _checked(ws: Workspace, rows: Table, mapping: Mapping, agent: Agent, args: Namespace) -> Validation:
    try:
        return ws.validate(rows, mapping, agent, invalid=args.invalid)
    except MappingError as error:
        raise MappingError(f"{error}\nChange it with --map COLUMN=FIELD; `batchkit run --help` says how.") from error


def _mapped(suggested: Mapping, options: list[str]) -> Mapping:
    """The mapping as --map changes it; a field given by hand is taken away from the column that had it before."""
    mapping = suggested
    given = [_assignment(option, suggested.columns) for option in options]
    named = {column for column, _ in given}
    for column, field in given:
        for other, its in mapping.mapped.items():
            if its == field and other not in named:
                mapping = mapping.set(other, Skip())
        mapping = mapping.set(column, field)
    return mapping


def _assignment(option: str, columns: tuple[str, ...]) -> tuple[str, Field]:
    """COL=FIELD; the column's own name may contain "="."""
    cuts = [at for at, char in enumerate(option) if char == "="]
    if not cuts:
        raise MappingError(f"--map {option!r} has no '='. Write COLUMN=FIELD, for example --map 'Name=client'.")
    at = next((at for at in cuts if option[:at] in columns), cuts[0])
    column, text = option[:at], option[at + 1 :].strip()
    kind, colon, name = text.partition(":")
    match kind, colon, name.strip():
        case ("profile", "", _):
            return column, ProfileName()
        case ("not-before", "", _):
            return column, NotBefore()
        case ("skip", "", _):
            return column, Skip()
        case ("metadata", ":", key) if key:
            return column, Metadata(key)
        case ("input", ":", variable) if variable:
            return column, Input(variable)
        case (variable, "", _) if variable:
            return column, Input(variable)
    raise MappingError(
        f"--map {option!r}: {text!r} is not a field. Write the name of an input (NAME or input:NAME), profile, "
        "metadata:KEY, not-before or skip."
    )


# What is shown before anything is sent


def _mapping_text(mapping: Mapping, rows: Table, agent: Agent) -> str:
    version = "" if agent.version is None else f", version {agent.version}"
    lines = [f"{rows.source} ({len(rows):,} rows) → {agent.name}{version}"]
    shown = [
        [column, "skipped" if field == Skip() else f"→ {_field_text(field)}", _ORIGINS[mapping.origin(column)]]
        for column, field in mapping.fields.items()
    ]
    lines.append(table(["column", "becomes", ""], shown))
    free = [variable for variable in agent.inputs if Input(variable.name) not in mapping.assigned]
    if free:
        lines.append(f"Inputs without a column: {', '.join(map(_input_text, free))}.")
    lines += mapping.notes
    for each in mapping.suggestions:
        if isinstance(each.field, Input):
            lines.append(f"{each.reason} If so: --map '{each.column}={each.field.name}'")
    return "\n".join(lines)


def _field_text(field: Field) -> str:
    match field:
        case Input(name):
            return name
        case ProfileName():
            return "the agent profile"
        case NotBefore():
            return "not sent before this time"
        case Metadata(key):
            return f"metadata {key}"
        case Skip():
            return "skipped"


def _input_text(variable: InputVariable) -> str:
    if variable.default is not None:
        return f"{variable.name} (default {json.dumps(variable.default, ensure_ascii=False)})"
    return f"{variable.name} ({'required' if variable.required else 'optional'})"


def _plan_text(ws: Workspace, checked: Validation, config: BatchConfig) -> str:
    now = ws.clock.now()
    count, pace = checked.counts.valid, config.pace
    planned = plan(count, pace, max(config.start_at or now, now))
    start = clock(planned.start, now) if planned.start > now else "now"
    if pace.batch_interval == 0:
        return f"{count:,} rows, from {start}, at most {pace.max_concurrent:,} unanswered at a time."
    if planned.groups == 1:
        return f"{count:,} rows in one group, {start}."
    return (
        f"{count:,} rows in {planned.groups:,} groups of {pace.max_concurrent:,}, one every {pace.batch_interval:g} s: "
        f"from {start} to {clock(planned.last_group, now)}."
    )


def _preview_text(checked: Validation) -> str:
    frame = checked.preview(_PREVIEW).drop(columns="errors")
    cells = [[_cell_text(value) for value in row] for row in frame.itertuples(index=False)]
    count = f"the first {len(frame):,} of {len(checked.table):,}" if len(frame) < len(checked.table) else "all"
    return f"As they will be sent ({count}; – is not sent):\n{table(list(frame.columns), cells, numbers=['row'])}"


def _cell_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "–" if value is None else json.dumps(value, ensure_ascii=False)


def _tell_warnings(checked: Validation) -> None:
    count = checked.counts.warnings
    if count:
        warn(f"{count:,} valid {'row is' if count == 1 else 'rows are'} worth a look:")
        _tell_rows(checked, "warning", count)


def _tell_rows(checked: Validation, status: Literal["warning", "invalid"], count: int) -> None:
    for messages in checked.preview(_SHOWN, only=status)["errors"].tolist():
        warn("\n".join(f"  {line}" for line in str(messages).split("\n")))
    if count > _SHOWN:
        warn(f"  … and {count - _SHOWN:,} more rows.")


def _tell_invalid(checked: Validation, args: Namespace) -> None:
    """Say which rows are invalid, and write them where asked to."""
    counts = checked.counts
    if not counts.invalid:
        return
    warn(f"{counts.invalid:,} of {counts.total:,} rows {'is' if counts.invalid == 1 else 'are'} invalid:")
    _tell_rows(checked, "invalid", counts.invalid)
    if args.save_invalid is not None:
        write_csv(checked.invalid_rows(), args.save_invalid)
        warn(f"They were written to {args.save_invalid}, with what is wrong with each.")
    ways = [] if args.save_invalid is not None else ["--save-invalid FILE writes them to a file to correct"]
    if args.invalid == "block":
        ways.append("--invalid drop leaves them out")
        warn(f"Nothing was sent. Correct them and run again; {', '.join(ways)}.")
    elif not counts.valid:
        warn("Nothing was sent: no row is valid.")
    else:
        warn(f"They are left out{f'; {ways[0]}' if ways else ''}.")


# Running it


def _launch(ws: Workspace, checked: Validation, config: BatchConfig, args: Namespace) -> Exit:
    until: Until = args.wait or ("finished" if args.output else "triggered")
    batch: Batch | None = None
    try:
        batch = ws.create_batch(checked, config)
        place, ctrl_c = where_run(ws)
        say(batch.id if args.quiet else f"Batch {batch.id} runs in {place}; Ctrl-C {ctrl_c}.")
        ended = follow(ws, batch, until, quiet=args.quiet)
    except KeyboardInterrupt:
        return stop(ws, batch)
    if args.output is not None and ended is Exit.OK:
        write_results(batch, args.output, quiet=args.quiet)
    if ended is not Exit.OK:
        return ended
    record = batch.record
    if not args.quiet:
        say(summary(record))
        if record.progress.executions.open:
            say(f"The executions go on on the platform. For their results:  {where_results(batch.id)}")
    return Exit.INCOMPLETE if args.strict and not _all_went_well(record.progress) else Exit.OK


def _all_went_well(progress: Progress) -> bool:
    """Whether every row of the file was triggered and, as far as is known, none of the executions failed."""
    ill = progress.refused, progress.cancelled, progress.left_out, progress.executions.failed
    return not any((*ill, progress.executions.cancelled))


def _what_next(batch_id: str) -> str:
    return (
        "What next:\n"
        f"  batchkit show {batch_id}                     the batch and its log\n"
        f"  batchkit results {batch_id} --output a.csv   rows and results as a file\n"
        "  batchkit list                                all batches\n"
        "  batchkit run --help                          the same with your own file\n"
        "In a notebook:\n"
        "  import batchkit as bk\n"
        "  ws = bk.Workspace()\n"
        f'  ws.batch("{batch_id}").results()'
    )
