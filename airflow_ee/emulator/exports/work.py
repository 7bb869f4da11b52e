"""The work behind an operation: evaluate the expression or read the files, write drafts, and deliver them when they are wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_ee.emulator.api.grids import base_band, requested_grid
from airflow_ee.emulator.api.maps import TILE_SIDE
from airflow_ee.emulator.api.pictures import pictured
from airflow_ee.emulator.catalog.assets import Kind, asset_id, asset_name, marker
from airflow_ee.emulator.catalog.store import AssetStore, AssetType
from airflow_ee.emulator.catalog.stored import RECORD, NewImage, write_image, write_json
from airflow_ee.emulator.catalog.tables import write_features
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.bigquery import BigQueryFolder, write_rows
from airflow_ee.emulator.exports.columns import Table
from airflow_ee.emulator.exports.cutting import cut_feature
from airflow_ee.emulator.exports.delivery import Delivery
from airflow_ee.emulator.exports.destinations import AssetPlace, BigQueryPlace, FilePlace, Place, asset_uri
from airflow_ee.emulator.exports.drafts import Draft, Progress
from airflow_ee.emulator.exports.formats import GeoTiffFormat, ImageFormat
from airflow_ee.emulator.exports.geotiffs import write_files
from airflow_ee.emulator.exports.patches import write_patches
from airflow_ee.emulator.exports.request import ExportRequest, ImageTask, ImportTask, TableTask
from airflow_ee.emulator.exports.tables import write_table
from airflow_ee.emulator.exports.tiles import TileTask, tiles, write_tiles
from airflow_ee.emulator.exports.unmade import UnmadeTask, write_note
from airflow_ee.emulator.graph import compile_graph
from airflow_ee.emulator.imports.image_manifest import ImageImport
from airflow_ee.emulator.imports.table_manifest import TableImport
from airflow_ee.emulator.imports.work import ImportWork
from airflow_ee.emulator.limits import check_export_pixels
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.dates import timestamp
from airflow_ee.emulator.values.element import Collection, Feature
from airflow_ee.emulator.values.image import Image, check_plain

SessionMaker = Callable[[], Session]

BASE_SECONDS = 0.01
PIXEL_SECONDS = 2e-6
FEATURE_SECONDS = 1e-4
"""EECU-seconds are counted from the amount of work, so that they do not depend on the machine."""


@dataclass(frozen=True, slots=True)
class Product:
    """What the work has made, not yet delivered."""

    place: Place
    drafts: tuple[Draft, ...]
    """Files; of an asset there is one, its folder."""
    asset_type: AssetType
    eecu_seconds: float
    marker: str | None = None
    """Which imagery it shows, where that was not known before."""


class ExportWork:
    """Runs exports and imports; holds no state of its own."""

    def __init__(
        self,
        assets: AssetStore,
        delivery: Delivery,
        bigquery: BigQueryFolder,
        imports: ImportWork,
        new_session: SessionMaker,
        now: Callable[[], datetime],
    ) -> None:
        self._assets = assets
        self._delivery = delivery
        self._bigquery = bigquery
        self._imports = imports
        self._new_session = new_session
        self._now = now

    def check(self, request: ExportRequest) -> str:
        """Refuse at once what the service refuses at once; tells which imagery the expression touches."""
        session = self._new_session()
        task = request.task
        if isinstance(task, UnmadeTask):
            self._check_unmade(task, request.expression, session)
            return session.marker
        if isinstance(task, ImageImport | TableImport):
            self._check_place(task.fields.place, "IMAGE" if isinstance(task, ImageImport) else "TABLE")
            return marker([Kind.MOUNTED if isinstance(task, ImageImport) else Kind.NONE])
        value = session.evaluate(request.expression)
        if isinstance(task, ImageTask):
            export_grid(_image(value), task)
        elif isinstance(task, TileTask):
            tiles(pictured(_image(value), None), task)
        else:
            _collection(value)
        self._check_place(task.place, "IMAGE" if isinstance(task, ImageTask) else "TABLE")
        return session.marker

    def _check_unmade(self, task: UnmadeTask, expression: Mapping[str, Any], session: Session) -> None:
        """As far as it goes without making anything: functions that train classifiers are not evaluated."""
        if task.kind == "classifier":
            compile_graph(expression)
        elif task.kind == "FeatureView":
            _collection(session.evaluate(expression))
        else:
            _frames(session.evaluate(expression))
        if task.asset is not None:
            self._check_place(task.asset, "CLASSIFIER" if task.kind == "classifier" else "FEATURE_VIEW")

    def _check_place(self, place: Place, kind: AssetType) -> None:
        if isinstance(place, AssetPlace):
            self._assets.check_destination(asset_id(place.name), overwrite=place.overwrite, kind=kind)

    def compute(self, request: ExportRequest, folder: Path, progress: Progress) -> Product:
        """Evaluate, and write drafts into an empty folder."""
        if isinstance(request.task, UnmadeTask):
            note = write_note(request.task, request.method, request.body, folder)
            return Product(request.task.place, (note,), "IMAGE", BASE_SECONDS)
        if isinstance(request.task, ImageImport | TableImport):
            return self._import(request.task, folder, progress)
        session = self._new_session()
        value = session.evaluate(request.expression)
        if isinstance(request.task, ImageTask):
            return self._image(_image(value), request.task, session, folder, progress)
        if isinstance(request.task, TileTask):
            drafts = tuple(write_tiles(_image(value), request.task, folder, progress))
            seconds = BASE_SECONDS + len(drafts) * TILE_SIDE**2 * PIXEL_SECONDS
            return Product(request.task.place, drafts, "IMAGE", seconds)
        return self._table(_collection(value), request.task, session, folder, progress)

    def _import(self, task: ImportTask, folder: Path, progress: Progress) -> Product:
        kind, count = Kind.NONE, 0

        def write(draft: Path) -> None:
            nonlocal kind, count
            kind, count = self._imports.write(task, draft, progress)

        drafts = (_asset_draft(folder, write),)
        if isinstance(task, ImageImport):
            seconds = BASE_SECONDS + count * PIXEL_SECONDS
            return Product(task.fields.place, drafts, "IMAGE", seconds, marker([kind]))
        return Product(task.fields.place, drafts, "TABLE", BASE_SECONDS + count * FEATURE_SECONDS, marker([kind]))

    def _image(self, image: Image, task: ImageTask, session: Session, folder: Path, progress: Progress) -> Product:
        grid = export_grid(image, task)
        check_export_pixels(grid.width * grid.height, task.max_pixels)
        seconds = BASE_SECONDS + grid.width * grid.height * len(image.bands) * PIXEL_SECONDS
        if isinstance(task.place, FilePlace):
            # The file outlives the answer whose header tells where its imagery came from.
            tags = {"simulated": "true"} if session.marker == Kind.SIMULATED.value else {}
            drafts = _image_files(image, grid, task.format, folder, progress, tags)
            return Product(task.place, tuple(drafts), "IMAGE", seconds)
        place = task.place
        policies = {band.name: place.overrides.get(band.name, place.policy) for band in image.bands}
        new = NewImage(
            Kind(session.marker), [grid] * len(image.bands), image.bands, policies, image.properties, self._now()
        )
        return Product(
            place, (_asset_draft(folder, lambda draft: write_image(draft, new, progress)),), "IMAGE", seconds
        )

    def _table(
        self, collection: Collection, task: TableTask, session: Session, folder: Path, progress: Progress
    ) -> Product:
        features = [cut_feature(_feature(element), task.max_vertices) for element in collection.elements]
        total = max(1, len(features))
        seconds = BASE_SECONDS + len(features) * FEATURE_SECONDS
        if not isinstance(task.place, AssetPlace):
            steps = iter(range(1, total + 1))
            table = Table.of(features, task.selectors)
            drafts = _table_files(table, task, folder, lambda: progress(next(steps, total) / total))
            return Product(task.place, tuple(drafts), "TABLE", seconds)

        def write(draft: Path) -> None:
            for done in write_features(_selected(features, task.selectors), draft):
                progress(done / total)
            write_json(draft / RECORD, self._table_record(collection, session))

        return Product(task.place, (_asset_draft(folder, write),), "TABLE", seconds)

    def _table_record(self, collection: Collection, session: Session) -> dict[str, Any]:
        properties = {
            name: value for name, value in collection.properties.items() if isinstance(value, str | int | float)
        }
        return {
            "type": "TABLE",
            "updateTime": timestamp(self._now()),
            "kind": session.marker,
            "properties": properties,
        }

    def deliver(self, product: Product, progress: Progress) -> list[str]:
        """Put what was made into its place; answers the URIs of it."""
        place = product.place
        if isinstance(place, AssetPlace):
            identity = asset_id(place.name)
            folder = product.drafts[0].path
            self._assets.adopt(
                folder, identity, overwrite=place.overwrite, kind=product.asset_type, operation=folder.parent.name
            )
            return [asset_uri(asset_name(identity))]
        if isinstance(place, BigQueryPlace):
            (draft,) = product.drafts
            self._bigquery.load(draft, place, operation=draft.path.parent.name)
            return [place.uri]
        for number, draft in enumerate(product.drafts):
            progress(number / len(product.drafts))
            self._delivery.put(draft, place)
        return [place.uri]


def export_grid(image: Image, task: ImageTask) -> Grid:
    """The pixels to export: the request's grid, or the one that the expression ends in."""
    if not image.bands:
        raise invalid("Image has no bands to export.")
    base = base_band(image.bands)
    if task.grid is None and (base is None or base.extent is None):
        raise invalid("Cannot export an unbounded image: specify a grid, or a region with a scale or crsTransform.")
    return requested_grid(image, task.grid, None)


def _image_files(
    image: Image, grid: Grid, form: ImageFormat, folder: Path, progress: Progress, tags: dict[str, str]
) -> list[Draft]:
    if isinstance(form, GeoTiffFormat):
        return write_files(image.bands, grid, form, folder, progress, tags)
    return write_patches(image.bands, grid, form, folder, progress)


def _table_files(table: Table, task: TableTask, folder: Path, step: Callable[[], None]) -> list[Draft]:
    if isinstance(task.place, BigQueryPlace):
        return [write_rows(table, folder, step)]
    return write_table(table, task.file_format, folder, step)


def _asset_draft(folder: Path, write: Callable[[Path], None]) -> Draft:
    draft = folder / "asset"
    draft.mkdir()
    write(draft)
    record = json.loads((draft / RECORD).read_text("utf-8"))
    # The drafts' folder is the operation's: its next attempt knows by this what the one before has delivered.
    write_json(draft / RECORD, {**record, "operation": folder.name})
    return Draft(draft, "", "")


def _image(value: Any) -> Image:
    if not isinstance(value, Image):
        raise invalid("Expression must evaluate to an image.")
    check_plain(value, "Cannot export pixels")
    return value


def _collection(value: Any) -> Collection:
    if isinstance(value, Feature):
        return Collection([value])
    if not isinstance(value, Collection):
        raise invalid("Expression must evaluate to a table.")
    return value


def _frames(value: Any) -> Collection:
    """An image is a video of one frame."""
    if not isinstance(value, Image | Collection):
        raise invalid("Expression must evaluate to an image collection.")
    return value if isinstance(value, Collection) else Collection([value], of_images=True)


def _feature(element: Any) -> Feature:
    """An image stands in a table with its footprint and properties."""
    if isinstance(element, Image):
        return Feature(element.geometry(), element.properties, element.properties.get("system:index"))
    if not isinstance(element, Feature):
        raise invalid(f"Collections of {type(element).__name__} cannot be exported as a table.")
    return element


def _selected(features: list[Feature], selectors: tuple[str, ...]) -> list[Feature]:
    """With only the selected properties; the geometry goes unless it is selected."""
    if not selectors:
        return features
    return [
        Feature(
            feature.geometry if ".geo" in selectors else None,
            {name: value for name, value in feature.properties.items() if name in (*selectors, "system:index")},
            feature.id,
        )
        for feature in features
    ]
