"""The table of a time series: rows, part files that no two runs share, and the merged table made from them.

Each band of an image, or of a group of images, is one part file with a name of its own, with a row for each region. So runs
side by side, reruns and backfills write the same files in any order. The merged table is made from all parts, and made again while parts appear, so the run that
ends last leaves a table that holds them all.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from airflow_ee.core.sinks.base import Location

__all__ = ["SCHEMA", "PartRecord", "SeriesTable", "get_ready", "schema_with"]

MAXIMUM_IMAGE_IDS = 20
MAXIMUM_MERGES = 100
FEW_ROWS = 100
log = logging.getLogger(__name__)
_MOMENT = pa.timestamp("us", tz="UTC")
_FIELDS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("region_id", pa.string(), "region"),
    ("band", pa.string(), "band or index"),
    ("interval_start", _MOMENT, "beginning of the time that the row stands for"),
    ("interval_end", _MOMENT, "its end, exclusive"),
    ("image_start", _MOMENT, "beginning of the image's own time, or of the first image's"),
    ("image_end", _MOMENT, "its end, exclusive, or the last image's"),
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
    ("unit", pa.string(), "unit of the statistics; 1 is a ratio"),
    ("source_update_time", pa.string(), "when the service last changed the image, or any of the images"),
    ("source", pa.string(), "collection"),
    ("simulated", pa.bool_(), "whether the pixels are an emulator's simulation"),
)
SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": text}) for name, kind, text in _FIELDS])
"""Columns that all parts and tables have, each described in its field's metadata; :func:`schema_with` adds others."""
_PART = pa.field("part", pa.string())
_EXTRA = {
    "median": "median by weight, in `unit`",
    "sum": "sum of values times weights, in `unit`",
    "count": "number of valid pixels",
}
ROW_KEY = ("region_id", "band", "image_start", "image_key", "interval_start", "interval_end", "source")
"""What tells rows apart; the first image's id is part of it, as images of one moment may have rows of their own."""


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

    def part(self, collection: str, regions: str, band: str, key: str, group_by: str = "image") -> Location:
        """The part file of one band of one image or group, whatever run writes it.

        Parameters
        ----------
        regions
            Name of the region, or of the set of regions.
        key
            The image's index, the day, or the interval.
        """
        words = (collection, regions, band) if group_by == "image" else (collection, regions, band, group_by)
        owner = hashlib.sha256("\x1f".join(words).encode()).hexdigest()[:12]
        return self.parts / owner / f"{key}.parquet"

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
        """Write the one row of a band of an image, replacing those of an earlier run."""
        self.write_rows(part, [row], record)

    def write_rows(
        self, part: Location, rows: Sequence[Mapping[str, Any]], record: PartRecord, extra: Sequence[str] = ()
    ) -> None:
        """Write the rows of a band of an image or group, replacing those of an earlier run.

        Parameters
        ----------
        extra
            Columns besides those of ``SCHEMA``.
        """
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema_with(extra))
        metadata = {"request_digest": record.request_digest, "source_update_time": record.source_update_time}
        if record.raster_bytes is not None:
            metadata["raster_bytes"] = str(record.raster_bytes)
        content = io.BytesIO()
        # Parts are many and small: of a few rows compression, dictionaries and statistics are most of the cost.
        pyarrow.parquet.write_table(
            table.replace_schema_metadata(metadata), content,
            compression="zstd" if len(rows) > FEW_ROWS else "none", use_dictionary=False, write_statistics=False,
        )  # fmt: skip
        part.write_bytes(content.getvalue())

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
        table = _together([old, *fresh])
        if changed or len(remembered) != len(parts):
            described = table.schema.with_metadata({"parts": json.dumps(parts)})
            self._memory.write_bytes(_parquet(table.cast(described)))
        return table.drop_columns(["part"])

    @property
    def _memory(self) -> Location:
        """What the last merge read. Only a memory: a part whose version differs is read again. Hidden, so no part itself."""
        return self.parts / ".merged.parquet"

    def _remember(self) -> tuple[dict[str, list[Any]], pa.Table]:
        nothing: tuple[dict[str, list[Any]], pa.Table] = ({}, SCHEMA.append(_PART).empty_table())
        if not self._memory.exists():
            return nothing
        try:
            table = pyarrow.parquet.read_table(pa.BufferReader(self._memory.read_bytes()))
            remembered = json.loads((table.schema.metadata or {}).get(b"parts", b"{}"))
            return remembered, _in_order(table)
        except (pa.ArrowInvalid, ValueError):
            log.warning("%s cannot be read, all parts are read again", self._memory.url)
            return nothing


def get_ready() -> None:
    """Have pyarrow load what it loads before its first array, Pandas where it is installed, which may take a second.

    To be called from a thread of its own while the first pixels are on their way, which would else wait for it.
    """
    pa.array([])


def schema_with(extra: Iterable[str]) -> pa.Schema:
    """Columns of a table with these besides: named statistics first, then percentiles, rising.

    >>> schema_with(["p90", "p5", "sum"]).names[-3:]
    ['sum', 'p5', 'p90']
    """
    wanted = set(extra)
    named = [name for name in _EXTRA if name in wanted]
    schema = SCHEMA
    for name in (*named, *sorted(wanted - set(named), key=lambda name: float(name[1:]))):
        text = _EXTRA.get(name) or f"value that {name[1:]} percent of the weight does not exceed, in `unit`"
        schema = schema.append(pa.field(name, pa.float64(), metadata={"description": text}))
    return schema


def _in_order(table: pa.Table) -> pa.Table:
    """A table of parts with the columns in their order, and null where it has none."""
    extra = [name for name in table.column_names if name not in (*SCHEMA.names, _PART.name)]
    return table.select([*schema_with(extra).names, _PART.name]).cast(schema_with(extra).append(_PART))


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows; columns that only some parts have are null in the others."""
    return _in_order(pa.concat_tables(tables, promote_options="default"))


def _read_part(name: str, content: bytes) -> pa.Table:
    try:
        table = pyarrow.parquet.read_table(pa.BufferReader(content)).replace_schema_metadata()
        table = _in_order(table.append_column(_PART, pa.array([name] * table.num_rows, pa.string())))
    except pa.ArrowInvalid as problem:
        raise ValueError(
            f"the part {name} cannot be read ({problem}); run its date again, or delete it. The merged table stays as it was"
        ) from None
    return table


def _without_doubles(table: pa.Table) -> pa.Table:
    """One row a region, band and image or group: of several, the one from the latest revision."""
    keyed = table.append_column("image_key", pc.list_element(table["image_ids"], 0))
    ordered = keyed.sort_by([(name, "ascending") for name in (*ROW_KEY, "source_update_time")])
    if len(ordered) > 1:
        last = pa.array([True])
        differs = pa.chunked_array([[False] * (len(ordered) - 1)])
        for name in ROW_KEY:
            column = ordered[name]
            ahead, behind = column.slice(1), column.slice(0, len(ordered) - 1)
            both_null = pc.and_(pc.is_null(ahead), pc.is_null(behind))
            differs = pc.or_(differs, pc.invert(pc.or_(pc.fill_null(pc.equal(ahead, behind), False), both_null)))
        ordered = ordered.filter(pa.chunked_array([*differs.chunks, last]))
    return ordered.drop_columns(["image_key"])


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _csv(table: pa.Table) -> bytes:
    """The table as text; lists joined by ``;`` and moments as ISO 8601."""
    columns = []
    for field in table.schema:
        column = table[field.name]
        if pa.types.is_list(field.type):
            column = pc.binary_join(column, ";")
        elif pa.types.is_timestamp(field.type):
            column = _moments(column)
        columns.append(column)
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, names=table.schema.names), buffer)
    return buffer.getvalue()


def _moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601, with a fraction of a second only where there is one."""
    form = "%Y-%m-%dT%H:%M:%SZ"
    seconds = pc.floor_temporal(column, unit="second")
    whole = pc.strftime(seconds.cast(pa.timestamp("s", tz="UTC")), format=form)
    return pc.if_else(pc.equal(seconds, column), whole, pc.strftime(column, format=form))
