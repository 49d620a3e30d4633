"""What a batch remembers of the target it was made for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TargetInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """What a batch remembers of its target: enough to recognise it, nothing secret."""

    #: "asteroid", "http", "function"
    kind: str
    #: base URL, or "module:function"
    url: str
    #: a short hash over URL and credentials: tells two accounts apart, gives neither away
    account: str = ""
    #: where the secret can be had again: "env:BATCHKIT_API_KEY", "keyring:service/user"; empty: only from the caller
    secret: str = ""
    #: for people: "the demo platform", "odyssey.asteroid.ai"
    label: str = ""

    @property
    def identity(self) -> str:
        """The same for what answers to the same account, however it is reached."""
        return f"{self.kind} {self.account or self.url}"
