"""Objects of Cloud Storage as files to read: below the root, or fetched from a Cloud Storage endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Protocol
from urllib.parse import quote

import requests

from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.exports.delivery import FIRST_PAUSE_SECONDS, TIMEOUT_SECONDS, TRIES
from airflow_ee.emulator.exports.destinations import safe_path

_URI = re.compile(r"gs://(?P<bucket>[^/]+)/(?P<object>.+)")
_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ObjectName:
    """An object of a bucket."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> ObjectName:
        """From a ``gs://`` URI."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise invalid(f"Invalid Cloud Storage URI: '{uri[:300]}'. It must look like gs://bucket-id/object-id.")
        return cls(safe_path(match["bucket"]), safe_path(match["object"]))

    @property
    def uri(self) -> str:
        """As manifests write it."""
        return f"gs://{self.bucket}/{self.key}"

    @property
    def extension(self) -> str:
        """The end of the name from its last dot on, in lower case."""
        name = self.key.rpartition("/")[2]
        return f".{name.rpartition('.')[2]}".lower() if "." in name else ""

    def sibling(self, extension: str) -> ObjectName:
        """The object of the same name with another ending."""
        return ObjectName(self.bucket, self.key.removesuffix(self.key[-len(self.extension) :]) + extension)


class Buckets(Protocol):
    """Where objects are read from."""

    def find(self, name: ObjectName, folder: Path) -> Path | None:
        """A file with the object's content, which may be put into the folder; None where there is no such object."""


@dataclass(frozen=True, slots=True)
class FolderBuckets:
    """Buckets are folders below the root."""

    root: Path

    def path(self, name: ObjectName) -> Path:
        """Where an object would be."""
        return self.root / "gs" / name.bucket / name.key

    def find(self, name: ObjectName, folder: Path) -> Path | None:  # noqa: ARG002 -- nothing is fetched
        """The file itself."""
        path = self.path(name)
        return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class StorageBuckets:
    """Buckets of a Cloud Storage JSON API."""

    endpoint: str
    pause: Callable[[float], None] = field(default=sleep)

    def find(self, name: ObjectName, folder: Path) -> Path | None:
        """Fetch the object; what may pass is tried again."""
        problem = ""
        for number in range(TRIES):
            if number:
                self.pause(FIRST_PAUSE_SECONDS * 2 ** (number - 1))
            try:
                return self._fetch(name, folder)
            except requests.RequestException as error:
                problem = type(error).__name__
        raise EmulatorError("UNAVAILABLE", f"Unable to open {name.uri}: {problem} at {self.endpoint}")

    def _fetch(self, name: ObjectName, folder: Path) -> Path | None:
        url = f"{self.endpoint}/storage/v1/b/{quote(name.bucket, safe='')}/o/{quote(name.key, safe='')}"
        with requests.Session() as session:
            # The endpoint is on this machine or network: a proxy for the internet does not know it.
            session.trust_env = False
            answer = session.get(url, params={"alt": "media"}, timeout=TIMEOUT_SECONDS, stream=True)
            if answer.status_code in (400, 401, 403, 404):
                return None
            answer.raise_for_status()
            return _saved(answer.iter_content(_PIECE_BYTES), folder / "sources" / name.bucket / name.key)


def _saved(pieces: Iterable[bytes], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(pieces)
    return path


def buckets(root: Path, storage_endpoint: str | None) -> Buckets:
    """The buckets of an endpoint, or the folders."""
    return StorageBuckets(storage_endpoint.rstrip("/")) if storage_endpoint else FolderBuckets(root)


def opened(source: Buckets, name: ObjectName, folder: Path) -> Path:
    """A file with the object's content, or the failure of the import."""
    path = source.find(name, folder)
    if path is None:
        raise invalid(f"Unable to open {name.uri}: there is no such object, or it cannot be read.")
    return path
