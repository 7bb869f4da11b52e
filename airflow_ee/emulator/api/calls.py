"""What passes between the server and a method: a checked call in, an answer out."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_ee.emulator.errors import EmulatorError, invalid

_TOKEN_VERSION = 1


@dataclass(frozen=True, slots=True)
class SizeRule:
    """A scripted refusal of every request for more than so many pixels."""

    pixels: int
    message: str


class SizeRefusal(EmulatorError):
    """What a :class:`SizeRule` answers."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose method is known and whose body fits its message."""

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    size_rules: tuple[SizeRule, ...] = ()

    @property
    def project(self) -> str:
        """The project's id."""
        first = next(value for value in self.path.values() if value.startswith("projects/"))
        return first.split("/")[1]

    def whole(self, name: str, default: int) -> int:
        """A whole number of the query string."""
        text = self.query.get(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise invalid(f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
        return int(text)

    def check_size(self, pixels: int) -> None:
        """Refuse what a scripted rule finds too large."""
        for rule in self.size_rules:
            if pixels > rule.pixels:
                raise SizeRefusal("INVALID_ARGUMENT", rule.message)


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON, or raw bytes with their type; and which imagery was touched."""

    body: Any
    marker: str = "true"
    content_type: str = "application/json; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_json(self) -> bool:
        """Whether the body is yet to be written as JSON."""
        return not isinstance(self.body, bytes)


def page(items: Iterable[Any], call: Call, *, default_size: int) -> tuple[list[Any], str | None]:
    """The part of a list that ``pageSize`` and ``pageToken`` ask for, and the token of the next part.

    A list that is made while it is read is read no further than that. Both may come in the query or in the body. A token is only good for the list that it was made for.
    """
    asked = call.body.get("pageSize") or call.whole("pageSize", default_size) or default_size
    if asked < 0:
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), {asked}")
    size = min(asked, default_size)
    token = call.body.get("pageToken") or call.query.get("pageToken", "")
    seal = _seal(call)
    start = _start_of(token, seal) if token else 0
    part = list(islice(items, start, start + size + 1))
    return part[:size], _token(start + size, seal) if len(part) > size else None


def _seal(call: Call) -> str:
    """What identifies a list: everything that was asked except for the page."""
    left_out = ("pageSize", "pageToken", "key", "access_token", "oauth_token", "prettyPrint", "fields", "alt")
    query = {name: value for name, value in call.query.items() if name not in left_out}
    body = {name: value for name, value in call.body.items() if name not in (*left_out, "workloadTag")}
    text = json.dumps([call.method, dict(call.path), query, body], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _token(start: int, seal: str) -> str:
    text = json.dumps([_TOKEN_VERSION, start, seal], separators=(",", ":"))
    check = hashlib.sha256(text.encode()).digest()[:6]
    return base64.urlsafe_b64encode(check + text.encode()).decode().rstrip("=")


def _start_of(token: str, seal: str) -> int:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        check, text = raw[:6], raw[6:]
        version, start, sealed = json.loads(text)
    except (ValueError, TypeError):
        raise invalid(f"Invalid page token: {token[:200]}") from None
    good = check == hashlib.sha256(text).digest()[:6] and (version, sealed) == (_TOKEN_VERSION, seal)
    if not good or not isinstance(start, int) or start < 0:
        raise invalid(f"Invalid page token: {token[:200]}")
    return start
