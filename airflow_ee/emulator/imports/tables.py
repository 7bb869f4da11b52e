"""Tables made of CSV files, shapefiles and TFRecords."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.codecs import shapes
from airflow_ee.emulator.codecs.shapes import ShapefileError
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.exports.cutting import cut_feature
from airflow_ee.emulator.functions.date_formats import parse_date
from airflow_ee.emulator.imports.buckets import Buckets, ObjectName, opened
from airflow_ee.emulator.imports.rows import ReadDate, csv_rows, features, tfrecord_rows
from airflow_ee.emulator.imports.table_manifest import RowSource, TableImport
from airflow_ee.emulator.pixels.crs import Crs, identify
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

_PARTS = (".shp", ".dbf", ".shx", ".prj", ".cpg")
_NEEDED = (".shp", ".dbf", ".shx")
MAX_UNPACKED_BYTES = 2**30


def read_manifest(task: TableImport, buckets: Buckets, folder: Path, session: Session) -> list[Feature]:
    """The features that a manifest describes; files that are fetched are put into the folder."""
    found = [
        cut_feature(feature, source.max_vertices)
        for source in task.sources
        for feature in _features(source, task.types, _Files(buckets, folder), session)
    ]
    return [feature if feature.id is not None else _numbered(feature, at) for at, feature in enumerate(found)]


def _numbered(feature: Feature, number: int) -> Feature:
    """Indices of ingested rows have twenty hexadecimal digits."""
    return Feature(feature.geometry, feature.properties, f"{number:020x}")


@dataclass(frozen=True, slots=True)
class _Files:
    buckets: Buckets
    folder: Path

    def open(self, name: ObjectName) -> Path:
        return opened(self.buckets, name, self.folder)

    def find(self, name: ObjectName) -> Path | None:
        return self.buckets.find(name, self.folder)


def _features(source: RowSource, types: Mapping[str, str], files: _Files, session: Session) -> list[Feature]:
    extension = source.file.extension
    if extension in (".shp", ".zip"):
        parts = _zipped(source, files) if extension == ".zip" else _beside(source, files)
        return _shapefile(parts, source)
    path = files.open(source.file)
    rows = csv_rows(path, source) if extension == ".csv" else tfrecord_rows(path, source)
    return features(rows, source, types, _read_date(source.date_format, session))


def _read_date(date_format: str, session: Session) -> ReadDate | None:
    return (lambda text: parse_date(date_format, text, session)) if date_format else None


def _beside(source: RowSource, files: _Files) -> dict[str, bytes]:
    """A shapefile whose parts are objects side by side."""
    found = {extension: files.find(source.file.sibling(extension)) for extension in _PARTS}
    found[".shp"] = files.open(source.file)
    return _checked({name: path.read_bytes() for name, path in found.items() if path is not None}, source)


def _zipped(source: RowSource, files: _Files) -> dict[str, bytes]:
    """A shapefile in an archive, which has no other."""
    try:
        with zipfile.ZipFile(files.open(source.file)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".shp")]
            if len(names) != 1:
                raise invalid(f"Unable to open {source.file.uri}: it must hold one .shp file, and has {len(names)}.")
            stem = names[0][:-4]
            chosen = {
                info.filename[len(stem) :].lower(): info
                for info in archive.infolist()
                if info.filename.startswith(stem)
            }
            parts = {name: info for name, info in chosen.items() if name in _PARTS}
            if sum(info.file_size for info in parts.values()) > MAX_UNPACKED_BYTES:
                raise invalid(f"Unable to open {source.file.uri}: it is too large.")
            return _checked({name: archive.read(info) for name, info in parts.items()}, source)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError):
        raise invalid(f"Unable to open {source.file.uri}: it is not a zip archive that can be read.") from None


def _checked(parts: dict[str, bytes], source: RowSource) -> dict[str, bytes]:
    for extension in _NEEDED:
        if extension not in parts:
            raise invalid(f"Unable to open {source.file.uri}: the {extension} file of the shapefile is missing.")
    return parts


def _shapefile(parts: Mapping[str, bytes], source: RowSource) -> list[Feature]:
    charset = source.charset or _charset(parts.get(".cpg", b""))
    try:
        crs = identify(parts[".prj"].decode("utf-8", "replace")) if ".prj" in parts else source.crs
        pairs = zip(shapes.geometries(parts[".shp"]), shapes.rows(parts[".dbf"], charset), strict=True)
        return [Feature(_placed(shape, crs), _known(row)) for shape, row in pairs if row is not None]
    except ShapefileError as problem:
        raise invalid(f"Unable to open {source.file.uri}: {problem}.") from None
    except UnicodeDecodeError:
        raise invalid(f"Unable to read {source.file.uri}: it is not in the charset {charset}.") from None
    except ValueError:
        raise invalid(f"Unable to open {source.file.uri}: it has not as many shapes as rows.") from None


def _charset(cpg: bytes) -> str:
    name = cpg.decode("ascii", "replace").strip()
    name = f"cp{name}" if name.isdigit() else name or "utf-8"
    try:
        return "".encode(name).decode() or name
    except (LookupError, ValueError):
        raise EmulatorError("INVALID_ARGUMENT", f"Unknown charset: '{name[:100]}'.") from None


def _placed(shape: BaseGeometry | None, crs: Crs) -> Geometry | None:
    return None if shape is None or shape.is_empty else Geometry(shape, crs)


def _known(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if value is not None}
