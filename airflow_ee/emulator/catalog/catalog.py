"""Everything that can be loaded by id, mounted folders first: a mount may take over a built-in id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow_ee.emulator.catalog.assets import CollectionAsset, ImageAsset, asset_id, asset_name
from airflow_ee.emulator.catalog.simulated_tables import SimulatedTable
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.catalog.tables import TableAsset
from airflow_ee.emulator.errors import EmulatorError, invalid
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.element import Collection, Filter
from airflow_ee.emulator.values.image import Image


class Catalog:
    """Assets by id."""

    def __init__(
        self,
        collections: Iterable[CollectionAsset],
        stored: AssetStore,
        *,
        images: Iterable[ImageAsset] = (),
        tables: Iterable[SimulatedTable] = (),
        unknown_asset_status: int = 404,
    ) -> None:
        self._images = {image.id: image for image in images}
        self._tables = {table.id: table for table in tables}
        self._collections: dict[str, CollectionAsset] = {}
        for collection in collections:
            self._collections.setdefault(collection.id, collection)
        self.stored = stored
        self._unknown_code = "NOT_FOUND" if unknown_asset_status == 404 else "PERMISSION_DENIED"

    @property
    def collections(self) -> Mapping[str, CollectionAsset]:
        """The image collections by id."""
        return self._collections

    def collection(self, name: str) -> CollectionAsset | None:
        """A collection by id or REST name."""
        return self._collections.get(asset_id(name))

    def image(self, name: str) -> ImageAsset | None:
        """An image by id or REST name."""
        identity = asset_id(name)
        parent, _, index = identity.rpartition("/")
        collection = self._collections.get(parent)
        if collection is not None:
            return collection.image(index)
        if identity in self._images:
            return self._images[identity]
        return self.stored.image(identity)

    def table(self, name: str) -> SimulatedTable | TableAsset | None:
        """A table by id or REST name."""
        identity = asset_id(name)
        return self._tables.get(identity) or self.stored.table(identity)

    def public(self) -> Mapping[str, CollectionAsset | ImageAsset | SimulatedTable]:
        """What is there without anybody's export, by id."""
        return {**self._images, **self._tables, **self._collections}

    def require_image(self, name: str) -> ImageAsset:
        """An image, or the service's refusal as getPixels and assets.get word it."""
        found = self.image(name)
        if found is None:
            raise self.denied(name)
        return found

    def load_image(self, identity: str, session: Session) -> Image:
        """What ``Image.load`` answers."""
        asset = self.image(identity)
        if asset is None:
            message = f"Image asset '{identity}' not found (does not exist or caller does not have access)."
            raise invalid(f"Image.load: {message}")
        session.touch(asset.kind)
        session.used_stored_assets |= self.is_stored(identity)
        return asset.to_image()

    def load_collection(self, identity: str, session: Session) -> Collection:
        """What ``ImageCollection.load`` answers: a query that waits for its filters."""
        source = self.collection(identity)
        if source is None:
            if self.stored.folder(asset_id(identity)) is not None:
                return self._load_stored(identity, session)
            message = f"ImageCollection asset '{identity}' not found (does not exist or caller does not have access)."
            raise invalid(f"ImageCollection.load: {message}")
        session.touch(source.kind)

        def query(filters: Sequence[Filter]) -> Iterable[Image]:
            return (asset.to_image() for asset in source.query(filters))

        return Collection(of_images=True, query=query, id=source.id)

    def is_stored(self, name: str) -> bool:
        """Whether an image would come from the assets that exports and uploads make."""
        return asset_id(name).rpartition("/")[0] not in self._collections

    def _load_stored(self, identity: str, session: Session) -> Collection:
        session.used_stored_assets = True
        images = self.stored.children(asset_id(identity))
        for image in images:
            session.touch(image.kind)
        return Collection((image.to_image() for image in images), of_images=True, id=identity)

    def load_table(self, identity: str, session: Session) -> Collection:
        """What ``Collection.loadTable`` answers."""
        table = self.table(identity)
        if table is None:
            raise invalid(f"Collection.loadTable: {self._not_a_table(identity)}")
        session.touch(table.kind)
        session.used_stored_assets |= isinstance(table, TableAsset)
        return Collection(table.features(), properties=table.element_properties(), id=table.id)

    def _not_a_table(self, identity: str) -> str:
        if self.image(identity) is not None:
            return "Expected asset to be a Collection, found 'Image'."
        if self.collection(identity) is not None or self.stored.folder(asset_id(identity)) is not None:
            return f"Asset '{identity}' is not a table."
        return f"Collection asset '{identity}' not found (does not exist or caller does not have access)."

    def denied(self, name: str) -> EmulatorError:
        """The service does not tell an asset that is missing from one that is hidden."""
        resource = asset_name(name)
        message = f"Permission 'earthengine.assets.get' denied on resource '{resource}' (or it may not exist)."
        return EmulatorError(self._unknown_code, message)
