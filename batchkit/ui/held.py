"""The wizard's state as it stands now, changed by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from batchkit.ui.state import WizardState

__all__ = ["Held"]


class Held:
    """Holds a state. on_change: there is another one; called from the thread that made it."""

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._on_change = on_change
        #: to be held where several moves belong together
        self.lock = threading.RLock()
        self.state = WizardState()

    def update(self, move: Callable[[WizardState], WizardState]) -> None:
        """Go on to what `move` makes of the state; what it raises changes nothing."""
        with self.lock:
            self.state = move(self.state)
        self._on_change()
