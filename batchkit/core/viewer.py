"""Who asks a store: whose the batches are that he makes, and which ones he sees."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EVERYBODY", "Viewer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A person, or a process that works for all of them. A batch he does not see is for him as if it did not exist."""

    #: the owner of the batches he makes
    name: str
    #: the batches of all owners, not only his own
    sees_all: bool = False


#: what runs the batches of everybody
EVERYBODY = Viewer(name="", sees_all=True)
