"""Everything in a Zarr v3 store but the pixels: metadata as CF, xarray, rioxarray and GDAL read them, and coordinates.

Bytes are a function of the layout, the times and their tags: JSON with sorted keys, coordinates without a codec, no clock.

The root's ``zarr.json`` holds a copy of all metadata (consolidated), so that replacing this one file shows a store with one date
more. Readers that ignore it and read each array's own file may for a moment see arrays of different lengths, which xarray refuses.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_ee.core.grid import PixelGrid, parse_crs
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.zarr_chunks import BLOSC, mask_dtype, mask_name, stored_fill

__all__ = ["RESERVED", "ROOT", "StoreContents", "read_contents"]

ROOT = "zarr.json"
RESERVED = ("time", "y", "x", "spatial_ref")
CONVENTIONS = "CF-1.11"
TIMES_A_CHUNK = 1024
"""Fixed, so that a file with times only ever gets more of them while dates come at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContents:
    """A store of one raster, or of one raster for each of several times."""

    raster: RasterLayout
    """Its tags are those of a store without times."""
    chunk: tuple[int, int]
    """Rows and columns of a chunk."""
    dates: Mapping[datetime, Mapping[str, str]] | None = None
    """Times, ascending, each with its tags; None: a store without a time dimension."""
    unmarked: frozenset[str] = frozenset()
    """Bands without masked pixels that hold their nodata as a value: it is not declared."""

    def files(self) -> dict[str, bytes]:
        """Every file but the chunks of bands and masks, by its path in the store; the root's comes last.

        >>> grid = PixelGrid(crs="EPSG:4326", transform=(1, 0, 0, 0, -1, 0), width=2, height=1)
        >>> raster = RasterLayout(grid=grid, bands=(BandLayout(name="NDVI", dtype=np.dtype("int16")),))
        >>> sorted(StoreContents(raster=raster, chunk=(1, 2)).files())[:3]
        ['NDVI/zarr.json', 'spatial_ref/c', 'spatial_ref/zarr.json']
        """
        made = self._made_by_zarr()
        documents = {
            path.removesuffix("/" + ROOT): json.loads(made[path]) for path in made if path.endswith("/" + ROOT)
        }
        root = {
            "attributes": self.attributes(),
            "consolidated_metadata": {"kind": "inline", "metadata": documents, "must_understand": False},
            "node_type": "group",
            "zarr_format": 3,
        }
        chunks = {path: content for path, content in sorted(made.items()) if not path.endswith(ROOT)}
        metadata = {f"{name}/{ROOT}": _dump(document) for name, document in sorted(documents.items())}
        return {**chunks, **metadata, ROOT: _dump(root)}

    def attributes(self) -> dict[str, Any]:
        """Of the whole store: tags that all dates share; the others under ``provenance``, as JSON by time."""
        if self.dates is None:
            return {**self.raster.tags, "Conventions": CONVENTIONS}
        each = list(self.dates.values())
        shared = dict(set(each[0].items()).intersection(*(tags.items() for tags in each))) if each else {}
        own = {
            _iso(time): {key: tags[key] for key in sorted(tags.keys() - shared.keys())}
            for time, tags in self.dates.items()
            if tags.keys() - shared.keys()
        }
        provenance = {"provenance": json.dumps(own, sort_keys=True)} if own else {}
        return {**shared, **provenance, "Conventions": CONVENTIONS}

    def _made_by_zarr(self) -> dict[str, bytes]:
        import zarr
        from zarr.storage import MemoryStore

        store: dict[str, Any] = {}
        group = zarr.create_group(MemoryStore(store))
        for name, coordinate in self._coordinates().items():
            _create_coordinate(group, name, *coordinate)
        for band in self.raster.bands:
            self._create(group, band.name, band.dtype, stored_fill(self.raster, band), self._band_attributes(band))
            dtype = mask_dtype(self.raster.mask)
            if dtype is not None:
                self._create(group, mask_name(band.name), np.dtype(dtype), 0, _mask_attributes(band, dtype))
        return {path: buffer.to_bytes() for path, buffer in store.items()}

    def _create(self, group: Any, name: str, dtype: np.dtype[Any], fill: float, attributes: Mapping[str, Any]) -> None:
        from zarr.codecs import BloscCodec

        grid = self.raster.grid
        dims: tuple[str, ...] = ("y", "x")
        shape: tuple[int, ...] = grid.shape
        chunks: tuple[int, ...] = self.chunk
        if self.dates is not None:
            dims, shape, chunks = ("time", *dims), (len(self.dates), *shape), (1, *chunks)
        group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype.newbyteorder("<"),
            fill_value=dtype.type(fill),
            dimension_names=dims,
            attributes={**attributes, "grid_mapping": "spatial_ref"},
            compressors=BloscCodec(typesize=dtype.itemsize, shuffle="shuffle", blocksize=0, **BLOSC),
            filters=None,
        )

    def _band_attributes(self, band: BandLayout) -> dict[str, Any]:
        attributes: dict[str, Any] = {"long_name": band.name}
        if band.unit:
            attributes["units"] = band.unit
        if (band.scale, band.offset) != (1, 0):
            attributes |= {"scale_factor": float(band.scale), "add_offset": float(band.offset)}
        if self.raster.mask == "nodata" and band.name not in self.unmarked:
            attributes["_FillValue"] = _fill_attribute(stored_fill(self.raster, band), band.dtype)
        if mask_dtype(self.raster.mask) is not None:
            attributes["ancillary_variables"] = mask_name(band.name)
        return attributes

    def _coordinates(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any], dict[str, Any]]]:
        """Name: dimensions, values, attributes."""
        found: dict[str, tuple[tuple[str, ...], npt.NDArray[Any], dict[str, Any]]] = {
            "spatial_ref": ((), np.zeros((), "<i8"), _grid_mapping(self.raster.grid)),
            **_axes(self.raster.grid),
        }
        if self.dates is not None:
            seconds = np.array([int(time.timestamp()) for time in self.dates], "<i8")
            attributes = {
                "axis": "T",
                "calendar": "proleptic_gregorian",
                "standard_name": "time",
                "units": "seconds since 1970-01-01",
            }
            found["time"] = (("time",), seconds, attributes)
        return found


def read_contents(read: Callable[[str], bytes], raster: RasterLayout, chunk: tuple[int, int]) -> StoreContents:
    """What a store holds that was made by :meth:`StoreContents.files`, with the dates that it has now.

    Parameters
    ----------
    read
        Content of a file, by its path in the store.

    Raises
    ------
    FileNotFoundError
        When there is no store.
    ValueError
        When it has another grid, other bands, types, codecs, chunks or attributes than ``raster`` and ``chunk`` say.
    """
    root = json.loads(read(ROOT))
    metadata = root.get("consolidated_metadata", {}).get("metadata", {})
    if "time" not in metadata:
        raise ValueError("it is no cube of this package: its consolidated metadata have no time")
    count = metadata["time"]["shape"][0]
    files = (read(f"time/c/{index}") for index in range(-(-count // TIMES_A_CHUNK)))
    times = [datetime.fromtimestamp(int(second), UTC) for second in np.frombuffer(b"".join(files), "<i8")[:count]]
    shared = {key: text for key, text in root["attributes"].items() if key not in {"Conventions", "provenance"}}
    own = json.loads(root["attributes"].get("provenance", "{}"))
    dates = {time: {**shared, **own.get(_iso(time), {})} for time in times}
    contents = StoreContents(raster=raster, chunk=chunk, dates=dates)
    _require_same(metadata, json.loads(contents.files()[ROOT])["consolidated_metadata"]["metadata"], ())
    return contents


def _require_same(there: Any, wanted: Any, path: Sequence[str]) -> None:
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key in sorted(there.keys() | wanted.keys()):
            _require_same(there.get(key), wanted.get(key), (*path, key))
    elif there != wanted:
        raise ValueError(f"{' '.join(path)}: the cube has {str(there)[:200]}, this run wants {str(wanted)[:200]}")


def _create_coordinate(
    group: Any, name: str, dims: tuple[str, ...], values: npt.NDArray[Any], attributes: Mapping[str, Any]
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(TIMES_A_CHUNK,) if name == "time" else tuple(max(length, 1) for length in values.shape),
        dimension_names=dims or None,
        attributes=dict(attributes),
        compressors=None,
        filters=None,
        # A chunk of nothing but the fill value would else be left out.
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _axes(grid: PixelGrid) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any], dict[str, Any]]]:
    """Pixel centres along x and y; none in a sheared or rotated grid, where only GeoTransform tells where pixels lie.

    Two-dimensional coordinates could not have the names of their dimensions, and readers take GeoTransform all the same.
    """
    a, b, c, d, e, f = grid.transform
    if b or d:
        return {}
    named = {axis.get("axis"): axis for axis in parse_crs(grid.crs).cs_to_cf()}
    xs, ys = a * (np.arange(grid.width) + 0.5) + c, e * (np.arange(grid.height) + 0.5) + f
    return {
        "x": (("x",), xs.astype("<f8"), {"axis": "X", **named.get("X", {})}),
        "y": (("y",), ys.astype("<f8"), {"axis": "Y", **named.get("Y", {})}),
    }


def _grid_mapping(grid: PixelGrid) -> dict[str, Any]:
    """CF's grid mapping, with ``spatial_ref`` and ``GeoTransform`` as GDAL has them (origin, steps; x before y)."""
    a, b, c, d, e, f = (float(number) for number in grid.transform)
    attributes = dict(parse_crs(grid.crs).to_cf())
    wkt = attributes["crs_wkt"]
    return {**attributes, "spatial_ref": wkt, "GeoTransform": " ".join(repr(number) for number in (c, a, b, f, d, e))}


def _mask_attributes(band: BandLayout, dtype: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"long_name": f"mask of {band.name}", "standard_name": "status_flag"}
    if dtype == "uint8":
        return {**attributes, "flag_values": [0, 1], "flag_meanings": "masked valid"}
    return {"long_name": f"mask of {band.name}, 0 (masked) to 1", "units": "1"}


def _fill_attribute(fill: float, dtype: np.dtype[Any]) -> int | str:
    """As xarray stores it in Zarr v3: JSON has no NaN, so floats are eight bytes, little-endian, in base 64."""
    return int(fill) if dtype.kind in "iu" else base64.standard_b64encode(struct.pack("<d", fill)).decode()


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, indent=2, allow_nan=False).encode()
