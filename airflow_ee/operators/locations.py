"""Where operators read and write: local paths and any ObjectStoragePath URL (``gs://``, ``s3://``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

if TYPE_CHECKING:
    from airflow_ee.core.region import Region
    from airflow_ee.core.sinks.base import Location

__all__ = ["connection_for", "location", "read_region"]

REGION_SUFFIXES = (".json", ".geojson")


def location(uri: str, conn_id: str | None) -> Location:
    """The place behind a local path or URL.

    :param uri: ``/data/x.tif``, ``file:///data/x.tif``, ``gs://bucket/x.tif``, ``s3://bucket/x.tif``.
    :param conn_id: Airflow connection for an object store.
    """
    from airflow_ee.core.sinks.base import Location

    if not isinstance(uri, str) or not uri.strip():
        raise ValueError(f"an output needs a path or URL, got {uri!r}")
    if "://" not in uri:
        uri = "file://" + os.path.abspath(os.path.expanduser(uri))
    path = ObjectStoragePath(uri, conn_id=None if uri.startswith("file://") else conn_id)
    plain = path.path
    return Location(path.fs, plain, plain if uri.startswith("file://") else uri)


def connection_for(uri: Any, output_conn_id: str | None, gcp_conn_id: str) -> str | None:
    """The Airflow connection for a place: the one that was named, else for ``gs://`` the Google one.

    >>> connection_for("gs://bucket/x", None, "earth_engine_default")
    'earth_engine_default'
    """
    return output_conn_id or (gcp_conn_id if isinstance(uri, str) and uri.startswith("gs://") else None)


def read_region(value: Any, conn_id: str | None) -> Region | None:
    """The region that an argument means; a path or URL that ends in ``.geojson`` or ``.json`` is read.

    :param value: None or '', a box, GeoJSON, the text of either, or a file.
    :param conn_id: Airflow connection for a file in an object store.
    """
    from airflow_ee.core.region import Region

    if value is None or (isinstance(value, str) and value.strip() in {"", "None"}):
        return None
    if isinstance(value, str) and value.lower().endswith(REGION_SUFFIXES):
        file = location(value, conn_id)
        if not file.exists():
            raise ValueError(f"region: there is no file {file.url}")
        return Region.parse(file.read_bytes().decode())
    return Region.parse(value)
