"""Small files that are whole whenever they are there, even after the power has failed."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all. One writer at a time for each path."""
    # A dot in front: no asset's own name begins with one.
    draft = path.with_name(f".{path.name}.writing")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else the name can reach the disk before the content does
    os.replace(draft, path)
