"""JSON Schema's `format`, for a column of text.

    date       a day that exists, as YYYY-MM-DD
    date-time  a date, T and a time with its offset (RFC 3339): 2026-03-01T09:00:00Z
    email      one @, no spaces, and a point in the domain
    uri        absolute, with its scheme, in ASCII (RFC 3986): https://example.com/a%20b

Other formats are as jsonschema checks them ("uuid", "time", "ipv4", ...); one that it does not know asks nothing.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jsonschema import FormatChecker

from batchkit.core.cells import Flags, matches, texts

__all__ = ["EXAMPLES", "conforming"]

_DAY = (
    r"(?:(?:[1-9]\d{3}|0[1-9]\d\d|00[1-9]\d|000[1-9])-"
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    r"|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_PATTERNS = {
    "date": f"^{_DAY}$",
    "date-time": rf"^{_DAY}[Tt]{_TIME}:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-]{_TIME})$",
    "email": r"^[^@\s\pZ\pC]+@[^@\s\pZ\pC.]+(?:\.[^@\s\pZ\pC.]+)+$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$",
}

#: what a value of that format is, and how to write one, for messages
EXAMPLES = {
    "date": "a date; write one that exists, year first, like 2026-03-01",
    "date-time": "a date and time; write it with its offset, like 2026-03-01T09:00:00Z",
    "email": "an email address; write one like anna@example.com",
    "uri": "a web address; write it with its scheme, like https://example.com",
}


def conforming(cells: pa.StringArray, name: str, others: FormatChecker) -> Flags:
    """Per cell, whether it is of the format `name`; `others` checks the formats that have no pattern here."""
    if name in _PATTERNS:
        return matches(cells, _PATTERNS[name])
    return np.array([others.conforms(text, name) for text in texts(cells)], dtype=np.bool_)
