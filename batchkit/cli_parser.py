"""What can be typed: the commands, their options and their words. What a command does is loaded when one is run."""

from __future__ import annotations

import argparse

import batchkit
from batchkit.core.lifecycle import BatchStatus

__all__ = ["parser"]

_EXIT_CODES = """\
exit codes:
  0    done
  1    the batch did not come to its end, because it paused itself or was
       cancelled; or the command is not possible as the batch stands
  2    wrong usage or input: command line, file, mapping, rows, agent, batch id,
       a store that does not exist
  3    the platform or the store is not available
  4    only with `run --strict`: the batch ended, but a row was refused or left
       out, or an execution failed
  130  interrupted by Ctrl-C, SIGTERM or a closed terminal; what ran here is
       paused
"""
_MAIN_EPILOG = f"""\
environment:
  BATCHKIT_URL, BATCHKIT_API_KEY   the platform; without them, the demo platform
                                   on this machine
  BATCHKIT_STORE                   the file that keeps the batches, or the URL
                                   of a PostgreSQL database; `run`, `demo` and
                                   `worker` make what is missing
  BATCHKIT_OWNER                   who you are among the people on one store;
                                   without it, JupyterHub's user, or else this
                                   machine's. Others' batches are not shown
  BATCHKIT_ADMIN                   1: show and steer the batches of all owners

examples:
  batchkit demo
  batchkit serve
  batchkit run permits.csv --agent "Permit filer" --dry-run
  batchkit run permits.csv --agent "Permit filer" --output results.csv
  batchkit list

{_EXIT_CODES}"""
_RUN_EPILOG = f"""\
FIELD, what a column becomes:
  NAME, input:NAME   the input variable NAME
  profile            the name of the agent profile, or pool, of its row
  metadata:KEY       metadata KEY of the execution
  skip               nothing

Columns called like an input are mapped to it; a mapping used before for this
agent and header is used again. The mapping is shown before anything is sent.

Rows are sent in groups of --max-concurrent, one group every --batch-interval
seconds, by this process: it has to go on until all are sent. After Ctrl-C, or
on another day, `batchkit resume` goes on.

examples:
  batchkit run permits.csv --agent "Permit filer" --dry-run
  batchkit run permits.csv --agent "Permit filer" --map Name=client \\
      --map Clerk=profile --map Region=metadata:region --map Notes=skip
  batchkit run permits.csv --agent "Permit filer" --profile Clerks \\
      --max-concurrent 10 --batch-interval 30 --output results.csv
  batchkit run permits.csv --agent "Permit filer" --start-at "2026-03-01 06:00"

{_EXIT_CODES}"""
_ID_HELP = "the batch's id, or its beginning; `batchkit list` shows them"
_DEMO = """\
Try batchkit on the demo platform, a server on this machine that behaves like
the real one: nothing is sent off this machine, and no key is needed. The wizard
has a sample CSV at hand. With --headless a small batch runs in the terminal, to
its end, in about 20 seconds. Batches are kept: `batchkit list` shows them."""
_SERVE = """\
Serve the wizard, which makes a batch from a CSV, and the dashboard of batches
as web pages on this machine, until Ctrl-C. The addresses it prints hold a key.
Batches run in this process, so that they outlive a closed tab; with
BATCHKIT_ENGINE=cluster they run in the workers of the cluster."""
_PAUSE = """\
Pause a running batch, whichever process runs it. Nothing more is triggered
until it is resumed; what was triggered goes on."""
_RESUME = """\
Go on with a batch that was paused, or whose process is gone; rows that wait get
new times from now on; one that has not started keeps its start time. If
another process runs the batch, it is told to go on. Otherwise the batch runs
here, until all its rows are triggered."""
_CANCEL = """\
End a batch for good, whichever process runs it: rows that wait are never
triggered. What was triggered goes on. This cannot be undone, so it asks first."""
_DELETE = """\
Remove a batch that has ended from the store, with its rows, results and log.
Its executions on the platform stay. This cannot be undone, so it asks first."""
_RERUN = """\
Run rows of a batch again, as a batch of their own that knows where its rows are
from: same agent and version, mapping and pace unless told otherwise. What has
succeeded, still runs or is still to be sent is never sent again; where another
batch has run a row again already, that is what counts."""
_PLATFORM = """\
Serve the demo platform as a process of its own, for trying things out and for
tests. It prints the lines that point batchkit to it, and listens on this
machine only."""


_WORKER = """\
Run batches in a process of its own, so that they outlive the notebook or terminal
that made them: whatever is to run and has nobody to run it is taken over, within
seconds of its process being gone. One line is printed for each event. SIGTERM or
Ctrl-C: nothing more is sent, what is under way is recorded, and others may go on.

With --cluster, start as many as you like: each takes up batches of workspaces with
engine="cluster" that are for its target, and whatever else nobody runs. Limits hold
over all of them. When one is gone, another one goes on within seconds."""
_WEBHOOK = """\
Take the platform's webhooks, so that outcomes are known at once and not at the
next look. They are written into the same store, whichever process runs the
batches. Only what the platform has signed counts. It listens on this machine
only, unless --host says otherwise; put a server that speaks https in front."""
_DOCTOR = """\
Look at what batches need: versions, the store, batches that nobody runs, the
platform and its key, the clock. Each is good, or says what to do; the exit code
is 0 only where all is good. Nothing is changed, and no row is sent."""
_BACKUP = """\
Write a consistent copy of the file of batches, while others work with it. Copying
the file itself would lose what is still in its log."""


def parser() -> argparse.ArgumentParser:
    """The command line's parser; what it parses names the module and the function to run."""
    main = argparse.ArgumentParser(
        prog="batchkit",
        description="Run an agent once per row of a CSV: mapped, checked, staggered, joined back.",
        epilog=_MAIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main.add_argument("--version", action="version", version=f"batchkit {batchkit.__version__}")
    commands = main.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def add(name: str, place: str, summary: str, description: str = "", epilog: str = "") -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=description or f"{summary[:1].upper()}{summary[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module, _, function = place.partition(":")
        command.set_defaults(module=f"batchkit.{module}", function=function)
        return command

    demo = add("demo", "cli_serve:demo", "try it out in the browser, on the demo platform on this machine", _DEMO)
    demo.add_argument("--headless", action="store_true", help="run a small batch here in the terminal instead")
    _add_pages(demo)
    serve = add("serve", "cli_serve:serve", "make, watch and run batches in the browser", _SERVE)
    serve.add_argument(
        "--owner",
        metavar="NAME",
        help="whose pages they are: one of several people on one store (default: BATCHKIT_OWNER, else JupyterHub's "
        "user, else this machine's)",
    )
    _add_pages(serve)
    _add_run(add("run", "cli_run:run", "run an agent once per row of a CSV", epilog=_RUN_EPILOG))
    _add_list(add("list", "cli_batches:list_batches", "list batches, newest first"))
    _add_show(add("show", "cli_batches:show", "show a batch: progress, times, rows that need a look, log"))
    pause = add("pause", "cli_batches:pause", "trigger nothing more until resumed", _PAUSE)
    resume = add("resume", "cli_batches:resume", "go on with a batch that was paused or interrupted", _RESUME)
    for command in (pause, resume):
        command.add_argument("id", metavar="ID", help=_ID_HELP)
        _add_store(command)
    _add_confirmed(add("cancel", "cli_batches:cancel", "end a batch for good", _CANCEL))
    _add_confirmed(add("delete", "cli_batches:delete", "remove a batch that has ended, with its results", _DELETE))
    _add_results(add("results", "cli_batches:results", "show or write the rows with what became of them"))
    _add_rerun(add("rerun", "cli_rerun:rerun", "run rows of a batch again that did not go well", _RERUN))
    _add_worker(add("worker", "cli_worker:worker", "run the batches that nobody runs, until told to stop", _WORKER))
    _add_webhook(add("webhook", "cli_webhook:webhook", "take the platform's webhooks, until told to stop", _WEBHOOK))
    backup = add("backup", "cli_worker:backup", "copy the file of batches, while they run", _BACKUP)
    backup.add_argument("path", metavar="FILE", help="the copy; must not exist yet")
    _add_store(backup)
    doctor = add("doctor", "cli_doctor:doctor", "check store, platform, workers and clock; say what to do", _DOCTOR)
    doctor.add_argument("--json", action="store_true", help="for scripts")
    _add_store(doctor)
    _add_platform(add("demo-platform", "cli_run:demo_platform", "serve the demo platform until Ctrl-C", _PLATFORM))
    return main


def _add_pages(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", metavar="P", type=int, default=0, help="of the pages (default: a free one)")
    command.add_argument(
        "--no-browser", dest="browser", action="store_false", help="only print the addresses, open nothing"
    )
    _add_store(command)


def _add_worker(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--function",
        dest="reference",
        metavar="MODULE:NAME",
        help="run the batches of this Python function (default: those of the platform)",
    )
    which.add_argument(
        "--target",
        metavar="MODULE:NAME",
        help="run the batches of this target, an HttpTarget say, or of the one that the function NAME makes",
    )
    command.add_argument(
        "--cluster",
        action="store_true",
        help="as one of any number of workers, on any machine, that share the batches of a PostgreSQL store",
    )
    command.add_argument(
        "--concurrency",
        metavar="N",
        type=int,
        default=20,
        help="with --cluster: batches this worker runs at a time (default: %(default)s)",
    )
    command.add_argument(
        "--log",
        choices=("lines", "json"),
        default="lines",
        help="json: an object a line, for programs, with what becomes of each row (default: %(default)s)",
    )
    _add_store(command)


def _add_webhook(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", metavar="P", type=int, default=0, help="where to listen (default: a free one)")
    command.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen (default: %(default)s, this machine)"
    )
    command.add_argument(
        "--public-key",
        metavar="TEXT",
        help="the platform's, as its webhook settings show it (default: BATCHKIT_WEBHOOK_KEY)",
    )
    _add_store(command)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="the CSV, with a header row")
    command.add_argument("--agent", metavar="NAME", required=True, help="the agent's name or id")
    rows = command.add_argument_group("rows and columns")
    rows.add_argument(
        "--map",
        metavar="COL=FIELD",
        action="append",
        default=[],
        help="what a column becomes, see below; may be repeated (default: by name)",
    )
    _add_invalid(rows)
    rows.add_argument("--save-invalid", metavar="FILE", help="write the invalid rows there, with what is wrong")
    rows.add_argument("--encoding", metavar="NAME", help="of the file, such as cp1252 (default: found out)")
    rows.add_argument("--delimiter", metavar="CHAR", help="of the file, such as ';' or tab (default: found out)")
    batch = command.add_argument_group("batch")
    batch.add_argument("--name", metavar="TEXT", help="of the batch (default: file name and date)")
    batch.add_argument("--version", metavar="N", type=int, help="of the workflow (default: the published one)")
    batch.add_argument("--profile", metavar="NAME", help="profile or pool of rows that name none (default: none)")
    batch.add_argument(
        "--max-concurrent", metavar="N", type=int, default=5, help="rows sent per interval (default: %(default)s)"
    )
    batch.add_argument(
        "--batch-interval", metavar="S", type=float, default=60, help="seconds between groups (default: %(default)s)"
    )
    batch.add_argument(
        "--start-at", metavar="TIME", help="when the first group is sent, like '2026-03-01 06:00' (default: at once)"
    )
    batch.add_argument("--timezone", metavar="ZONE", help="of --start-at, like Europe/Berlin (default: this machine's)")
    ending = command.add_argument_group("what happens, and what comes out")
    ending.add_argument("--dry-run", action="store_true", help="check everything, show the first rows; send nothing")
    _add_wait(ending)
    ending.add_argument("--output", metavar="FILE", help="write the rows with what became of them there")
    ending.add_argument("--strict", action="store_true", help="exit code 4 unless every row went well")
    ending.add_argument("-q", "--quiet", action="store_true", help="print only the batch's id, and what goes wrong")
    _add_store(ending)


def _add_list(command: argparse.ArgumentParser) -> None:
    command.add_argument("--status", choices=[str(status) for status in BatchStatus], help="only those")
    command.add_argument("--archived", action="store_true", help="those that were put away, instead of the others")
    command.add_argument("--limit", metavar="N", type=_count, default=20, help="so many (default: %(default)s)")
    command.add_argument("--json", action="store_true", help="for scripts")
    _add_store(command)


def _add_show(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help=_ID_HELP)
    command.add_argument(
        "--limit", metavar="N", type=_count, default=10, help="so many rows and log entries (default: %(default)s)"
    )
    command.add_argument("--json", action="store_true", help="for scripts")
    _add_store(command)


def _add_confirmed(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help=_ID_HELP)
    command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    _add_store(command)


def _add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help=_ID_HELP)
    command.add_argument(
        "--output",
        metavar="FILE",
        help="write them there: .csv, .xlsx, .parquet or .jsonl (default: a table in the terminal)",
    )
    command.add_argument(
        "--merged", action="store_true", help="all rows, each with its newest outcome from wherever it ran again"
    )
    command.add_argument("--wait", action="store_true", help="first follow the executions until all have ended")
    _add_store(command)


def _add_rerun(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID", help=_ID_HELP)
    rows = command.add_argument_group("which rows; together where several are given")
    rows.add_argument("--failed", action="store_true", help="those whose execution failed")
    rows.add_argument("--refused", action="store_true", help="those the platform would not take")
    rows.add_argument("--cancelled", action="store_true", help="those that were cancelled, or whose execution was")
    rows.add_argument("--dropped", action="store_true", help="those left out as invalid; corrected by --inputs")
    rows.add_argument(
        "--inputs",
        metavar="FILE",
        help="corrected rows: a corrected file of results, or the whole file again; without any of the above, its rows",
    )
    _add_invalid(rows)
    rows.add_argument("--force", action="store_true", help="also rows of --inputs that succeeded or still run")
    batch = command.add_argument_group("what is to be different")
    batch.add_argument("--name", metavar="TEXT", help="of the batch (default: as before, and that it is again)")
    batch.add_argument("--version", metavar="N", type=int, help="of the workflow")
    batch.add_argument("--max-concurrent", metavar="N", type=int, help="rows sent per interval")
    batch.add_argument("--batch-interval", metavar="S", type=float, help="seconds between groups")
    ending = command.add_argument_group("what comes out")
    _add_wait(ending)
    ending.add_argument("--output", metavar="FILE", help="write all rows there, each with its newest outcome")
    _add_store(ending)


def _add_invalid(rows: argparse._ArgumentGroup) -> None:
    rows.add_argument(
        "--invalid",
        choices=("block", "drop"),
        default="block",
        help="what invalid rows do: block the batch, or drop out of it (default: %(default)s)",
    )


def _add_wait(ending: argparse._ArgumentGroup) -> None:
    ending.add_argument(
        "--wait",
        choices=("triggered", "finished"),
        help="until when to stay: all rows triggered, or all executions ended (default: finished with --output, "
        "else triggered)",
    )


def _add_platform(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", metavar="P", type=int, default=0, help="0: a free one (default: %(default)s)")
    command.add_argument("--state", metavar="FILE", help="keeps executions and keys (default: in memory)")
    command.add_argument("--webhook-url", metavar="URL", help="send signed webhooks there (default: none)")


def _add_store(command: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    command.add_argument(
        "--store",
        metavar="STORE",
        help="the file of batches, or the URL of a PostgreSQL database without its password (default: BATCHKIT_STORE, "
        "else a file in the data folder)",
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return number
