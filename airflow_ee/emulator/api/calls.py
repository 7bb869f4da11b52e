"""What passes between the server and a method: a checked call in, an answer out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_ee.emulator.errors import invalid


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose method is known and whose body fits its message."""

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

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
        if not text.isdigit():
            raise invalid(f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
        return int(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON, or raw bytes with their type; and which imagery was touched."""

    body: Any
    marker: str = "true"
    content_type: str = "application/json; charset=UTF-8"

    @property
    def is_json(self) -> bool:
        """Whether the body is yet to be written as JSON."""
        return not isinstance(self.body, bytes)


def page(items: list[Any], call: Call, *, default_size: int) -> tuple[list[Any], str | None]:
    """The part of a list that ``pageSize`` and ``pageToken`` ask for, and the token of the next part."""
    size = min(call.whole("pageSize", default_size) or default_size, default_size)
    token = call.query.get("pageToken", "")
    start = _start_of(token) if token else 0
    rest = start + size < len(items)
    return items[start : start + size], f"p{start + size}" if rest else None


def _start_of(token: str) -> int:
    if not token.startswith("p") or not token[1:].isdigit():
        raise invalid(f"Invalid page token: {token}")
    return int(token[1:])
