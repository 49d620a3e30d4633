"""A script that ends without `close` says what becomes of its batch, and says nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import batchkit as bk

SCRIPT = """
import time
import batchkit as bk
ws = bk.Workspace(store={store!r})
agent = ws.agent("Address checker")
table = bk.read_csv({rows!r})
checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
batch = ws.create_batch(checked, bk.BatchConfig(name="Left alone", max_concurrent=2, batch_interval={interval}))
while batch.progress.triggered < 2:
    time.sleep(0.01)
"""


@pytest.mark.parametrize("interval", [0, 60])
def test_a_script_that_ends_without_close_tells_of_its_batch_and_of_nothing_else(tmp_path: Path, interval: int) -> None:
    (tmp_path / "rows.csv").write_text("street,city,postcode\n" + "Am Markt 7,Jena,07743\n" * 3000)
    script = SCRIPT.format(store=str(tmp_path / "runs.sqlite"), rows=str(tmp_path / "rows.csv"), interval=interval)
    with bk.DemoPlatform() as demo:
        environment = {**os.environ, "BATCHKIT_URL": demo.url, "BATCHKIT_API_KEY": demo.api_key}
        command = [sys.executable, "-X", "dev", "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "ResourceWarning: unclosed database" not in line]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("batchkit: the process ends, and so does batch 'Left alone'")
