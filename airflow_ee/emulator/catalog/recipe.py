"""What a catalogue is made of, as data: another process makes the same one from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from airflow_ee.emulator.catalog import landsat, modis, sentinel2, srtm, states
from airflow_ee.emulator.catalog.assets import CollectionAsset
from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.catalog.landsat import SimulatedLandsat
from airflow_ee.emulator.catalog.modis import SimulatedModis
from airflow_ee.emulator.catalog.mounts import Mount, MountedCollection
from airflow_ee.emulator.catalog.sentinel2 import SimulatedSentinel2
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.clock import Clock


def simulated(clock: Clock) -> list[CollectionAsset]:
    """The collections that are made up."""
    return [
        *(SimulatedModis(clock, identity) for identity in modis.VERSIONS),
        *(SimulatedSentinel2(product, clock) for product in sentinel2.PRODUCTS),
        *(SimulatedLandsat(product, clock) for product in landsat.PRODUCTS),
    ]


@dataclass(frozen=True, slots=True)
class CatalogRecipe:
    """The folders of a catalogue.

    >>> recipe = CatalogRecipe((Mount("local/fields", Path("images")),), Path("root"))
    >>> CatalogRecipe.of_json(recipe.as_json()) == recipe
    True
    """

    mounts: tuple[Mount, ...]
    root: Path
    """Where assets are stored, in its folder ``assets``."""
    unknown_asset_status: int = 404

    @classmethod
    def of_texts(
        cls, catalogs: Mapping[str, Path | str] | Iterable[str], root: Path, *, unknown_asset_status: int
    ) -> Self:
        """From folders by collection id, or texts ``ID=DIR``."""
        texts = [f"{name}={folder}" for name, folder in catalogs.items()] if isinstance(catalogs, Mapping) else catalogs
        return cls(tuple(Mount.parse(text) for text in texts), root, unknown_asset_status)

    @classmethod
    def of_json(cls, shown: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_json`."""
        mounts = tuple(Mount(identity, Path(folder)) for identity, folder in shown["mounts"])
        return cls(mounts, Path(shown["root"]), shown["unknown_asset_status"])

    def as_json(self) -> dict[str, Any]:
        """The recipe in JSON's own types, with absolute paths."""
        mounts = [[mount.id, str(mount.folder)] for mount in self.mounts]
        return {"mounts": mounts, "root": str(self.root), "unknown_asset_status": self.unknown_asset_status}

    def store(self, *, own_buckets: bool = True) -> AssetStore:
        """The assets that exports and uploads have made; buckets are folders unless they are somebody else's."""
        return AssetStore(self.root / "assets", self.root / "gs" if own_buckets else None)

    def catalog(self, clock: Clock, store: AssetStore) -> Catalog:
        """The catalogue; folders are read now."""
        mounted = [MountedCollection(mount, _end_of(mount)) for mount in self.mounts]
        status = self.unknown_asset_status
        collections, images = [*mounted, *simulated(clock)], [srtm.asset(), srtm.coarse_asset()]
        return Catalog(collections, store, images=images, tables=[states.table()], unknown_asset_status=status)


def _end_of(mount: Mount) -> Any:
    return modis.composite_end if mount.id in modis.VERSIONS else None
