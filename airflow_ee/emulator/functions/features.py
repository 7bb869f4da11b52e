"""Features: a geometry with properties. What geometries can do, features do with theirs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions import geometry_measures, geometry_relations, geometry_shapes
from airflow_ee.emulator.functions.promote import Element, as_geometry, registry
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.values.element import Collection, Feature, geometry_of
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image
from airflow_ee.emulator.values.redrawing import redrawn


@registry.implements("Feature")
def feature(geometry: Any = None, metadata: dict[str, Any] | None = None, geometry_key: str | None = None) -> Feature:  # noqa: ARG001 -- documented as without effect
    """A geometry with properties."""
    if isinstance(geometry, Feature):
        return geometry.with_properties({**geometry.properties, **(metadata or {})})
    return Feature(None if geometry is None else as_geometry(geometry), metadata or {})


@registry.implements("Feature.geometry", "Element.geometry", "Image.geometry")
def feature_geometry(
    feature: Any,
    max_error: Any = None,
    proj: Projection | None = None,
    geodesics: bool | None = None,
) -> Geometry | None:
    """Where the element is, null if nowhere; in another system its edges stay what they were, unless told otherwise."""
    if isinstance(feature, Feature) and feature.geometry is None:
        return None
    own = feature.geometry() if isinstance(feature, Image) else as_geometry(feature)
    crs = geometry_relations.crs_of(proj, "Feature.geometry")
    if crs is None:
        return own
    edges = own.geodesic if geodesics is None else geodesics
    return redrawn(own, crs, edges, geometry_relations.margin_of(max_error))


@registry.implements("Feature.setGeometry")
def set_geometry(feature: Feature, geometry: Geometry | None = None) -> Feature:
    """The feature elsewhere."""
    return replace(feature, geometry=geometry)


@registry.implements("Feature.select")
def select(
    input: Element,
    property_selectors: list[Any],
    new_properties: list[Any] | None = None,
    retain_geometry: bool = True,
) -> Any:
    """Some of the properties, by names or patterns, under other names where these are given."""
    chosen = _chosen(input, property_selectors)
    names = chosen if new_properties is None else new_properties
    if len(names) != len(chosen):
        raise invalid(
            f"Feature.select: newProperties has {len(names)} names, but {len(chosen)} properties were selected."
        )
    own = input.properties  # type: ignore[attr-defined]
    properties = {str(new): own[old] for old, new in zip(chosen, names, strict=True) if old in own}
    if isinstance(input, Image | Collection):
        return input.with_properties(properties)
    kept = input.geometry if retain_geometry and ".geo" not in properties else None  # type: ignore[attr-defined]
    index = {"system:index": own["system:index"]} if "system:index" in own else {}
    return Feature(kept, {**index, **properties})


def _chosen(element: Any, selectors: list[Any]) -> list[str]:
    """Names that selectors stand for, in the order of the selectors; a plain name need not exist."""
    chosen: list[str] = []
    for selector in selectors:
        if not isinstance(selector, str):
            raise invalid("Feature.select: Property selectors must be strings.")
        if selector in element.properties:
            chosen.append(selector)
            continue
        try:
            pattern = re.compile(selector)
        except re.error:
            raise invalid(f"Feature.select: Invalid property selector '{selector}'.") from None
        own = (name for name in element.properties if not name.startswith("system:"))
        chosen += [name for name in own if pattern.fullmatch(name)]
    return list(dict.fromkeys(chosen))


def _own(element: Any, function: str) -> Geometry:
    geometry = geometry_of(element)
    if geometry is None:
        raise invalid(f"{function}: the feature has no geometry.")
    return geometry


def _reshaped(name: str, change: Callable[..., Geometry]) -> Callable[..., Feature]:
    def apply(element: Any, *arguments: Any) -> Feature:
        return Feature(change(_own(element, name), *arguments), element.properties)

    return apply


def _unary(name: str, change: Callable[..., Geometry]) -> None:
    reshape = _reshaped(f"Feature.{name}", change)

    def apply(feature: Element, max_error: Any = None, proj: Projection | None = None) -> Feature:
        return reshape(feature, max_error, proj)

    registry.add(f"Feature.{name}", apply)


def _measure(name: str, measure: Callable[..., float]) -> None:
    def apply(feature: Element, max_error: Any = None, proj: Projection | None = None) -> float:
        return measure(_own(feature, f"Feature.{name}"), max_error, proj)

    registry.add(f"Feature.{name}", apply)


def _set_operation(name: str) -> None:
    def apply(left: Element, right: Element, max_error: Any = None, proj: Projection | None = None) -> Feature:
        one, other = _own(left, f"Feature.{name}"), _own(right, f"Feature.{name}")
        result = geometry_relations.combined(f"Geometry.{name}", one, other, max_error, proj)
        return Feature(result, left.properties)  # type: ignore[attr-defined]

    registry.add(f"Feature.{name}", apply)


def _relation(name: str) -> None:
    def apply(left: Element, right: Element, max_error: Any = None, proj: Projection | None = None) -> bool:
        one, other = _own(left, f"Feature.{name}"), _own(right, f"Feature.{name}")
        return geometry_relations.related(f"Geometry.{name}", one, other, max_error, proj)

    registry.add(f"Feature.{name}", apply)


def _place(name: str, work: Callable[..., Any]) -> None:
    def apply(left: Element, right: Element, max_error: Any = None, proj: Projection | None = None) -> Any:
        return work(_own(left, f"Feature.{name}"), _own(right, f"Feature.{name}"), max_error, proj)

    registry.add(f"Feature.{name}", apply)


for _name, _change in {
    "bounds": geometry_measures.bounds,
    "centroid": geometry_measures.centroid,
    "convexHull": geometry_shapes.convex_hull,
    "dissolve": geometry_shapes.dissolve,
}.items():
    _unary(_name, _change)
for _name, _work in {
    "area": geometry_measures.area,
    "length": geometry_measures.length,
    "perimeter": geometry_measures.perimeter,
}.items():
    _measure(_name, _work)
for _name in ("intersection", "union", "difference", "symmetricDifference"):
    _set_operation(_name)
for _name in ("intersects", "disjoint", "contains", "containedIn"):
    _relation(_name)
_place("closestPoint", geometry_relations.closest_point)
_place("closestPoints", geometry_relations.closest_points)


@registry.implements("Feature.buffer")
def buffer(feature: Element, distance: float, max_error: Any = None, proj: Projection | None = None) -> Feature:
    """The feature grown by a distance."""
    return _reshaped("Feature.buffer", geometry_shapes.buffer)(feature, distance, max_error, proj)


@registry.implements("Feature.simplify")
def simplify(feature: Element, max_error: Any, proj: Projection | None = None) -> Feature:
    """The feature with fewer vertices."""
    return _reshaped("Feature.simplify", geometry_shapes.simplify)(feature, max_error, proj)


@registry.implements("Feature.cutLines")
def cut_lines(feature: Element, distances: list[Any], max_error: Any = None, proj: Projection | None = None) -> Feature:
    """The feature's lines in pieces."""
    return _reshaped("Feature.cutLines", geometry_shapes.cut_lines)(feature, distances, max_error, proj)


@registry.implements("Feature.transform", "ProjectionTransform")
def transform(
    feature: Element, proj: Projection | None = None, max_error: Any = None, geodesic: bool | None = None
) -> Feature:
    """The feature in another system."""
    return _reshaped("Feature.transform", geometry_shapes.transform)(feature, proj, max_error, geodesic)


@registry.implements("Feature.distance")
def distance(
    left: Element, right: Element, max_error: Any = None, proj: Projection | None = None, spherical: bool = False
) -> float:
    """The least distance between two features."""
    one, other = _own(left, "Feature.distance"), _own(right, "Feature.distance")
    return geometry_relations.distance(one, other, max_error, proj, spherical)


@registry.implements("Feature.withinDistance")
def within_distance(
    left: Element, right: Element, distance: float, max_error: Any = None, proj: Projection | None = None
) -> bool:
    """Whether two features are not further apart than a distance."""
    one, other = _own(left, "Feature.withinDistance"), _own(right, "Feature.withinDistance")
    return geometry_relations.within_distance(one, other, distance, max_error, proj)
