"""The argument ``points``: a file, GeoJSON, a table asset, or points drawn at random."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.operators.arguments import integer
from airflow_ee.operators.locations import connection_for, location, read_region

if TYPE_CHECKING:
    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.points import Points

__all__ = ["resolve_points"]

RANDOM_KEYS = ("count", "region", "seed")


def resolve_points(
    value: Any,
    label_properties: Sequence[str],
    *,
    client: EarthEngineClient,
    output_conn_id: str | None,
    gcp_conn_id: str,
    workload_tag: str | None,
) -> Points:
    """
    Return the points that an argument means.

    :param value: A ``.geojson``, ``.json``, ``.csv`` or ``.parquet`` file by path or URL; GeoJSON or its text; the id of a table asset; or
        ``{"count": ..., "region": ..., "seed": ...}``, or its JSON text, for random points.
    :param label_properties: What is carried along.
    :param client: For a table asset.
    :param output_conn_id: Airflow connection of the object store.
    :param gcp_conn_id: Airflow connection for ``gs://``, unless the other one is given.
    :param workload_tag: Of the requests for a table's features.
    """
    from airflow_ee.core.patch_sources import table_features
    from airflow_ee.core.point_files import FILE_SUFFIXES, points_from_geojson, read_points
    from airflow_ee.core.points import points_from_features

    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _parse_json(value)
    if isinstance(value, Mapping):
        if "type" in value:
            return points_from_geojson(value, label_properties)
        return _random(value, label_properties, output_conn_id, gcp_conn_id)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(
            "points must be a file, GeoJSON, the id of a table asset, or count, region and seed of random points, got "
            f"{value!r}"
        )
    if value.lower().endswith(FILE_SUFFIXES):
        file = location(value, connection_for(value, output_conn_id, gcp_conn_id))
        if not file.exists():
            raise ValueError(f"points: there is no file {file.url}")
        return read_points(file.name, file.read_bytes(), label_properties)
    kind = client.get_asset(value).type
    if kind != "TABLE":
        raise ValueError(
            f"points must be a table asset, {value} is of type {kind}; a file ends in {', '.join(FILE_SUFFIXES)}"
        )
    return points_from_features(table_features(client, value, workload_tag=workload_tag), label_properties)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise ValueError(f"points is not JSON: {problem}, got {text[:80]!r}") from None


def _random(
    value: Mapping[str, Any], label_properties: Sequence[str], output_conn_id: str | None, gcp_conn_id: str
) -> Points:
    from airflow_ee.core.points import random_points

    if set(value) != set(RANDOM_KEYS):
        raise ValueError(
            f"points: random ones need {', '.join(RANDOM_KEYS)}, got {', '.join(sorted(map(str, value))) or 'nothing'}"
        )
    if label_properties:
        raise ValueError(f"label_properties: random points have no labels, got {', '.join(label_properties)}")
    area = value["region"]
    region = read_region(area, connection_for(area, output_conn_id, gcp_conn_id))
    count, seed = integer("points: count", value["count"]), integer("points: seed", value["seed"])
    if region is None or count is None or seed is None:
        raise ValueError(f"points: random ones need {', '.join(RANDOM_KEYS)}, got {dict(value)}")
    return random_points(region, count=count, seed=seed)
