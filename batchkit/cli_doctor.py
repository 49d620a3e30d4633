"""`batchkit doctor`: is everything as it should be, and what to do where it is not."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from batchkit.cli_watch import opened
from batchkit.doctor import Finding, examine, versions
from batchkit.errors import BatchkitError
from batchkit.terminal import Exit, pairs, say

__all__ = ["doctor"]


def doctor(args: Namespace) -> Exit:
    """Look at everything, a line each; what needs something done says what."""
    findings = [versions()]
    try:
        with opened(args.store) as ws:
            findings += examine(ws)
    except BatchkitError as error:
        findings.append(Finding(subject="settings", text="They do not make a workspace.", advice=str(error)))
    if args.json:
        say(json.dumps([asdict(finding) | {"good": finding.good} for finding in findings], indent=2), wrap=False)
    else:
        say(pairs(_lines(findings)))
    return Exit.OK if all(finding.good for finding in findings) else Exit.UNAVAILABLE


def _lines(findings: list[Finding]) -> list[tuple[str, str]]:
    """Two columns: what it is with how it stands, and in words why."""
    lines = []
    for finding in findings:
        lines.append((f"{'good' if finding.good else 'LOOK':<6}{finding.subject}", finding.text))
        if finding.advice:
            lines.append(("", finding.advice))
    return lines
