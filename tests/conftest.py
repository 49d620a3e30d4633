"""For all tests."""

from __future__ import annotations

from hypothesis import settings

# What a machine is busy with decides how long an example takes, not what is tested.
settings.register_profile("batchkit", deadline=None)
settings.load_profile("batchkit")
