"""Statistics of an image over many regions, reduced by the service: ``Image.reduceRegions``.

Regions go along in the request, as many as its size allows, or are a table asset. The statistics and their names are Earth
Engine's: ``mean``, ``sum``, ``stdDev`` (of the population), ``variance``, ``median``, ``mode`` and percentiles weigh every
pixel by the part of it that lies in the region; ``count``, ``min``, ``max`` and ``first`` take the pixels whose centre does.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_ee.core.errors import TOO_HUNGRY, MalformedResponse
from airflow_ee.core.expression import Expression, constant, geometry, invoke
from airflow_ee.core.region import Region

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient

__all__ = ["STATISTICS", "RegionFeature", "RegionReducer", "RegionRequests", "parse_regions"]

STATISTICS = ("mean", "stdDev", "min", "max", "count", "sum", "median", "mode", "variance", "first")
"""Reducers by the names that Earth Engine gives their results."""
MARK = "airflow_ee_region"
"""Property that carries a region's number to the service and back."""
MARGIN_BYTES = 16_384
"""Left for what a request holds besides the expression: the page's token and size, the tag."""
log = logging.getLogger(__name__)

Feature = dict[str, Any]
Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFeature:
    """A place to reduce over, with what is known of it."""

    index: str
    """The GeoJSON feature's id, or its place."""
    geometry: Mapping[str, Any]
    """GeoJSON Polygon, MultiPolygon, Point or MultiPoint in longitude and latitude, without heights."""
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionReducer:
    """What is computed of an image over every region.

    >>> image = Expression.parse({"result": "0", "values": {"0": constant(1)}})
    >>> RegionReducer(image=image, statistics=("mean",), percentiles=(5, 97.5), scale=30).columns(["NDVI", "EVI"])
    ['NDVI_mean', 'NDVI_p5', 'NDVI_p97.5', 'EVI_mean', 'EVI_p5', 'EVI_p97.5']
    >>> RegionReducer(image=image, statistics=("std",), scale=30)
    Traceback (most recent call last):
    ValueError: statistics must be of mean, stdDev, min, max, count, sum, median, mode, variance, first, got ['std']
    """

    image: Expression
    statistics: tuple[str, ...]
    percentiles: tuple[float, ...] = ()
    """0 to 100."""
    scale: float | None = None
    """Metres along one side of a pixel."""
    crs: str | None = None
    """Code or WKT; None: that of the image's first band."""
    crs_transform: tuple[float, ...] | None = None
    """Six numbers: scale x, shear x, x, shear y, scale y, y."""
    tile_scale: float | None = None
    """1 to 16: above 1 the service takes smaller tiles, which need less memory and more time."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown:
            raise ValueError(f"statistics must be of {', '.join(STATISTICS)}, got {unknown}")
        wrong = [share for share in self.percentiles if not 0 <= share <= 100]
        if wrong:
            raise ValueError(f"percentiles must be in 0..100, got {wrong}")
        if not self.outputs:
            raise ValueError("give statistics or percentiles: otherwise nothing would be computed")
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError(f"statistics and percentiles: each at most once, got {', '.join(self.outputs)}")
        self._check_grid()

    def _check_grid(self) -> None:
        if (self.scale is None) == (self.crs_transform is None):
            raise ValueError(
                "give scale or crs_transform, one of them: without either a composite is reduced over pixels of one degree"
            )
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be above 0 metres, got {self.scale}")
        if self.crs_transform is not None and (self.crs is None or len(self.crs_transform) != 6):
            raise ValueError(f"crs_transform must be six numbers, and needs crs, got {self.crs_transform}")
        if self.tile_scale is not None and not 0.1 <= self.tile_scale <= 16:
            raise ValueError(f"tile_scale must be in 0.1..16, got {self.tile_scale}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What Earth Engine calls the results: ``mean``, ``p5``."""
        return (*self.statistics, *(f"p{share:g}" for share in self.percentiles))

    def columns(self, bands: Sequence[str]) -> list[str]:
        """Earth Engine's names of the properties: by result for one band, by band for one result, else of both."""
        if len(bands) == 1:
            return list(self.outputs)
        if len(self.outputs) == 1:
            return list(bands)
        return [f"{band}_{output}" for band in bands for output in self.outputs]

    def whole(self, columns: Sequence[str]) -> frozenset[str]:
        """Those of :meth:`columns` that count, and so are whole numbers."""
        each = len(self.outputs)
        return frozenset(name for number, name in enumerate(columns) if self.outputs[number % each] == "count")

    def over_regions(self, regions: Sequence[RegionFeature], *, first: int = 0) -> Expression:
        """The expression for regions that go along; each carries its number, counted from ``first``."""
        nodes = [_region_node(region, number) for number, region in enumerate(regions, first)]
        return self._over(invoke("Collection", features={"arrayValue": {"values": nodes}}))

    def over_table(self, asset_id: str) -> Expression:
        """The expression for the regions of a table asset."""
        return self._over(invoke("Collection.loadTable", tableId=constant(asset_id)))

    def _over(self, collection: Node) -> Expression:
        projection = {} if self.crs is None else {"crs": invoke("Projection", crs=constant(self.crs))}
        plain = {
            "scale": self.scale,
            "crsTransform": None if self.crs_transform is None else list(self.crs_transform),
            "tileScale": self.tile_scale,
        }
        given = {name: constant(value) for name, value in plain.items() if value is not None}
        return self.image.wrap(
            "Image.reduceRegions", "image", collection=collection, reducer=self._reducer(), **projection, **given
        )

    def _reducer(self) -> Node:
        nodes = [invoke(f"Reducer.{name}") for name in self.statistics]
        if self.percentiles:
            names = self.outputs[len(self.statistics) :]
            shares = constant(list(self.percentiles))
            nodes.append(invoke("Reducer.percentile", percentiles=shares, outputNames=constant(list(names))))
        combined = nodes[0]
        for node in nodes[1:]:
            combined = invoke("Reducer.combine", reducer1=combined, reducer2=node, sharedInputs=constant(True))
        return combined


@dataclass(slots=True, kw_only=True)
class RegionRequests:
    """Asks for statistics, in requests that the service can bear, and puts the answers together.

    Regions that go along are cut into requests by the size of a request's body and by ``page_size``. What the service finds
    too slow or too hungry is cut in two and asked for again, down to a region; the following requests are no larger.
    """

    client: EarthEngineClient
    reducer: RegionReducer
    bands: Sequence[str]
    """Of the image."""
    page_size: int = 1000
    workload_tag: str | None = None
    requests: int = 0
    """Answers that were taken so far."""

    def __post_init__(self) -> None:
        if self.page_size < 1:
            raise ValueError(f"page_size must be at least 1, got {self.page_size}")

    @property
    def columns(self) -> list[str]:
        """Names of the statistics."""
        return self.reducer.columns(self.bands)

    def over_table(self, asset_id: str) -> Iterator[Feature]:
        """The features of a table asset with their statistics."""
        for feature in self._ask(self.reducer.over_table(asset_id)):
            own = feature.get("properties") or {}
            yield {**feature, "properties": {**own, **self._statistics(own)}}

    def over_regions(self, regions: Sequence[RegionFeature]) -> Iterator[Feature]:
        """The regions in their order, with their own properties and geometries, and the statistics.

        A property that has the name of a statistic is replaced by it, as Earth Engine does.

        Raises
        ------
        ValueError
            When one region alone is too large for a request; before anything is sent.
        MalformedResponse
            When an answer lacks a region, or has one that was not asked for.
        """
        budget = self._budget()
        sizes = list(_sizes(regions, budget))
        start, most = 0, self.page_size
        while start < len(regions):
            count = _fitting(sizes[start : start + most], budget)
            try:
                answers = self._chunk(regions, start, count)
            except TOO_HUNGRY as error:
                if count == 1:
                    message = f"region {regions[start].index!r}: {error.message}"
                    raise type(error)(message, error.details, error.retry_after_seconds) from error
                most = max(1, count // 2)
                log.info("%d regions are too much at once, now %d: %s", count, most, error)
                continue
            yield from answers
            start += count

    def _chunk(self, regions: Sequence[RegionFeature], start: int, count: int) -> list[Feature]:
        asked = regions[start : start + count]
        asking = self._ask(self.reducer.over_regions(asked, first=start))
        answers = [feature.get("properties") or {} for feature in asking]
        found = {properties.get(MARK): properties for properties in answers}
        if len(answers) != count or set(found) != set(range(start, start + count)):
            raise MalformedResponse(
                f"Asked for {count} regions from number {start} on, the answer has {len(answers)}, not each of them once."
            )
        return [self._joined(region, found[number]) for number, region in enumerate(asked, start)]

    def _joined(self, region: RegionFeature, answer: Mapping[str, Any]) -> Feature:
        properties = {**region.properties, **self._statistics(answer)}
        return {"type": "Feature", "id": region.index, "geometry": region.geometry, "properties": properties}

    def _statistics(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Every statistic, null where the service has none. JSON writes 2.0 as 2: a mean stays a float all the same."""
        columns = self.columns
        whole = self.reducer.whole(columns)
        values = {name: properties.get(name) for name in columns}
        return {
            name: float(value) if isinstance(value, int) and name not in whole else value
            for name, value in values.items()
        }

    def _ask(self, expression: Expression) -> Iterator[Feature]:
        pages = self.client.compute_feature_pages(expression, page_size=self.page_size, workload_tag=self.workload_tag)
        for page in pages:
            self.requests += 1
            yield from page

    def _budget(self) -> int:
        """Bytes of regions that a request has room for."""
        taken = _bytes_of(self.reducer.over_regions([]).graph) + MARGIN_BYTES
        limit = self.client.settings.limits.max_body_bytes
        if taken >= limit:
            raise ValueError(
                f"expression takes {taken} bytes, which leaves no room for regions in a request of {limit}"
            )
        return limit - taken


def parse_regions(value: Any) -> list[RegionFeature]:
    """Read the regions of a GeoJSON object or its text, in their order.

    >>> point = {"type": "Feature", "id": "a", "properties": {"crop": "soy"}, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    >>> parse_regions(point)[0].index
    'a'

    Raises
    ------
    ValueError
        When there is none, or one is no valid polygon or point in the world; the message names it.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as problem:
            raise ValueError(f"regions must be GeoJSON, got {value[:80]!r}: {problem}") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"regions must be a GeoJSON object, got {type(value).__name__}")
    features = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    if not isinstance(features, list) or not features:
        raise ValueError("regions is empty: a GeoJSON FeatureCollection without features")
    return [_region(feature, number) for number, feature in enumerate(features)]


def _region(feature: Any, number: int) -> RegionFeature:
    if not isinstance(feature, Mapping):
        raise ValueError(f"regions: number {number} is no GeoJSON, got {str(feature)[:80]}")
    whole = feature if feature.get("type") == "Feature" else {"geometry": feature}
    properties = dict(whole.get("properties") or {})
    index = properties.pop("system:index", None) if whole.get("id") is None else whole["id"]
    index = str(number if index is None else index)
    try:
        return RegionFeature(index=index, geometry=_flat(whole.get("geometry")), properties=properties)
    except ValueError as problem:
        raise ValueError(f"regions: number {number} ({index!r}): {problem}") from None


def _flat(geojson: Any) -> dict[str, Any]:
    """The geometry, checked, without heights and without members of other software."""
    import shapely

    if not isinstance(geojson, Mapping):
        raise ValueError("it has no geometry")
    has_area = geojson.get("type") not in {"Point", "MultiPoint"}
    shape = Region.parse(geojson).geometry if has_area else _points(geojson)
    flat: dict[str, Any] = json.loads(shapely.to_geojson(shapely.force_2d(shape)))
    return flat


def _points(geojson: Mapping[str, Any]) -> Any:
    import shapely

    try:
        shape = shapely.from_geojson(json.dumps(geojson))
    except (shapely.errors.GEOSException, TypeError, ValueError) as problem:
        raise ValueError(f"it is not valid GeoJSON: {problem}") from None
    west, south, east, north = shape.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(f"it leaves the world: its bounds are {shape.bounds}")
    return shape


def _region_node(region: RegionFeature, number: int) -> Node:
    return invoke("Feature", geometry=geometry(region.geometry), metadata=constant({MARK: number}))


def _sizes(regions: Sequence[RegionFeature], budget: int) -> Iterator[int]:
    """Bytes that each region takes in a request."""
    for number, region in enumerate(regions):
        size = _bytes_of(_region_node(region, number)) + 1
        if size > budget:
            raise ValueError(
                f"regions: region {region.index!r} alone takes {size} bytes, and a request has room for {budget}; "
                "simplify it, or upload the regions as a table asset"
            )
        yield size


def _bytes_of(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def _fitting(sizes: Sequence[int], budget: int) -> int:
    """How many of them fit together; at least the first."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > budget:
            return count
    return len(sizes)
