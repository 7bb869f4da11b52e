"""What a catalogue is made of, as data: another process makes the same one from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from airflow_ee.emulator.catalog import borders, landsat, modis, sentinel2, srtm, states, worldcover
from airflow_ee.emulator.catalog.assets import CollectionAsset
from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.catalog.era5 import SimulatedEra5
from airflow_ee.emulator.catalog.landsat import SimulatedLandsat
from airflow_ee.emulator.catalog.modis import SimulatedModis
from airflow_ee.emulator.catalog.mounts import EndOf, Mount, MountedCollection, folder_images
from airflow_ee.emulator.catalog.sentinel2 import SimulatedSentinel2
from airflow_ee.emulator.catalog.stac import StacMount
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.catalog.worldcover import SimulatedWorldCover
from airflow_ee.emulator.clock import Clock


def simulated(clock: Clock) -> list[CollectionAsset]:
    """The collections that are made up."""
    return [
        *(SimulatedModis(clock, product) for product in modis.PRODUCTS.values()),
        *(SimulatedSentinel2(product, clock) for product in sentinel2.PRODUCTS),
        *(SimulatedLandsat(product, clock) for product in landsat.PRODUCTS),
        *(SimulatedWorldCover(clock, identity) for identity in worldcover.YEARS),
        SimulatedEra5(clock),
    ]


@dataclass(frozen=True, slots=True)
class CatalogRecipe:
    """The folders and files of a catalogue.

    >>> recipe = CatalogRecipe((Mount("local/fields", Path("images")),), Path("root"))
    >>> CatalogRecipe.of_json(recipe.as_json()) == recipe
    True
    """

    mounts: tuple[Mount, ...]
    root: Path
    """Where assets are stored, in its folder ``assets``."""
    unknown_asset_status: int = 404
    remote_files: bool = False
    """Whether STAC catalogs may name files on the network."""

    @classmethod
    def of_texts(
        cls,
        catalogs: Mapping[str, Path | str] | Iterable[str],
        root: Path,
        *,
        unknown_asset_status: int,
        remote_files: bool = False,
    ) -> Self:
        """From folders and STAC files by collection id, or texts ``ID=PATH``."""
        texts = [f"{name}={folder}" for name, folder in catalogs.items()] if isinstance(catalogs, Mapping) else catalogs
        return cls(tuple(Mount.parse(text) for text in texts), root, unknown_asset_status, remote_files)

    @classmethod
    def of_json(cls, shown: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`as_json`."""
        mounts = tuple(Mount(identity, Path(path)) for identity, path in shown["mounts"])
        return cls(mounts, Path(shown["root"]), shown["unknown_asset_status"], shown["remote_files"])

    def as_json(self) -> dict[str, Any]:
        """The recipe in JSON's own types, with absolute paths."""
        return {
            "mounts": [[mount.id, str(mount.path)] for mount in self.mounts],
            "root": str(self.root),
            "unknown_asset_status": self.unknown_asset_status,
            "remote_files": self.remote_files,
        }

    def store(self, *, own_buckets: bool = True) -> AssetStore:
        """The assets that exports and uploads have made; buckets are folders unless they are somebody else's."""
        return AssetStore(self.root / "assets", self.root / "gs" if own_buckets else None)

    def catalog(self, clock: Clock, store: AssetStore) -> Catalog:
        """The catalogue; folders and STAC files are read now."""
        mounted = [self._mounted(mount) for mount in self.mounts]
        status = self.unknown_asset_status
        collections, images = [*mounted, *simulated(clock)], [srtm.asset(), srtm.coarse_asset()]
        tables = [states.table(), *borders.tables()]
        return Catalog(collections, store, images=images, tables=tables, unknown_asset_status=status)

    def _mounted(self, mount: Mount) -> MountedCollection:
        if mount.path.suffix == ".json":
            return StacMount(mount, _end_of(mount), self.remote_files).collection()
        return MountedCollection(mount.id, folder_images(mount, _end_of(mount)))


def _end_of(mount: Mount) -> EndOf | None:
    """Images under the name of a known product end as its own do."""
    product = modis.PRODUCTS.get(mount.id)
    return product.calendar.end if product is not None else None
