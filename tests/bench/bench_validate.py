"""How long validating takes and how much memory, against pandas reading the same file as text.

    python tests/bench/bench_validate.py [rows] [rounds]

Ten columns: four strings with rules, two integers, a number with bounds, an enum, a date, metadata. Each figure is
from a process of its own, the cases in turn; reading the table is not part of validating it. Needs Linux.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.mapping import Input, Mapping, Metadata
from batchkit.core.validation import Validation, validate
from batchkit.io.tables import read_csv

SCHEMAS: dict[str, dict[str, Any]] = {
    "client": {"type": "string", "minLength": 3, "maxLength": 60},
    "reference": {"type": "string", "pattern": r"^PX-\d{9}$"},
    "address": {"type": "string", "maxLength": 120},
    "comment": {"type": "string"},
    "units": {"type": "integer", "minimum": 0},
    "account": {"type": "integer"},
    "amount": {"type": "number", "minimum": 0, "maximum": 10_000},
    "state": {"type": "string", "enum": ["new", "open", "closed", "archived"]},
    "due": {"type": "string", "format": "date"},
}
AGENT = Agent(
    name="bench", inputs=[InputVariable(name, schema=s, required=name != "comment") for name, s in SCHEMAS.items()]
)


def write(path: Path, rows: int, faulty: float) -> None:
    """A file in which that share of the rows has a fault, spread over the columns."""
    rng = np.random.default_rng(1)
    names = np.array(["Anna Müller", "Bob Smith", "Chloé Okafor", "Dmitri Tanaka"])
    frame = pd.DataFrame(
        {
            "client": pd.Series(names[rng.integers(0, 4, rows)])
            + " "
            + pd.Series(rng.integers(0, 10**5, rows).astype(str)),
            "reference": "PX-" + pd.Series(rng.integers(10**8, 10**9, rows).astype(str)),
            "address": pd.Series(rng.integers(1, 10**6, rows).astype(str)) + " Long Street, 12345 Springfield",
            "comment": np.where(rng.random(rows) < 0.3, "", "please handle with care"),
            "units": rng.integers(0, 1_000, rows).astype(str),
            "account": rng.integers(10**9, 10**12, rows).astype(str),
            "amount": np.round(rng.random(rows) * 10_000, 2).astype(str),
            "state": np.array(["new", "open", "closed", "archived"])[rng.integers(0, 4, rows)],
            "due": np.array(pd.date_range("2020-01-01", periods=3_000).strftime("%Y-%m-%d"))[
                rng.integers(0, 3_000, rows)
            ],
            "region": np.array(["north", "south", "east", "west"])[rng.integers(0, 4, rows)],
        }
    )
    for at, column in enumerate(["client", "reference", "units", "account", "amount", "state", "due"]):
        wrong = rng.random(rows) < faulty / 7
        frame.loc[wrong, column] = ["", "PX 1", "-1", "1e12", "12,50", "opened", "2026-02-30"][at]
    frame.to_csv(path, index=False)


def checked(path: Path) -> Validation:
    table = read_csv(path)
    mapping = Mapping(table.columns).set("region", Metadata("region"))
    for name in SCHEMAS:
        mapping = mapping.set(name, Input(name))
    return timed(lambda: validate(table, mapping, AGENT, invalid="drop"))


def timed(work: Callable[[], Any]) -> Any:
    """Do the work and print its seconds, and by how many MB memory rose above where it was."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    result = work()
    print(json.dumps([time.perf_counter() - started, memory("VmHWM") - before]))
    return result


def memory(kind: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) / 1024


def one(case: str, path: Path) -> None:
    if case == "pandas":
        timed(lambda: pd.read_csv(path, dtype=str))
    elif case == "validate":
        checked(path)
    elif case == "issues":
        validation = checked(path)
        timed(lambda: validation.issues)
    elif case == "items":
        validation = checked(path)
        timed(lambda: sum(len(items) for items in validation.items()))
    else:
        frame = pd.read_csv(path, dtype=str)
        timed(lambda: frame.to_dict("records"))


def measured(case: str, path: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--one", case, str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cases = ["pandas", "validate", "issues", "items", "records"]
    print(f"{rows:,} rows, {rounds} rounds; medians, ratio to pandas.read_csv(dtype=str)")
    print(f"{'rows with a fault':20}{'case':10}{'seconds':>10}{'ratio':>8}{'(least - most)':>18}{'MB more':>10}")
    for faulty in (0.0, 0.01, 1.0):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bench.csv")
            write(path, rows, faulty)
            found = [{case: measured(case, path) for case in cases} for _ in range(rounds)]
        for case in cases:
            ratios = [run[case][0] / run["pandas"][0] for run in found]
            seconds, megabytes = (statistics.median(run[case][at] for run in found) for at in (0, 1))
            spread = f"({min(ratios):.2f} - {max(ratios):.2f})"
            print(
                f"{faulty:<20.0%}{case:10}{seconds:>10.3f}{statistics.median(ratios):>8.2f}{spread:>18}{megabytes:>10.0f}"
            )


if __name__ == "__main__":
    main()
