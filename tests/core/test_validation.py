"""Validating a table: which rows may be sent, what is said of the others, and what is handed on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.cells import READERS, Kind
from batchkit.core.mapping import Input, Mapping, Metadata, ProfileName, Skip
from batchkit.core.profile import AgentProfile, ProfilePool, ProfileRef
from batchkit.core.request import NewItem
from batchkit.core.rules import Code
from batchkit.core.suggestion import suggest_mapping
from batchkit.core.table import ERRORS_COLUMN, Dialect, Problem, Severity, Table
from batchkit.core.validation import Counts, Validation, validate
from batchkit.errors import ConfigError, MappingError, TableError

CSV = Dialect(encoding="utf-8", delimiter=",")
AGENT = Agent(
    name="Permit filer",
    inputs=[
        InputVariable("client", schema={"type": "string"}, required=True),
        InputVariable("amount", schema={"type": "number", "minimum": 0}),
    ],
)
CLERKS = [AgentProfile(name="Clerk A", id="p1"), AgentProfile(name="Clerk B", id="p2")]
POOL = ProfilePool(name="Clerks", id="g1")


def table(columns: dict[str, list[str]], **more: Any) -> Table:
    data = pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()})
    return Table(**{"data": data, "dialect": CSV, "source": "permits.csv", **more})


def checked(
    client: list[str], amount: list[str], *, invalid: Literal["block", "drop"] = "block", **more: Any
) -> Validation:
    source = table({"Client": client, "Amount": amount}, **more)
    mapping = Mapping(source.columns).set("Client", Input("client")).set("Amount", Input("amount"))
    return validate(source, mapping, AGENT, invalid=invalid)


def items(validation: Validation, chunk: int = 10_000) -> list[NewItem]:
    return [item for some in validation.items(chunk) for item in some]


def test_a_table_without_faults_is_ok_and_hands_on_every_row() -> None:
    validation = checked(["Anna", "Bob"], ["12.50", ""])
    assert validation.ok
    assert validation.counts == Counts(total=2, valid=2, invalid=0, warnings=0, dropped=0)
    assert validation.issues.empty
    assert [item.inputs for item in items(validation)] == [{"client": "Anna", "amount": 12.5}, {"client": "Bob"}]


def test_one_invalid_row_blocks_the_batch() -> None:
    validation = checked(["Anna", "", "Eve"], ["1", "2", "x"])
    assert not validation.ok
    assert validation.counts == Counts(total=3, valid=1, invalid=2, warnings=0, dropped=0)
    assert validation.valid_mask.tolist() == [True, False, False]
    assert list(validation.left_out()) == []


def test_invalid_rows_can_be_dropped_as_long_as_one_is_left() -> None:
    validation = checked(["Anna", "", "Eve"], ["1", "2", "x"], invalid="drop")
    assert validation.ok
    assert validation.counts == Counts(total=3, valid=1, invalid=2, warnings=0, dropped=2)
    assert [item.row for item in items(validation)] == [2]
    assert not checked([""], ["x"], invalid="drop").ok


def test_a_table_without_rows_is_not_ok() -> None:
    for invalid in ("block", "drop"):
        validation = checked([], [], invalid=invalid)
        assert not validation.ok
        assert validation.counts.total == 0
        assert items(validation) == []
        assert validation.preview().empty
        assert validation.issues.empty


def test_the_counts_are_also_there_in_words() -> None:
    validation = checked(["Anna", "", "Anna"], ["1", "2", "1"], invalid="drop")
    assert validation.summary == "3 rows, 2 valid, 1 of them with warnings, 1 invalid, 1 dropped"
    assert repr(validation) == f"<Validation of 'permits.csv': {validation.summary}>"


@pytest.mark.parametrize("invalid", ["", "skip", None])
def test_the_policy_is_one_of_two_words(invalid: Any) -> None:
    with pytest.raises(ConfigError, match='"block" or "drop"'):
        checked(["Anna"], ["1"], invalid=invalid)


def test_the_issues_say_where_what_and_what_to_do() -> None:
    issues = checked(["Anna", " "], ["12,5", "-3"]).issues
    assert list(issues.columns) == ["row", "line", "column", "field", "code", "severity", "value", "message"]
    assert issues.to_numpy().tolist() == [
        [
            2, 2, "Amount", "amount", "type", "error", "12,5",
            "Row 2, column 'Amount': '12,5' has a comma; write a decimal point and no separator between thousands, "
            "like 1234.5.",
        ],
        [
            3, 3, "Client", "client", "required", "error", " ",
            "Row 3, column 'Client': the cell holds only spaces, but input 'client' is required; fill it in.",
        ],
        [
            3, 3, "Amount", "amount", "minimum", "error", "-3",
            "Row 3, column 'Amount': '-3' is too small; it must be at least 0.",
        ],
    ]  # fmt: skip


def test_rows_and_lines_are_those_of_the_file() -> None:
    more = {"row_numbers": np.array([2, 5, 9]), "line_numbers": np.array([2, 6, 20])}
    validation = checked(["Anna", "", "Eve"], ["1", "2", "x"], invalid="drop", **more)
    assert validation.issues[["row", "line"]].to_numpy().tolist() == [[5, 6], [9, 20]]
    assert [(row.row, row.line) for row in validation.left_out()] == [(5, 6), (9, 20)]
    assert [(item.row, item.line) for item in items(validation)] == [(2, 2)]
    assert validation.preview(start=1)["row"].tolist() == [5, 9]
    assert validation.issues_for(1)[0].message.startswith("Row 5, ")


def test_a_dataframe_has_rows_but_no_lines() -> None:
    validation = checked(["", "Bob"], ["1", "2"], dialect=None, invalid="drop")
    assert validation.issues["line"].isna().all()
    assert items(validation)[0].line is None
    assert next(validation.left_out()).line is None


def test_the_issues_of_one_row_are_values() -> None:
    validation = checked(["Anna", ""], ["1", "x"])
    assert validation.issues_for(0) == []
    first, second = validation.issues_for(1)
    assert (first.row, first.column, first.field, first.code, first.value) == (3, "Client", "client", Code.REQUIRED, "")
    assert (second.column, second.severity) == ("Amount", Severity.ERROR)


def test_a_row_that_repeats_an_earlier_one_is_warned_of_and_sent() -> None:
    validation = checked(["Anna", "Bob", "Anna", "Anna"], ["1", "1", "1", "1"])
    assert validation.ok
    assert validation.counts.warnings == 2
    assert validation.issues["code"].tolist() == ["duplicate_row", "duplicate_row"]
    assert validation.issues["severity"].tolist() == ["warning", "warning"]
    assert validation.issues["message"].tolist() == [
        "Row 4 repeats row 2 in every mapped column, so the agent would run on the same values again.",
        "Row 5 repeats row 2 in every mapped column, so the agent would run on the same values again.",
    ]
    assert len(items(validation)) == 4


def test_rows_that_differ_only_in_a_skipped_column_repeat_each_other() -> None:
    source = table({"Client": ["Anna", "Anna"], "Notes": ["x", "y"]})
    mapping = Mapping(source.columns).set("Client", Input("client"))
    assert validate(source, mapping, AGENT).counts.warnings == 1
    assert validate(source, mapping.set("Notes", Metadata("notes")), AGENT).counts.warnings == 0


def test_a_warning_on_an_invalid_row_is_not_counted_as_a_valid_row_with_a_warning() -> None:
    validation = checked(["Anna", "Anna"], ["x", "x"])
    assert validation.counts == Counts(total=2, valid=0, invalid=2, warnings=0, dropped=0)
    assert validation.preview()["status"].tolist() == ["invalid", "invalid"]


def with_clerks(*names: str, **more: Any) -> Validation:
    source = table({"Client": [f"c{at}" for at in range(len(names))], "Clerk": list(names)})
    mapping = Mapping(source.columns).set("Client", Input("client")).set("Clerk", ProfileName())
    return validate(source, mapping, AGENT, **{"profiles": CLERKS, "pools": [POOL], **more})


def test_profile_names_compare_exactly_after_trimming() -> None:
    validation = with_clerks("Clerk A", " Clerk B ", "", "  ", "Clerks", "clerk a", "Clerk C", invalid="drop")
    assert [item.profile for item in items(validation)] == [
        ProfileRef(id="p1", name="Clerk A"),
        ProfileRef(id="p2", name="Clerk B"),
        None,
        None,
        ProfileRef(id="g1", name="Clerks", is_pool=True),
    ]
    assert validation.issues["code"].tolist() == ["unknown_profile", "unknown_profile"]
    assert validation.issues["field"].tolist() == ["profile", "profile"]
    assert validation.issues["message"].tolist() == [
        "Row 7, column 'Clerk': 'clerk a' is no agent profile or pool; use the exact name of one, or leave the cell "
        "empty. There are: 'Clerk A', 'Clerk B', 'Clerks'. Did you mean 'Clerk A'?",
        "Row 8, column 'Clerk': 'Clerk C' is no agent profile or pool; use the exact name of one, or leave the cell "
        "empty. There are: 'Clerk A', 'Clerk B', 'Clerks'.",
    ]


def test_a_name_that_means_several_profiles_is_an_error() -> None:
    twice = [*CLERKS, AgentProfile(name="Clerk A", id="p3"), AgentProfile(name="Clerks", id="p4")]
    validation = with_clerks("Clerk A", "Clerks", "Clerk B", profiles=twice)
    assert validation.issues["code"].tolist() == ["ambiguous_profile", "ambiguous_profile"]
    assert "give them different names" in validation.issues["message"][0]


def test_with_no_profiles_on_the_target_every_name_is_unknown() -> None:
    validation = with_clerks("Clerk A", "", profiles=(), pools=None)
    assert validation.valid_mask.tolist() == [False, True]


def test_a_target_without_profiles_takes_no_profile_column() -> None:
    with pytest.raises(MappingError, match="'Clerk' is mapped to the agent profile, but the target has none"):
        with_clerks("", profiles=None, pools=None)


def test_how_many_rows_need_the_default_profile_is_known() -> None:
    assert with_clerks("Clerk A", "", " ", "Nobody").default_needed == 2
    assert with_clerks("Clerk A").default_needed == 0
    assert checked(["Anna", "", "Bob"], ["1", "1", "2"]).default_needed == 2


def test_metadata_is_sent_as_text_and_empty_cells_are_not() -> None:
    source = table({"Client": ["Anna", "Bob"], "Region": ["007", " "]})
    mapping = Mapping(source.columns).set("Client", Input("client")).set("Region", Metadata("region"))
    assert [item.metadata for item in items(validate(source, mapping, AGENT))] == [{"region": "007"}, {}]


def test_an_item_keeps_the_cells_of_skipped_columns() -> None:
    source = table({"Notes": ["x"], "Client": ["Anna"]})
    (item,) = items(validate(source, Mapping(source.columns).set("Client", Input("client")), AGENT))
    assert item.cells == ("x", "Anna")
    assert item.inputs == {"client": "Anna"}


def test_the_items_come_in_order_in_chunks() -> None:
    validation = checked([str(n) if n % 3 else "" for n in range(100)], ["1"] * 100, invalid="drop")
    chunks = list(validation.items(chunk=7))
    assert [len(chunk) for chunk in chunks] == [7] * 9 + [3]
    assert [item.row for chunk in chunks for item in chunk] == [n + 2 for n in range(100) if n % 3]


def test_the_rows_left_out_carry_their_cells_and_errors() -> None:
    (row,) = checked(["Anna", ""], ["1", "x"], invalid="drop").left_out()
    assert (row.row, row.line, row.cells) == (3, 3, ("", "x"))
    assert row.errors.splitlines() == [
        "Row 3, column 'Client': the cell is empty, but input 'client' is required; fill it in.",
        "Row 3, column 'Amount': 'x' is not a number; use digits and a decimal point, like 12.5.",
    ]


def test_the_preview_shows_typed_values_status_and_errors() -> None:
    source = table(
        {
            "Client": ["Anna", "", "Anna"],
            "Amount": ["12.50", "x", "12.50"],
            "Region": ["", "north", ""],
            "Clerk": [" Clerk A", "", " Clerk A"],
            "Notes": ["n", "n", "n"],
        }
    )
    mapping = Mapping(source.columns).set("Client", Input("client")).set("Amount", Input("amount"))
    mapping = mapping.set("Region", Metadata("region")).set("Clerk", ProfileName()).set("Notes", Skip())
    preview = validate(source, mapping, AGENT, profiles=CLERKS).preview()
    assert list(preview.columns) == ["row", "status", "client", "amount", "metadata.region", "profile", "errors"]
    assert preview.iloc[0, :-1].tolist() == [2, "valid", "Anna", 12.5, None, "Clerk A"]
    assert preview.iloc[1, :-1].tolist() == [3, "invalid", "", "x", "north", None]
    assert preview["status"].tolist() == ["valid", "invalid", "warning"]
    assert preview["errors"][0] == ""
    assert len(preview["errors"][1].splitlines()) == 2
    assert preview["errors"][2].startswith("Row 4 repeats row 2")


def test_the_preview_pages_through_the_rows_of_one_status() -> None:
    validation = checked([str(n) if n % 2 else "" for n in range(50)], ["1"] * 50)
    assert validation.preview()["row"].tolist() == list(range(2, 12))
    assert validation.preview(3, start=48)["row"].tolist() == [50, 51]
    assert validation.preview(3, start=5, only="invalid")["row"].tolist() == [12, 14, 16]
    assert validation.preview(2, only="valid")["row"].tolist() == [3, 5]
    assert validation.preview(2, only="warning")["row"].tolist() == []
    assert list(validation.preview(2, only="warning").columns) == ["row", "status", "client", "amount", "errors"]


def test_inputs_called_like_the_previews_own_columns_are_told_apart() -> None:
    agent = Agent(name="A", inputs=[InputVariable("status"), InputVariable("profile")])
    source = table({"status": ["a"], "profile": ["b"]})
    mapping = Mapping(source.columns).set("status", Input("status")).set("profile", Input("profile"))
    preview = validate(source, mapping, agent).preview()
    assert list(preview.columns) == ["row", "status", "input.status", "input.profile", "errors"]


def test_invalid_rows_are_given_back_with_their_errors() -> None:
    index = pd.Index(["x", "y", "z"])
    validation = checked(["Anna", "", "Eve"], ["1", "2", "q"], index=index, dialect=None)
    frame = validation.invalid_rows()
    assert list(frame.columns) == ["Client", "Amount", ERRORS_COLUMN]
    assert frame.index.tolist() == ["y", "z"]
    assert frame[["Client", "Amount"]].to_numpy().tolist() == [["", "2"], ["Eve", "q"]]
    assert "'q' is not a number" in frame[ERRORS_COLUMN]["z"]
    assert ERRORS_COLUMN not in validation.table.frame


def test_without_invalid_rows_the_frame_of_them_is_empty() -> None:
    frame = checked(["Anna"], ["1"]).invalid_rows()
    assert frame.empty
    assert ERRORS_COLUMN in frame


def test_a_table_with_errors_is_refused_with_their_messages() -> None:
    problems = [
        Problem(kind="row_too_short", severity=Severity.ERROR, message=f"Row {n} is too short.") for n in range(12)
    ]
    with pytest.raises(TableError, match=r"Row 9 is too short\.\n… and 2 more; see `table\.problems`\."):
        checked(["Anna"], ["1"], problems=tuple(problems))
    warning = Problem(kind="blank_line", severity=Severity.WARNING, message="A blank line.")
    assert checked(["Anna"], ["1"], problems=(warning,)).ok


def test_a_mapping_with_problems_is_refused_with_all_of_them() -> None:
    source = table({"Client": ["Anna"], "Amount": ["1"]})
    mapping = Mapping(source.columns).set("Amount", Input("nope")).set("Client", Metadata(""))
    with pytest.raises(MappingError) as caught:
        validate(source, mapping, AGENT)
    assert str(caught.value).splitlines()[0] == "The mapping cannot be used."
    assert len(str(caught.value).splitlines()) == 4


def test_a_mapping_for_the_same_columns_in_another_order_is_used() -> None:
    source = table({"Client": ["Anna"], "Amount": ["1"]})
    mapping = Mapping(("Amount", "Client")).set("Client", Input("client")).set("Amount", Input("amount"))
    assert [item.inputs for item in items(validate(source, mapping, AGENT))] == [{"client": "Anna", "amount": 1}]


def test_a_mapping_for_other_columns_is_refused() -> None:
    with pytest.raises(MappingError, match="the table lacks 'Other'"):
        validate(table({"Client": ["Anna"]}), Mapping(("Other",)), AGENT)


def test_the_mask_cannot_be_changed() -> None:
    mask = checked(["Anna"], ["1"]).valid_mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False


def test_a_table_in_many_chunks_is_checked_as_one() -> None:
    cells = [str(n) if n % 997 else "x" for n in range(10_000)]
    data = pa.table(
        {"Amount": pa.chunked_array([cells[at : at + 70] for at in range(0, 10_000, 70)], pa.large_string())}
    )
    agent = Agent(name="A", inputs=[InputVariable("amount", schema={"type": "integer"})])
    mapping = Mapping(("Amount",)).set("Amount", Input("amount"))
    validation = validate(Table(data=data, dialect=CSV), mapping, agent, invalid="drop")
    issues = validation.issues
    assert issues[issues["code"] == "type"]["row"].tolist() == [n + 2 for n in range(0, 10_000, 997)]
    assert [item.inputs["amount"] for item in items(validation, 333)] == [n for n in range(10_000) if n % 997]


CLIENTS = st.sampled_from(["", " ", "Anna", "Bob"])
AMOUNTS = st.sampled_from(["", "1", "1.0", "-1", "x", "007", "12,5", "1" * 25, "0.1234567890123456789"])


@settings(deadline=None)
@given(st.lists(st.tuples(CLIENTS, AMOUNTS), max_size=25), st.sampled_from(["block", "drop"]), st.integers(1, 9))
def test_exactly_the_valid_rows_are_handed_on_in_order_with_typed_values(
    rows: list[tuple[str, str]], invalid: Literal["block", "drop"], chunk: int
) -> None:
    validation = checked([client for client, _ in rows], [amount for _, amount in rows], invalid=invalid)
    valid = [at for at, row in enumerate(rows) if is_valid(*row)]
    assert [(item.row - 2, item.inputs) for item in items(validation, chunk)] == [
        (at, inputs(*rows[at])) for at in valid
    ]
    assert [type(value) for item in items(validation) for value in item.inputs.values()] == [
        type(value) for at in valid for value in inputs(*rows[at]).values()
    ]
    counts = validation.counts
    assert (counts.total, counts.valid, counts.invalid) == (len(rows), len(valid), len(rows) - len(valid))
    assert counts.dropped == len(list(validation.left_out())) == (counts.invalid if invalid == "drop" else 0)
    assert len(validation.invalid_rows()) == counts.invalid
    issues = validation.issues
    assert set(issues[issues["severity"] == "error"]["row"] - 2) == set(range(len(rows))) - set(valid)
    assert len(issues) == sum(len(validation.issues_for(at)) for at in range(len(rows)))
    assert issues.equals(issues.sort_values("row", kind="stable"))


def is_valid(client: str, amount: str) -> bool:
    return bool(client.strip()) and amount not in ("-1", "x", "12,5")


def inputs(client: str, amount: str) -> dict[str, object]:
    return {"client": client} | ({"amount": READERS[Kind.NUMBER](amount)} if amount.strip() else {})


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from(["", "a", "b", " a"])] * 3), max_size=30),
    st.sets(st.sampled_from("abc"), min_size=1),
)
def test_a_row_is_a_repeat_where_pandas_says_so(rows: list[tuple[str, str, str]], mapped: set[str]) -> None:
    source = table({name: [row[at] for row in rows] for at, name in enumerate("abc")})
    mapping = Mapping(source.columns)
    for name in mapped:
        mapping = mapping.set(name, Metadata(name))
    issues = validate(source, mapping, Agent(name="A")).issues
    frame = source.frame[sorted(mapped)]
    again = frame.duplicated().to_numpy()
    first = {key: at for at, key in reversed(list(enumerate(frame.itertuples(index=False, name=None))))}
    expected = [
        f"Row {at + 2} repeats row {first[key] + 2} in every mapped column, "
        "so the agent would run on the same values again."
        for at, key in enumerate(frame.itertuples(index=False, name=None))
        if again[at]
    ]
    assert issues["message"].tolist() == expected


def test_a_caller_hears_what_share_is_done_and_can_end_it() -> None:
    agent = Agent(name="a", inputs=(InputVariable("a"), InputVariable("b")))
    rows = table({"a": ["1"] * 300_000, "b": ["2"] * 300_000})
    mapping = suggest_mapping(rows.columns, agent)
    shares: list[float] = []
    validate(rows, mapping, agent, on_progress=shares.append)
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.5 < shares[-1] < 1

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(rows, mapping, agent, on_progress=stop)


def test_the_policy_is_changed_without_checking_again() -> None:
    agent = Agent(name="a", inputs=(InputVariable("a", schema={"type": "integer"}, required=True),))
    rows = table({"a": ["1", "x"]})
    blocked = validate(rows, suggest_mapping(rows.columns, agent), agent)
    dropped = blocked.deciding("drop")
    assert (blocked.ok, dropped.ok) == (False, True)
    assert dropped.found is blocked.found
    assert (blocked.counts.dropped, dropped.counts.dropped) == (0, 1)


def test_the_first_rows_are_a_table_of_their_own() -> None:
    whole = table({"a": ["1", "2", "3"]}, row_numbers=np.array([2, 4, 5]), index=pd.Index(["x", "y", "z"]))
    first = whole.first(2)
    assert (len(first), first.row_number(1), list(first.index)) == (2, 4, ["x", "y"])
    assert len(whole.first(10)) == 3
