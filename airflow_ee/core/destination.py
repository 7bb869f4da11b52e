"""Where an export goes, read from a URI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

__all__ = ["Destination", "object_uri"]

FORMS = "gs://bucket/prefix, drive://folder/prefix or projects/{project}/assets/{path}"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# How the service tells of a folder in Cloud Storage: by the page of its console that lists it.
_CONSOLE_FOLDER = re.compile(r"https://console\.(?:developers|cloud)\.google\.com/storage/browser/(?P<path>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A place that Earth Engine writes to by itself.

    >>> Destination.parse("gs://my-bucket/ndvi/2024").prefix
    'ndvi/2024'
    >>> Destination.parse("s3://my-bucket/ndvi")
    Traceback (most recent call last):
    ValueError: destination_uri must be gs://bucket/prefix, drive://folder/prefix or projects/{project}/assets/{path}, got 's3://my-bucket/ndvi'
    """

    kind: Literal["gs", "drive", "asset"]
    container: str = ""
    """Bucket, or Drive folder; empty for Drive's top folder and for assets."""
    prefix: str
    """What names of files begin with, or the name of the asset."""

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read ``gs://bucket/prefix``, ``drive://folder/prefix`` or the name of an asset."""
        scheme, separator, rest = uri.strip().partition("://")
        container, _, prefix = rest.partition("/")
        if not separator and re.fullmatch(r"(projects/[^/]+/assets|users/[^/]+)/.+", scheme):
            return cls(kind="asset", prefix=scheme)
        if scheme == "gs" and separator and prefix and _BUCKET.fullmatch(container):
            return cls(kind="gs", container=container, prefix=prefix)
        if scheme == "drive" and separator and prefix and "/" not in prefix:
            return cls(kind="drive", container=container, prefix=prefix)
        raise ValueError(f"destination_uri must be {FORMS}, got {uri!r}")

    @property
    def uri(self) -> str:
        """The form that :meth:`parse` reads."""
        return self.prefix if self.kind == "asset" else f"{self.kind}://{self.container}/{self.prefix}"


def object_uri(uri: str) -> str:
    """A place in Cloud Storage as ``gs://``; the service names a page of its console instead. Others stay as they are.

    >>> object_uri("https://console.developers.google.com/storage/browser/my-bucket/ndvi/")
    'gs://my-bucket/ndvi/'
    """
    match = _CONSOLE_FOLDER.fullmatch(uri)
    return f"gs://{match['path']}" if match else uri
