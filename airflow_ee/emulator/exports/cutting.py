"""Geometries with many vertices, cut into pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from airflow_ee.emulator.values.element import Feature

FEWEST = 8
"""Vertices that a rectangle around one corner of a shape may need: no cut brings it below."""

DEEPEST = 60
"""Cuts in a row: vertices that lie on one spot stay together."""


def cut_feature(feature: Feature, max_vertices: int) -> Feature:
    """The feature with its geometry in pieces of fewer vertices than that; together they are what it was."""
    geometry = feature.geometry
    if not max_vertices or geometry is None or shapely.get_num_coordinates(geometry.shape) <= max_vertices:
        return feature
    pieces = _pieces(geometry.shape, max_vertices)
    return replace(feature, geometry=replace(geometry, shape=_joined(pieces)))


def _pieces(shape: BaseGeometry, limit: int) -> list[BaseGeometry]:
    done: list[BaseGeometry] = []
    rest = [(shape, 0)]
    while rest:
        piece, depth = rest.pop()
        if shapely.get_num_coordinates(piece) <= max(limit, FEWEST) or depth == DEEPEST:
            done.append(piece)
        else:
            rest += [(half, depth + 1) for half in reversed(_halves(piece)) if not half.is_empty]
    return done


def _halves(shape: BaseGeometry) -> list[BaseGeometry]:
    """Both sides of the middle of the longer side of the bounds."""
    west, south, east, north = shape.bounds
    if east - west >= north - south:
        middle = (west + east) / 2
        boxes = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    else:
        middle = (south + north) / 2
        boxes = [shapely.box(west, south, east, middle), shapely.box(west, middle, east, north)]
    return [_same_kind(shapely.intersection(shape, box), shape) for box in boxes]


def _same_kind(part: BaseGeometry, source: BaseGeometry) -> BaseGeometry:
    """Without the points and lines in which a shape only touches the cut."""
    dimension = shapely.get_dimensions(source)
    members = [each for each in _members(part) if shapely.get_dimensions(each) == dimension]
    return _joined(members) if members else shapely.Point()


def _members(shape: Any) -> list[BaseGeometry]:
    return list(shape.geoms) if hasattr(shape, "geoms") else [shape]


def _joined(pieces: list[BaseGeometry]) -> BaseGeometry:
    members = [member for piece in pieces for member in _members(piece)]
    if len(members) == 1:
        return members[0]
    kinds: dict[int, Any] = {0: shapely.MultiPoint, 1: shapely.MultiLineString, 2: shapely.MultiPolygon}
    joined: BaseGeometry = kinds[int(shapely.get_dimensions(members[0]))](members)
    return joined
