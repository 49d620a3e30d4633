"""Where the wizard stands, and how it moves: nothing is lost on the way, and nothing is begun twice."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.agent import Agent, InputVariable
from batchkit.core.mapping import Input, Mapping, Metadata, ProfileName, Skip
from batchkit.core.profile import AgentProfile, ProfilePool
from batchkit.core.table import Table
from batchkit.core.validation import validate
from batchkit.errors import MappingError, StateError
from batchkit.io.tables import read_csv
from batchkit.ui.state import Source, Step, WizardState

FILER = Agent(
    name="Permit filer",
    id="filer",
    version=3,
    inputs=[
        InputVariable("client", required=True),
        InputVariable("area", schema={"type": "number"}),
    ],
)
CHECKER = Agent(name="Address checker", id="checker", inputs=[InputVariable("street", required=True)])
UPLOAD = Source(kind="upload", name="permits.csv", path="/tmp/x")
PERMITS = read_csv(b"Client,Area,Note\nAltmann,3,a\nBrenner,4,b\n")
WRONG = read_csv(b"Client,Area,Note\nAltmann,3,a\nBrenner,four,b\n")
CLERK = AgentProfile(name="Clerk A", id="p1")


def ready(table: Table = PERMITS) -> WizardState:
    """With an agent and a table, all rows checked."""
    return checked(WizardState().with_agent(FILER).with_table(UPLOAD, table, name="permits today"))


def checked(state: WizardState) -> WizardState:
    assert state.table is not None
    assert state.mapping is not None
    assert state.agent is not None
    found = validate(
        state.table, state.mapping, state.agent, profiles=state.profiles or None, pools=state.pools or None
    )
    return state.with_checked(found, state.round)


def test_it_imports_no_widget() -> None:
    code = (
        "import sys, batchkit.ui.drafts, batchkit.ui.drawing, batchkit.ui.as_python, batchkit.ui.mapping_problems;"
        "print([m for m in ('ipywidgets', 'anywidget', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_step_says_what_is_open_before_it() -> None:
    state = WizardState()
    assert state.obstacle(Step.UPLOAD) == ""
    assert state.obstacle(Step.MAP) == "Choose an agent first."
    state = state.with_agent(FILER)
    assert state.obstacle(Step.MAP) == "Upload a CSV first."
    state = state.with_table(UPLOAD, PERMITS, name="permits today").set_field("Client", Skip())
    assert state.obstacle(Step.PREVIEW) == "Map the columns first: one problem is open."
    state = state.set_field("Client", Input("client"))
    assert state.obstacle(Step.CONFIGURE) == "Wait until all rows are checked."
    assert checked(state).obstacle(Step.CONFIGURE) == ""
    assert checked(state).why_not_start() == ""
    with pytest.raises(StateError, match="Choose an agent first"):
        WizardState().go_to(Step.CONFIGURE)


def test_a_step_is_done_once_it_was_begun_and_nothing_is_open_in_it() -> None:
    def done(state: WizardState) -> list[Step]:
        return [step for step in Step if state.is_done(step)]

    state = ready()
    assert done(state) == [Step.UPLOAD]
    state = state.go_to(Step.PREVIEW)
    assert done(state) == [Step.UPLOAD, Step.MAP, Step.PREVIEW]
    state = state.go_to(Step.CONFIGURE).go_to(Step.UPLOAD)
    assert done(state) == list(Step)
    assert done(state.set_field("Client", Skip())) == [Step.UPLOAD]


def test_going_back_loses_nothing() -> None:
    there = ready().with_draft(name="Mine", max_concurrent="7").go_to(Step.CONFIGURE)
    back = there.go_to(Step.UPLOAD)
    again = back.go_to(Step.CONFIGURE)
    for name in ("table", "mapping", "checked", "draft", "policy", "agent", "chosen"):
        assert getattr(again, name) is getattr(there, name)


def test_another_agent_keeps_the_table_and_what_was_chosen() -> None:
    state = ready().set_field("Note", Metadata("note")).set_field("Area", Input("area")).go_to(Step.MAP)
    other = state.with_agent(CHECKER)
    assert other.table is PERMITS
    assert other.mapping is not None
    assert other.mapping.fields == {"Client": Skip(), "Area": Skip(), "Note": Metadata("note")}
    back = other.with_agent(FILER)
    assert back.mapping is not None
    assert back.mapping.fields == {"Client": Input("client"), "Area": Input("area"), "Note": Metadata("note")}


def test_another_table_is_mapped_anew_but_keeps_what_was_chosen_under_the_same_header() -> None:
    state = ready().set_field("Note", Metadata("note")).set_field("Area", Skip())
    other = state.with_table(UPLOAD, read_csv(b"Area,Client,Street\n1,x,y\n"))
    assert other.mapping is not None
    assert other.mapping.fields == {"Area": Skip(), "Client": Input("client"), "Street": Skip()}
    assert other.checked is None
    back = other.with_table(UPLOAD, PERMITS)
    assert back.mapping is not None
    assert back.mapping.fields["Note"] == Metadata("note")


def test_a_saved_mapping_is_restored_under_what_was_chosen_by_hand() -> None:
    saved = Mapping(PERMITS.columns).set("Client", Metadata("c")).set("Note", Metadata("n")).restored(PERMITS.columns)
    state = WizardState(chosen={"Client": Input("client")}).with_agent(FILER).with_table(UPLOAD, PERMITS, saved)
    assert state.is_restored
    assert state.mapping is not None
    assert state.mapping.fields == {"Client": Input("client"), "Area": Skip(), "Note": Metadata("n")}
    forgotten = state.forget_saved()
    assert not forgotten.is_restored
    assert forgotten.mapping is not None
    assert forgotten.mapping.fields == {"Client": Input("client"), "Area": Input("area"), "Note": Skip()}


def test_a_name_that_was_typed_is_not_suggested_over() -> None:
    state = ready()
    assert state.draft.name == "permits today"
    assert state.with_table(UPLOAD, WRONG, name="other").draft.name == "other"
    assert state.with_draft(name="Mine").with_table(UPLOAD, WRONG, name="other").draft.name == "Mine"


def test_what_was_checked_for_another_mapping_does_not_count() -> None:
    state = ready()
    old = state.checked
    assert old is not None
    changed = state.set_field("Note", Metadata("note"))
    assert changed.checked is None
    assert changed.with_checked(old, state.round).checked is None
    assert changed.with_glimpse(old, state.round).glimpse is None
    assert changed.with_failure("late", state.round).failure == ""


def test_a_change_that_breaks_a_step_leads_back_to_it_and_waiting_does_not() -> None:
    there = ready().go_to(Step.CONFIGURE)
    assert there.set_field("Note", Metadata("note")).step is Step.CONFIGURE
    assert there.set_field("Client", Skip()).step is Step.MAP
    assert there.with_table(None, None).step is Step.UPLOAD
    assert there.with_agent(None).step is Step.UPLOAD


def test_invalid_rows_block_or_are_left_out() -> None:
    state = ready(WRONG)
    assert state.obstacle(Step.CONFIGURE) == "1 row is invalid. Correct it, or leave it out."
    dropped = state.with_policy("drop").go_to(Step.CONFIGURE)
    assert dropped.rows == 1
    assert dropped.with_policy("block").step is Step.PREVIEW
    nothing = ready(read_csv(b"Client,Area\nx,y\n")).with_policy("drop")
    assert nothing.why_not_start() == "No row is valid, so there is nothing to run."


def test_a_profile_column_needs_profiles() -> None:
    state = ready().set_field("Note", ProfileName())
    assert [problem.column for problem in state.mapping_problems()] == ["Note"]
    assert state.with_agent(FILER, profiles=(CLERK,)).mapping_problems() == []


def test_the_default_profile_is_kept_only_where_it_exists() -> None:
    pool = ProfilePool(name="Clerks", id="g1")
    state = WizardState().with_agent(FILER, profiles=(CLERK,), pools=(pool,)).with_draft(profile="g1")
    assert state.with_agent(CHECKER, pools=(pool,)).draft.profile == "g1"
    assert state.with_agent(CHECKER, profiles=(CLERK,)).draft.profile == ""


def test_a_batch_is_begun_once() -> None:
    state = ready().launch()
    with pytest.raises(StateError, match="made already"):
        state.launch()
    assert state.launched("").launch().launching
    with pytest.raises(StateError, match="made already"):
        state.launched("b1").launch()
    fresh = state.launched("b1").again()
    assert (fresh.agent, fresh.table, fresh.batch_id, fresh.draft.name) == (FILER, None, "", "")


def test_a_column_there_is_not_is_refused() -> None:
    with pytest.raises(MappingError, match="There is no column 'x'"):
        ready().set_field("x", Skip())
    with pytest.raises(MappingError, match="Nothing is suggested"):
        ready().accept_suggestion("Note")
    with pytest.raises(MappingError, match="no columns to map yet"):
        WizardState().set_field("x", Skip())


fields = st.one_of(
    st.sampled_from([Skip(), ProfileName(), Input("client"), Input("area"), Input("street"), Metadata("")]),
    st.text(max_size=3).map(Metadata),
)
moves = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(PERMITS.columns), fields),
    st.tuples(st.just("reset")),
    st.tuples(st.just("forget")),
)


def moved(state: WizardState, move: tuple[Any, ...]) -> WizardState:
    match move:
        case ("set", column, field):
            return state.set_field(column, field)
        case ("reset",):
            return state.reset_mapping()
        case _:
            return state.forget_saved()


@given(st.lists(moves, max_size=12))
def test_undoing_everything_leads_back_to_the_beginning(done: list[tuple[Any, ...]]) -> None:
    start = ready()
    state = start
    for move in done:
        state = moved(state, move)
    while state.undos:
        before = state
        state = state.undo()
        assert state.round > before.round
    assert state.mapping == start.mapping
    assert state.chosen == start.chosen
    assert state.undo() is state


@given(
    st.lists(
        st.one_of(
            moves,
            st.tuples(st.just("agent"), st.sampled_from([FILER, CHECKER, None])),
            st.tuples(st.just("table"), st.sampled_from([PERMITS, WRONG, None])),
            st.tuples(st.just("policy"), st.sampled_from(["block", "drop"])),
            st.tuples(st.just("go"), st.sampled_from(list(Step))),
            st.tuples(st.just("check")),
        ),
        max_size=25,
    )
)
def test_no_way_leads_to_a_step_that_is_not_open_or_to_a_start_of_what_is_not_settled(
    way: list[tuple[Any, ...]],
) -> None:
    state = ready()
    for move in way:
        try:
            match move:
                case ("agent", agent):
                    state = state.with_agent(agent)
                case ("table", table):
                    state = state.with_table(UPLOAD if table else None, table, name="n")
                case ("policy", policy):
                    state = state.with_policy(policy)
                case ("go", step):
                    state = state.go_to(step)
                case ("check",):
                    state = checked(state) if state.mapping and not state.mapping_problems() else state
                case _ if state.mapping is not None:
                    state = moved(state, move)
        except StateError:
            continue
        obstacle = state.obstacle(state.step)
        assert obstacle in ("", "Wait until all rows are checked.")
        if not state.why_not_start():
            assert state.checked is not None
            assert state.checked.ok
            assert state.checked.mapping == state.mapping
            assert state.checked.table is state.table
            assert state.checked.agent is state.agent
            assert state.checked.invalid == state.policy
