"""Images that appear in a collection of a running emulator, at moments and with times of a test's choice."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import shapely

from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.catalog.stored import write_json

COLLECTION = "projects/demo-project/assets/incoming"


def timestamp(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Incoming:
    """A collection below an emulator's root; an image in it is what exports leave, without bands."""

    def __init__(self, root, collection=COLLECTION):
        self.collection = collection
        self._root = Path(root)
        self._store = AssetStore(self._root / "assets")
        self._store.create_container(collection, "IMAGE_COLLECTION", {}, datetime.now(UTC))

    def put(self, index, start, *, footprint=(-55.6, -12.1, -55.5, -12.0), updated=None, replace=False, **properties):
        """Make an image appear, whole or not at all; tells its id."""
        identity = f"{self.collection}/{index}"
        record = {
            "type": "IMAGE",
            "kind": "mounted",
            "updateTime": timestamp(updated or datetime.now(UTC)),
            "times": {"time_start": start.timestamp() * 1000},
            "footprint": shapely.box(*footprint).wkt if isinstance(footprint, tuple) else footprint.wkt,
            "properties": properties,
            "bands": [],
        }
        # Beside the assets, where no listing sees it before it is renamed.
        draft = Path(tempfile.mkdtemp(dir=self._root)) / "asset"
        draft.mkdir()
        write_json(draft / "asset.json", record)
        self._store.adopt(draft, identity, overwrite=replace, kind="IMAGE")
        draft.parent.rmdir()
        return identity
