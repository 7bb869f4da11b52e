"""A TableManifest, checked: which files have the rows, and how to read them."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.functions.date_formats import parts_of
from airflow_ee.emulator.imports.buckets import ObjectName
from airflow_ee.emulator.imports.manifest import AssetFields, object_names
from airflow_ee.emulator.pixels.crs import WGS84, Crs, parse_crs

_PATH = "table_manifest"
EXTENSIONS = (".csv", ".shp", ".zip", ".tfrecord")


@dataclass(frozen=True, slots=True)
class RowSource:
    """A file with rows, and how they are written."""

    file: ObjectName
    charset: str | None
    crs: Crs
    geodesic: bool
    geometry_column: str
    """The column with the geometry; empty for the first that has any."""
    x_column: str
    y_column: str
    named_columns: bool
    """Whether the columns of coordinates were asked for, and must be there."""
    date_format: str
    delimiter: str
    qualifier: str
    max_vertices: int


@dataclass(frozen=True, slots=True)
class TableImport:
    """A table to make of files."""

    fields: AssetFields
    sources: tuple[RowSource, ...]
    types: Mapping[str, str]
    """``STRING``, ``NUMERIC`` or ``LONG`` by column."""

    @classmethod
    def parse(cls, manifest: Mapping[str, Any], *, overwrite: bool) -> TableImport:
        """An import from a manifest that fits its message."""
        given = manifest.get("sources")
        if not given:
            raise field_violation(f"{_PATH}.sources", "A table manifest must have at least one source.")
        prefix = manifest.get("uriPrefix", "")
        sources = (_source(each, prefix, f"{_PATH}.sources[{number}]") for number, each in enumerate(given))
        overrides = {
            **manifest.get("csvColumnDataTypeOverrides", {}),
            **manifest.get("columnDataTypeOverrides", {}),
        }
        types = {name: kind.rpartition("_")[2] for name, kind in overrides.items()}
        return cls(AssetFields.parse(manifest, _PATH, overwrite=overwrite), tuple(sources), types)


def _source(given: Mapping[str, Any], prefix: str, path: str) -> RowSource:
    files = object_names(given, prefix, path)
    if len(files) > 1:
        raise field_violation(f"{path}.uris", f"A table source must have one URI, got {len(files)}.")
    if files[0].extension not in EXTENSIONS:
        known = ", ".join(EXTENSIONS)
        raise field_violation(f"{path}.uris", f"Unsupported table file: {files[0].uri} is none of {known}.")
    crs = parse_crs(given["crs"]) if given.get("crs") else WGS84
    x_column, y_column = given.get("xColumn", ""), given.get("yColumn", "")
    if bool(x_column) != bool(y_column):
        raise field_violation(path, "Specify both of x_column and y_column, or none.")
    if int(given.get("maxVertices", 0)) < 0:
        raise field_violation(f"{path}.max_vertices", f"Must not be negative, got {given['maxVertices']}.")
    if float(given.get("maxErrorMeters", 1.0)) < 0:
        raise field_violation(f"{path}.max_error_meters", "Maximum error must not be negative.")
    parts_of("Date.parse", given.get("dateFormat", ""))
    # Coordinates have columns by default only where they are degrees.
    default = ("longitude", "latitude") if crs.is_geographic else ("", "")
    return RowSource(
        file=files[0],
        charset=_charset(given.get("charset", ""), path),
        crs=crs,
        geodesic=bool(given.get("geodesic", crs.is_geographic)),
        geometry_column=given.get("primaryGeometryColumn", ""),
        x_column=x_column or default[0],
        y_column=y_column or default[1],
        named_columns=bool(x_column),
        date_format=given.get("dateFormat", ""),
        delimiter=_letter(given.get("csvDelimiter") or ",", f"{path}.csv_delimiter"),
        qualifier=_letter(given.get("csvQualifier") or '"', f"{path}.csv_qualifier"),
        max_vertices=int(given.get("maxVertices", 0)),
    )


def _charset(name: str, path: str) -> str | None:
    if not name:
        return None
    try:
        known = codecs.lookup(name)
        "".encode(known.name)
    except (LookupError, ValueError):
        raise field_violation(f"{path}.charset", f"Unknown charset: '{name[:100]}'.") from None
    return known.name


def _letter(text: str, path: str) -> str:
    if len(text) != 1 or text in "\r\n":
        raise invalid(f"{path} must be a single character, got '{text[:20]}'.")
    return text
