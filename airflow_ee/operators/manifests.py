"""Manifests of imports, read from what a user gives: a mapping, text, a file, or a prefix in a bucket."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any, TypeVar

from airflow_ee.core.object_names import SOURCE_SUFFIXES
from airflow_ee.hooks.locations import GOOGLE_STORAGE
from airflow_ee.operators.locations import connection_for, location, read_text

__all__ = ["read_manifest", "source_objects"]

Manifest = TypeVar("Manifest")


def read_manifest(parse: Callable[[Any], Manifest], value: Any, gcp_conn_id: str) -> Manifest:
    """
    Return the manifest that an argument means.

    :param parse: ``ImageManifest.parse`` or ``TableManifest.parse``.
    :param value: A manifest, the REST form of it, its JSON text, or a ``.json`` file by absolute path or URL. A relative
        path is beside the DAG's file, and Airflow has put the file's text here.
    :param gcp_conn_id: Airflow connection that opens a file in Cloud Storage.
    """
    if isinstance(value, str) and value.strip().endswith(".json"):
        uri = value.strip()
        value = read_text("manifest", uri, connection_for(uri, None, gcp_conn_id))
    return parse(value)


def source_objects(source_uri: Any, conn_id: str | None) -> list[str]:
    """
    Return the URIs of what an import is made of: of one file with what belongs to it, or of all that begin with a prefix.

    :param source_uri: ``gs://bucket/file.tif`` and its like, ``gs://bucket/folder/`` or ``gs://bucket/folder/beginning``.
    :param conn_id: Airflow connection for the bucket.
    """
    stem, suffix = posixpath.splitext(str(source_uri))
    if suffix.lower() not in SOURCE_SUFFIXES:
        return _list_objects(source_uri, conn_id)
    beside = _list_objects(f"{stem}.", conn_id, source_uri)
    file = f"gs://{str(source_uri).partition('://')[2]}"
    if file not in beside:
        raise ValueError(f"source_uri: there is no object {file}")
    # Other files of the same name are other sources, whatever a prefix would make of them.
    return [name for name in beside if name == file or posixpath.splitext(name)[1].lower() not in SOURCE_SUFFIXES]


def _list_objects(prefix: Any, conn_id: str | None, told: Any = None) -> list[str]:
    """The objects whose names begin with a prefix; errors tell of what the user has given for it."""
    scheme, _, wanted = str(prefix).partition("://")
    told = prefix if told is None else told
    if not str(prefix).startswith(GOOGLE_STORAGE) or not wanted.partition("/")[2]:
        raise ValueError(
            f"source_uri must be gs://bucket/object, gs://bucket/folder/ or gs://bucket/beginning, got {told!r}"
        )
    folder = wanted if wanted.endswith("/") else posixpath.dirname(wanted)
    place = location(f"{scheme}://{folder}", conn_id)
    # Listings are remembered for as long as a process lives, and others write to buckets.
    place.filesystem.invalidate_cache()
    try:
        found = [str(name).lstrip("/") for name in place.filesystem.find(place.path)]
    except FileNotFoundError:
        found = []
    # Consoles make empty objects whose names end in a slash, to show folders.
    names = sorted(name for name in found if name.startswith(wanted) and not name.endswith("/"))
    if not names:
        raise ValueError(f"source_uri: there is no object whose name begins with {told}")
    return [f"gs://{name}" for name in names]
