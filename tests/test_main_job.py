"""The main job, whole: a CSV, mapped, validated, staggered, triggered over HTTP, and joined back to its rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import vega_datasets

import batchkit as bk

SURVEYOR = bk.Agent(
    name="Site surveyor",
    inputs=[
        bk.InputVariable("name", schema={"type": "string", "minLength": 1}, required=True),
        bk.InputVariable("latitude", schema={"type": "number", "minimum": -90, "maximum": 90}, required=True),
        bk.InputVariable("longitude", schema={"type": "number", "minimum": -180, "maximum": 180}, required=True),
        bk.InputVariable("city", schema={"type": "string"}),
    ],
)


@pytest.fixture
def airports(tmp_path: Path) -> Path:
    path = tmp_path / "airports.csv"
    path.write_bytes(Path(vega_datasets.data.airports.filepath).read_bytes())
    return path


def test_every_airport_is_surveyed_once_and_the_results_stand_beside_their_rows(airports: Path, tmp_path: Path) -> None:
    source = pd.read_csv(airports, dtype=str, keep_default_na=False)
    assert len(source) == 3376
    countries = sorted(set(source["country"]))
    with (
        bk.DemoPlatform(agents=[SURVEYOR], profiles=countries, duration=0.05, failure_share=0.1) as demo,
        bk.Workspace(bk.AsteroidTarget(url=demo.url, api_key=demo.api_key), store=tmp_path / "runs.sqlite") as ws,
    ):
        agent = ws.agent("Site surveyor")
        table = bk.read_csv(airports)
        mapping = ws.suggest_mapping(table, agent)
        assert {column: str(field) for column, field in mapping.fields.items() if field != bk.Skip()} == {
            "name": str(bk.Input("name")),
            "city": str(bk.Input("city")),
            "latitude": str(bk.Input("latitude")),
            "longitude": str(bk.Input("longitude")),
        }
        mapping = mapping.set("iata", bk.Metadata("iata")).set("country", bk.ProfileName())
        mapping = mapping.set("state", bk.Metadata("state"))
        checked = ws.validate(table, mapping, agent)
        assert checked.ok, checked.issues
        batch = ws.create_batch(checked, bk.BatchConfig(name="All airports", max_concurrent=64, batch_interval=0))
        batch.join()
        assert batch.status == "completed"
        assert batch.progress.triggered == batch.progress.total == 3376
        assert batch.progress.percent == 100

        by_server = Counter(execution["metadata"]["batchkit_item"] for execution in demo.executions())
        assert by_server == Counter(str(item) for item in range(3376))
        by_item = {int(execution["metadata"]["batchkit_item"]): execution for execution in demo.executions()}
        first = by_item[0]
        assert first["inputs"]["latitude"] == float(source["latitude"][0])
        assert first["metadata"]["iata"] == source["iata"][0]
        assert first["agentProfileName"] == source["country"][0]

        batch.join("finished")
        results = batch.results()
        assert results[list(source.columns)].astype(str).equals(source.astype(str))
        assert (results["execution_id"] == [by_item[item]["id"] for item in range(3376)]).all()
        assert set(results["execution_status"]) == {"completed", "failed"}
        assert results["row"].tolist() == list(range(2, 3378))


def test_one_row_goes_through_every_layer(tmp_path: Path) -> None:
    with (
        bk.DemoPlatform(agents=[SURVEYOR], duration=0.01, failure_share=0) as demo,
        bk.Workspace(bk.AsteroidTarget(url=demo.url, api_key=demo.api_key), store=tmp_path / "runs.sqlite") as ws,
    ):
        agent = ws.agent()
        table = bk.read_csv(b"Name,Latitude,Longitude\nAltenburg,50.98,12.51\n")
        checked = ws.validate(table, ws.suggest_mapping(table, agent), agent)
        batch = ws.create_batch(checked, bk.BatchConfig(name="One"))
        batch.join("finished")
        [row] = batch.results().to_dict("records")
        assert (row["Name"], row["status"], row["execution_status"], row["outcome"]) == (
            "Altenburg",
            "triggered",
            "completed",
            "success",
        )
        assert demo.executions()[0]["inputs"] == {"name": "Altenburg", "latitude": 50.98, "longitude": 12.51}
