"""Points and columns of chance: the same for the same seed, though not those of the service."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.columns import property_of
from airflow_ee.emulator.functions.promote import registry, texts
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.values import chance
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry

MAX_POINTS = 100_000
_BATCH = 4096
_MAX_BATCHES = 2000


@registry.implements("FeatureCollection.randomPoints")
def random_points(region: Geometry, points: int = 1000, seed: int = 0, max_error: Any = None) -> Collection:  # noqa: ARG001 -- shapes are exact
    """Points spread evenly over a region of the sphere, along its lines, or among its points."""
    if not 0 <= points <= MAX_POINTS:
        raise invalid(f"FeatureCollection.randomPoints: 'points' must be from 0 to {MAX_POINTS}, got {points}.")
    shape = region.in_crs(WGS84)
    if shape.is_empty:
        raise invalid("FeatureCollection.randomPoints: the region is empty.")
    found = _spread(shape, points, np.random.default_rng(abs(seed) * 2 + (seed < 0)))
    return Collection([Feature(Geometry(shapely.Point(place)), {}, str(n)) for n, place in enumerate(found)])


def _spread(shape: BaseGeometry, count: int, chances: np.random.Generator) -> NDArray[np.float64]:
    if shapely.get_dimensions(shape) == 2:
        return _in_area(_of_dimension(shape, 2), count, chances)
    if shapely.get_dimensions(shape) == 1:
        lines = _of_dimension(shape, 1)
        steps = (chances.random(count) * lines.length).tolist()
        return shapely.get_coordinates([shapely.line_interpolate_point(lines, step) for step in steps])
    places = shapely.get_coordinates(shape)
    return np.asarray(places[chances.integers(0, len(places), count)])


def _of_dimension(shape: BaseGeometry, dimension: int) -> Any:
    """The parts of the highest dimension of a mixture."""
    if shape.geom_type != "GeometryCollection":
        return shape
    return shapely.union_all([part for part in shapely.get_parts(shape) if shapely.get_dimensions(part) == dimension])


def _in_area(shape: BaseGeometry, count: int, chances: np.random.Generator) -> NDArray[np.float64]:
    """Throw at the bounding box, evenly on the sphere, until enough have hit."""
    west, south, east, north = shape.bounds
    low, high = math.sin(math.radians(south)), math.sin(math.radians(north))
    shapely.prepare(shape)
    hits = np.zeros((0, 2))
    for _ in range(_MAX_BATCHES):
        if len(hits) >= count:
            return hits[:count]
        thrown = chances.random((_BATCH, 2))
        latitudes = np.degrees(np.arcsin(low + thrown[:, 1] * (high - low)))
        places = np.column_stack([west + thrown[:, 0] * (east - west), latitudes])
        hits = np.concatenate([hits, places[shapely.contains_xy(shape, places)]])
    raise invalid("FeatureCollection.randomPoints: the region is too small a part of its bounding box.")


@registry.implements("Collection.randomColumn")
def random_column(
    collection: Collection,
    column_name: str = "random",
    seed: int = 0,
    distribution: str = "uniform",
    row_keys: list[Any] | None = None,
) -> Collection:
    """A property of chance for each element, which belongs to the element's keys and not to its place."""
    if distribution not in ("uniform", "normal"):
        raise invalid(f"Collection.randomColumn: Unknown distribution '{distribution}'; use uniform or normal.")

    def drawn(element: Any, number: int) -> float:
        keys = [property_of(element, name) for name in texts(row_keys or ["system:index"])]
        share = chance.of_keys(keys if any(key is not None for key in keys) else [str(number)], seed)
        return share if distribution == "uniform" else NormalDist().inv_cdf(min(max(share, 1e-16), 1 - 1e-16))

    return collection.of(
        element.with_properties({**element.properties, column_name: drawn(element, number)})
        for number, element in enumerate(collection.elements)
    )
