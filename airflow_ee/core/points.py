"""Points with labels, as arrays: what training patches are cut around.

A hundred thousand points are two arrays of coordinates and one column a label. Their order is the order in which they were given, and it is
kept. A point that cannot be used is refused by the row and column that hold it; rows are counted from 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from airflow_ee.core.region import Region

__all__ = ["Points", "label_column", "points_from_features", "random_points"]

Array = npt.NDArray[Any]
DRAWN_AT_ONCE = 4096
MAXIMUM_DRAWS = 5_000
"""Times ``DRAWN_AT_ONCE`` points are drawn without one that lies in the region before it is given up."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Places on the earth in longitude and latitude (WGS 84), each with its labels.

    >>> Points(longitudes=np.array([10.0, 200.0]), latitudes=np.array([45.0, 0.0]))
    Traceback (most recent call last):
    ValueError: points: row 2, longitude must be in -180..180, got 200.0
    """

    longitudes: Array
    """Degrees, float64 of shape (points,)."""
    latitudes: Array
    """Degrees, float64 of shape (points,)."""
    labels: Mapping[str, Any] = field(default_factory=dict)
    """Name to a pyarrow array of int64, float64 or string without nulls, one value a point."""

    def __post_init__(self) -> None:
        if len(self.longitudes) == 0:
            raise ValueError("points: there is none")
        _check_range("longitude", self.longitudes, 180)
        _check_range("latitude", self.latitudes, 90)
        lengths = {"latitudes": len(self.latitudes), **{name: len(column) for name, column in self.labels.items()}}
        for name, length in lengths.items():
            if length != len(self):
                raise ValueError(f"points: {len(self)} longitudes, but {length} values of {name}")

    def __len__(self) -> int:
        return len(self.longitudes)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all points, in degrees."""
        west, east = float(self.longitudes.min()), float(self.longitudes.max())
        return west, float(self.latitudes.min()), east, float(self.latitudes.max())

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of coordinates and labels in their order."""
        found = hashlib.sha256(np.ascontiguousarray(self.longitudes, "<f8").tobytes())
        found.update(np.ascontiguousarray(self.latitudes, "<f8").tobytes())
        for name, column in self.labels.items():
            found.update(json.dumps([name, str(column.type)]).encode())
            found.update(_column_bytes(column))
        return found.hexdigest()

    def label(self, name: str, index: int) -> int | float | str:
        """One label of one point."""
        value: int | float | str = self.labels[name][index].as_py()
        return value


def points_from_features(features: Iterable[Mapping[str, Any]], label_properties: Sequence[str] = ()) -> Points:
    """Points of GeoJSON features.

    Parameters
    ----------
    features
        Features whose geometry is a Point.
    label_properties
        Properties that are carried along.

    Raises
    ------
    ValueError
        The first feature without a Point or without one of the properties, by its row.

    Examples
    --------
    >>> feature = {"geometry": {"type": "Point", "coordinates": [10, 45]}, "properties": {"class": 3}}
    >>> points_from_features([feature], ["class"]).label("class", 0)
    3
    """
    coordinates: list[tuple[float, float]] = []
    columns: dict[str, list[Any]] = {name: [] for name in label_properties}
    for row, feature in enumerate(features, start=1):
        coordinates.append(_coordinates(row, feature.get("geometry")))
        properties = feature.get("properties") or {}
        for name, column in columns.items():
            if name not in properties:
                has = ", ".join(sorted(properties)[:20]) or "none"
                raise ValueError(f"points: row {row} has no property {name!r} (label_properties); it has {has}")
            column.append(properties[name])
    both = np.array(coordinates, np.float64).reshape(-1, 2)
    labels = {name: label_column(name, column) for name, column in columns.items()}
    return Points(longitudes=both[:, 0].copy(), latitudes=both[:, 1].copy(), labels=labels)


def label_column(name: str, values: Sequence[Any]) -> Any:
    """A label's values as a pyarrow array: whole numbers and booleans int64, numbers float64, text string.

    Raises
    ------
    ValueError
        The first value that is missing, or of another kind than those above it, by its row.
    """
    kinds = [_label_kind(name, row, value) for row, value in enumerate(values, start=1)]
    found = set(kinds)
    if "text" in found and len(found) > 1:
        row = next(row for row, kind in enumerate(kinds, start=1) if (kind == "text") != (kinds[0] == "text"))
        raise ValueError(
            f"points: row {row}, {name!r} is {values[row - 1]!r}, where the rows above it hold "
            f"{'text' if kinds[0] == 'text' else 'numbers'}"
        )
    if "text" in found:
        return pa.array(values, pa.string())
    if "real" in found:
        return pa.array([float(value) for value in values], pa.float64())
    return pa.array([int(value) for value in values], pa.int64())


def random_points(region: Region, *, count: int, seed: int) -> Points:
    """Points drawn evenly over the area of ``region`` on the sphere; the same seed always draws the same points.

    A smaller ``count`` gives the first points of a larger one. Numbers are those of PCG64 (O'Neill 2014), 53 bits each: first
    longitudes, then sines of latitudes, drawn from the region's box and kept where they lie inside.

    Raises
    ------
    ValueError
        When ``count`` is below 1, ``seed`` below 0, or the region fills too little of its box.

    Examples
    --------
    >>> len(random_points(Region.parse([10, 45, 11, 46]), count=5, seed=7))
    5
    """
    if count < 1:
        raise ValueError(f"points: count must be at least 1, got {count}")
    if seed < 0:
        raise ValueError(f"points: seed must not be negative, got {seed}")
    bits = np.random.PCG64(seed)
    shapely.prepare(region.geometry)
    found: list[Array] = []
    have = empty = 0
    while have < count:
        drawn = _draw(bits, region)
        found.append(drawn)
        have += len(drawn)
        empty = 0 if len(drawn) else empty + 1
        if empty == MAXIMUM_DRAWS:
            raise ValueError(
                f"points: {have} of {count} could be drawn, the region fills too little of its bounds {region.geometry.bounds}"
            )
    both = np.concatenate(found)[:count]
    return Points(longitudes=both[:, 0].copy(), latitudes=both[:, 1].copy())


def _draw(bits: np.random.PCG64, region: Region) -> Array:
    """Those of the next points that lie in the region, of shape (points, 2)."""
    west, south, east, north = region.geometry.bounds
    low, high = np.sin(np.radians([south, north]))
    # Raw numbers are the same in every numpy; a Generator's methods may change.
    across, along = (bits.random_raw(2 * DRAWN_AT_ONCE) >> np.uint64(11)).reshape(2, -1) * 2.0**-53
    longitudes = west + across * (east - west)
    latitudes = np.degrees(np.arcsin(low + along * (high - low)))
    inside = shapely.contains_xy(region.geometry, longitudes, latitudes)
    return np.column_stack((longitudes[inside], latitudes[inside]))


def _check_range(name: str, values: Array, limit: int) -> None:
    bad = np.flatnonzero(~(np.abs(values) <= limit))
    if len(bad):
        raise ValueError(f"points: row {bad[0] + 1}, {name} must be in -{limit}..{limit}, got {float(values[bad[0]])}")


def _coordinates(row: int, geometry: Any) -> tuple[float, float]:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind != "Point":
        raise ValueError(f"points: row {row}, geometry must be a Point, got {kind or 'none'}; a patch has one place")
    pair = geometry.get("coordinates")
    plain = isinstance(pair, list | tuple) and len(pair) in {2, 3}
    if not plain or not all(isinstance(number, int | float) and not isinstance(number, bool) for number in pair):
        raise ValueError(f"points: row {row}, coordinates must be [longitude, latitude], got {pair!r}")
    return float(pair[0]), float(pair[1])


def _label_kind(name: str, row: int, value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return "whole"
    if isinstance(value, float) and np.isfinite(value):
        return "real"
    raise ValueError(f"points: row {row}, {name!r} must be a number or text, got {value!r}")


def _column_bytes(column: Any) -> bytes:
    if not pa.types.is_string(column.type):
        return bytes(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    # Lengths too, so that no two columns of text look alike.
    lengths = pc.binary_length(column).to_numpy(zero_copy_only=False).astype("<i8")
    return bytes(lengths.tobytes()) + "".join(column.to_pylist()).encode()
