"""The long form of the tests: BATCHKIT_ACCEPTANCE=full"""

from __future__ import annotations

import os

__all__ = ["FULL", "examples"]

#: whether it was asked for
FULL = os.environ.get("BATCHKIT_ACCEPTANCE") == "full"


def examples(count: int) -> int:
    """How many examples a property is tried with: so many, and twenty times as many in the long form."""
    return 20 * count if FULL else count
