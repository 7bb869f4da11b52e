"""Where an export goes: a folder of Cloud Storage or Drive, an asset, or a table of BigQuery."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_ee.emulator.errors import field_violation, invalid

MAX_NAME = 200
_POLICIES = ("MEAN", "SAMPLE", "MIN", "MAX", "MODE", "MEDIAN")


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where files go, and how their names begin."""

    service: Literal["gs", "drive", "not-made"]
    """Notes of assets that are not made have a folder of their own."""
    container: str
    """A bucket, or a Drive folder; Drive's own root is the empty name."""
    prefix: str

    @property
    def uri(self) -> str:
        """What an operation shows as the destination."""
        if self.service == "not-made":
            return asset_uri(self.prefix)
        if self.service == "gs":
            folder = self.prefix.rpartition("/")[0]
            tail = f"{folder}/" if folder else ""
            return f"https://console.developers.google.com/storage/browser/{self.container}/{tail}"
        digest = hashlib.sha256(self.container.encode()).digest()
        return f"https://drive.google.com/#folders/1{base64.urlsafe_b64encode(digest).decode()[:32]}"

    def path(self, suffix: str) -> str:
        """The file's path below the emulator's root. A Drive folder is one name, even with a slash in it."""
        folder = self.container.replace("%", "%25").replace("/", "%2F")
        return "/".join(part for part in (self.service, folder, f"{self.prefix}{suffix}") if part)


@dataclass(frozen=True, slots=True)
class AssetPlace:
    """An asset."""

    name: str
    overwrite: bool
    policy: str = "MEAN"
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BigQueryPlace:
    """A table of BigQuery, and what becomes of the rows that it has."""

    project: str
    dataset: str
    table: str
    overwrite: bool
    append: bool

    @property
    def label(self) -> str:
        """How BigQuery names the table."""
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def uri(self) -> str:
        """What an operation shows as the destination."""
        query = f"project={self.project}&p={self.project}&d={self.dataset}&t={self.table}&page=table"
        return f"https://console.cloud.google.com/bigquery?{query}"


Place = FilePlace | AssetPlace | BigQueryPlace


def asset_uri(name: str) -> str:
    """The page of an asset."""
    return f"https://code.earthengine.google.com/?asset={name}"


def file_place(options: Mapping[str, Any], description: str, path: str = "file_export_options") -> FilePlace:
    """The place that the options of a file export name."""
    storage = options.get("cloudStorageDestination") or options.get("gcsDestination")
    if storage is not None:
        bucket = storage.get("bucket", "")
        if not bucket:
            raise field_violation(f"{path}.cloud_storage_destination.bucket", "Bucket must be specified.")
        if "/" in bucket:
            raise invalid(f"Invalid bucket name: '{bucket}'.")
        return FilePlace("gs", safe_path(bucket), safe_path(storage.get("filenamePrefix") or description))
    if "driveDestination" in options:
        drive = options["driveDestination"]
        folder = drive.get("folder", "")
        # A folder's name may hold slashes: they stand for themselves.
        safe_path(folder.replace("/", "_") or "root")
        return FilePlace("drive", folder, safe_path(drive.get("filenamePrefix") or description))
    raise field_violation(f"{path}.destination", "A Drive or Cloud Storage destination must be specified.")


def safe_path(path: str) -> str:
    """Refuse what would leave the root, or what no file system takes."""
    if not path or not all(_is_name(part) for part in path.split("/")):
        raise invalid(f"Invalid file name prefix: '{path[:MAX_NAME]}'.")
    return path


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and part.isprintable() and len(part.encode()) <= MAX_NAME


def asset_place(options: Mapping[str, Any]) -> AssetPlace:
    """The place that the options of an asset export name."""
    target = options.get("earthEngineDestination", {})
    if not target.get("name"):
        name = "asset_export_options.earth_engine_destination.name"
        raise field_violation(name, "Asset name must be specified.")
    policy = options.get("pyramidingPolicy", "MEAN")
    overrides = dict(options.get("pyramidingPolicyOverrides", {}))
    for each in (policy, *overrides.values()):
        if each not in _POLICIES:
            raise field_violation("asset_export_options.pyramiding_policy", f"Invalid pyramiding policy: {each}.")
    default = overrides.pop(".default", policy)
    return AssetPlace(target["name"], bool(target.get("overwrite", False)), default, overrides)
