"""The table of a time series: rows, part files that no two runs share, and the merged table made from them.

Each band of an image and a region is one part file with a name of its own, so that runs side by side, reruns and backfills
write the same files in any order. The merged table is made from all parts, and made again while parts appear, so the run that
ends last leaves a table that holds them all.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from airflow_ee.core.sinks.base import Location

__all__ = ["SCHEMA", "PartRecord", "SeriesTable"]

MAXIMUM_IMAGE_IDS = 20
MAXIMUM_MERGES = 100
log = logging.getLogger(__name__)
_MOMENT = pa.timestamp("us", tz="UTC")
_FIELDS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("region_id", pa.string(), "region"),
    ("band", pa.string(), "band, or index that is a band"),
    ("interval_start", _MOMENT, "beginning of the time that the row stands for"),
    ("interval_end", _MOMENT, "its end, exclusive"),
    ("image_start", _MOMENT, "beginning of the image's own time"),
    ("image_end", _MOMENT, "its end, exclusive"),
    ("observation_date", pa.date32(), "day on which the median pixel was observed"),
    ("image_count", pa.int32(), "images in the row"),
    ("image_ids", pa.list_(pa.string()), f"their ids, at most {MAXIMUM_IMAGE_IDS}"),
    ("mean", pa.float64(), "weighted mean, in `unit`"),
    ("std", pa.float64(), "weighted standard deviation of the population, in `unit`"),
    ("min", pa.float64(), "lowest value, in `unit`"),
    ("max", pa.float64(), "highest value, in `unit`"),
    ("weight_sum", pa.float64(), "sum of the weights of valid pixels"),
    ("valid_count", pa.int64(), "valid pixels with a weight above 0"),
    ("pixel_count", pa.int64(), "pixels with a weight above 0"),
    ("valid_fraction", pa.float64(), "weight of valid pixels over that of all"),
    ("unit", pa.string(), "unit of mean, std, min and max; 1 is a ratio"),
    ("source_update_time", pa.string(), "when the service last changed the image"),
    ("source", pa.string(), "collection"),
    ("simulated", pa.bool_(), "whether the pixels are an emulator's simulation"),
)
SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": text}) for name, kind, text in _FIELDS])
"""Columns of parts and tables, each described in its field's metadata."""
_PART_SCHEMA = SCHEMA.append(pa.field("part", pa.string()))
SORT_KEYS = [
    ("region_id", "ascending"),
    ("band", "ascending"),
    ("image_start", "ascending"),
    ("image_key", "ascending"),
]


@dataclass(frozen=True, slots=True)
class PartRecord:
    """What is known of a part without reading its rows."""

    request_digest: str
    """Of what was asked for."""
    source_update_time: str = ""
    """Of the image's revision that it was asked of."""
    raster_bytes: int | None = None
    """Size of the raster that was written with it."""


@dataclass(frozen=True)
class SeriesTable:
    """A series at a place: ``{place}.parquet`` and ``{place}.csv``, made from ``{place}.parts/``."""

    place: Location
    formats: tuple[str, ...] = ("parquet", "csv")

    @property
    def parts(self) -> Location:
        """Folder of the part files."""
        return self.place.with_suffix(".parts")

    @property
    def files(self) -> tuple[Location, ...]:
        """The merged tables."""
        return tuple(self.place.with_suffix(f".{name}") for name in self.formats)

    def part(self, collection: str, region_id: str, band: str, image_index: str) -> Location:
        """The part file of one band of one image, whatever run writes it."""
        owner = hashlib.sha256("\x1f".join((collection, region_id, band)).encode()).hexdigest()[:12]
        return self.parts / owner / f"{image_index}.parquet"

    def recorded(self, part: Location) -> PartRecord | None:
        """What a part was made from; None when there is no part, or none that can be read."""
        if not part.exists():
            return None
        try:
            metadata = pyarrow.parquet.read_schema(pa.BufferReader(part.read_bytes())).metadata or {}
        except pa.ArrowInvalid:
            log.warning("%s cannot be read, its image is made anew", part.url)
            return None
        size = metadata.get(b"raster_bytes", b"")
        return PartRecord(
            metadata.get(b"request_digest", b"").decode(),
            metadata.get(b"source_update_time", b"").decode(),
            int(size) if size else None,
        )

    def write_part(self, part: Location, row: Mapping[str, Any], record: PartRecord) -> None:
        """Write the row of a band of an image, replacing that of an earlier run."""
        table = pa.Table.from_pylist([dict(row)], schema=SCHEMA)
        metadata = {"request_digest": record.request_digest, "source_update_time": record.source_update_time}
        if record.raster_bytes is not None:
            metadata["raster_bytes"] = str(record.raster_bytes)
        part.write_bytes(_parquet(table.cast(SCHEMA.with_metadata(metadata))))

    def merge(self) -> int:
        """Make the merged tables from all parts there are; tells the number of rows.

        Another run may add a part while this one merges, and may merge before this one writes. So the parts are listed
        again after writing, until nothing has changed: whoever writes last has seen every part.

        Raises
        ------
        ValueError
            When a part cannot be read; the merged tables stay as they were.
        """
        for _ in range(MAXIMUM_MERGES):
            seen = self.parts.files()
            table = _without_doubles(self._read(seen))
            for name, file in zip(self.formats, self.files, strict=True):
                file.write_bytes(_csv(table) if name == "csv" else _parquet(table))
            if self.parts.files() == seen:
                return int(table.num_rows)
        raise RuntimeError(f"{self.parts.url} changed {MAXIMUM_MERGES} times while it was merged; merge again later")

    def _read(self, parts: Mapping[str, tuple[int, str]]) -> pa.Table:
        """The rows of all parts; those that have not changed since the last merge come from its memory."""
        remembered, rows = self._remember()
        changed = [name for name, version in parts.items() if remembered.get(name) != list(version)]
        kept = {name for name in parts if name not in set(changed)}
        contents = self.parts.filesystem.cat(changed) if changed else {}
        fresh = [_read_part(name, contents[name]) for name in changed]
        old = rows.filter(pa.array([name in kept for name in rows["part"].to_pylist()], pa.bool_()))
        table = pa.concat_tables([old, *fresh])
        if changed or len(remembered) != len(parts):
            described = _PART_SCHEMA.with_metadata({"parts": json.dumps(parts)})
            self._memory.write_bytes(_parquet(table.cast(described)))
        return table.drop_columns(["part"])

    @property
    def _memory(self) -> Location:
        """What the last merge read. Only a memory: a part whose version differs is read again. Hidden, so no part itself."""
        return self.parts / ".merged.parquet"

    def _remember(self) -> tuple[dict[str, list[Any]], pa.Table]:
        nothing: tuple[dict[str, list[Any]], pa.Table] = ({}, _PART_SCHEMA.empty_table())
        if not self._memory.exists():
            return nothing
        try:
            table = pyarrow.parquet.read_table(pa.BufferReader(self._memory.read_bytes()))
            remembered = json.loads((table.schema.metadata or {}).get(b"parts", b"{}"))
            return remembered, table.cast(_PART_SCHEMA)
        except (pa.ArrowInvalid, ValueError):
            log.warning("%s cannot be read, all parts are read again", self._memory.url)
            return nothing


def _read_part(name: str, content: bytes) -> pa.Table:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(content)).cast(SCHEMA)
    except pa.ArrowInvalid as problem:
        raise ValueError(
            f"the part {name} cannot be read ({problem}); run its date again, or delete it. The merged table stays as it was"
        ) from None
    return table.append_column("part", pa.array([name] * table.num_rows, pa.string())).cast(_PART_SCHEMA)


def _without_doubles(table: pa.Table) -> pa.Table:
    """One row a region, band and image: of several, the one from the image's latest revision."""
    keyed = table.append_column("image_key", pc.list_element(table["image_ids"], 0))
    ordered = keyed.sort_by([*SORT_KEYS, ("source_update_time", "ascending")])
    keys = ordered.select([name for name, _ in SORT_KEYS]).to_pylist()
    last = [index for index, key in enumerate(keys) if index + 1 == len(keys) or keys[index + 1] != key]
    return ordered.take(last).drop_columns(["image_key"])


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _csv(table: pa.Table) -> bytes:
    """The table as text; lists joined by ``;`` and moments as ISO 8601."""
    columns = []
    for field in SCHEMA:
        column = table[field.name]
        if pa.types.is_list(field.type):
            column = pc.binary_join(column, ";")
        elif pa.types.is_timestamp(field.type):
            column = pc.strftime(column.cast(pa.timestamp("s", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")
        columns.append(column)
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, names=SCHEMA.names), buffer)
    return buffer.getvalue()
