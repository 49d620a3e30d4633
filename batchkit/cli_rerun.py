"""The command `rerun`: rows of a batch that failed, were refused, cancelled or left out, run again."""

from __future__ import annotations

from argparse import Namespace

from batchkit.batch import Batch
from batchkit.cli_batches import write_results
from batchkit.cli_watch import find, follow, opened, stop, summary, where_results, where_run
from batchkit.core.waiting import Until
from batchkit.errors import ConfigError
from batchkit.io.result_files import check_suffix
from batchkit.io.tables import read_csv
from batchkit.terminal import Exit, say

__all__ = ["rerun"]

#: what of a batch's configuration an option changes
_CHANGES = ("name", "version", "max_concurrent", "batch_interval")


def rerun(args: Namespace) -> Exit:
    """Run rows of a batch again, here, as a batch of their own."""
    if args.output is not None:
        check_suffix(args.output)
    inputs = None if args.inputs is None else read_csv(args.inputs)
    executions = [word for word in ("failed", "cancelled") if getattr(args, word)]
    items = [word for word in ("refused", "cancelled") if getattr(args, word)]
    if inputs is None and not (executions or items or args.dropped):
        raise ConfigError("Which rows? Give --failed, --refused, --cancelled, --dropped, or --inputs FILE.")
    until: Until = args.wait or ("finished" if args.output else "triggered")
    config = {name: value for name in _CHANGES if (value := getattr(args, name)) is not None}
    with opened(args.store, existing=True) as ws:
        parent = find(ws, args.id)
        batch: Batch | None = None
        try:
            batch = parent.rerun(
                executions=executions,
                items=items,
                dropped=args.dropped,
                inputs=inputs,
                config=config,
                invalid=args.invalid,
                force=args.force,
            )
            record, (place, ctrl_c) = batch.record, where_run(ws)
            say(
                f"{record.progress.total:,} rows of batch {parent.id} run again in {place}, as batch {batch.id} "
                f"({record.name}); Ctrl-C {ctrl_c}."
            )
            ended = follow(ws, batch, until)
        except KeyboardInterrupt:
            return stop(ws, batch)
        if ended is not Exit.OK:
            return ended
        if args.output is not None:
            write_results(batch, args.output, merged=True)
        say(summary(batch.record))
        say(f"For the results of all rows:  {where_results(batch.id)} --merged")
        return Exit.OK
