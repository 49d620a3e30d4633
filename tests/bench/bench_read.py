"""How long `read_csv` takes and how much memory, against pandas' own reader of text.

Run by hand: python tests/bench/bench_read.py [rows]. Each reading is a fresh process, the two in turns.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROUNDS = 5

_MEASURE = """
import json, sys, time
{setup}
begin = time.perf_counter()
frame = {read}
seconds = time.perf_counter() - begin
assert frame.shape == ({rows}, 10), frame.shape
# not ru_maxrss, which counts what the parent held when it forked
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps([seconds, peak]))
"""
_READERS = {
    "pandas.read_csv(dtype=str)": (
        "import pandas as pd",
        "pd.read_csv(sys.argv[1], dtype=str, keep_default_na=False)",
    ),
    "batchkit.read_csv().frame": ("from batchkit.io.tables import read_csv", "read_csv(sys.argv[1]).frame"),
}


def plain(row: int, rng: random.Random) -> str:
    """Ten cells without quotes, about a hundred bytes."""
    return (
        f"{row:09d},name {rng.randrange(1000)},+49 30 {rng.randrange(100000):05d},2026-01-{row % 28 + 1:02d},1e5,NA,"
        f"city {row % 50},{rng.getrandbits(64):016x},user{row}@example.com,{rng.randrange(10**7)}\n"
    )


def quoted(row: int, rng: random.Random) -> str:
    """The same with every cell quoted, as some programs write them."""
    return ",".join(f'"{cell}"' for cell in plain(row, rng).rstrip("\n").split(",")) + "\n"


def multiline(row: int, rng: random.Random) -> str:
    """The same with a cell of two lines in every tenth row."""
    return (
        plain(row, rng)
        if row % 10
        else plain(row, rng).replace("name ", '"name, ""a""\nand ', 1).replace(",+", '",+', 1)
    )


def blank(row: int, rng: random.Random) -> str:
    """The same with a blank line in the middle of the file, which takes the careful path."""
    return plain(row, rng) + ("\n" if row == 100 else "")


def main() -> None:
    """Write each kind of file, read it by both in turns, print the medians."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{'file':<12}{'MB':>6}{'reader':>30}{'seconds':>10}{'ratio':>8}{'peak MB':>10}{'ratio':>8}")
    for write in (plain, quoted, multiline, blank):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bench.csv")
            _make(path, rows, write)
            size = path.stat().st_size / 1e6
            found: dict[str, list[list[float]]] = {name: [] for name in _READERS}
            for _ in range(ROUNDS):
                for name, (setup, read) in _READERS.items():
                    found[name].append(_measure(path, setup, read, rows))
        base: tuple[float, float] | None = None
        for name, results in found.items():
            seconds, peak = (statistics.median(column) for column in zip(*results, strict=True))
            base = base or (seconds, peak)
            print(
                f"{write.__name__:<12}{size:>6.0f}{name:>30}{seconds:>10.3f}{seconds / base[0]:>8.2f}"
                f"{peak:>10.0f}{peak / base[1]:>8.2f}"
            )


def _make(path: Path, rows: int, write: Callable[[int, random.Random], str]) -> None:
    rng = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(f"column {number}" for number in range(10)) + "\n")
        file.writelines(write(row, rng) for row in range(rows))


def _measure(path: Path, setup: str, read: str, rows: int) -> list[float]:
    code = _MEASURE.format(setup=setup, read=read, rows=rows)
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    seconds, peak = json.loads(done.stdout)
    return [seconds, peak]


if __name__ == "__main__":
    main()
