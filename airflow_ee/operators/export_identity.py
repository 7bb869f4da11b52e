"""What tells one export from another, in ids and descriptions that the service takes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ExportIdentity"]

LONGEST_DESCRIPTION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportIdentity:
    """What makes two exports the same: the task instance and the content, but not Airflow's count of tries.

    >>> identity = ExportIdentity.of("", ("dag", "task", "run", -1), {"expression": 1})
    >>> identity.describe("NDVI of June", 1)
    'NDVI-of-June-ae-4518160d18b6-73267773e952-1'
    >>> identity.request_id(1) == identity.request_id(2)
    False
    """

    task: str
    """Digest of the namespace and the task instance."""
    content: str
    """Digest of what is exported and where to."""

    @classmethod
    def of(cls, namespace: str, instance: Sequence[object], content: Mapping[str, Any]) -> ExportIdentity:
        """The identity of a task instance's export."""
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return cls(task=_digest("\x1f".join(map(str, (namespace, *instance)))), content=_digest(text))

    @property
    def mark(self) -> str:
        """What a description ends in, before the attempt's number: a list of operations shows no requestId."""
        return f"{self.task_mark}-{self.content[:12]}"

    @property
    def task_mark(self) -> str:
        """The part of the mark that all exports of the task instance share."""
        return f"ae-{self.task[:12]}"

    def request_id(self, number: int) -> str:
        """The id under which the service starts one operation only."""
        return "airflow-" + _digest(f"{self.task}\x1f{self.content}\x1f{number}")[:48]

    def describe(self, words: str, number: int) -> str:
        """A description that tells the export, and its ``number``-th attempt, in a list."""
        ending = f"-{self.mark}-{number}"
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", words).strip("-") or "export"
        return plain[: LONGEST_DESCRIPTION - len(ending)] + ending


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
