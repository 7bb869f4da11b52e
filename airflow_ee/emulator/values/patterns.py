"""Regular expressions of the service's dialect (RE2), run by Python's ``re``. What the two read differently is refused."""

from __future__ import annotations

import re
from functools import lru_cache
from math import comb

from airflow_ee.emulator.errors import invalid

MAX_WAYS = 10**9
"""Ways to match that can be tried within some seconds."""

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\\x00-\\x7F", "blank": "\\t ", "cntrl": "\\x00-\\x1F\\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_FOREIGN = re.compile(r"\(\?(?:[=!>#(]|<[=!]|P[=>])|\\[1-9]|[*+?}]\+|\(\?[a-zA-Z]*m|\{,")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|\(\?(?=[a-z:])|.", re.DOTALL)
_ESCAPES = {"z": r"\Z", "A": r"\A", "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]"}
_UNKNOWN_ESCAPES = "pPQECZuUNGXRhHkg"


@lru_cache(maxsize=256)
def compiled(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """A pattern that finds what RE2 would find.

    >>> compiled("[[:digit:]]+").findall("a12b3")
    ['12', '3']
    """
    found = _FOREIGN.search(pattern)
    if found:
        raise invalid(f"Invalid regular expression '{pattern}': '{found[0]}' is not supported.")
    try:
        return re.compile(_translated(pattern), re.ASCII | (re.IGNORECASE if ignore_case else 0))
    except (re.error, OverflowError, RecursionError) as problem:
        raise invalid(f"Invalid regular expression '{pattern}': {problem}.") from None


def fully(pattern: str, text: str) -> bool:
    """Whether a pattern matches a whole text."""
    found = compiled(pattern)
    check_effort(found, text)
    return found.fullmatch(text) is not None


def check_effort(pattern: re.Pattern[str], text: str) -> None:
    """Refuse what Python, which tries one way after another, could need hours for; RE2 goes all ways at once."""
    repeats, nested = _repeats(pattern.pattern)
    ways = 2 ** min(len(text), 64) if nested else comb(len(text) + repeats + 1, repeats + 1)
    if (repeats or nested) and ways > MAX_WAYS:
        shown = pattern.pattern[:100]
        raise invalid(f"The regular expression '{shown}' on a text of {len(text)} letters is not emulated.")


@lru_cache(maxsize=256)
def _repeats(pattern: str) -> tuple[int, bool]:
    """How many repetitions without an end there are, and whether one repeats what has several ways to match."""
    repeats, nested = 0, False
    groups, closed = [False], False
    for token in _TOKEN.findall(pattern):
        if token in ("(", "(?"):
            groups.append(False)
        elif token == "|":
            groups[-1] = True
        elif token[0] in "*+?{" and token != "{":
            nested |= closed and token not in ("?", "{0,1}", "{1}")
            repeats += token[0] in "*+" or token.endswith(",}") or len(token) > 4
            groups[-1] = True
        ambiguous = token == ")" and len(groups) > 1 and groups.pop()
        groups[-1] |= ambiguous
        closed = ambiguous
    return repeats, nested


def _translated(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\" and at + 1 < len(pattern):
            parts.append(_escape(pattern, pattern[at + 1]))
            at += 2
        elif letter == "[":
            text, at = _class(pattern, at)
            parts.append(text)
        else:
            # Python's $ also matches before a line break at the end.
            parts.append(r"\Z" if letter == "$" else letter)
            at += 1
    return "".join(parts)


def _escape(pattern: str, letter: str) -> str:
    if letter in _UNKNOWN_ESCAPES:
        raise invalid(f"The regular expression '{pattern}' has '\\{letter}', which is not emulated.")
    return _ESCAPES.get(letter, "\\" + letter)


def _class(pattern: str, start: int) -> tuple[str, int]:
    """A bracket expression in Python's words, and where it ends."""
    at = start + 1
    text = "["
    if pattern[at : at + 1] == "^":
        text, at = "[^", at + 1
    first = True
    while at < len(pattern) and (first or pattern[at] != "]"):
        first = False
        named = re.compile(r"\[:(\w+):\]").match(pattern, at)
        if named and named[1] in _POSIX:
            text, at = text + _POSIX[named[1]], named.end()
        elif pattern[at] == "\\":
            if pattern[at + 1 : at + 2] in ("s", "S", *_UNKNOWN_ESCAPES):
                raise invalid(f"The regular expression '{pattern}' has an escape in brackets that is not emulated.")
            text, at = text + pattern[at : at + 2], at + 2
        else:
            text, at = text + ("\\" if pattern[at] in "[]&~|" else "") + pattern[at], at + 1
    if at >= len(pattern):
        raise invalid(f"Invalid regular expression '{pattern}': missing closing ].")
    return text + "]", at + 1
