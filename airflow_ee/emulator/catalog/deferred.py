"""Properties that are worked out when somebody looks at them: lists of made-up images stay quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Deferred(Mapping[str, Any]):
    """A mapping that is made on first use.

    >>> Deferred(lambda: {"CLOUD_COVER": 12.5})["CLOUD_COVER"]
    12.5
    """

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make
        self._made: Mapping[str, Any] | None = None

    def _known(self) -> Mapping[str, Any]:
        # Two threads may make it twice; both make the same.
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key: str) -> Any:
        return self._known()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())
