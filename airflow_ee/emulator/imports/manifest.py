"""What image and table manifests have in common, and the checks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid
from airflow_ee.emulator.exports.destinations import AssetPlace
from airflow_ee.emulator.imports.buckets import ObjectName
from airflow_ee.emulator.values.dates import Date, parse_time

_TIMES = {"system:time_start": "startTime", "system:time_end": "endTime"}


@dataclass(frozen=True, slots=True)
class AssetFields:
    """What the new asset is besides its data."""

    place: AssetPlace
    properties: Mapping[str, Any]
    start: float | None
    """Milliseconds since 1970, as the end."""
    end: float | None

    @classmethod
    def parse(cls, manifest: Mapping[str, Any], path: str, *, overwrite: bool) -> AssetFields:
        """The fields of a manifest."""
        if not manifest.get("name"):
            raise field_violation(f"{path}.name", "Asset name must be specified.")
        start, end = (_time(manifest, name, f"{path}.{field}") for name, field in _FIELDS.items())
        if start is not None and end is not None and end < start:
            raise field_violation(f"{path}.end_time", "The end time of an asset must not be before its start time.")
        return cls(AssetPlace(manifest["name"], overwrite), _properties(manifest, path), start, end)

    @property
    def times(self) -> dict[str, float]:
        """The times that are known, as records of assets name them."""
        known = {"time_start": self.start, "time_end": self.end}
        return {name: value for name, value in known.items() if value is not None}


_FIELDS = {"startTime": "start_time", "endTime": "end_time"}


def _time(manifest: Mapping[str, Any], name: str, path: str) -> float | None:
    text = manifest.get(name)
    if not text:
        return None
    try:
        return Date.of_datetime(parse_time(text)).milliseconds
    except EmulatorError:
        kind = "type.googleapis.com/google.protobuf.Timestamp"
        raise field_violation(path, f"Invalid value at '{path}' ({kind}), \"{text[:100]}\"") from None


def _properties(manifest: Mapping[str, Any], path: str) -> dict[str, Any]:
    given: Mapping[str, Any] = manifest.get("properties", {})
    for name, value in given.items():
        if name in _TIMES:
            raise field_violation(f"{path}.properties", f"Property '{name}' is not supported: use {_TIMES[name]}.")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise field_violation(f"{path}.properties", f"Property '{name[:100]}' must be a string or a number.")
    return dict(given)


def object_names(source: Mapping[str, Any], prefix: str, path: str) -> list[ObjectName]:
    """The objects of a source: the one with the data, then what goes with it."""
    uris = source.get("uris", [])
    if not uris:
        raise field_violation(f"{path}.uris", "A source must have at least one URI.")
    return [ObjectName.parse(f"{prefix}{uri}") for uri in uris]


def refuse_unknown(fields: Mapping[str, Any], path: str, *names: str) -> None:
    """Refuse by name what would change the result."""
    for name in names:
        if fields.get(name):
            raise invalid(f"{path}: {name} is not emulated")
