"""Where an export goes, read from a URI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import unquote

__all__ = ["Destination", "object_uri"]

FORMS = "gs://bucket/prefix, drive://folder/prefix or projects/{project}/assets/{path}"
TABLE_FORMS = FORMS.replace(" or", ",") + " or bigquery://project.dataset.table"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# Names of projects may hold a domain and a colon; of datasets and tables letters, digits and _, of tables - and spaces, too.
_BIGQUERY_TABLE = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]+\.\w{1,1024}\.[\w -]{1,1024}")
# How the service tells of a folder in Cloud Storage: by the page of its console that lists it.
_CONSOLE_FOLDER = re.compile(r"https://console\.(?:developers|cloud)\.google\.com/storage/browser/(?P<path>.+)")
# And of an asset: by the page that shows it.
_ASSET_PAGE = re.compile(r"https://code\.earthengine\.google\.com/\?asset=(?P<name>[^&]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A place that Earth Engine writes to by itself.

    >>> Destination.parse("gs://my-bucket/ndvi/2024").prefix
    'ndvi/2024'
    >>> Destination.parse("s3://my-bucket/ndvi")
    Traceback (most recent call last):
    ValueError: destination_uri must be gs://bucket/prefix, drive://folder/prefix or projects/{project}/assets/{path}, got 's3://my-bucket/ndvi'
    """

    kind: Literal["gs", "drive", "asset", "bigquery"]
    container: str = ""
    """Bucket, or Drive folder; empty for Drive's top folder, for assets and for tables of BigQuery."""
    prefix: str
    """What names of files begin with, the name of the asset, or ``project.dataset.table``."""

    @classmethod
    def parse(cls, uri: str, *, bigquery: bool = False) -> Self:
        """Read ``gs://bucket/prefix``, ``drive://folder/prefix`` or the name of an asset.

        Parameters
        ----------
        bigquery
            Whether ``bigquery://project.dataset.table`` will do, too.

        Raises
        ------
        ValueError
            When it is none of these.
        """
        scheme, separator, rest = uri.strip().partition("://")
        container, _, prefix = rest.partition("/")
        if not separator and re.fullmatch(r"(projects/[^/]+/assets|users/[^/]+)/.+", scheme):
            return cls(kind="asset", prefix=scheme)
        if scheme == "gs" and separator and prefix and _BUCKET.fullmatch(container):
            return cls(kind="gs", container=container, prefix=prefix)
        if scheme == "drive" and separator and prefix and "/" not in prefix:
            return cls(kind="drive", container=container, prefix=prefix)
        if bigquery and scheme == "bigquery" and _BIGQUERY_TABLE.fullmatch(rest):
            return cls(kind="bigquery", prefix=rest)
        raise ValueError(f"destination_uri must be {TABLE_FORMS if bigquery else FORMS}, got {uri!r}")

    @property
    def uri(self) -> str:
        """The form that :meth:`parse` reads."""
        if self.kind == "bigquery":
            return f"bigquery://{self.prefix}"
        return self.prefix if self.kind == "asset" else f"{self.kind}://{self.container}/{self.prefix}"


def object_uri(uri: str) -> str:
    """A place in Cloud Storage as ``gs://``, an asset by its name; the service names pages that show them. Others stay as they are.

    >>> object_uri("https://console.developers.google.com/storage/browser/my-bucket/ndvi/")
    'gs://my-bucket/ndvi/'
    >>> object_uri("https://code.earthengine.google.com/?asset=projects/my-project/assets/ndvi")
    'projects/my-project/assets/ndvi'
    """
    folder, asset = _CONSOLE_FOLDER.fullmatch(uri), _ASSET_PAGE.fullmatch(uri)
    if folder:
        return f"gs://{folder['path']}"
    return unquote(asset["name"]) if asset else uri
