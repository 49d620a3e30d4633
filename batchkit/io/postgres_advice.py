"""What is to be done about an error of PostgreSQL: by its code where the server gives one, or else by its words.

Of a connection that does not come about the driver tells no code. Its words are in the server's language, so that
they only add to what is known without them.
"""

from __future__ import annotations

__all__ = ["advice_by_code", "advice_on_no_answer", "advice_on_turning_away"]

_BUSY = "Another process holds the batch. batchkit tries again; if it stays so, find who is in a long transaction."
_LOST = (
    "batchkit tries again; what was recorded is safe. If it stays so, see whether the server runs and can be reached."
)
_CROWDED = (
    "The server has no connection left. batchkit tries again; if it stays so, raise max_connections there, or end "
    "programs that hold connections."
)
_BY_CODE = {
    "25006": (
        "The server only answers questions: it is a standby, or set to read-only. Name the one that takes writes, or "
        "have default_transaction_read_only turned off."
    ),
    "28": "Check the user and the password; ask whoever keeps the server to let this user in.",
    "3D000": "Create the database first: createdb does.",
    "3F000": "Create the schema first, or name another one.",
    "42501": (
        "Ask whoever keeps the database for the right to read and write batchkit's tables, or to create those "
        "that are missing."
    ),
    "53": "The server has no more memory or files to give. batchkit tries again; if it stays so, see its log.",
    "53100": "The server's disk is full. Free some space; what was recorded so far is safe.",
    "53300": _CROWDED,
    "55P03": _BUSY,
    "58": "The server cannot read or write its files. See its log and its disk; what was recorded so far is safe.",
    "08": _LOST,
    "57P": _LOST,
    "25P03": _LOST,
    "XX": "The database is damaged. Restore it from a backup, or name another store.",
}
_NO_ANSWER = {
    "refused": (
        "Nothing listens there. Check host and port in the URL, and see whether the server runs. batchkit tries again; "
        "what was recorded is safe."
    ),
    "timeout": (
        "Nobody answers there. Check host and port in the URL, the network, and a VPN or firewall on the way. batchkit "
        "tries again; what was recorded is safe."
    ),
    "resolve host": (
        "No such host is known. Check how it is written in the URL, the network and a VPN. batchkit tries again; what "
        "was recorded is safe."
    ),
}
_PASSWORD = "PGPASSWORD or ~/.pgpass keep it out of the URL."
#: the first that fits
_TURNED_AWAY = {
    "password authentication failed": f"Check the user in the URL, and the password: {_PASSWORD}",
    "pg_hba.conf": "Ask whoever keeps the server to let this user in from this machine: its pg_hba.conf says who may.",
    "permission denied": "Ask whoever keeps the database to let this user connect to it.",
    'database "': "Check the user and the database in the URL; createdb makes a database that is not there yet.",
    'role "': "Check the user and the database in the URL; createuser makes a user that is not there yet.",
}


def advice_by_code(code: str) -> str:
    """What to do about an error with that code of PostgreSQL's; the longest beginning of a code that fits counts."""
    fitting = [start for start in _BY_CODE if code.startswith(start)]
    return _BY_CODE[max(fitting, key=len)] if fitting else ""


def advice_on_no_answer(said: str) -> str:
    """What to do where there is no server, or the connection broke."""
    return next((advice for word, advice in _NO_ANSWER.items() if word in said), _LOST)


def advice_on_turning_away(said: str, *, crowded: bool, asks_password: bool) -> str:
    """What to do where the server does not let us in. crowded: for want of room. asks_password: it was given none."""
    if crowded:
        return _CROWDED
    if asks_password:
        return f"The server asks for a password, and was given none: {_PASSWORD}"
    general = f"Check the user and the database in the URL, and how the password is given: {_PASSWORD}"
    return next((advice for word, advice in _TURNED_AWAY.items() if word in said), general)
