"""Assets that exports and clients have made: a folder each under the root, so that they outlive the process."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from rasterio.errors import RasterioIOError

from airflow_ee.emulator.catalog.assets import PUBLIC, ImageAsset, Kind, asset_name
from airflow_ee.emulator.catalog.stored import RECORD, read_image, write_json
from airflow_ee.emulator.catalog.tables import FEATURES, TableAsset
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.values.dates import Date, parse_time, timestamp

CONTAINERS = ("FOLDER", "IMAGE_COLLECTION")
MAX_NAME = 200
MAX_LENGTH = 1000
"""Bytes of a whole name, so that its path is one that every file system takes."""

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""Letters, digits, ``-`` and ``_``; a dot inside only, as user names have it."""

_POLICY = "policy.json"

REPLACED, DELETED, COPYING = ".replaced", ".deleted", ".copying-"
"""How folders are named that are on their way: with a dot in front, as no asset is."""

AssetType = Literal["IMAGE", "TABLE", "FOLDER", "IMAGE_COLLECTION", "CLASSIFIER", "FEATURE_VIEW"]


@dataclass(frozen=True, slots=True, eq=False)
class ContainerAsset:
    """A folder or image collection that a client has made."""

    id: str
    type: str
    updated: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = Kind.NONE
    start: datetime | None = None
    end: datetime | None = None

    def as_json(self, *, view: str = "FULL") -> dict[str, Any]:
        """A REST EarthEngineAsset."""
        shown: dict[str, Any] = {"type": self.type, "name": asset_name(self.id), "id": self.id}
        shown["updateTime"] = timestamp(self.updated)
        if view == "BASIC":
            return shown
        moments = {"startTime": self.start, "endTime": self.end}
        shown |= {name: timestamp(moment) for name, moment in moments.items() if moment is not None}
        return {**shown, "properties": dict(self.properties)} if self.properties else shown

    def element_properties(self) -> dict[str, Any]:
        """What a filter looks at."""
        return dict(self.properties)


StoredAsset = ImageAsset | TableAsset | ContainerAsset


class AssetStore:
    """Assets below one folder."""

    def __init__(self, root: Path, objects: Path | None = None) -> None:
        self._root = root
        self.objects = objects
        """The folder with the buckets that images may be backed by."""
        self._lock = threading.RLock()

    def _folder(self, identity: str) -> Path:
        parts = asset_name(identity).rstrip("/").split("/")
        if len(identity.encode()) > MAX_LENGTH or not all(_is_safe(part) for part in parts):
            raise invalid(f"Invalid asset name: '{identity[:MAX_NAME]}'.")
        return self._root.joinpath(*parts)

    def recover(self) -> None:
        """Clean up behind a process that was killed: half-deleted assets go, half-replaced ones are put back."""
        for path in sorted(self._root.rglob(f".*{REPLACED}")):
            place = path.with_name(path.name.removeprefix(".").removesuffix(REPLACED))
            if place.exists():
                shutil.rmtree(path)
            else:
                path.rename(place)
        for pattern in (f".*{DELETED}", f"{COPYING}*"):
            for path in sorted(self._root.rglob(pattern)):
                shutil.rmtree(path)

    def _record(self, identity: str) -> dict[str, Any] | None:
        found = self._read(identity)
        if found is None:
            with self._lock:  # perhaps it is just being replaced
                found = self._read(identity)
        return found

    def _read(self, identity: str) -> dict[str, Any] | None:
        try:
            text = (self._folder(identity) / RECORD).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        record: dict[str, Any] = json.loads(text)
        return record

    def asset(self, identity: str) -> StoredAsset | None:
        """Whatever has that id."""
        try:
            return self._asset(identity)
        except (FileNotFoundError, RasterioIOError):
            with self._lock:  # it was replaced or deleted while it was read
                return self._asset(identity)

    def _asset(self, identity: str) -> StoredAsset | None:
        record = self._record(identity)
        if record is None:
            return None
        if record["type"] == "IMAGE":
            return read_image(identity, record, self._folder(identity), self.objects)
        updated, properties = parse_time(record["updateTime"]), record.get("properties", {})
        start, end = (moment_of(record, name) for name in ("time_start", "time_end"))
        if record["type"] == "TABLE":
            path = self._folder(identity) / FEATURES
            return TableAsset(identity, Kind(record["kind"]), path, updated, properties, start, end)
        return ContainerAsset(identity, record["type"], updated, properties, start=start, end=end)

    def image(self, identity: str) -> ImageAsset | None:
        """The image of that id."""
        found = self.asset(identity)
        return found if isinstance(found, ImageAsset) else None

    def table(self, identity: str) -> TableAsset | None:
        """The table of that id."""
        found = self.asset(identity)
        return found if isinstance(found, TableAsset) else None

    def exists(self, identity: str) -> bool:
        """Whether anything has that id."""
        return self._record(identity) is not None

    def folder(self, identity: str) -> dict[str, Any] | None:
        """The folder or collection of that id; a project's root is always there."""
        name = asset_name(identity).rstrip("/")
        if is_root(name):
            return {"type": "FOLDER", "name": name, "id": identity}
        found = self.asset(identity)
        return found.as_json() if isinstance(found, ContainerAsset) else None

    def children(self, identity: str) -> list[ImageAsset]:
        """The images directly inside, by id."""
        return [found for found in self.members(identity) if isinstance(found, ImageAsset)]

    def members(self, identity: str) -> list[StoredAsset]:
        """Everything directly inside, by id."""
        inside = f"{identity}/assets" if re.fullmatch("projects/[^/]+", identity) else identity.rstrip("/")
        names = sorted(path.parent.name for path in self._folder(inside).glob(f"[!.]*/{RECORD}"))
        found = (self.asset(f"{inside}/{name}") for name in names)
        return [each for each in found if each is not None]

    def check_destination(self, identity: str, *, overwrite: bool, kind: AssetType = "IMAGE") -> None:
        """Refuse a place that is taken, or that is in nothing that holds assets of this kind."""
        name = asset_name(identity)
        if is_root(name) or not all(_PART.fullmatch(part) for part in name.split("/")):
            raise invalid(f"Invalid asset name: '{name}'.")
        if name.startswith(PUBLIC):
            message = f"Permission 'earthengine.assets.create' denied on resource '{name[:300]}' (or it may not exist)."
            raise EmulatorError("PERMISSION_DENIED", message)
        parent = name.rpartition("/")[0]
        if not is_root(parent):
            self._check_parent(name, parent, kind)
        taken = self._record(identity)
        if taken is not None and not overwrite:
            raise EmulatorError("ALREADY_EXISTS", f"Cannot overwrite asset '{name}'.")
        if taken is not None and taken["type"] != kind:
            raise invalid(f"Cannot overwrite asset '{name}' of type {taken['type']} with one of type {kind}.")

    def _check_parent(self, name: str, parent: str, kind: AssetType) -> None:
        record = self._record(parent)
        if record is None:
            raise invalid(f"Cannot create asset '{name}': its parent '{parent}' does not exist.")
        allowed = CONTAINERS if kind == "IMAGE" else ("FOLDER",)
        if record["type"] not in allowed:
            text = f"its parent '{parent}' is of type {record['type']}, which cannot hold assets of type {kind}."
            raise invalid(f"Cannot create asset '{name}': {text}")

    def create_container(
        self, identity: str, kind: str, properties: Mapping[str, Any], now: datetime
    ) -> dict[str, Any]:
        """A new folder or image collection."""
        if kind not in CONTAINERS:
            raise invalid(f"Cannot create an asset of type {kind} without data.")
        with self._lock:
            self.check_destination(identity, overwrite=False, kind="FOLDER" if kind == "FOLDER" else "IMAGE_COLLECTION")
            place = self._folder(identity)
            place.mkdir(parents=True, exist_ok=True)
            write_json(place / RECORD, {"type": kind, "updateTime": timestamp(now), "properties": dict(properties)})
        return ContainerAsset(identity, kind, now, properties).as_json()

    def put_record(self, identity: str, record: Mapping[str, Any], *, overwrite: bool, kind: AssetType) -> None:
        """An asset that is nothing but its record."""
        self._root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=COPYING, dir=self._root) as scratch:
            draft = Path(scratch) / "asset"
            draft.mkdir()
            write_json(draft / RECORD, record)
            self.adopt(draft, identity, overwrite=overwrite, kind=kind)

    def names(self, inside: str) -> list[str]:
        """Names of the folders in a place that no asset stands for."""
        place = self._folder(inside)
        return sorted(each.name for each in place.glob("[!.]*") if each.is_dir()) if place.is_dir() else []

    def usage(self, identity: str) -> tuple[int, int]:
        """How many assets are below, and how many bytes they have."""
        inside = f"{identity}/assets" if re.fullmatch("projects/[^/]+", identity) else identity
        place = self._folder(inside)
        files = [path for path in place.rglob("*") if path.is_file()]
        return sum(path.name == RECORD for path in files), sum(path.stat().st_size for path in files)

    def change(self, identity: str, change: Mapping[str, Any], now: datetime) -> StoredAsset:
        """Other properties (``properties`` all of them, ``some_properties`` these) or ``times``; None removes."""
        with self._lock:
            record = self._record(identity) or {}
            properties = {**change.get("properties", record.get("properties", {})), **change.get("some_properties", {})}
            times = {**record.get("times", {}), **change.get("times", {})}
            record |= {"properties": _known(properties), "times": _known(times), "updateTime": timestamp(now)}
            write_json(self._folder(identity) / RECORD, record)
        return self._required(identity)

    def copy(self, source: str, target: str, *, overwrite: bool) -> StoredAsset:
        """The same asset under another name as well."""
        found = self._required(source)
        if isinstance(found, ContainerAsset):
            raise invalid(f"Assets of type {found.type} cannot be copied.")
        self.check_destination(target, overwrite=overwrite, kind=self._kind(source))
        with TemporaryDirectory(prefix=COPYING, dir=self._root) as scratch:
            draft = Path(scratch) / "asset"
            shutil.copytree(self._folder(source), draft, ignore=shutil.ignore_patterns(_POLICY))
            self.adopt(draft, target, overwrite=overwrite, kind=self._kind(source))
        return self._required(target)

    def move(self, source: str, target: str) -> StoredAsset:
        """Another name for an asset and all that is inside."""
        if f"{asset_name(target)}/".startswith(f"{asset_name(source)}/"):
            raise invalid(f"Cannot move asset '{asset_name(source)}' into itself.")
        self.adopt(self._folder(source), target, overwrite=False, kind=self._kind(source))
        return self._required(target)

    def policy(self, identity: str) -> dict[str, Any] | None:
        """The IAM policy that was set."""
        try:
            policy: dict[str, Any] = json.loads((self._folder(identity) / _POLICY).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return policy

    def set_policy(self, identity: str, policy: Mapping[str, Any]) -> None:
        """Keep an IAM policy beside the asset."""
        place = self._folder(identity)
        with self._lock:
            place.mkdir(parents=True, exist_ok=True)
            write_json(place / _POLICY, policy)

    def _kind(self, identity: str) -> AssetType:
        kind: AssetType = (self._record(identity) or {})["type"]
        return kind

    def _required(self, identity: str) -> StoredAsset:
        found = self.asset(identity)
        if found is None:
            raise EmulatorError("NOT_FOUND", f"Asset '{asset_name(identity)}' not found.")
        return found

    def delete(self, identity: str) -> None:
        """Remove an asset or an empty container."""
        place = self._folder(identity)
        with self._lock:
            if not self.exists(identity):
                raise EmulatorError("NOT_FOUND", f"Asset '{asset_name(identity)}' not found.")
            if next(place.glob(f"[!.]*/{RECORD}"), None) is not None:
                raise EmulatorError("FAILED_PRECONDITION", f"Asset '{asset_name(identity)}' is not empty.")
            gone = place.with_name(f".{place.name}{DELETED}")
            place.rename(gone)  # at once: nobody must read an asset of which half is gone
            shutil.rmtree(gone)

    def adopt(
        self, draft: Path, identity: str, *, overwrite: bool, kind: AssetType, operation: str | None = None
    ) -> None:
        """Make a folder with a record the asset of that id: it appears whole or not at all.

        What an earlier attempt of the same ``operation`` has put there is replaced.
        """
        place = self._folder(identity)
        with self._lock:
            again = operation is not None and (self._record(identity) or {}).get("operation") == operation
            self.check_destination(identity, overwrite=overwrite or again, kind=kind)
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                # Out of sight first, and beside its place, where the next process finds it if this one is killed.
                old = place.with_name(f".{place.name}{REPLACED}")
                place.rename(old)
                draft.rename(place)
                shutil.rmtree(old)
            else:
                draft.rename(place)


def moment_of(record: Mapping[str, Any], name: str) -> datetime | None:
    """A time of a record."""
    milliseconds = record.get("times", {}).get(name)
    return None if milliseconds is None else Date(milliseconds).moment


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _is_safe(part: str) -> bool:
    ordinary = (
        not part.startswith(".")
        and part not in ("", RECORD, _POLICY)
        and ":" not in part
        and len(part.encode()) <= MAX_NAME
    )
    return ordinary and part.isprintable()


def is_root(name: str) -> bool:
    """Whether a REST name is that of a project's or user's own folder, which is always there."""
    parts = name.split("/")
    if name.startswith("projects/earthengine-legacy/assets/"):
        return len(parts) == 5 and parts[3] in ("users", "projects")
    return len(parts) in (2, 3) and parts[0] == "projects" and parts[2:] in ([], ["assets"])
