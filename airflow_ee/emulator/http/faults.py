"""Faults from their texts: what goes wrong, how often, and for which requests."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from airflow_ee.emulator.api.calls import SizeRule
from airflow_ee.emulator.errors import RPC_NUMBER, EmulatorError, invalid
from airflow_ee.emulator.http.refusals import REFUSALS, Refuse, in_words, later, permission_denied

Plain = Literal[
    "lose-response", "drop", "reset", "truncate", "stall", "corrupt", "scramble", "wrong-dtype", "wrong-header", "wrong-length",
    "wrong-shape", "hang", "stuck",
]  # fmt: skip
Action = Literal[Plain, "refuse", "page", "content-type", "delay", "fail", "size"]
OPERATION_ACTIONS = ("fail", "stuck")
"""Faults of the work that a call starts, not of the call."""

MAX_TIMES = 10_000

PAGES = {"500": "Internal Server Error", "502": "Bad Gateway", "503": "Service Unavailable", "504": "Gateway Timeout"}
"""Statuses that a proxy may answer with a page of its own, and their titles."""

_TOO_LARGE = {"memory": "User memory limit exceeded.", "timeout": "Computation timed out."}
_HOW_OFTEN = re.compile(r"\s+(?:always|times=(\d+))$")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    text: str
    """What the script said."""
    action: Action
    refuse: Refuse | None = None
    error: EmulatorError | None = None
    """How the export will fail."""
    seconds: float = 0.0
    content_type: str = ""
    size: SizeRule | None = None
    status: int = 200
    times: int | None = 1
    """How many calls it happens to; None for all of them, until it is cleared."""


def parse_fault(text: str) -> Fault:
    """A fault from its text.

    >>> parse_fault("delay=2.5").seconds, parse_fault("503 times=3").times, parse_fault("memory over=65536px").times
    (2.5, 3, None)
    """
    often = _HOW_OFTEN.search(text)
    what = text[: often.start()] if often else text
    times = 1 if often is None else None if often[1] is None else int(often[1])
    if times is not None and not 1 <= times <= MAX_TIMES:
        raise invalid(f"fault '{text}': times must be between 1 and {MAX_TIMES}")
    head, *rest = what.split(None, 1) or [""]
    return _fault(text, head, rest[0] if rest else "", times)


def _fault(text: str, head: str, tail: str, times: int | None) -> Fault:
    if head in _TOO_LARGE and _option(tail, "over"):
        return Fault(text, "size", size=_size_rule(text, head, tail), times=None)
    if head in get_args(Plain) and not tail:
        return Fault(text, head, times=times)  # type: ignore[arg-type]
    if head.startswith("delay=") and not tail:
        return Fault(text, "delay", seconds=_seconds(text, head), times=times)
    if head.startswith("content-type=") and not tail:
        return Fault(text, "content-type", content_type=head.removeprefix("content-type="), times=times)
    if head == "fail":
        return Fault(text, "fail", error=_operation_error(tail), times=times)
    if head in PAGES and tail == "html":
        return Fault(text, "page", status=int(head), times=times)
    if refuse := _refusal(head, tail):
        return Fault(text, "refuse", refuse=refuse, times=times)
    raise invalid(f"unknown fault '{text}': see docs/emulator.md for those there are")


def _refusal(status: str, tail: str) -> Refuse | None:
    wait = _option(tail, "retry-after")
    detail = re.sub(r"\s*retry-after=\S+", "", tail)
    permission = re.fullmatch(r"permission=(\S+)", detail)
    if status == "403" and permission:
        refuse: Refuse | None = permission_denied(permission[1])
    elif " " in detail:  # a sentence, not a word that may be a slip
        refuse = in_words(status, detail)
    else:
        refuse = REFUSALS.get((status, detail))
    return later(refuse, wait) if refuse and wait else refuse


def _size_rule(text: str, head: str, tail: str) -> SizeRule:
    pixels = (_option(tail, "over") or "").removesuffix("px")
    if not pixels.isdigit():
        raise invalid(f"fault '{text}': expected over=PIXELSpx")
    return SizeRule(int(pixels), _TOO_LARGE[head])


def _seconds(text: str, head: str) -> float:
    try:
        seconds = float(head.removeprefix("delay="))
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < math.inf:
        raise invalid(f"fault '{text}': expected delay=SECONDS")
    return seconds


def error_page(status: int) -> bytes:
    """The page of a proxy that found no server behind it: no JSON at all."""
    title = f"Error {status} ({PAGES[str(status)]})!!1"
    advice = (
        "The server encountered a temporary error and could not complete your request. Please try again in 30 seconds."
    )
    return f"<!DOCTYPE html>\n<html lang=en>\n<title>{title}</title>\n<p><b>{status}.</b> {advice}\n".encode()


def _option(text: str, name: str) -> str | None:
    found = re.search(rf"{name}=(\S+)", text)
    return found[1] if found else None


def _operation_error(tail: str) -> EmulatorError:
    """``fail code=INTERNAL An internal error ...``; without a code it is INVALID_ARGUMENT."""
    code = _option(tail, "code") or "INVALID_ARGUMENT"
    if code not in RPC_NUMBER:
        raise invalid(f"fault 'fail {tail}': code must be one of {', '.join(RPC_NUMBER)}")
    message = re.sub(r"code=\S+\s*", "", tail).strip()
    return EmulatorError(code, message or "Execution failed; out of memory.")
