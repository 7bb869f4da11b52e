"""Files that are done but not yet delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[float], None]
"""Is told the share that is done, and may raise to stop the work."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A finished file, and how its name ends."""

    path: Path
    suffix: str
    """What follows the prefix: ``.csv``, ``-0000000000-0000000256.tif``."""
    content_type: str


def nowhere(_share: float) -> None:
    """Progress that nobody asks for."""
