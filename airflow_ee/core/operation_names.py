"""Which operations a user means: names, ids, what exports returned, and what templates make of these."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from airflow_ee.core.resources import Operation
from airflow_ee.core.wire import operation_name

__all__ = ["matching_operations", "operation_names"]


def operation_names(project: str, value: Any) -> list[str]:
    """Full names, without repetition, of what an argument ``operation_name`` means.

    Parameters
    ----------
    project
        Of bare ids.
    value
        A full name, a bare id, what an export operator returned, a list of these, or the text that a template made of one.

    Examples
    --------
    >>> operation_names("demo-project", ["ABC", {"operation": "projects/p/operations/DEF"}])
    ['projects/demo-project/operations/ABC', 'projects/p/operations/DEF']

    Raises
    ------
    ValueError
        When it is none of these.
    """
    return list(dict.fromkeys(operation_name(project, text) for text in _texts(value)))


def matching_operations(operations: Iterable[Operation], pattern: str, *, since: str | None = None) -> list[Operation]:
    """The operations whose description has a pattern as in names of files, the oldest first.

    Parameters
    ----------
    since
        Only those that were created then or later: ISO 8601 with a zone, or UTC.

    Examples
    --------
    >>> listed = [Operation(name=f"projects/p/operations/{n}", description=n) for n in ("ndvi-1", "evi-1")]
    >>> [operation.id for operation in matching_operations(listed, "ndvi-*")]
    ['ndvi-1']
    """
    earliest = None if since is None else _moment(since)
    found = [
        operation
        for operation in operations
        if fnmatchcase(operation.description, pattern)
        and (earliest is None or (operation.create_time is not None and _moment(operation.create_time) >= earliest))
    ]
    return sorted(found, key=lambda operation: operation.create_time or "")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _texts(value: Any) -> Iterable[str]:
    """Names in a name, a result of an export, a list of these, or the text that a template made of one."""
    if isinstance(value, str):
        if value.strip()[:1] in {"[", "{"}:
            return _texts(_parsed(value))
        return [value.strip()]
    if isinstance(value, Mapping):
        if not isinstance(value.get("operation"), str):
            raise ValueError(
                f"operation_name: expected what an export returned, got keys {sorted(map(str, value))[:10]}"
            )
        return [value["operation"]]
    if isinstance(value, Iterable):
        return [text for item in value for text in _texts(item)]
    raise ValueError(
        f"operation_name must be a name, an id, what an export returned, or a list of these, got {type(value).__name__}"
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    try:
        # Templates write a list or dict as Python does.
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise ValueError(f"operation_name is neither JSON nor a name, got {text[:80]!r}") from None
