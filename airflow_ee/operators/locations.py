"""What operators read of files that arguments name: text, and regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.locations import connection_for, location

if TYPE_CHECKING:
    from airflow_ee.core.region import Region

__all__ = ["REGION_SUFFIXES", "connection_for", "location", "read_region", "read_text"]

REGION_SUFFIXES = (".json", ".geojson")


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
