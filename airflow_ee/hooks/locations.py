"""Where files are read and written: local paths and any ObjectStoragePath URL (``gs://``, ``s3://``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

if TYPE_CHECKING:
    from airflow_ee.core.sinks.base import Location

__all__ = ["connection_for", "location"]

GOOGLE_STORAGE = ("gs://", "gcs://")


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


def _google_connection(conn_id: str) -> str | None:
    """What stands in for a connection in Earth Engine's hook, so that storage is reached by the same identity."""
    # Here and not above: Google's hooks add over a second to every parse of a DAG file.
    from airflow_ee.hooks.earth_engine import EarthEngineHook

    connection = EarthEngineHook.find_connection(conn_id)
    return None if connection is None else str(connection.conn_id)
