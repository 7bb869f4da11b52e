"""Make one raster: plan its tiles, fetch those that are missing, keep each, and put the whole together at the end.

A job that is killed and run again goes on with the tiles that are recorded, and ends with the same bytes. One whose request has changed
begins afresh, and says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.clip import Clip
from airflow_ee.core.decode import PixelBlock
from airflow_ee.core.errors import IncompleteJob, OtherTypes
from airflow_ee.core.estimate import Estimate
from airflow_ee.core.fetch import MAX_BUFFER_BYTES, PixelFetcher, TileRequest
from airflow_ee.core.manifest import Manifest, digest_of
from airflow_ee.core.pixels import PixelSource, advising, provenance_tags, request_digest
from airflow_ee.core.plan import Tile, plan_tiles
from airflow_ee.core.progress import Progress
from airflow_ee.core.region import Region
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import Output, RasterLayout, RasterSink, TileRecord
from airflow_ee.core.sinks.stac import StacItem

__all__ = ["RasterJob", "RasterResult"]

CHECKS_AT_ONCE = 4
ROOM_BYTES, ROOM_BYTES_PER_TILE = 65_536, 512
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterResult:
    """What became of a job."""

    outputs: tuple[Output, ...]
    summary: Mapping[str, Any]
    """Counts, as JSON values."""
    valid_fraction: float | None
    """Valid values of all values; None where masks were not asked for."""
    unchanged: bool = False
    """Whether it was there already, from the same request."""
    simulated: bool = False
    """Whether any pixel is an emulator's simulation."""


@dataclass(frozen=True, kw_only=True)
class RasterJob:
    """One image over one grid, to one output."""

    source: PixelSource
    layout: RasterLayout
    target: Location
    """Where the output goes; its parts and its manifest are kept beside it."""
    sink_for: Callable[[RasterLayout], RasterSink]
    """The sink of a layout, which may turn out to have other types than were announced."""
    nodata_of: Callable[[RasterLayout], Mapping[str, float]] = lambda _: {}
    """Values that mark masked pixels, by band."""
    form: Mapping[str, Any]
    """What else the output depends on, as JSON values: its format, for example."""
    clip_to: Region | None = None
    source_version: str = ""
    """When the source last changed, where it tells."""
    start: datetime | None = None
    """Beginning of the time that the pixels are from, with a zone; None: not known, and no STAC item is made."""
    end: datetime | None = None
    """Its end, exclusive; None: a moment."""
    max_concurrency: int | None = None
    max_buffer_bytes: int = MAX_BUFFER_BYTES

    def estimate(self, client: EarthEngineClient, *, requests: int | None = None) -> Estimate:
        """What the job will ask for, when nothing is there yet.

        Parameters
        ----------
        requests
            How many there will be; None: as many as there are tiles.
        """
        form = self.source.form
        return Estimate.of(
            images=1,
            pixels=self.layout.grid.pixels,
            requests=requests or len(self._tiles(client, self.sink_for(self.layout))),
            size_bytes=self.layout.grid.pixels * form.dtype.itemsize,
            max_concurrency=client.settings.at_most(self.max_concurrency),
            requests_per_second=client.settings.requests_per_second,
        )

    def finished(self) -> RasterResult | None:
        """What an earlier run of the same request left, if it is still there.

        Should that run have been killed at its very end, its parts are removed.
        """
        try:
            told = json.loads(self._told.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        outputs = tuple(Output(**output) for output in told.get("outputs", ()))
        sink = self.sink_for(self.layout)
        if told.get("request") != self._digest or not sink.stands(outputs):
            return None
        self._clear(sink)
        return RasterResult(
            outputs=outputs,
            summary=Progress().summary(),
            valid_fraction=told.get("valid_fraction"),
            unchanged=True,
            simulated="simulated" in told.get("provenance", {}),
        )

    def run(self, client: EarthEngineClient) -> RasterResult:
        """Make the raster.

        Raises
        ------
        EarthEngineError
            The first failure that cannot be cured; tiles that were stored stay, and the next run goes on with them.
        ValueError
            When the pixels do not fit what was asked for; the message says what to change.
        OSError
            When the output cannot be written.
        """
        progress = Progress()
        try:
            records = self._fetch(client, progress)
        except OtherTypes as error:
            if progress.answers:
                raise
            return self.retyped(error, anew=progress.resumed > 0).run(client)
        return self._finish(records, progress)

    def retyped(self, error: OtherTypes, *, anew: bool) -> RasterJob:
        """The same job with the types that its pixels really have.

        Parameters
        ----------
        anew
            Remove what is stored: it is of types that the image has no more.

        Raises
        ------
        OtherTypes
            When the job has these types already: of the right bands but the wrong masks no image can be made.
        """
        if error.details[0]["types"] == self._types:
            raise error
        log.warning("%s", error.message)
        if anew:
            self._clear(self.sink_for(self.layout))
        source = self.source.retyped(error.details[0]["types"])
        return replace(self, source=source, layout=_retyped(self.layout, source))

    def begin(self, client: EarthEngineClient) -> list[Tile]:
        """Make ready for workers, and tell which tiles are missing: those that no earlier try has left whole.

        Raises
        ------
        OtherTypes
            When an earlier try found other types: go on with :meth:`retyped`.
        """
        sink = self.sink_for(self.layout)
        tiles = self._tiles(client, sink)
        records = self._resume(sink, self._manifest(), tiles)
        return [tile for tile in tiles if (tile.row, tile.col) not in records]

    def tiles(self, client: EarthEngineClient) -> list[Tile]:
        """The plan: the same wherever it is made with the same limits."""
        return self._tiles(client, self.sink_for(self.layout))

    def store(self, client: EarthEngineClient, tiles: Sequence[Tile], progress: Progress) -> None:
        """Fetch some tiles, store them and record each; many processes may do so for one job, after :meth:`begin`.

        A tile that two of them store, because an engine ran a piece of work twice, is stored with the same bytes.

        Raises
        ------
        EarthEngineError, ValueError, OSError
            As :meth:`run`.
        """
        progress.total = len(tiles)
        self._store(client, tiles, self._manifest(shared=True), progress, lambda _: None)

    def left(self, tiles: Sequence[Tile]) -> list[Tile]:
        """Those of some tiles that nobody has stored whole; changes nothing."""
        recorded, sink = self._manifest().read() or {}, self.sink_for(self.layout)
        found = [(tile, recorded.get((tile.row, tile.col))) for tile in tiles]
        return [tile for tile, record in found if record is None or not sink.holds(record)]

    def finish(self, client: EarthEngineClient) -> RasterResult:
        """Put the whole together of what workers have stored.

        Raises
        ------
        IncompleteJob
            When a tile is missing.
        OSError
            When the output cannot be written.
        """
        recorded = self._manifest().read() or {}
        tiles = self.tiles(client)
        missing = [tile for tile in tiles if (tile.row, tile.col) not in recorded]
        if missing:
            raise IncompleteJob(
                f"{self.target.url}: {len(missing)} of {len(tiles)} tiles are not there, {missing[0]} among them; run the job again, "
                "it goes on with what it has"
            )
        progress = Progress(total=len(tiles))
        return self._finish([recorded[tile.row, tile.col] for tile in tiles], progress)

    def _finish(self, records: Sequence[TileRecord], progress: Progress) -> RasterResult:
        simulated = _simulated(records)
        tags = provenance_tags(self.source, self.layout.grid, simulated=simulated)
        layout = replace(self.layout, tags={**self.layout.tags, **tags})
        sink = self.sink_for(layout)
        with self._room_to_tell(records):
            outputs = sink.commit(records)
        fraction = _valid_fraction(records) if self.source.masked else None
        self._describe(layout, outputs)
        self.tell(outputs, records, fraction, simulated=simulated)
        self._clear(sink)
        return RasterResult(outputs=outputs, summary=progress.summary(), valid_fraction=fraction, simulated=simulated)

    def _fetch(self, client: EarthEngineClient, progress: Progress) -> list[TileRecord]:
        sink = self.sink_for(self.layout)
        tiles = self._tiles(client, sink)
        manifest = self._manifest()
        records = self._resume(sink, manifest, tiles)
        progress.total, progress.resumed = len(tiles), len(records)

        def keep(record: TileRecord) -> None:
            records[record.row, record.col] = record

        missing = [tile for tile in tiles if (tile.row, tile.col) not in records]
        try:
            self._store(client, missing, manifest, progress, keep)
        finally:
            if not records:
                sink.discard()
        return list(records.values())

    def _store(
        self,
        client: EarthEngineClient,
        tiles: Iterable[Tile],
        manifest: Manifest,
        progress: Progress,
        keep: Callable[[TileRecord], None],
    ) -> None:
        sink = self.sink_for(self.layout)
        fetcher = PixelFetcher(
            client, max_concurrency=self.max_concurrency, max_buffer_bytes=self.max_buffer_bytes, progress=progress
        )
        clip = None if self.clip_to is None else Clip(self.layout.grid, self.clip_to)
        call, form = self.source.call(client), self.source.form

        def deliver(request: TileRequest[None], block: PixelBlock, attempts: int) -> None:
            tile = request.tile
            block = clip.apply(tile, block) if clip else block
            stored = sink.write(tile, block)
            facts = {**stored.facts, "simulated": client.simulated, "types": self._types}
            record = replace(stored, attempts=attempts, facts=facts)
            keep(record)
            manifest.add(record)

        try:
            with advising(self.source):
                fetcher.run((TileRequest(call, form, tile, None) for tile in tiles), deliver)
        finally:
            progress.close()
            manifest.close()

    def _manifest(self, *, shared: bool = False) -> Manifest:
        return Manifest(self._work, self._parts_request(), shared=shared)

    def _resume(self, sink: RasterSink, manifest: Manifest, tiles: Sequence[Tile]) -> dict[tuple[int, int], TileRecord]:
        """Records of the tiles that an earlier try of the same request has left whole."""
        self.target.parent.remove_leftovers(self.target.name, self._told.name, self._item.name)
        recorded = manifest.read()
        if recorded is None:
            if self._work.files():
                log.warning("%s: the request has changed, so it begins afresh", self.target.url)
                self._clear(sink)
            self._work.make_folder()
            sink.prepare()
            return {}
        for record in recorded.values():
            if (types := record.facts["types"]) != self._types:
                raise OtherTypes(f"An earlier try got pixels of {', '.join(types)}.", ({"types": types},))
        sink.prepare()
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            whole = dict(zip(recorded, pool.map(sink.holds, recorded.values()), strict=True))
        planned = {(tile.row, tile.col): tile.grid.shape for tile in tiles}
        kept = {
            place: record
            for place, record in recorded.items()
            if whole[place] and planned.get(place) == (record.rows, record.cols)
        }
        log.info("%s: %d of %d tiles are there from an earlier try", self.target.url, len(kept), len(tiles))
        return kept

    def _clear(self, sink: RasterSink) -> None:
        """Remove all that is only needed on the way."""
        sink.discard()
        self._work.remove()

    def _tiles(self, client: EarthEngineClient, sink: RasterSink) -> list[Tile]:
        size, limits = self.source.form.bytes_per_pixel, client.settings.limits
        least = min(sink.block**2 * size, limits.max_request_bytes) if sink.whole_blocks else 0
        target = max(limits.target_bytes, least)
        whole = replace(limits, target_bytes=target)
        return list(plan_tiles(self.layout.grid, bytes_per_pixel=size, limits=whole, block=sink.block))

    @property
    def _types(self) -> list[str]:
        return [band.dtype.name for band in self.layout.bands]

    @property
    def manifest_url(self) -> str:
        """Where the manifest stays that tells of every tile."""
        return self._told.url

    @property
    def _work(self) -> Location:
        return self.target.with_suffix(".parts")

    @property
    def _told(self) -> Location:
        return self.target.with_suffix(".manifest.json")

    @property
    def _item(self) -> Location:
        return self.target.with_suffix(".stac.json")

    @property
    def _digest(self) -> str:
        layout = self.layout
        return digest_of(
            {
                "pixels": self._pixels_request(),
                "form": dict(self.form),
                "nodata": repr(layout.nodata),
                "bands": [[band.name, band.scale, band.offset, band.unit] for band in layout.bands],
            }
        )

    def _pixels_request(self) -> dict[str, Any]:
        return {
            "pixels": request_digest(self.source, self.layout.grid),
            "version": self.source_version,
            "mask": self.layout.mask,
            "clip_to": None if self.clip_to is None else self.clip_to.to_geojson(),
        }

    def _parts_request(self) -> dict[str, Any]:
        """All that parts depend on; what only the whole depends on may change between two tries."""
        return {**self._pixels_request(), "format": dict(self.form)}

    @contextmanager
    def _room_to_tell(self, records: Sequence[TileRecord]) -> Iterator[None]:
        """Keep room for what is written after the output: a disk that is full shall fail the job before the output is seen."""
        room = self._work / "room"
        if self.target.is_local:
            room.put(bytes(ROOM_BYTES + ROOM_BYTES_PER_TILE * len(records)))
        yield
        room.remove()

    def _describe(self, layout: RasterLayout, outputs: Sequence[Output]) -> None:
        """Write the STAC item beside the output, which needs a time and a grid with an outline on the globe."""
        if self.start is None:
            log.info("%s gets no STAC item: nothing tells the time of its pixels", self.target.url)
            return
        StacItem(
            id=self.target.name,
            layout=layout,
            href=self.target.name,
            media_type=outputs[0].media_type,
            start=self.start,
            end=self.end,
            nodata=self.nodata_of(layout),
        ).write(self._item)

    def tell(
        self, outputs: Sequence[Output], records: Sequence[TileRecord], fraction: float | None, *, simulated: bool
    ) -> None:
        """Write the manifest that stays beside the output: where it came from, and every tile of it."""
        ordered = sorted(records, key=lambda record: (record.row, record.col))
        # What is written last says that the rest is whole.
        told = {
            "request": self._digest,
            "provenance": provenance_tags(self.source, self.layout.grid, simulated=simulated),
            "grid_shape": list(self.layout.grid.shape),
            "valid_fraction": fraction,
            "outputs": [asdict(output) for output in outputs],
            "tiles": [asdict(record) for record in ordered],
        }
        self._told.write_bytes(json.dumps(told, sort_keys=True).encode())


def _retyped(layout: RasterLayout, source: PixelSource) -> RasterLayout:
    types = {band.id: band.dtype for band in source.bands}
    return replace(layout, bands=tuple(replace(band, dtype=types[band.name]) for band in layout.bands))


def _simulated(records: Sequence[TileRecord]) -> bool:
    return any(record.facts["simulated"] for record in records)


def _valid_fraction(records: Sequence[TileRecord]) -> float:
    """Valid values of all values, over all bands."""
    valid = sum(sum(record.facts["valid"]) for record in records)
    return valid / sum(record.rows * record.cols * len(record.facts["valid"]) for record in records)
