"""A view draws snapshots and obeys intents, on threads of its own."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest
from page_comms import Messages

from batchkit.errors import ConfigError
from batchkit.ui.view import Intent, View


class Shown:
    """A view with what it draws."""

    def __init__(self, **intents: Intent) -> None:
        self.value: Any = 0
        self.drawn_by: list[int] = []
        self.drawing: Callable[[], object] = lambda: None
        self.view = View([], draw=self._draw, intents=intents)

    def _draw(self) -> dict[str, Any]:
        self.drawn_by.append(threading.get_ident())
        value = self.value
        self.drawing()
        return {"value": value}

    def await_value(self, value: Any, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while self.view.snapshot["value"] != value:
            assert time.monotonic() < deadline, f"{value!r} was never drawn"
            time.sleep(0.005)


@pytest.fixture
def show(messages: Messages) -> Iterator[Callable[..., Shown]]:
    shown: list[Shown] = []

    def make(**intents: Intent) -> Shown:
        shown.append(Shown(**intents))
        return shown[-1]

    yield make
    for each in shown:
        each.view.close()


def receive(view: View, intent: str, asked: str | None = None, *buffers: bytes, **more: Any) -> None:
    """As a message from the browser arrives."""
    content = {"intent": intent, "ask": asked, **more}
    view._handle_custom_msg(content, [memoryview(each) for each in buffers])


def test_scripts_and_styles_are_put_together_in_order(messages: Messages) -> None:
    view = View(["drop.js", "table.js"], draw=dict, intents={})
    try:
        marks = ["function draw(", "const number", "function show(", "function dropZone(", "function pagedTable("]
        places = [view._esm.index(mark) for mark in marks]
        assert places == sorted(places)
        assert ".bk-root {" in view._css
        assert ".bk-drop {" in view._css
        assert {"_esm", "_css", "snapshot", "notices"} <= set(view.keys)
    finally:
        view.close()


def test_views_on_one_page_share_one_style_sheet(messages: Messages) -> None:
    # Two that differ would each bring the common rules, and the later ones win over the other's own.
    views = [View(scripts, draw=dict, intents={}) for scripts in ([], ["drop.js"])]
    try:
        assert len({(view._anywidget_id, view._css) for view in views}) == 1
    finally:
        for view in views:
            view.close()


def test_a_change_is_drawn_but_never_by_the_thread_that_reports_it(show: Callable[..., Shown]) -> None:
    shown = show()
    shown.value = 1
    shown.view.changed()
    shown.await_value(1)
    assert threading.get_ident() not in shown.drawn_by[1:]


def test_the_last_of_many_changes_is_drawn_and_few_others(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show()
    began = time.monotonic()
    threads = []

    def change() -> None:
        for _ in range(200):
            shown.value += 1
            shown.view.changed()
            time.sleep(0.001)

    for _ in range(4):
        threads.append(threading.Thread(target=change))
        threads[-1].start()
    for thread in threads:
        thread.join()
    last = shown.value
    shown.await_value(last)
    assert len(shown.drawn_by) <= 3 + (time.monotonic() - began) / 0.1
    assert messages.snapshots()[-1] == {"value": last}


def test_a_change_made_while_drawing_is_drawn_next(show: Callable[..., Shown]) -> None:
    shown = show()
    in_draw, go_on = threading.Event(), threading.Event()

    def once() -> None:
        shown.drawing = lambda: None
        in_draw.set()
        go_on.wait(20)

    shown.value = "old"
    shown.drawing = once
    shown.view.changed()
    assert in_draw.wait(20)
    shown.value = "new"
    shown.view.changed()
    go_on.set()
    shown.await_value("new")


def test_an_older_drawing_never_comes_after_a_newer_one(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show()
    in_draw, go_on = threading.Event(), threading.Event()

    def once() -> None:
        shown.drawing = lambda: None
        in_draw.set()
        go_on.wait(20)

    shown.value = "old"
    shown.drawing = once
    shown.view.changed()
    assert in_draw.wait(20)
    shown.value = "new"
    newer = threading.Thread(target=shown.view.drawn)
    newer.start()
    newer.join(0.05)
    go_on.set()
    newer.join(20)
    shown.view.close()
    for thread in shown.view._threads.values():
        thread.join(20)
    assert shown.view.snapshot == {"value": "new"}
    assert messages.snapshots()[-1] == {"value": "new"}


def test_what_drawing_raises_is_said_in_the_page(show: Callable[..., Shown]) -> None:
    shown = show()

    def fail() -> None:
        raise ConfigError("The figure is missing.")

    shown.drawing = fail
    shown.view.drawn()
    assert [(each["kind"], each["text"]) for each in shown.view.notices] == [("error", "The figure is missing.")]


def test_intents_run_one_after_the_other_off_the_main_thread(show: Callable[..., Shown]) -> None:
    running: list[int] = []
    most: list[int] = []
    order: list[int] = []

    def work(details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> int:
        running.append(threading.get_ident())
        most.append(len(running))
        time.sleep(0.002)
        order.append(details["n"])
        return running.pop()

    shown = show(work=work)
    futures = [shown.view.intend("work", {"n": n}) for n in range(20)]
    threads = {future.result(20) for future in futures}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert max(most) == 1
    assert order == list(range(20))


def test_who_asks_gets_the_answer_with_the_bytes_received(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show(size=lambda details, buffers: [details["name"], bytes(buffers[0])[:3].hex()])
    part = bytearray(b"abc")
    receive(shown.view, "size", "q1", part, details={"name": "x"})
    assert messages.answer("q1") == {"answer": "q1", "value": ["x", "616263"]}


def test_bytes_are_the_views_own(show: Callable[..., Shown]) -> None:
    gate = threading.Event()
    seen: list[bytes] = []

    def keep(_details: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        gate.wait(20)
        seen.append(bytes(buffers[0]))

    shown = show(keep=keep)
    part = bytearray(b"abc")
    shown.view._handle_custom_msg({"intent": "keep"}, [memoryview(part)])
    part[:] = b"xyz"
    gate.set()
    shown.view.intend("dismiss", {"id": 0}).result(20)
    assert seen == [b"abc"]


def refuse(_details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
    raise ConfigError("Max Concurrent must be 1 or more, not 0.")


def slip(_details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> None:
    raise ZeroDivisionError("a slip")


def test_a_page_that_has_nothing_to_draw_is_told_again(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show()
    before = messages.snapshots()
    shown.view.intend("draw").result(20)
    assert messages.snapshots() == [*before, {"value": 0}]


def test_what_an_intent_raises_is_said_and_answered(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show(refuse=refuse)
    receive(shown.view, "refuse", "q1")
    text = "Max Concurrent must be 1 or more, not 0."
    assert messages.answer("q1") == {"answer": "q1", "error": text}
    assert [each["text"] for each in shown.view.notices] == [text]


def test_an_error_is_not_shown_any_longer_once_the_same_went_well(
    show: Callable[..., Shown], messages: Messages
) -> None:
    def double(details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> int:
        if details["number"] < 0:
            raise ConfigError("Give a number of 0 or more.")
        return 2 * details["number"]

    shown = show(double=double, refuse=refuse)
    receive(shown.view, "double", "q1", details={"number": -1})
    receive(shown.view, "refuse", "q2")
    assert messages.answer("q2")
    shown.view.fail(ConfigError("Something else."))
    assert len(shown.view.notices) == 3
    receive(shown.view, "double", "q3", details={"number": 4})
    assert messages.answer("q3")["value"] == 8
    assert [each["about"] for each in shown.view.notices] == ["refuse", ""]


def test_who_shows_the_error_itself_has_it_only_answered(
    show: Callable[..., Shown], messages: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    shown = show(refuse=refuse, slip=slip)
    receive(shown.view, "refuse", "q1", quiet=True)
    assert "error" in messages.answer("q1")
    with caplog.at_level(logging.CRITICAL, "batchkit"):
        receive(shown.view, "slip", "q2", quiet=True)
        assert "ZeroDivisionError: a slip" in messages.answer("q2")["error"]
    assert shown.view.notices == []


def test_a_fault_of_our_own_is_said_and_its_traceback_kept(
    show: Callable[..., Shown], messages: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    shown = show(slip=slip)
    receive(shown.view, "slip", "q1")
    assert "fault of batchkit's own: ZeroDivisionError: a slip" in messages.answer("q1")["error"]
    assert "fault of batchkit's own" in shown.view.notices[0]["text"]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_an_unknown_intent_and_an_answer_that_is_no_json_are_said(
    show: Callable[..., Shown], messages: Messages, caplog: pytest.LogCaptureFixture
) -> None:
    shown = show(thing=lambda _details, _buffers: object())
    receive(shown.view, "nonsense", "q1")
    assert "nonsense" in messages.answer("q1")["error"]
    receive(shown.view, "thing", "q2")
    assert "not JSON serializable" in messages.answer("q2")["error"]
    # Without an answer asked for, too.
    receive(shown.view, "more nonsense")
    shown.view.intend("dismiss", {}).result(20)
    assert any("more nonsense" in each["text"] for each in shown.view.notices)


def test_who_only_tells_hears_that_it_is_done_whatever_it_returned(
    show: Callable[..., Shown], messages: Messages
) -> None:
    shown = show(thing=lambda _details, _buffers: object())
    receive(shown.view, "thing", "q1", value=False)
    assert messages.answer("q1") == {"answer": "q1", "value": None}
    assert shown.view.notices == []


def test_after_an_error_the_next_intent_is_obeyed(show: Callable[..., Shown], messages: Messages) -> None:
    shown = show(refuse=refuse, count=lambda _details, _buffers: 7)
    receive(shown.view, "refuse")
    receive(shown.view, "count", "q1")
    assert messages.answer("q1") == {"answer": "q1", "value": 7}


def test_a_greeting_is_answered_while_an_intent_is_under_way(show: Callable[..., Shown], messages: Messages) -> None:
    gate = threading.Event()
    shown = show(wait=lambda _details, _buffers: gate.wait(20))
    receive(shown.view, "wait")
    receive(shown.view, "hello", "q1")
    try:
        assert messages.answers() == [{"answer": "q1", "value": True}]
    finally:
        gate.set()


def test_messages_can_be_dismissed_and_are_not_repeated_or_too_many(show: Callable[..., Shown]) -> None:
    view = show().view
    view.say("once")
    view.say("once", "warning")
    assert [(each["text"], each["kind"]) for each in view.notices] == [("once", "warning")]
    for n in range(9):
        view.say(f"number {n}")
    assert [each["text"] for each in view.notices] == [f"number {n}" for n in range(4, 9)]
    view.intend("dismiss", {"id": view.notices[0]["id"]}).result(20)
    assert [each["text"] for each in view.notices] == [f"number {n}" for n in range(5, 9)]
    assert len({each["id"] for each in view.notices}) == 4


def test_messages_from_many_threads_are_all_kept_apart(show: Callable[..., Shown]) -> None:
    view = show().view
    threads = [threading.Thread(target=view.say, args=(f"number {n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each["text"] for each in view.notices} == {f"number {n}" for n in range(5)}
    assert len({each["id"] for each in view.notices}) == 5


def test_a_closed_view_draws_and_obeys_no_more(show: Callable[..., Shown]) -> None:
    gate, begun = threading.Event(), threading.Event()
    done: list[str] = []

    def wait(_details: Mapping[str, Any], _buffers: Sequence[memoryview]) -> str:
        begun.set()
        gate.wait(20)
        done.append("wait")
        return "done"

    shown = show(wait=wait, later=lambda _details, _buffers: done.append("later"))
    under_way, waiting = shown.view.intend("wait"), shown.view.intend("later")
    assert begun.wait(20)
    shown.view.close()
    shown.view.close()
    gate.set()
    assert under_way.result(20) == "done"
    with pytest.raises(CancelledError):
        waiting.result(20)
    assert shown.view.intend("later").cancelled()
    count = len(shown.drawn_by)
    shown.value = "unseen"
    shown.view.changed()
    shown.view.drawn()
    assert len(shown.drawn_by) == count
    assert done == ["wait"]


def test_the_threads_of_a_closed_view_end(show: Callable[..., Shown]) -> None:
    shown = show(count=lambda _details, _buffers: 7)
    shown.view.intend("count").result(20)
    shown.view.changed()
    threads = list(shown.view._threads.values())
    assert all(thread.daemon for thread in threads)
    shown.view.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_view_that_cannot_be_drawn_at_first_raises_and_leaves_nothing(messages: Messages) -> None:
    def fail() -> dict[str, Any]:
        raise ConfigError("There is nothing to draw.")

    with pytest.raises(ConfigError, match="nothing to draw"):
        View([], draw=fail, intents={})
    gc.collect()
