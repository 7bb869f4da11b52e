"""Features page by page: computed ones, those of a table, and tables to download."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow_ee.emulator.api.assetfilter import Intersection, parse_filter, region_of
from airflow_ee.emulator.api.calls import Answer, Call, page
from airflow_ee.emulator.api.pictures import file_name
from airflow_ee.emulator.api.values import shown
from airflow_ee.emulator.errors import field_violation, invalid
from airflow_ee.emulator.exports.columns import Table
from airflow_ee.emulator.exports.tables import write_table
from airflow_ee.emulator.limits import check_workload_tag
from airflow_ee.emulator.pixels.crs import WGS84
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.geometry import Geometry
from airflow_ee.emulator.values.image import Image

PAGE_SIZE = 1000
_FORMATS = {"TABLE_FILE_FORMAT_UNSPECIFIED": "CSV", "JSON": "GEO_JSON"}
_DOWNLOADS = ("CSV", "GEO_JSON", "KML", "KMZ")


def compute_features(call: Call, session: Session) -> Answer:
    """The features of an expression."""
    if "expression" not in call.body:
        raise field_violation("expression", "Expression must be specified.")
    check_workload_tag(call.body.get("workloadTag", ""))
    return _page_of(expression_features(call, session), call, session)


def list_features(call: Call, session: Session) -> Answer:
    """The features of a table asset that meet a region and a filter."""
    table = session.catalog.load_table(call.path["asset"], session)
    clauses: list[Any] = list(parse_filter(call.query.get("filter", "")).clauses)
    if call.query.get("region"):
        clauses.append(Intersection(region_of(call.query["region"])))
    found = [feature for feature in table.elements if all(clause.matches(feature) for clause in clauses)]
    return _page_of(found, call, session)


def _page_of(features: list[Any], call: Call, session: Session) -> Answer:
    part, token = page(features, call, default_size=PAGE_SIZE)
    body: dict[str, Any] = {"type": "FeatureCollection"}
    if part:
        body["features"] = [as_geojson(feature) for feature in part]
    return Answer({**body, "nextPageToken": token} if token else body, session.marker)


def expression_features(call: Call, session: Session) -> list[Feature]:
    """The features that a call's expression makes; a single feature or a geometry is a collection of one."""
    value = session.evaluate(call.body["expression"])
    elements: Sequence[Any] = value.elements if isinstance(value, Collection) else [value]
    features = [Feature(each) if isinstance(each, Geometry) else each for each in elements]
    if any(isinstance(each, Image) for each in features):
        raise invalid("Expression must evaluate to a feature collection, found images.")
    if not all(isinstance(each, Feature) for each in features):
        raise invalid(f"Expression must evaluate to a feature collection, found {type(value).__name__}.")
    return features


def as_geojson(feature: Feature) -> dict[str, Any]:
    """A feature as GeoJSON says: longitudes and latitudes, straight edges."""
    properties = shown(dict(feature.properties)) or None  # null where there are none, says the reference
    return {"type": "Feature", "geometry": plain_geometry(feature.geometry), "properties": properties}


def plain_geometry(geometry: Geometry | None) -> Any:
    """A geometry without Earth Engine's own members; great circles are drawn with more vertices."""
    if geometry is None:
        return None
    flat = Geometry(geometry.in_crs(WGS84)).as_value()
    return {name: value for name, value in flat.items() if name in ("type", "coordinates", "geometries")}


def check_table(call: Call, session: Session) -> Answer:
    """Refuse a table that could not be made."""
    kind = table_format(call.body)
    if kind not in _DOWNLOADS:
        raise field_violation("file_format", f"Unsupported file format for table downloads: {kind}.")
    expression_features(call, session)
    return Answer({}, session.marker)


def get_table(call: Call, session: Session) -> Answer:
    """A table as a file."""
    features = expression_features(call, session)
    name = file_name(call.body.get("filename")) or "table"
    table = Table.of(features, call.body.get("selectors", []))
    with tempfile.TemporaryDirectory(prefix="earth-engine-table-") as folder:
        (draft,) = write_table(table, table_format(call.body), Path(folder), lambda: None)
        content = draft.path.read_bytes()
    headers = {"Content-Disposition": f'attachment; filename="{name}{draft.suffix}"'}
    return Answer(content, session.marker, draft.content_type, headers)


def table_format(body: Mapping[str, Any]) -> str:
    """The format of a table; CSV where the request does not say."""
    kind: str = body.get("fileFormat", "CSV")
    return _FORMATS.get(kind, kind)
