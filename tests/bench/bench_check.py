"""Reading, mapping and validating a file, against pandas only reading it as text: time and peak memory.

    python tests/bench/bench_check.py [rows] [rounds]

The file is bench_validate's: ten columns of text, numbers, dates and an enum. Each run is a process of its own, the two
in turn; imports are not timed. Needs Linux.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_validate import AGENT, write


def pandas_reads(path: str) -> int:
    import pandas as pd

    return len(pd.read_csv(path, dtype=str))


def batchkit_checks(path: str) -> int:
    import batchkit as bk
    from batchkit.core.suggestion import suggest_mapping
    from batchkit.core.validation import validate

    table = bk.read_csv(path)
    mapping = suggest_mapping(table.columns, AGENT).set("region", bk.Metadata("region"))
    checked = validate(table, mapping, AGENT)
    assert checked.counts.invalid == 0
    return checked.counts.total


def peak_memory() -> float:
    """MB, of this process alone; ru_maxrss would count what the parent held when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(how: str, path: str) -> tuple[float, float]:
    """Seconds and MB of one process."""
    done = subprocess.run([sys.executable, __file__, "--one", how, path], stdout=subprocess.PIPE, text=True, check=True)
    seconds, megabytes = json.loads(done.stdout)
    return seconds, megabytes


def one(how: str, path: str) -> None:
    work = pandas_reads if how == "pandas" else batchkit_checks
    # What imports cost is another benchmark's question.
    import pandas

    import batchkit.core.validation
    import batchkit.io.tables

    assert pandas
    assert batchkit
    started = time.perf_counter()
    work(path)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, peak_memory()]))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3])
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write(path, rows, 0.0)
        size = path.stat().st_size / 1e6
        print(f"{rows:,} rows × 10 columns, {size:.0f} MB, {rounds} rounds; medians (least - most)")
        runs = [{how: measured(how, str(path)) for how in ("pandas", "batchkit")} for _ in range(rounds)]
    names = {"pandas": "pandas.read_csv(dtype=str)", "batchkit": "read + map + validate"}
    for how, name in names.items():
        times, peaks = zip(*(run[how] for run in runs), strict=True)
        print(f"{name:30}{statistics.median(times):7.2f} s{statistics.median(peaks):9.0f} MB")
    for what, at in (("time", 0), ("peak memory", 1)):
        ratios = [run["batchkit"][at] / run["pandas"][at] for run in runs]
        print(f"ratio of {what:21}{statistics.median(ratios):7.2f}   ({min(ratios):.2f} - {max(ratios):.2f})")


if __name__ == "__main__":
    main()
