"""A view: it draws a snapshot in the browser and passes on what its user wants. It decides nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import anywidget
import traitlets

from batchkit.errors import BatchkitError

__all__ = ["Intent", "View"]

logger = logging.getLogger("batchkit")

_STATIC = Path(__file__).parent / "static"
#: every view begins with these
_FRAME = ("dom.js", "format.js", "frame.js")
#: of all views, in this order
_STYLES = ("batchkit.css", "drop.css", "table.css", "dashboard.css", "wizard.css")
#: seconds between two drawings, at the least
_DRAW_SECONDS = 0.1
#: the browser shows so many messages, the newest
_MOST_NOTICES = 5

Kind = Literal["error", "warning", "info", "success"]
#: what the user wants: its details, and raw bytes where some came along
Intent = Callable[[Mapping[str, Any], Sequence[memoryview]], object]


class View(anywidget.AnyWidget):
    """Draws what `draw` returns, and calls the intent of the name the browser sends.

    scripts: files of `ui/static`, in order; the last one ends in `export default`.
    draw: the snapshot, as JSON; called on a thread of the view's own, at most ten times a second after `changed`.
    Intents run one after the other on a thread of the view's own, never on the kernel's main thread. What an intent
    returns is the answer to a browser that asked; what it raises is shown in the page.
    """

    # Declared here: anywidget would make no trait of a style sheet that is only an argument.
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    snapshot = traitlets.Dict().tag(sync=True)
    #: messages for people: id, kind, text, about
    notices: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        scripts: Sequence[str],
        *,
        draw: Callable[[], dict[str, Any]],
        intents: Mapping[str, Intent],
    ) -> None:
        self._draw = draw
        self._intents = dict(intents)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        # Held while drawing, so that an older snapshot never comes after a newer one.
        self._drawing = threading.Lock()
        self._stale = threading.Event()
        self._wanted: SimpleQueue[tuple[Future[Any], Callable[[], object]] | None] = SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}
        self._next_notice = 0
        super().__init__(
            _esm="\n".join((_STATIC / name).read_text("utf-8") for name in (*_FRAME, *scripts)),
            _css="\n".join((_STATIC / name).read_text("utf-8") for name in _STYLES),
            # The page keeps one style sheet by this name: views side by side do not override one another's.
            _anywidget_id="batchkit",
            snapshot=draw(),
        )
        self.on_msg(self._receive)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    # To the browser

    def changed(self) -> None:
        """Draw again soon; returns at once, on any thread."""
        self._stale.set()
        self._start("draws", self._draw_on)

    def drawn(self) -> dict[str, Any]:
        """The snapshot, drawn anew in this thread."""
        self._redraw()
        return dict(self.snapshot)

    def say(self, text: str, kind: Kind = "info", *, about: str = "") -> None:
        """Show a message above the view until its user dismisses it, or `about` is `settled`."""
        with self._lock:
            self._next_notice += 1
            notice = {"id": self._next_notice, "kind": kind, "text": text, "about": about}
            others = [each for each in self.notices if each["text"] != text]
            self.notices = [*others, notice][-_MOST_NOTICES:]

    def fail(self, error: BaseException, *, about: str = "") -> None:
        """Show what went wrong, in words. about: what was wanted; an intent's name where it was one."""
        _log(error)
        self.say(_in_words(error), "error", about=about)

    def settled(self, about: str) -> None:
        """It went well now: what went wrong with it before is not shown any longer."""
        with self._lock:
            left = [each for each in self.notices if each["about"] != about]
            if len(left) < len(self.notices):
                self.notices = left

    def _draw_on(self) -> None:
        """Draw whenever something changed, never sooner after the last time than is good for the page."""
        while not self._ended.is_set():
            self._stale.wait()
            self._redraw()
            self._ended.wait(_DRAW_SECONDS)

    def _redraw(self) -> None:
        with self._drawing:
            if self._ended.is_set():
                return
            # Before drawing: what changes meanwhile is drawn next time.
            self._stale.clear()
            try:
                self.snapshot = self._draw()
            except Exception as error:  # shown in the page: nobody else would see it
                self.fail(error)

    # From the browser

    def intend(self, name: str, details: Mapping[str, Any] | None = None, *buffers: bytes | memoryview) -> Future[Any]:
        """Do what the browser's user would ask for by `name`; the future holds the answer.

        It is cancelled if the view was closed before.
        """
        future: Future[Any] = Future()
        views = [memoryview(each) for each in buffers]
        with self._lock:
            if self._ended.is_set():
                future.cancel()
                return future
            self._wanted.put((future, lambda: self._perform(name, details or {}, views)))
        self._start("obeys", self._obey)
        return future

    def _obey(self) -> None:
        """Do what is wanted, in order."""
        while (wanted := self._wanted.get()) is not None:
            future, perform = wanted
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(perform())
            except BaseException as error:  # handed to whoever holds the future
                future.set_exception(error)

    def _receive(self, _widget: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        asked = content.get("ask")
        name = str(content.get("intent"))
        if name == "hello":
            # Not behind what is under way: it only says that somebody is there.
            self._tell({"answer": asked, "value": True})
            return
        # Copied: the front-end's message may reuse the memory.
        future = self.intend(name, content.get("details") or {}, *map(bytes, buffers))
        quiet, value = bool(content.get("quiet")), bool(content.get("value", True))
        future.add_done_callback(lambda done: self._answer(name, asked, done, quiet=quiet, value=value))

    def _perform(self, name: str, details: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        if name == "dismiss":
            with self._lock:
                self.notices = [each for each in self.notices if each["id"] != details.get("id")]
            return None
        if name == "draw":
            # A page that has nothing to draw: the snapshot is not in what a notebook was saved with.
            self.send_state("snapshot")
            return None
        answer = self._intents[name](details, buffers)
        self.settled(name)
        return answer

    def _answer(self, name: str, asked: object, done: Future[Any], *, quiet: bool, value: bool) -> None:
        """Tell a browser that asked, with the value if it wants it; show what went wrong unless it does that itself."""
        if done.cancelled():
            return
        error = done.exception()
        if error is not None and quiet:
            _log(error)
        elif error is not None:
            self.fail(error, about=name)
        if asked is None:
            return
        if error is not None:
            self._tell({"answer": asked, "error": _in_words(error)})
        else:
            self._tell({"answer": asked, "value": done.result() if value else None})

    def _tell(self, content: dict[str, Any]) -> None:
        try:
            self.send(content)
        except Exception as error:  # an answer that is no JSON
            self.fail(error)
            self.send({"answer": content["answer"], "error": _in_words(error)})

    # The threads

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """Have a thread of that name run `work`, once.

        A daemon: a view never keeps the kernel from ending.
        """
        with self._lock:
            if name not in self._threads and not self._ended.is_set():
                self._threads[name] = threading.Thread(target=work, name=f"batchkit view {name}", daemon=True)
                self._threads[name].start()

    def close(self) -> None:
        """Leave the page; what is under way is finished, nothing more is begun."""
        with self._lock:
            self._ended.set()
            left = []
            while not self._wanted.empty():
                left.append(self._wanted.get())
            self._wanted.put(None)
        for future, _ in filter(None, left):
            future.cancel()
        self._stale.set()
        super().close()


def _log(error: BaseException) -> None:
    """Keep the traceback of what should not have happened."""
    if not isinstance(error, BatchkitError):
        logger.error("a view failed", exc_info=error)


def _in_words(error: BaseException) -> str:
    if isinstance(error, BatchkitError):
        return str(error)
    return f"This did not work, through a fault of batchkit's own: {type(error).__name__}: {error}"
