"""What a program does with a file that somebody gave it, in a process of its own, whose memory is measured and limited.

python -m file_user: reads one JSON object a line, {"path", "steps", "multiple"}, and answers each with one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pyarrow

import batchkit as bk
from batchkit.testing import ScriptedTarget

__all__ = ["STEPS"]

#: in this order, each on what the one before it gave
STEPS = ("read", "suggest", "validate", "issues", "create", "run", "results", "export")
MEGABYTE = 1 << 20
#: address space for threads, the allocators' arenas and the store's cache, beside what a file takes
SLACK = 512 * MEGABYTE


class FileUser:
    """Takes the steps from a file to the results of its batch."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self.ws = bk.Workspace(ScriptedTarget(), store=folder / "runs.sqlite")

    def read(self) -> None:
        self.table = bk.read_csv(self.path)
        self.problems = [problem.message for problem in self.table.problems]

    def suggest(self) -> None:
        self.agent = self.ws.agent()
        self.mapping = self.ws.suggest_mapping(self.table, self.agent)
        for column in self.table.columns[:1]:
            self.mapping = self.mapping.set(column, bk.Input("value"))

    def validate(self) -> None:
        self.checked = self.ws.validate(self.table, self.mapping, self.agent, invalid="drop")

    def issues(self) -> None:
        self.checked.preview(10)
        assert len(self.checked.issues) >= 0

    def create(self) -> None:
        config = bk.BatchConfig(name="b", max_concurrent=100, batch_interval=0)
        self.batch = self.ws.create_batch(self.checked, config)

    def run(self) -> None:
        self.batch.join("finished")

    def results(self) -> None:
        self.frame = self.batch.results(dropped=True)

    def export(self) -> None:
        bk.write_csv(self.frame, self.folder / "results.csv")


def memory(what: str) -> int:
    """Bytes, as the kernel counts them: VmSize, VmRSS or VmHWM (the peak of VmRSS)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def use(path: Path, steps: list[str], multiple: float) -> dict[str, object]:
    """How far it went with a file, in which time, and in how much memory beyond what there was before."""
    # What files before it took is given back, and the peak forgotten.
    gc.collect()
    pyarrow.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before, began = memory("VmRSS"), time.monotonic()
    size = path.stat().st_size
    limit = memory("VmSize") + int(multiple * size) + SLACK
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    reached, refusal, crash = "", "", ""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            user = FileUser(path, Path(folder))
            with user.ws:
                for step in steps:
                    getattr(user, step)()
                    reached = step
    except bk.BatchkitError as error:
        refusal = str(error)
    except BaseException:
        crash = traceback.format_exc(limit=-3)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {
        "reached": reached,
        "refusal": refusal,
        "crash": crash,
        "seconds": round(time.monotonic() - began, 1),
        "multiple": round((memory("VmHWM") - before) / size, 1),
    }


if __name__ == "__main__":
    # what is imported late belongs to no file
    import batchkit.core.validation

    bk.write_csv(bk.read_csv(b"a\n1\n").frame, Path(tempfile.gettempdir()) / "warm-up.csv")
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(use(Path(case["path"]), case["steps"], case["multiple"])), flush=True)
