"""Tables of BigQuery: a file of JSON lines each, in a folder that stands for the dataset."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely.geometry

from airflow_ee.emulator.durable import write_whole
from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid
from airflow_ee.emulator.exports.columns import GEOMETRY, Table
from airflow_ee.emulator.exports.destinations import BigQueryPlace
from airflow_ee.emulator.exports.drafts import Draft
from airflow_ee.emulator.exports.tables import json_value
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.values.geometry import Geometry

_PATH = "bigquery_export_options.bigquery_destination"
_TABLE = re.compile(r"(?P<project>[a-z0-9][a-z0-9-]{0,62})\.(?P<dataset>[A-Za-z0-9_]{1,200})\.(?P<table>[\w-]{1,60})")
_MOST_COLUMN_LETTERS = 300

Schema = dict[str, str]
"""What kind of values each column holds; one that only held nulls is not in it."""


def bigquery_place(options: Mapping[str, Any]) -> BigQueryPlace:
    """The table that the options of an export name."""
    destination = options.get("bigqueryDestination", {})
    name = destination.get("table", "")
    if not name:
        raise field_violation(f"{_PATH}.table", "BigQuery table must be specified.")
    match = _TABLE.fullmatch(name)
    if match is None:
        form = "must have the form project_id.dataset_id.table_id"
        raise field_violation(f"{_PATH}.table", f"Invalid BigQuery table: '{name[:200]}' {form}.")
    overwrite, append = bool(destination.get("overwrite")), bool(destination.get("append"))
    if overwrite and append:
        raise field_violation(_PATH, "The overwrite and append options of a BigQuery export exclude each other.")
    return BigQueryPlace(**match.groupdict(), overwrite=overwrite, append=append)


def write_rows(table: Table, folder: Path, step: Callable[[], None]) -> Draft:
    """The rows of a table as a draft."""
    path, names = folder / "table.ndjson", _names(table)
    with path.open("w", encoding="utf-8") as file:
        for number in range(len(table.features)):
            row = {name: _cell(table, number, column) for column, name in names.items()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            step()
    return Draft(path, ".ndjson", "application/x-ndjson")


def _names(table: Table) -> dict[str, str]:
    """BigQuery takes letters, digits and underscores; a clash is the caller's to resolve."""
    names = {column: "geo" if column == GEOMETRY else re.sub(r"\W", "_", column) for column in table.columns}
    for column, name in names.items():
        if not name or name[0].isdigit() or len(name) > _MOST_COLUMN_LETTERS:
            raise invalid(f'Invalid field name "{column[:100]}". Fields must start with a letter or underscore.')
        if list(names.values()).count(name) > 1:
            raise invalid(f"Duplicate field name in a BigQuery table: \"{name[:100]}\" (of column '{column[:100]}').")
    return names


def _cell(table: Table, number: int, column: str) -> Any:
    if column == GEOMETRY:
        return _geography(table.geometry(number))
    value = json_value(table.value(number, column))
    plain = not isinstance(value, list | dict)
    flat = isinstance(value, list) and all(isinstance(each, str | bool | int | float) for each in value)
    # Columns hold values or lists of them: what is nested deeper has no type there.
    return value if plain or flat else json.dumps(value, separators=(",", ":"))


def _geography(geometry: Geometry | None) -> str | None:
    if geometry is None:
        return None
    return json.dumps(shapely.geometry.mapping(geometry.in_crs(WGS84)), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Loads:
    """Which operations have loaded a table, each with the file's size after it.

    Kept beside the table: the next attempt of an operation that was killed knows by it that its rows are there.
    """

    path: Path
    sizes: dict[str, int]

    @classmethod
    def of(cls, table: Path) -> _Loads:
        path = table.with_name(f".{table.stem}.loads.json")
        return cls(path, json.loads(path.read_text("utf-8")) if path.is_file() else {})

    def has(self, operation: str, table: Path) -> bool:
        size = table.stat().st_size if table.is_file() else -1
        return operation in self.sizes and size >= self.sizes[operation]

    def note(self, operation: str, size: int, *, overwrite: bool) -> None:
        # What was there before is gone with an overwrite, and yet must not be loaded again.
        earlier = dict.fromkeys(self.sizes, 0) if overwrite else self.sizes
        write_whole(self.path, json.dumps({**earlier, operation: size}))


class BigQueryFolder:
    """Projects, datasets and tables below one folder. One load at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()

    def load(self, draft: Draft, place: BigQueryPlace, operation: str) -> None:
        """Put rows into their table, all or none, and once only for an operation."""
        path = self._root / place.project / place.dataset / f"{place.table}.ndjson"
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            loads = _Loads.of(path)
            if loads.has(operation, path):
                return
            if path.exists():
                _check_fits(path, draft.path, place)
            if path.exists() and place.append:
                _prepend(path, draft.path)
            loads.note(operation, draft.path.stat().st_size, overwrite=place.overwrite)
            draft.path.replace(path)


def _check_fits(there: Path, new: Path, place: BigQueryPlace) -> None:
    if not (place.overwrite or place.append):
        raise EmulatorError("ALREADY_EXISTS", f"Already Exists: Table {place.label}")
    before, after = _schema(there), _schema(new)
    for name in sorted(after):
        problem = f"Cannot add fields (field: {name})"
        if name in before:
            problem = f"Field {name} has changed type from {before[name]} to {after[name]}"
        if before and before.get(name) != after[name]:
            raise invalid(f"Provided Schema does not match Table {place.label}. {problem}")


def _prepend(there: Path, new: Path) -> None:
    """Everything is written anew beside the table, so that it has all of the rows or none of the new ones."""
    joined = new.with_name("joined.ndjson")
    with joined.open("wb") as file:
        for part in (there, new):
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file)
    joined.replace(new)


def _schema(path: Path) -> Schema:
    with path.open(encoding="utf-8") as lines:
        return _merged(json.loads(line) for line in lines)


def _merged(rows: Iterable[Mapping[str, Any]]) -> Schema:
    schema: Schema = {}
    for row in rows:
        for name, value in row.items():
            kind = _kind(value)
            if kind and schema.setdefault(name, kind) != kind:
                raise invalid(f"Field {name} holds values of types {schema[name]} and {kind}.")
    return schema


def _kind(value: Any) -> str:
    """The type of a value; nothing for null, which every column takes."""
    if isinstance(value, list):
        return f"REPEATED {_kind(value[0])}" if value else ""
    for kind, label in ((bool, "BOOLEAN"), (int | float, "FLOAT"), (str, "STRING")):
        if isinstance(value, kind):
            return label
    return ""
