"""The work behind an export: evaluate the expression, then write files or an asset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from airflow_ee.emulator.catalog.assets import Kind, asset_id, asset_name
from airflow_ee.emulator.catalog.store import AssetStore, NewAsset
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.exports.files import Progress, write_files
from airflow_ee.emulator.exports.request import AssetDestination, ExportRequest, FileDestination, export_grid
from airflow_ee.emulator.limits import check_export_pixels
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.image import Image

SessionMaker = Callable[[], Session]


class ExportWork:
    """Runs exports; holds no state of its own."""

    def __init__(self, root: Path, assets: AssetStore, new_session: SessionMaker, now: Callable[[], datetime]) -> None:
        self._root = root
        self._assets = assets
        self._new_session = new_session
        self._now = now

    def check(self, request: ExportRequest) -> str:
        """Refuse at once what the service refuses at once; tells which imagery the expression touches."""
        session = self._new_session()
        image = session.evaluate(request.expression)
        if not isinstance(image, Image):
            raise invalid("Expression must evaluate to an image.")
        export_grid(image, request)
        if isinstance(request.destination, AssetDestination):
            destination = request.destination
            self._assets.check_destination(asset_id(destination.name), overwrite=destination.overwrite)
        return session.marker

    def run(self, request: ExportRequest, progress: Progress) -> tuple[list[str], float]:
        """Do the work: the URIs of what was made, and how much computing it was."""
        session = self._new_session()
        image = session.evaluate(request.expression)
        if not isinstance(image, Image):
            raise invalid("Expression must evaluate to an image.")
        grid = export_grid(image, request)
        check_export_pixels(grid.width * grid.height, request.max_pixels)
        seconds = grid.width * grid.height * len(image.bands) * 2e-6 + 0.01
        if isinstance(request.destination, FileDestination):
            # The file outlives the answer whose header tells where its imagery came from.
            tags = {"simulated": "true"} if session.marker == Kind.SIMULATED.value else {}
            write_files(image.bands, grid, request.destination, self._root, progress, tags)
            return [request.destination.uri], seconds
        self._store(image, grid, request.destination, session, progress)
        name = asset_name(asset_id(request.destination.name))
        return [f"https://code.earthengine.google.com/?asset={name}"], seconds

    def _store(
        self, image: Image, grid: Grid, destination: AssetDestination, session: Session, progress: Progress
    ) -> None:
        rasters = render([band.node for band in image.bands], grid)
        progress(0.9)
        asset = NewAsset(
            id=asset_id(destination.name),
            kind=Kind(session.marker),
            grid=grid,
            bands=image.bands,
            rasters=rasters,
            policies={band.name: destination.overrides.get(band.name, destination.policy) for band in image.bands},
            properties=image.properties,
            updated=self._now(),
        )
        self._assets.write(asset, overwrite=destination.overwrite)
