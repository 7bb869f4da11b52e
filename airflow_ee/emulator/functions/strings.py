"""Texts. Positions count UTF-16 units, as they do on a Java machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import kind_of, registry
from airflow_ee.emulator.memory import check_text
from airflow_ee.emulator.values.numbers import java_text
from airflow_ee.emulator.values.patterns import check_effort, compiled

_SPACES = "".join(map(chr, range(33)))


def text_of(value: Any, function: str) -> str:
    """The text of a text, a number or a truth value; that of other things is not documented."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return java_text(value)
    raise invalid(f"{function}: the text of a {kind_of(value)} is not emulated.")


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def _text(units: bytes) -> str:
    return units.decode("utf-16-be", "surrogatepass")


@registry.implements("String")
def make_string(input: Any) -> str:
    """Anything that has a text."""
    return text_of(input, "String")


@registry.implements("String.cat")
def cat(string1: str, string2: str) -> str:
    """One after the other."""
    check_text(len(string1) + len(string2))
    return string1 + string2


@registry.implements("String.compareTo")
def compare(string1: str, string2: str) -> int:
    """-1, 0 or 1: before, the same, behind."""
    first, second = _units(string1), _units(string2)
    return (first > second) - (first < second)


@registry.implements("String.equals")
def equals(reference: str, target: Any) -> bool:
    """Whether something is the same text."""
    return isinstance(target, str) and target == reference


@registry.implements("String.length")
def length(string: str) -> int:
    """How many UTF-16 units."""
    return len(_units(string)) // 2


@registry.implements("String.slice")
def slice_string(string: str, start: int, end: int | None = None) -> str:
    """A part; negative positions count from the end."""
    if string.isascii():
        return string[start:end]
    units = _units(string)
    size = len(units) // 2
    first, last, _ = slice(start, end).indices(size)
    return _text(units[2 * first : 2 * last])


def _position(string: str, found: int) -> int:
    return found if found < 0 else length(string[:found])


@registry.implements("String.index")
def index(target: str, pattern: str) -> int:
    """Where a part is first, or -1."""
    return _position(target, target.find(pattern))


@registry.implements("String.rindex")
def last_index(target: str, pattern: str) -> int:
    """Where a part is last, or -1."""
    return _position(target, target.rfind(pattern))


@registry.implements("String.trim")
def trim(string: str) -> str:
    """Without the white space at both ends."""
    return string.strip(_SPACES)


@registry.implements("String.toUpperCase")
def upper(string: str) -> str:
    """In capitals."""
    return string.upper()


@registry.implements("String.toLowerCase")
def lower(string: str) -> str:
    """In small letters."""
    return string.lower()


def _pattern(function: str, regex: str, flags: str, known: str) -> re.Pattern[str]:
    for flag in flags:
        if flag not in known:
            raise invalid(f"{function}: Unknown regular expression flag '{flag}'.")
    return compiled(regex, ignore_case="i" in flags)


def _matches(function: str, pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    for found in pattern.finditer(text):
        if found[0] == "":
            # RE2 and Python disagree on where an empty match may follow another.
            raise invalid(f"{function}: repeated matches of nothing by '{pattern.pattern}' are not emulated.")
        yield found


@registry.implements("String.match")
def match(input: str, regex: str, flags: str = "") -> list[str]:
    """The first match with its groups, or with ``g`` every match."""
    pattern = _pattern("String.match", regex, flags, "gi")
    check_effort(pattern, input)
    if "g" in flags:
        return [found[0] for found in _matches("String.match", pattern, input)]
    found = pattern.search(input)
    if found is None:
        return []
    if None in found.groups():
        raise invalid(f"String.match: groups of '{regex}' that match nothing are not emulated.")
    return [found[0], *found.groups()]


@registry.implements("String.replace")
def replace(input: str, regex: str, replacement: str, flags: str = "") -> str:
    """The first match replaced, or with ``g`` every match."""
    pattern = _pattern("String.replace", regex, flags, "gi")
    template = _template(replacement, pattern)
    check_effort(pattern, input)
    found = _matches("String.replace", pattern, input) if "g" in flags else pattern.finditer(input)
    parts, at, letters = [], 0, 0
    for each in found if "g" in flags else islice(found, 1):
        parts += [input[at : each.start()], template(each)]
        letters += len(parts[-1])
        check_text(letters)
        at = each.end()
    return "".join([*parts, input[at:]])


def _template(replacement: str, pattern: re.Pattern[str]) -> Callable[[re.Match[str]], str]:
    """Java's replacement texts: ``$1`` is a group, a backslash takes the next letter as it is."""
    parts: list[str | int] = []
    for word in re.findall(r"\\.|\$\d+|\$\{\w+\}|[^\\$]+|.", replacement, re.DOTALL):
        if word in ("\\", "$") or word.startswith("${"):
            raise invalid(f"String.replace: Illegal group reference in '{replacement}'.")
        if word.startswith("$"):
            parts += _group(word[1:], pattern.groups, replacement)
        else:
            parts.append(word[1:] if word.startswith("\\") else word)
    return lambda found: "".join(part if isinstance(part, str) else found[part] or "" for part in parts)


def _group(digits: str, count: int, replacement: str) -> list[str | int]:
    """The longest number that is a group's; further digits are text."""
    length = len(digits)
    while length > 1 and int(digits[:length]) > count:
        length -= 1
    if int(digits[:length]) > count:
        raise invalid(f"String.replace: No group {digits[:length]} in '{replacement}'.")
    return [int(digits[:length]), digits[length:]]


@registry.implements("String.split")
def split(string: str, regex: str, flags: str = "") -> list[str]:
    """Parts between matches, without the empty ones at the end; between letters for an empty pattern."""
    pattern = _pattern("String.split", regex, flags, "i")
    if string == "":
        raise invalid("String.split: the parts of an empty text are not emulated.")
    if regex == "":
        return list(string)
    check_effort(pattern, string)
    parts, at = [], 0
    for found in _matches("String.split", pattern, string):
        parts.append(string[at : found.start()])
        at = found.end()
    parts.append(string[at:])
    while parts and parts[-1] == "":
        parts.pop()
    return parts


@registry.implements("String.encodeJSON")
def encode_json(object: Any) -> str:
    """JSON without spaces, its keys in alphabetical order."""
    return json.dumps(_plain(object), ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")) or value != value:  # noqa: PLR0124 -- what is no number differs from itself
            raise invalid(f"String.encodeJSON: {java_text(value)} has no JSON form.")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    raise invalid(f"String.encodeJSON: a {kind_of(value)} has no JSON form.")


@registry.implements("String.decodeJSON")
def decode_json(string: str) -> Any:
    """The value of a JSON text."""
    try:
        return json.loads(string, parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise invalid(f"String.decodeJSON: {problem}.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
