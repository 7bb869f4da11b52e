"""Where operators read and write: local paths and any ObjectStoragePath URL (``gs://``, ``s3://``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

if TYPE_CHECKING:
    from airflow_ee.core.region import Region
    from airflow_ee.core.sinks.base import Location

__all__ = ["connection_for", "location", "read_region", "read_text"]

GOOGLE_STORAGE = ("gs://", "gcs://")
REGION_SUFFIXES = (".json", ".geojson")


def location(uri: str, conn_id: str | None) -> Location:
    """The place behind a local path or URL.

    :param uri: ``/data/x.tif``, ``file:///data/x.tif``, ``gs://bucket/x.tif``, ``s3://bucket/x.tif``.
    :param conn_id: Airflow connection for an object store.
    """
    from airflow_ee.core.sinks.base import Location

    if not isinstance(uri, str) or not uri.strip():
        raise ValueError(f"an output needs a path or URL, got {uri!r}")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file" and not rest.strip("/"):
        raise ValueError(f"an output needs a bucket and a path, got {uri!r}")
    if not separator:
        uri = "file://" + os.path.abspath(os.path.expanduser(uri))
    if uri.startswith(GOOGLE_STORAGE) and conn_id is not None:
        conn_id = _google_connection(conn_id)
    path = ObjectStoragePath(uri, conn_id=None if uri.startswith("file://") else conn_id)
    plain = path.path
    return Location(path.fs, plain, plain if uri.startswith("file://") else uri)


def connection_for(uri: Any, output_conn_id: str | None, gcp_conn_id: str) -> str | None:
    """The Airflow connection for a place: the one that was named, else for ``gs://`` the Google one.

    >>> connection_for("gs://bucket/x", None, "earth_engine_default")
    'earth_engine_default'
    """
    return output_conn_id or (gcp_conn_id if isinstance(uri, str) and uri.startswith(GOOGLE_STORAGE) else None)


def read_text(name: str, uri: str, conn_id: str | None) -> str:
    """The text of a file that an argument names.

    :param name: The argument, for the error.
    :param uri: Local path or URL.
    :param conn_id: Airflow connection for an object store.
    """
    file = location(uri, conn_id)
    if not file.exists():
        raise ValueError(f"{name}: there is no file {file.url}")
    return file.read_bytes().decode()


def read_region(value: Any, conn_id: str | None) -> Region | None:
    """The region that an argument means; a path or URL that ends in ``.geojson`` or ``.json`` is read.

    :param value: None or '', a box, GeoJSON, the text of either, or a file.
    :param conn_id: Airflow connection for a file in an object store.
    """
    from airflow_ee.core.region import Region

    if value is None or (isinstance(value, str) and value.strip() in {"", "None"}):
        return None
    if isinstance(value, str) and value.lower().endswith(REGION_SUFFIXES):
        return Region.parse(read_text("region", value, conn_id))
    return Region.parse(value)


def _google_connection(conn_id: str) -> str | None:
    """What stands in for a connection in Earth Engine's hook, so that storage is reached by the same identity."""
    # Here and not above: Google's hooks add over a second to every parse of a DAG file.
    from airflow_ee.hooks.earth_engine import EarthEngineHook

    connection = EarthEngineHook.find_connection(conn_id)
    return None if connection is None else str(connection.conn_id)
