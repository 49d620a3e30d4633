"""Importing batchkit, and making its first use, against importing pandas.

python tests/bench/bench_import.py [runs]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

BASE = "import pandas"
CASES = {
    "import batchkit": "import batchkit",
    "... and read_csv": "import batchkit; batchkit.read_csv",
    "... and Workspace": "import batchkit; batchkit.read_csv, batchkit.Workspace",
}


def seconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds(BASE)
    print(f"whole processes, {runs} pairs, ratio to `{BASE}`: median (least - most)")
    for name, code in CASES.items():
        seconds(code)
        ratios = [seconds(code) / seconds(BASE) for _ in range(runs)]
        print(f"{name:20}{statistics.median(ratios):6.2f}  ({min(ratios):.2f} - {max(ratios):.2f})")


if __name__ == "__main__":
    main()
