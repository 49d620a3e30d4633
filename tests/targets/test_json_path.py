"""JsonPath: where one value stands in a JSON document."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.errors import ConfigError
from batchkit.targets.json_path import Absent, JsonPath

DOCUMENT = {"data": {"jobs": [{"id": "j-1"}, {"id": "j-2"}], "task-id": 7, 'quo"te': 1, "it's": 2, "none": None}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.data.jobs[0].id", "j-1"),
        ("$.data.jobs[-1].id", "j-2"),
        ("$['data']['task-id']", 7),
        ('$["data"]["task-id"]', 7),
        ("$.data['quo\"te']", 1),
        ('$.data["quo\\"te"]', 1),
        ("$.data['it\\'s']", 2),
        ("$.data[ 'none' ]", None),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: Any) -> None:
    assert JsonPath.parse(path, "result").value(DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "message", "empty"),
    [
        ("$.data.job", "where 'job' should be is jobs, task-id", False),
        ("$.data.jobs.id", "'id' would need an object", False),
        ("$.data[0]", "0 would need a list", False),
        ("$.data.jobs[2].id", "the list has 2 elements", False),
        ("$.data.none.id", "Before 'id' of .* there is null", True),
    ],
)
def test_what_is_not_there_is_told_with_what_is(path: str, message: str, empty: bool) -> None:
    found = JsonPath.parse(path, "result").value(DOCUMENT)
    assert isinstance(found, Absent)
    assert found.empty is empty
    with pytest.raises(ValueError, match=message):
        raise ValueError(found.message)


def test_an_empty_list_says_that_there_is_none() -> None:
    found = JsonPath.parse("$.jobs[0].id", "id").value({"jobs": []})
    assert isinstance(found, Absent)
    assert found.empty


@pytest.mark.parametrize(
    "path",
    [
        "",
        "data.id",
        "$.",
        "$..id",
        "$.jobs[*]",
        "$.jobs[?@.a]",
        "$.jobs[0",
        "$.jobs[01]",
        "$.task-id",
        "$.a b",
        "$['a]",
    ],
)
def test_what_is_no_path_to_one_value_is_refused_by_name(path: str) -> None:
    with pytest.raises(ConfigError, match=r"^result=.*Write one like \$\.data\.id"):
        JsonPath.parse(path, "result")
