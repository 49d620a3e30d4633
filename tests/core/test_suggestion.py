"""Auto-mapping by name, and what is only offered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.mapping import Field, Input, Origin, ProfileName, Skip, Suggestion
from batchkit.core.names import did_you_mean, likeness, nearest, normalized
from batchkit.core.suggestion import suggest_mapping


def agent(*names: str) -> Agent:
    return Agent(name="Filer", inputs=[InputVariable(name) for name in names])


@pytest.mark.parametrize(
    "header", ["client_name", "Client_Name", "CLIENT NAME", "  client name ", "Client \t Name", "client\u00a0name"]
)
def test_a_header_matches_its_variable_whatever_its_case_and_whitespace(header: str) -> None:
    mapping = suggest_mapping([header], agent("client_name"))
    assert mapping.fields == {header: Input("client_name")}
    assert mapping.origin(header) is Origin.AUTO


@pytest.mark.parametrize("header", ["client-name", "clientname", "ClientName", "client__name", "client_names"])
def test_anything_else_is_not_mapped_but_offered(header: str) -> None:
    mapping = suggest_mapping([header], agent("client_name"))
    assert mapping.fields == {header: Skip()}
    assert [suggestion.field for suggestion in mapping.suggestions] == [Input("client_name")]


def test_of_two_headers_for_one_variable_the_first_wins_and_a_note_says_so() -> None:
    mapping = suggest_mapping(["Client", "client"], agent("client"))
    assert mapping.fields == {"Client": Input("client"), "client": Skip()}
    assert mapping.notes == ("Column 'client' is skipped: 'Client' is already mapped to input 'client'.",)


def test_variables_that_differ_in_case_go_to_the_header_that_is_exact() -> None:
    mapping = suggest_mapping(["client", "Client"], agent("Client", "client"))
    assert mapping.fields == {"client": Input("client"), "Client": Input("Client")}


@pytest.mark.parametrize(
    "header", ["Agent Profile", "agent_profile_name", "profile", "Profile Name", "AGENT-PROFILE", "agentProfileName"]
)
def test_a_header_that_means_the_profile_is_suggested_as_such(header: str) -> None:
    mapping = suggest_mapping([header], agent("client"))
    assert mapping.fields == {header: ProfileName()}
    assert mapping.origin(header) is Origin.SUGGESTED


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("profile", Input("profile")),
        ("Profile Name", Input("profile_name")),
        ("Profile-Name", Skip()),
        ("User Profile", Skip()),
        ("profile_url", Skip()),
    ],
)
def test_an_input_of_that_name_or_another_header_is_not_the_profile(header: str, field: Field) -> None:
    assert suggest_mapping([header], agent("profile", "profile_name")).fields == {header: field}


def test_only_the_first_profile_header_is_mapped() -> None:
    mapping = suggest_mapping(["Profile", "Agent Profile"], agent())
    assert mapping.fields == {"Profile": ProfileName(), "Agent Profile": Skip()}
    assert "already mapped to the agent profile" in mapping.notes[0]


def test_a_near_match_is_offered_with_score_and_reason_and_not_applied() -> None:
    mapping = suggest_mapping(["Clinet Name", "Unrelated"], agent("client_name"))
    assert set(mapping.fields.values()) == {Skip()}
    (offer,) = mapping.suggestions
    assert (offer.column, offer.field) == ("Clinet Name", Input("client_name"))
    assert 70 <= offer.score < 100
    assert offer.reason == "'Clinet Name' looks like the input variable 'client_name'."


def test_a_name_that_differs_in_punctuation_only_scores_100() -> None:
    (offer,) = suggest_mapping(["Client-Name"], agent("client_name")).suggestions
    assert offer.score == 100
    assert "is written like" in offer.reason


def test_each_column_and_each_variable_is_offered_once_best_first() -> None:
    mapping = suggest_mapping(["street address", "adress", "e-mail adress"], agent("address", "email_address"))
    columns = [offer.column for offer in mapping.suggestions]
    assert columns == sorted(set(columns), key=columns.index)
    assert {offer.field for offer in mapping.suggestions} == {Input("address"), Input("email_address")}
    scores = [offer.score for offer in mapping.suggestions]
    assert scores == sorted(scores, reverse=True)


def test_what_is_mapped_already_is_not_offered() -> None:
    assert suggest_mapping(["client", "clients"], agent("client")).suggestions == ()


def test_taking_up_an_offer_or_its_variable_withdraws_it() -> None:
    mapping = suggest_mapping(["Clinet", "Other"], agent("client"))
    assert mapping.set("Clinet", Skip()).suggestions == ()
    assert mapping.set("Other", Input("client")).suggestions == ()
    assert len(mapping.set("Other", Skip()).suggestions) == 1


def test_normalizing_trims_lowers_and_joins_with_one_underscore() -> None:
    assert normalized("  Client \n Full  NAME ") == "client_full_name"


def test_the_nearest_name_is_found_and_nothing_where_none_is_near() -> None:
    assert nearest("Permit filler", ["Permit filer", "Invoice reader"]) == "Permit filer"
    assert nearest("xyzzy", ["Permit filer", "Invoice reader"]) is None
    assert did_you_mean("xyzzy", []) == ""
    assert did_you_mean("filer", ["Filer"]) == " Did you mean 'Filer'?"


def test_a_name_without_letters_is_like_no_other() -> None:
    assert likeness("---", "___") < 100
    assert nearest("", ["client"]) is None


NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12) | NAMES, unique=True), st.lists(NAMES, unique=True))
def test_a_suggested_mapping_never_maps_a_field_twice(columns: list[str], names: list[str]) -> None:
    mapping = suggest_mapping(columns, agent(*names))
    assert tuple(mapping.fields) == tuple(columns)
    mapped = list(mapping.mapped.values())
    assert len(set(mapped)) == len(mapped)
    assert [problem for problem in mapping.problems(agent(*names)) if problem.code != "nothing_mapped"] == []
    for offer in mapping.suggestions:
        assert isinstance(offer, Suggestion)
        assert mapping.fields[offer.column] == Skip()
        assert offer.field not in mapped


@settings(deadline=None)
@given(NAMES, st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
def test_any_spelling_of_a_variable_in_other_case_is_mapped(name: str, spelling: object) -> None:
    header = spelling(name)  # type: ignore[operator]
    assert suggest_mapping([header], agent(name)).fields == {header: Input(name)}
