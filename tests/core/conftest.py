"""Every test of the core begins with an empty object store."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem


@pytest.fixture(autouse=True)
def empty_memory() -> None:
    """Nothing that another test left in fsspec's memory, which is one for the whole process."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
