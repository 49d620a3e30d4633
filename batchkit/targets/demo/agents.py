"""The agents, profiles and pools the demo platform has without arguments, and what its executions report."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchkit.core.agent import Agent, InputVariable, WorkflowVersion
from batchkit.core.execution import ExecutionOutcome, ExecutionStatus
from batchkit.core.profile import SelectionStrategy
from batchkit.targets.demo.catalog import DemoPool

__all__ = ["DEFAULT_AGENTS", "DEFAULT_POOLS", "DEFAULT_PROFILES", "Report", "report"]

_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_DATE = {"type": "string", "format": "date"}
_MONTH = {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"}
_COUNTRIES = {"type": "string", "enum": ["AT", "CH", "DE", "FR", "IT", "NL"]}

_CLIENT = InputVariable("client", schema=_TEXT, required=True, description="Who the permit is for.")
_ADDRESS = InputVariable("address", schema=_TEXT, required=True, description="Where the work takes place.")
_PERMIT_TYPE = InputVariable(
    "permit_type",
    schema={"type": "string", "enum": ["building", "electrical", "plumbing", "signage"]},
    required=True,
    description="Which form of the permit office is filled in.",
)
_START_DATE = InputVariable("start_date", schema=_DATE, required=True, description="First day of the work, YYYY-MM-DD.")
_FLOOR_AREA = InputVariable(
    "floor_area", schema={"type": "number", "minimum": 1, "maximum": 100000}, description="Square metres."
)
_URGENT = InputVariable("urgent", schema={"type": "boolean"}, default=False, description="Ask for the fast track.")
_CONTACTS = InputVariable(
    "contacts",
    schema={"type": "array", "items": {"type": "string", "format": "email"}, "maxItems": 5},
    description="E-mail addresses the office may write to.",
)

_PERMIT_FILER = Agent(
    name="Permit filer",
    version=3,
    versions=(
        WorkflowVersion(version=1, inputs=(_CLIENT, _ADDRESS)),
        WorkflowVersion(version=2, inputs=(_CLIENT, _ADDRESS, _PERMIT_TYPE, _START_DATE)),
        WorkflowVersion(
            version=3,
            published=True,
            inputs=(_CLIENT, _ADDRESS, _PERMIT_TYPE, _START_DATE, _FLOOR_AREA, _URGENT),
        ),
        WorkflowVersion(
            version=4,
            inputs=(_CLIENT, _ADDRESS, _PERMIT_TYPE, _START_DATE, _FLOOR_AREA, _URGENT, _CONTACTS),
        ),
    ),
)

_SUPPLIER = InputVariable("supplier", schema=_TEXT, required=True, description="Whose invoices are collected.")
_PORTAL = InputVariable(
    "portal_url", schema={"type": "string", "format": "uri", "pattern": "^https?://"}, required=True
)
_CUSTOMER_NUMBER = InputVariable(
    "customer_number",
    schema={"type": "string", "pattern": "^[0-9]{4,12}$"},
    required=True,
    description="Digits; leading zeros count.",
)
_MONTH_INPUT = InputVariable("month", schema=_MONTH, required=True, description="YYYY-MM.")
_MAX_INVOICES = InputVariable(
    "max_invoices",
    schema={"type": "integer", "minimum": 1, "maximum": 500},
    default=50,
    description="Stop after these.",
)
_INCLUDE_PAID = InputVariable("include_paid", schema={"type": "boolean"}, default=True)
_FORMATS = InputVariable(
    "formats",
    schema={"type": "array", "items": {"type": "string", "enum": ["pdf", "xml", "csv"]}, "minItems": 1},
    default=["pdf"],
)

_INVOICE_COLLECTOR = Agent(
    name="Invoice collector",
    version=2,
    versions=(
        WorkflowVersion(version=1, inputs=(_SUPPLIER, _PORTAL, _MONTH_INPUT)),
        WorkflowVersion(
            version=2,
            published=True,
            inputs=(_SUPPLIER, _PORTAL, _CUSTOMER_NUMBER, _MONTH_INPUT, _MAX_INVOICES, _INCLUDE_PAID, _FORMATS),
        ),
    ),
)

_STREET = InputVariable("street", schema=_TEXT, required=True, description="Street and house number.")
_POSTCODE = InputVariable(
    "postcode", schema={"type": "string", "pattern": "^[0-9A-Z -]{4,8}$"}, required=True, description="As text."
)
_CITY = InputVariable("city", schema=_TEXT, required=True)
_COUNTRY = InputVariable("country", schema=_COUNTRIES, default="DE", description="Two letters.")
_SINCE = InputVariable("resident_since", schema=_DATE, description="YYYY-MM-DD.")
_TOLERANCE = InputVariable(
    "tolerance", schema={"type": "number", "minimum": 0, "maximum": 1}, default=0.2, description="0 is strict."
)

_ADDRESS_CHECKER = Agent(
    name="Address checker",
    version=2,
    versions=(
        WorkflowVersion(version=1, inputs=(_STREET, _POSTCODE, _CITY)),
        WorkflowVersion(version=2, published=True, inputs=(_STREET, _POSTCODE, _CITY, _COUNTRY, _SINCE, _TOLERANCE)),
    ),
)

DEFAULT_AGENTS = (_PERMIT_FILER, _INVOICE_COLLECTOR, _ADDRESS_CHECKER)
DEFAULT_PROFILES = ("Clerk A", "Clerk B", "Clerk C", "Night desk 1", "Night desk 2")
DEFAULT_POOLS: Mapping[str, DemoPool] = {
    "Clerks": DemoPool(members=("Clerk A", "Clerk B", "Clerk C")),
    "Night desk": DemoPool(
        members=("Night desk 1", "Night desk 2"),
        strategy=SelectionStrategy.MOST_RECENTLY_USED,
        exclusive=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an ended execution says of itself."""

    reasoning: str
    #: any JSON value; None where there is nothing to show
    result: Any


_FAILURES = (
    "The site answered with an error page three times in a row.",
    "The sign-in page asked for a second factor that the profile does not have.",
    "The page did not finish loading within 60 seconds.",
    "The form rejected the entry without saying which field is wrong.",
)


def report(
    agent: str, inputs: Mapping[str, Any], draw: int, status: ExecutionStatus, outcome: ExecutionOutcome
) -> Report:
    """What an execution with that end reports; the same `draw` reports the same."""
    dice = random.Random(draw ^ 1)
    if status is ExecutionStatus.FAILED:
        return Report(reasoning=dice.choice(_FAILURES), result=None)
    tell = _TELLERS.get(agent, _tell_anything)
    return tell(inputs, dice, outcome == ExecutionOutcome.SUCCESS)


def _tell_permit(inputs: Mapping[str, Any], dice: random.Random, success: bool) -> Report:
    client, kind = inputs.get("client"), inputs.get("permit_type", "building")
    if not success:
        return Report(
            reasoning=f"The office already has an open {kind} application for {client}; nothing was filed.",
            result={"filed": False, "open_application": f"{str(kind)[:1].upper()}-{dice.randrange(10**6):06}"},
        )
    fee = 80 + dice.randrange(12) * 15 + (120 if inputs.get("urgent") else 0)
    return Report(
        reasoning=f"Filled in the {kind} form for {client} and received a confirmation.",
        result={
            "filed": True,
            "permit_number": f"{str(kind)[:1].upper()}-{dice.randrange(10**6):06}",
            "fee": fee,
            "decision_within_days": dice.randrange(10, 90),
        },
    )


def _tell_invoices(inputs: Mapping[str, Any], dice: random.Random, success: bool) -> Report:
    supplier, month = inputs.get("supplier"), inputs.get("month")
    if not success:
        return Report(reasoning=f"{supplier}'s portal lists no invoices for {month}.", result={"invoices": []})
    most = inputs.get("max_invoices")
    count = min(dice.randint(1, 4), most) if isinstance(most, int) and most > 0 else dice.randint(1, 4)
    invoices: list[dict[str, Any]] = [
        {
            "number": f"{month}-{dice.randrange(10**5):05}",
            "amount": dice.randrange(1_000, 500_000) / 100,
            "paid": bool(inputs.get("include_paid", True)) and dice.random() < 0.5,
        }
        for _ in range(count)
    ]
    total = round(sum(invoice["amount"] for invoice in invoices), 2)
    return Report(
        reasoning=f"Downloaded {count} invoice{'s' if count > 1 else ''} of {month} from {supplier}'s portal.",
        result={"invoices": invoices, "total": total},
    )


def _tell_address(inputs: Mapping[str, Any], dice: random.Random, success: bool) -> Report:
    line = f"{inputs.get('street')}, {inputs.get('postcode')} {inputs.get('city')}"
    if not success:
        return Report(
            reasoning=f"The register knows no {line}.",
            result={"deliverable": False, "confidence": dice.randrange(5, 40) / 100},
        )
    return Report(
        reasoning=f"The register confirms {line}.",
        result={
            "deliverable": True,
            "address": {key: inputs.get(key) for key in ("street", "postcode", "city", "country") if key in inputs},
            "confidence": dice.randrange(80, 100) / 100,
        },
    )


def _tell_anything(inputs: Mapping[str, Any], dice: random.Random, success: bool) -> Report:
    reference = f"{dice.randrange(16**8):08x}"
    if not success:
        return Report(
            reasoning="Went through every step, but the site did not confirm the result.",
            result={"done": False, "reference": reference},
        )
    return Report(
        reasoning="Went through every step and received a confirmation.",
        result={"done": True, "reference": reference, "inputs": dict(inputs)},
    )


_TELLERS: Mapping[str, Callable[[Mapping[str, Any], random.Random, bool], Report]] = {
    _PERMIT_FILER.name: _tell_permit,
    _INVOICE_COLLECTOR.name: _tell_invoices,
    _ADDRESS_CHECKER.name: _tell_address,
}
