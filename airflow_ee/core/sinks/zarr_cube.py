"""A Zarr store that grows by date: dates arrive in any order, from several runs at once, and make the same bytes.

Chunks are named by the place of their date in ``time``, which is always in order. So a date that comes after all others is added to
the store as it is, and a date that belongs between others moves the later ones. Runs take turns by an exclusive lock, for the short
while in which finished chunks are given their place; chunks themselves are made without it.

What readers see, also when the writer is killed at any moment:

- A date at the end: chunks first, then ``time``, then the root's metadata in one step. Readers see the date with all of its pixels or
  not at all.
- A date between others, or one that is written again, on a disk: the whole store is built anew beside the old one from hard links, and
  both are exchanged in one step (Linux; where the filesystem cannot, NFS for example, there is no store between two renames).
- The same on an object store, where nothing can be renamed: the later dates are first copied aside, then taken out of sight, then added
  again at their new places. Meanwhile readers see the earlier dates only. A writer that was killed leaves it so; the next one, of
  whatever date, puts the dates back.
- A reader that opened the cube before a date was put between others, and reads pixels afterwards, goes by places that hold for the
  old store only. Zarr has no remedy: open the cube again, or keep readers away while old dates are filled in.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.folders import (
    beside,
    copy_files,
    list_names,
    make_folders,
    put_folder,
    remove_folder,
    restore_folder,
)
from airflow_ee.core.sinks.layout import RasterLayout
from airflow_ee.core.sinks.lock import ExclusiveLock, HeldLock, LockSettings
from airflow_ee.core.sinks.zarr_chunks import variable_names
from airflow_ee.core.sinks.zarr_metadata import ROOT, StoreContents, read_contents

__all__ = ["StagedDate", "ZarrCube", "chunk_indices", "chunk_shape", "date_key", "hidden_folder", "write_metadata"]

COPIES_AT_ONCE = 256
_TAGS = "tags.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDate:
    """Finished chunks of one date that no reader sees yet."""

    root: Location
    """Folder of the chunks, ``<variable>/c/0/<row>/<column>``."""
    tags: Mapping[str, str]
    """Provenance of this date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrCube:
    """A Zarr v3 store of rasters of one layout, one for each of several times.

    Provenance is kept by date: tags that all dates share are attributes of the store, the others are in its attribute
    ``provenance``, JSON by time.
    """

    location: Location
    layout: RasterLayout
    """Its tags are of no concern here: each date has its own."""
    chunk: int = 512
    """Rows and columns of a chunk, where the grid has so many."""
    lock: LockSettings = field(default_factory=LockSettings)

    @property
    def times(self) -> tuple[datetime, ...]:
        """Dates that readers see, in order.

        Raises
        ------
        ValueError
            When another kind of store is there: another grid, other bands, types or attributes.
        """
        return tuple(self._contents().dates or {})

    def check(self, tags: Mapping[str, str]) -> None:
        """Refuse a date before its pixels are asked for.

        Raises
        ------
        ValueError
            When another kind of store is there, or ``tags`` say that the date is simulated and the cube's are not, or the reverse.
        """
        _require_one_kind([*(self._contents().dates or {}).values(), tags])

    def add(self, staged: Mapping[datetime, StagedDate]) -> None:
        """Show finished dates to readers; a date that is there already is replaced. Chunks are taken over, not moved.

        Raises
        ------
        ValueError
            When the cube has another layout, or simulated dates would stand beside real ones.
        TimeoutError
            When another run holds the cube's lock for too long.
        LockLost
            When this run stood still for so long that another one took the lock.
        """
        with ExclusiveLock(self._hidden, self.lock).held() as held:
            self._recover()
            before = self._contents()
            every = {**self._set_aside(before), **staged}
            if every:
                self._merge(before, every, held)

    @property
    def _hidden(self) -> Location:
        return hidden_folder(self.location)

    @property
    def _aside(self) -> Location:
        return self._hidden / "later"

    def _contents(self) -> StoreContents:
        shape = chunk_shape(self.layout.grid, self.chunk)
        if not (self.location / ROOT).exists():
            return StoreContents(raster=self.layout, chunk=shape, dates={})
        try:
            return read_contents(lambda path: (self.location / path).read_bytes(), self.layout, shape)
        except ValueError as problem:
            raise ValueError(f"{self.location.url} cannot be added to. {problem}. Write to another place.") from None

    def _recover(self) -> None:
        """Remove what a killed writer left, and undo what it had half done."""
        if self.location.is_local:
            restore_folder(self.location)
        for name in list_names(self._hidden):
            if name.startswith("next-"):
                remove_folder(self._hidden / name)
            elif name.endswith(".part"):
                self.location.filesystem.rm_file((self._hidden / name).path)

    def _merge(self, before: StoreContents, staged: Mapping[datetime, StagedDate], held: HeldLock) -> None:
        there = before.dates or {}
        dates = {**there, **{time: date.tags for time, date in staged.items()}}
        after = replace(before, dates=dict(sorted(dates.items())))
        _require_one_kind(list(dates.values()))
        if there and min(staged) > max(there):
            self._append(len(there), after, staged, held)
        elif self.location.is_local:
            self._rebuild(list(there), after, staged, held)
        else:
            kept, staged = self._take_back(before, staged, held)
            self._append(kept, after, staged, held)
            remove_folder(self._aside)

    def _append(self, count: int, after: StoreContents, staged: Mapping[datetime, StagedDate], held: HeldLock) -> None:
        """Add dates after the first ``count``, which stay as they are."""
        held.keep()
        self._clear_from(count)
        for index, time in enumerate(after.dates or {}):
            if index >= count:
                self._copy_date(staged[time].root, 0, self.location, index, held)
        held.keep()
        # A killed writer's half a file must not stay in a store that readers see.
        write_metadata(self.location, after, scratch=self._hidden)

    def _clear_from(self, count: int) -> None:
        """Remove chunks that no reader sees: a killed writer left them, or they were taken out of sight."""
        for name in variable_names(self.layout):
            folder = self.location / name / "c"
            for index in list_names(folder):
                if index.isdecimal() and int(index) >= count:
                    remove_folder(folder / index)

    def _rebuild(
        self, there: list[datetime], after: StoreContents, staged: Mapping[datetime, StagedDate], held: HeldLock
    ) -> None:
        """Build the whole store beside the old one and exchange them."""
        new = self._hidden / f"next-{secrets.token_hex(4)}"
        try:
            for index, time in enumerate(after.dates or {}):
                if time in staged:
                    self._copy_date(staged[time].root, 0, new, index, held)
                else:
                    self._copy_date(self.location, there.index(time), new, index, held)
            write_metadata(new, after)
            held.keep()
            put_folder(new, self.location)
        finally:
            remove_folder(new)

    def _take_back(
        self, before: StoreContents, staged: Mapping[datetime, StagedDate], held: HeldLock
    ) -> tuple[int, dict[datetime, StagedDate]]:
        """Copy aside all dates that come after the first of ``staged``, itself included, and take them out of sight."""
        there = before.dates or {}
        kept = {time: tags for time, tags in there.items() if time < min(staged)}
        moving: dict[datetime, StagedDate] = {}
        for index, (time, tags) in enumerate(there.items()):
            if time not in kept and time not in staged:
                moving[time] = self._put_aside(time, StagedDate(root=self.location, tags=tags), index, held)
        for time, date in staged.items():
            moving[time] = self._put_aside(time, date, 0, held)
        held.keep()
        if len(kept) < len(there):
            # Only the root: it alone says how many dates there are, and what else is there still fits the kept ones.
            (self.location / ROOT).put(replace(before, dates=kept).files()[ROOT])
        return len(kept), moving

    def _put_aside(self, time: datetime, date: StagedDate, index: int, held: HeldLock) -> StagedDate:
        target = self._aside / date_key(time)
        if date.root != target:
            remove_folder(target)
            self._copy_date(date.root, index, target, 0, held)
            # Comes last: a folder without it was not finished.
            (target / _TAGS).put(json.dumps(dict(date.tags), sort_keys=True).encode())
        return StagedDate(root=target, tags=date.tags)

    def _set_aside(self, before: StoreContents) -> dict[datetime, StagedDate]:
        """Dates that a killed writer took out of sight; what else it copied aside is removed."""
        found = {}
        for name in list_names(self._aside):
            folder, time = self._aside / name, _time_of(name)
            if time not in (before.dates or {}) and (folder / _TAGS).exists():
                found[time] = StagedDate(root=folder, tags=json.loads((folder / _TAGS).read_bytes()))
            else:
                remove_folder(folder)
        return found

    def _copy_date(self, source: Location, index: int, target: Location, new_index: int, held: HeldLock) -> None:
        pairs = [
            (source / f"{name}/c/{index}/{chunk}", target / f"{name}/c/{new_index}/{chunk}")
            for name in variable_names(self.layout)
            for chunk in chunk_indices(self.layout.grid, self.chunk)
        ]
        for start in range(0, len(pairs), COPIES_AT_ONCE):
            held.keep()
            copy_files(pairs[start : start + COPIES_AT_ONCE])


def hidden_folder(location: Location) -> Location:
    """Where chunks wait that no reader sees yet, beside the store; a cube's lock stays in it."""
    return beside(location, f".{location.name}.parts")


def chunk_shape(grid: PixelGrid, side: int) -> tuple[int, int]:
    """Rows and columns of a chunk: ``side``, or the grid's own where it has fewer."""
    return min(side, grid.height), min(side, grid.width)


def chunk_indices(grid: PixelGrid, side: int) -> Iterator[str]:
    """Names of the chunks of one variable and date, ``<row>/<column>``, row by row.

    >>> grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 0), width=20, height=10)
    >>> list(chunk_indices(grid, 16))
    ['0/0', '0/1']
    """
    for row in range(-(-grid.height // side)):
        for col in range(-(-grid.width // side)):
            yield f"{row}/{col}"


def date_key(time: datetime) -> str:
    """Name of a date's folder.

    >>> date_key(datetime(2020, 6, 9, 10, 30, tzinfo=UTC))
    '2020-06-09T103000Z'
    """
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z").replace(":", "")


def write_metadata(root: Location, contents: StoreContents, *, scratch: Location | None = None) -> None:
    """Write every file of a store but the chunks of its bands; the one that makes them visible comes last."""
    files = contents.files()
    if root.is_local:
        make_folders({(root / path).path.rpartition("/")[0] for path in files})
    for path, content in files.items():
        (root / path).put(content, scratch=scratch)


def _time_of(key: str) -> datetime:
    return datetime.strptime(key, "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)


def _require_one_kind(tags: Sequence[Mapping[str, str]]) -> None:
    if len({each.get("simulated") for each in tags}) > 1:
        raise ValueError("a cube holds simulated dates or real ones, not both: write to another place")
