"""The rules of the specification's "Map Columns", and mappings as values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.mapping import (
    Field,
    Input,
    Mapping,
    MappingProblem,
    Metadata,
    Origin,
    ProfileName,
    Skip,
    header_fingerprint,
)
from batchkit.errors import MappingError

AGENT = Agent(
    name="Permit filer",
    inputs=[
        InputVariable("client", schema={"type": "string"}, required=True),
        InputVariable("amount", schema={"type": "number"}),
        InputVariable("country", required=True, default="DE"),
    ],
)
COLUMNS = ("Client", "Amount", "Region", "Notes")


def codes(problems: list[MappingProblem]) -> list[str]:
    return [problem.code for problem in problems]


def test_a_new_mapping_skips_every_column() -> None:
    mapping = Mapping(COLUMNS)
    assert mapping.fields == dict.fromkeys(COLUMNS, Skip())
    assert mapping.mapped == {}


def test_set_returns_a_changed_copy_and_marks_it_as_manual() -> None:
    before = Mapping(COLUMNS)
    after = before.set("Region", Metadata("region"))
    assert before.fields["Region"] == Skip()
    assert after.fields == {"Client": Skip(), "Amount": Skip(), "Region": Metadata("region"), "Notes": Skip()}
    assert after.origin("Region") is Origin.MANUAL
    assert after.origin("Client") is Origin.AUTO


def test_set_keeps_the_order_of_the_columns() -> None:
    mapping = Mapping(COLUMNS).set("Notes", Skip()).set("Client", Input("client"))
    assert tuple(mapping.fields) == COLUMNS


def test_an_unknown_column_is_refused_with_the_columns_and_a_near_match() -> None:
    with pytest.raises(MappingError, match=r"no column 'Clent'\. Did you mean 'Client'\?.*'Client', 'Amount'"):
        Mapping(COLUMNS).set("Clent", Skip())


@pytest.mark.parametrize("wrong", ["client", None, Metadata, Input])
def test_what_is_not_a_field_is_refused(wrong: object) -> None:
    with pytest.raises(MappingError, match=r"is not a field for column 'Client': use bk\.Input\(name\)"):
        Mapping(COLUMNS).set("Client", wrong)  # type: ignore[arg-type]


def test_columns_must_be_unique() -> None:
    with pytest.raises(MappingError, match="'Client'"):
        Mapping(("Client", "Client"))


def test_as_many_fields_as_columns_are_needed() -> None:
    with pytest.raises(MappingError, match="4 columns"):
        Mapping(COLUMNS, assigned=(Skip(),))


def test_a_complete_mapping_has_no_problems() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Region", Metadata("region"))
    assert mapping.problems(AGENT) == []


def test_every_required_variable_must_be_mapped_unless_it_has_a_default() -> None:
    (problem,) = Mapping(COLUMNS).set("Amount", Input("amount")).problems(AGENT)
    assert (problem.code, problem.column, problem.field) == ("required_unmapped", None, Input("client"))
    assert "'client'" in problem.message


@pytest.mark.parametrize("field", [Input("client"), ProfileName(), Metadata("region")])
def test_no_field_may_be_mapped_twice(field: Field) -> None:
    mapping = Mapping(COLUMNS).set("Notes", Input("client")).set("Client", field).set("Region", field)
    mapping = mapping if field == Input("client") else mapping.set("Notes", Input("client"))
    found = [problem for problem in mapping.problems(AGENT) if problem.column == "Region"]
    assert codes(found) == ["duplicate_field"]
    assert found[0].field == field
    assert "'Client'" in found[0].message
    assert "'Region'" in found[0].message


def test_two_skipped_columns_are_no_duplicates() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Region", Skip()).set("Notes", Skip())
    assert mapping.problems(AGENT) == []


def test_metadata_keys_that_differ_in_case_are_two_fields() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client"))
    mapping = mapping.set("Region", Metadata("region")).set("Notes", Metadata("Region"))
    assert mapping.problems(AGENT) == []


def test_at_least_one_column_must_be_mapped() -> None:
    agent = Agent(name="No inputs")
    (problem,) = Mapping(COLUMNS).problems(agent)
    assert problem.code == "nothing_mapped"


@pytest.mark.parametrize("key", ["", "  ", "\t"])
def test_metadata_must_have_a_name(key: str) -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client"))
    problems = mapping.set("Region", Metadata(key)).set("Notes", Metadata(key)).problems(AGENT)
    assert codes(problems) == ["metadata_unnamed", "metadata_unnamed"]
    assert problems[0].column == "Region"
    assert "'Region'" in problems[0].message


def test_whitespace_around_a_metadata_key_does_not_make_another_key() -> None:
    assert Metadata(" region ") == Metadata("region")


def test_metadata_of_batchkits_own_is_refused() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Region", Metadata("batchkit_batch"))
    (problem,) = mapping.problems(AGENT)
    assert problem.code == "metadata_reserved"
    assert "batchkit_" in problem.message


def test_an_input_the_agent_does_not_have_is_named_with_a_near_match() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Amount", Input("amuont"))
    (problem,) = mapping.problems(AGENT)
    assert problem.code == "unknown_input"
    assert problem.column == "Amount"
    assert "Did you mean 'amount'?" in problem.message


def test_without_a_near_match_the_agents_inputs_are_listed() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Amount", Input("zzz"))
    (problem,) = mapping.problems(AGENT)
    assert "Its inputs are: client, amount, country." in problem.message


def test_every_problem_is_reported_at_once() -> None:
    mapping = Mapping(COLUMNS).set("Amount", Input("nope")).set("Region", Metadata(""))
    assert codes(mapping.problems(AGENT)) == ["unknown_input", "metadata_unnamed", "required_unmapped"]


def test_the_fingerprint_knows_the_same_names_in_any_order() -> None:
    assert header_fingerprint(["a", "b"]) == header_fingerprint(("b", "a"))
    assert len(header_fingerprint(["a", "b"])) == 64


@pytest.mark.parametrize("other", [["a"], ["a", "b", "c"], ["a", "B"], ["a", "b "], ["ab"], ['a", "b']])
def test_the_fingerprint_tells_other_headers_apart(other: list[str]) -> None:
    assert header_fingerprint(["a", "b"]) != header_fingerprint(other)


def test_a_saved_mapping_is_restored_onto_the_same_columns_in_another_order() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Region", ProfileName())
    saved = json.loads(json.dumps(mapping.to_dict()))
    restored = Mapping.from_dict(saved).restored(("Notes", "Region", "Amount", "Client"))
    assert tuple(restored.fields) == ("Notes", "Region", "Amount", "Client")
    assert restored.fields == mapping.fields
    assert restored.origin("Client") is Origin.RESTORED


def test_a_mapping_for_other_columns_is_not_restored() -> None:
    with pytest.raises(MappingError, match="the table lacks 'Notes' and the mapping lacks 'Remarks'"):
        Mapping(COLUMNS).restored(("Client", "Amount", "Region", "Remarks"))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"columns": 3},
        {"columns": ["Client"]},
        {"columns": [{"column": "Client"}]},
        {"columns": [{"column": "Client", "field": "input"}]},
        {"columns": [{"column": "Client", "field": "nonsense"}]},
    ],
)
def test_what_is_not_a_saved_mapping_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(MappingError, match="not a saved mapping"):
        Mapping.from_dict(data)


def test_the_representation_says_what_is_mapped() -> None:
    mapping = Mapping(COLUMNS).set("Client", Input("client")).set("Region", Metadata("region"))
    assert repr(mapping) == "<Mapping: Client → client, Region → metadata.region; 2 skipped>"


FIELDS = st.one_of(st.builds(Input, st.text()), st.builds(Metadata, st.text()), st.just(ProfileName()), st.just(Skip()))


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), FIELDS))
def test_saving_and_loading_changes_no_field(fields: dict[str, Field]) -> None:
    mapping = Mapping(tuple(fields), assigned=tuple(fields.values()))
    assert Mapping.from_dict(json.loads(json.dumps(mapping.to_dict()))).fields == fields


@settings(deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=8))
def test_a_mapping_without_problems_obeys_the_specification(fields: list[Field]) -> None:
    mapping = Mapping(tuple(f"c{at}" for at in range(len(fields))), assigned=tuple(fields))
    mapped = [field for field in fields if field != Skip()]
    obeys = (
        Input("client") in mapped
        and len(set(mapped)) == len(mapped)
        and all(field.name in ("client", "amount", "country") for field in mapped if isinstance(field, Input))
        and all(field.key and not field.key.startswith("batchkit_") for field in mapped if isinstance(field, Metadata))
    )
    assert (mapping.problems(AGENT) == []) == obeys
