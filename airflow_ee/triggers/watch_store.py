"""Where a watch on imagery keeps what it has told: in Airflow's own store of an asset's state, or in a file."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol, cast

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from airflow_ee.core.sinks.base import Location

__all__ = ["AssetWatchStore", "FileWatchStore", "WatchStore"]


class WatchStore(Protocol):
    """A place for one JSON object, which outlives the process."""

    async def load(self) -> dict[str, Any] | None:
        """Return what was saved last; None: nothing ever was."""

    async def save(self, value: dict[str, Any]) -> None:
        """
        Keep a value in the place of the last one; whole or not at all.

        :param value: JSON values.
        """


class AssetWatchStore:
    """
    Airflow's store of an asset's state, in its metadata database (Airflow 3.3 and newer).

    :param store: What Airflow gives a trigger that watches one asset.
    :param key: Name of the value.
    """

    def __init__(self, store: Any, key: str) -> None:
        self._store = store
        self._key = key

    async def load(self) -> dict[str, Any] | None:
        """Return what was saved last; None: nothing ever was."""
        # Airflow 3.3.0 has the blocking methods only.
        get = getattr(self._store, "aget", None) or sync_to_async(self._store.get)
        try:
            return cast("dict[str, Any] | None", await get(self._key))
        except ValueError as several:
            raise ValueError(
                "a trigger of several assets has no state of its own in Airflow: give state_uri"
            ) from several

    async def save(self, value: dict[str, Any]) -> None:
        """
        Keep a value in the place of the last one.

        :param value: JSON values.
        """
        put = getattr(self._store, "aset", None) or sync_to_async(self._store.set)
        await put(self._key, value)


class FileWatchStore:
    """
    A file in a folder or under a prefix of an object store.

    :param folder: Local path or URL.
    :param conn_id: Airflow connection for an object store.
    :param name: Name of the file, without suffix.
    """

    def __init__(self, folder: str, conn_id: str | None, name: str) -> None:
        self._folder = folder
        self._conn_id = conn_id
        self._name = name
        self._file: Location | None = None

    async def load(self) -> dict[str, Any] | None:
        """Return what was saved last; None: nothing ever was."""
        content = await asyncio.to_thread(_content, await self._place())
        return None if content is None else cast("dict[str, Any]", json.loads(content))

    async def save(self, value: dict[str, Any]) -> None:
        """
        Keep a value in the place of the last one.

        :param value: JSON values.
        """
        content = json.dumps(value, separators=(",", ":")).encode()
        await asyncio.to_thread((await self._place()).write_bytes, content)

    async def _place(self) -> Location:
        if self._file is None:
            # Through asgiref, not a bare thread: Airflow's way to connections is bound to the triggerer's loop.
            self._file = await sync_to_async(self._find_place)()
        return self._file

    def _find_place(self) -> Location:
        from airflow_ee.hooks.locations import location

        return location(self._folder, self._conn_id) / f"{self._name}.json"


def _content(file: Location) -> bytes | None:
    return file.read_bytes() if file.exists() else None
