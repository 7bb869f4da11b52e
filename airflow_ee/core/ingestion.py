"""What an import makes an asset of: manifests of images and tables, whose files lie in Cloud Storage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_ee.core.export_options import PYRAMIDING_POLICIES
from airflow_ee.core.object_names import BAND_PATTERN, files_of_bands, image_files, table_files
from airflow_ee.core.wire_assets import check_properties, own_asset_name, time_fields
from airflow_ee.core.wire_ingestion import message_from_rest, parse_message, rest_name

__all__ = [
    "AffineTransform",
    "GridDimensions",
    "ImageManifest",
    "ImageSource",
    "MissingData",
    "TableManifest",
    "TableSource",
    "Tileset",
    "TilesetBand",
    "TilesetMaskBand",
]

DATA_TYPES = ("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "FLOAT", "DOUBLE")
COLUMN_TYPES = ("STRING", "NUMERIC", "LONG")
_OBJECT = re.compile(r"gs://[a-z0-9][a-z0-9._-]+/\S.*")
_SHAPES = re.compile(r"\.(?:shp|zip)$", re.IGNORECASE)
_OF_CSV = ("x_column", "y_column", "csv_delimiter", "csv_qualifier", "date_format")
_TIMES = {"system:time_start": "start_time", "system:time_end": "end_time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingData:
    """Numbers that stand for no data.

    >>> MissingData(values=())
    Traceback (most recent call last):
    ValueError: values must not be empty
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        _refuse_empty("values", self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineTransform:
    """Where pixels lie: ``x = scale_x * column + shear_x * row + translate_x``, and likewise y."""

    scale_x: float
    translate_x: float
    scale_y: float
    translate_y: float
    shear_x: float = 0.0
    shear_y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GridDimensions:
    """Width and height in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise ValueError(f"width and height must be at least 1, got {self.width} and {self.height}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """One file of a tileset."""

    uris: tuple[str, ...]
    """The file, then those that belong to it, such as ``.prj`` and ``.tfw``."""
    affine_transform: AffineTransform | None = None
    """None: as the file says."""
    dimensions: GridDimensions | None = None
    """None: as the file says."""

    def __post_init__(self) -> None:
        _refuse_empty("uris", self.uris)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tileset:
    """Files that together are one raster: pieces side by side, all with the same bands."""

    sources: tuple[ImageSource, ...]
    id: str | None = None
    """By which bands name it; needed where there are several."""
    data_type: str | None = None
    """Of all its bands; None: as the files say."""
    crs: str | None = None
    """Code or WKT; None: as the files say."""

    def __post_init__(self) -> None:
        _refuse_empty("sources", self.sources)
        _refuse_same_files(self.sources)
        _refuse_other("dataType", self.data_type, DATA_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesetBand:
    """A band of the image: which band of which tileset it is."""

    id: str
    tileset_id: str | None = None
    """None where there is one tileset."""
    tileset_band_index: int | None = None
    """From 0; None: the bands of the tileset in their order."""
    missing_data: MissingData | None = None
    pyramiding_policy: str | None = None

    def __post_init__(self) -> None:
        _refuse_empty("id", self.id)
        _refuse_other("pyramidingPolicy", self.pyramiding_policy, PYRAMIDING_POLICIES)
        if self.tileset_band_index is not None and self.tileset_band_index < 0:
            raise ValueError(f"tilesetBandIndex must be 0 or more, got {self.tileset_band_index}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesetMaskBand:
    """A tileset whose last band is a mask."""

    tileset_id: str
    band_ids: tuple[str, ...] = ()
    """Bands that it masks; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """What ``image:import`` makes an image of.

    >>> manifest = ImageManifest.of_objects("users/me/scene", ["gs://maps/s_B10.TIF", "gs://maps/s_B4.TIF", "gs://maps/s_MTL.txt"])
    >>> [(band.id, band.tileset_id) for band in manifest.bands]
    [('B4', 'B4'), ('B10', 'B10')]
    >>> ImageManifest.parse({"name": "users/me/scene", "tilesets": [{"sources": [{"uris": ["scene.tif"]}]}]})
    Traceback (most recent call last):
    ValueError: manifest.tilesets[0].sources[0].uris must be gs://bucket/object, got 'scene.tif'; a uriPrefix may hold the first part
    """

    name: str
    """Of the asset."""
    tilesets: tuple[Tileset, ...]
    bands: tuple[TilesetBand, ...] = ()
    """Empty: all bands of the files, named ``b1``, ``b2``, ..."""
    mask_bands: tuple[TilesetMaskBand, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    start_time: datetime | None = None
    end_time: datetime | None = None
    """Exclusive."""
    uri_prefix: str | None = None
    """What every URI begins with, and is not written in it."""
    pyramiding_policy: str | None = None
    """How lower resolutions are made, of bands that do not say; None: the service's own, MEAN."""
    missing_data: MissingData | None = None
    """Of bands that do not say."""
    footprint: Mapping[str, Any] | None = None
    """``PixelFootprint``, as the REST reference has it."""
    skip_metadata_read: bool | None = None
    memo: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", own_asset_name("name", self.name))
        _refuse_empty("tilesets", self.tilesets)
        _refuse_other("pyramidingPolicy", self.pyramiding_policy, PYRAMIDING_POLICIES)
        _check_common(self)
        _check_uris(self.uri_prefix, _uris_of_images(self.tilesets))
        self._check_tilesets()
        self._check_bands()
        self._check_masks()

    @classmethod
    def parse(cls, value: Any) -> ImageManifest:
        """Read a manifest: the REST form as a mapping, with names in camelCase or snake_case, or its JSON text.

        Raises
        ------
        ValueError
            Naming the field that is wrong.
        """
        return parse_message(cls, value, "manifest")

    @classmethod
    def of_objects(cls, name: str, uris: Iterable[str], *, band_pattern: str | None = BAND_PATTERN) -> ImageManifest:
        """The manifest of the GeoTIFFs among ``uris``, with the files that belong to them; others are left out.

        Where all names end in a band's name, each band is a tileset; else all files together are one, pieces of a mosaic.

        Parameters
        ----------
        band_pattern
            Regular expression that finds ``(?P<band>...)`` at the end of a name without its suffix; None: the names tell no
            bands.

        Raises
        ------
        ValueError
            When there is no GeoTIFF, or some names end in a band and others do not.
        """
        files = image_files(uris)
        bands = files_of_bands(list(files), band_pattern) if band_pattern else {}
        if not bands:
            return cls(name=name, tilesets=(_tileset(files.values()),))
        tilesets = (_tileset((files[uri] for uri in found), band) for band, found in bands.items())
        return cls(
            name=name,
            tilesets=tuple(tilesets),
            bands=tuple(TilesetBand(id=band, tileset_id=band) for band in bands),
        )

    def _check_tilesets(self) -> None:
        names = [tileset.id for tileset in self.tilesets]
        if len(names) > 1:
            for number, name in enumerate(names):
                if not name:
                    raise ValueError(f"tilesets[{number}].id is missing: of several tilesets each needs one")
        _refuse_repeated("tilesets", "id", names)

    def _check_bands(self) -> None:
        _refuse_repeated("bands", "id", [band.id for band in self.bands])
        for number, band in enumerate(self.bands):
            if band.tileset_id is not None or len(self.tilesets) > 1:
                self._refuse_unknown_tileset(f"bands[{number}].tilesetId", band.tileset_id)

    def _check_masks(self) -> None:
        known = {band.id for band in self.bands}
        for number, mask in enumerate(self.mask_bands):
            self._refuse_unknown_tileset(f"maskBands[{number}].tilesetId", mask.tileset_id)
            unknown = [name for name in mask.band_ids if name not in known]
            if unknown:
                raise ValueError(f"maskBands[{number}].bandIds: there is no band {', '.join(unknown)} among the bands")
            if len(self.mask_bands) > 1 and not mask.band_ids:
                raise ValueError(
                    f"maskBands[{number}].bandIds is missing: of several masks each must say what it masks"
                )
        masked = [name for mask in self.mask_bands for name in mask.band_ids]
        _refuse_repeated("maskBands", "bandIds", masked)

    def _refuse_unknown_tileset(self, where: str, name: str | None) -> None:
        known = [tileset.id for tileset in self.tilesets if tileset.id]
        if name not in known:
            raise ValueError(f"{where} must be one of {', '.join(known) or 'none: no tileset has an id'}, got {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """One file of a table: CSV, shapefile, zipped shapefile, or TFRecord."""

    uris: tuple[str, ...]
    """The file, alone: the service finds beside a ``.shp`` what belongs to it."""
    charset: str | None = None
    """None: UTF-8."""
    max_error_meters: float | None = None
    """By which geometries may be moved when they are projected."""
    max_vertices: int | None = None
    """Geometries with more are cut."""
    crs: str | None = None
    geodesic: bool | None = None
    """Whether edges are great circles; None: as the CRS has it."""
    primary_geometry_column: str | None = None
    x_column: str | None = None
    """Of points in a CSV; None: ``longitude``."""
    y_column: str | None = None
    """Of points in a CSV; None: ``latitude``."""
    date_format: str | None = None
    csv_delimiter: str | None = None
    csv_qualifier: str | None = None

    def __post_init__(self) -> None:
        _refuse_empty("uris", self.uris)
        if len(self.uris) > 1:
            raise ValueError(f"uris must be one file, got {len(self.uris)}: what belongs to a .shp is found beside it")
        if (self.x_column is None) != (self.y_column is None):
            raise ValueError("xColumn and yColumn must be given both or neither")
        if self.x_column and self.primary_geometry_column:
            raise ValueError("primaryGeometryColumn and xColumn are given: geometries come from one of them")
        for name in ("csv_delimiter", "csv_qualifier"):
            value = getattr(self, name)
            if value is not None and len(value) != 1:
                raise ValueError(f"{rest_name(name)} must be one character, got {value!r}")
        if self.max_vertices is not None and self.max_vertices < 1:
            raise ValueError(f"maxVertices must be at least 1, got {self.max_vertices}")
        if self.max_error_meters is not None and self.max_error_meters < 0:
            raise ValueError(f"maxErrorMeters must not be negative, got {self.max_error_meters}")
        given = [rest_name(name) for name in _OF_CSV if getattr(self, name) is not None]
        if given and _SHAPES.search(self.uris[0]):
            raise ValueError(f"{given[0]} is for CSV files, but the file is {self.uris[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableManifest:
    """What ``table:import`` makes a table of.

    >>> TableManifest.of_objects("users/me/fields", ["gs://maps/f.dbf", "gs://maps/f.shp", "gs://maps/f.prj"]).sources[0].uris
    ('gs://maps/f.shp',)
    """

    name: str
    """Of the asset."""
    sources: tuple[TableSource, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    start_time: datetime | None = None
    end_time: datetime | None = None
    """Exclusive."""
    uri_prefix: str | None = None
    """What every URI begins with, and is not written in it."""
    column_data_type_overrides: Mapping[str, str] = field(default_factory=dict)
    """``COLUMN_DATA_TYPE_STRING``, ``..._NUMERIC`` or ``..._LONG`` by column."""
    csv_column_data_type_overrides: Mapping[str, str] = field(default_factory=dict)
    """``CSV_COLUMN_DATA_TYPE_STRING``, ``..._NUMERIC`` or ``..._LONG`` by column."""
    memo: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", own_asset_name("name", self.name))
        _refuse_empty("sources", self.sources)
        _refuse_same_files(self.sources)
        _check_common(self)
        _check_uris(self.uri_prefix, [(f"sources[{n}]", each.uris) for n, each in enumerate(self.sources)])
        for name, prefix in (("column", "COLUMN"), ("csvColumn", "CSV_COLUMN")):
            overrides = self.column_data_type_overrides if name == "column" else self.csv_column_data_type_overrides
            for column, kind in overrides.items():
                allowed = [f"{prefix}_DATA_TYPE_{each}" for each in COLUMN_TYPES]
                _refuse_other(f"{name}DataTypeOverrides[{column!r}]", kind, allowed)

    @classmethod
    def parse(cls, value: Any) -> TableManifest:
        """Read a manifest: the REST form as a mapping, with names in camelCase or snake_case, or its JSON text.

        Raises
        ------
        ValueError
            Naming the field that is wrong.
        """
        return parse_message(cls, value, "manifest")

    @classmethod
    def of_objects(cls, name: str, uris: Iterable[str], *, options: Mapping[str, Any] | None = None) -> TableManifest:
        """The manifest of the tables among ``uris``: CSV files, or shapefiles, zipped or with a ``.dbf`` beside them.

        Parameters
        ----------
        options
            Fields of every :class:`TableSource`, such as ``csv_delimiter``.

        Raises
        ------
        ValueError
            When there is no table, or there are tables of several kinds, or a ``.shp`` without its ``.dbf``.
        """
        files = table_files(uris)
        sources = (message_from_rest(TableSource, {**(options or {}), "uris": [file]}, "options") for file in files)
        return cls(name=name, sources=tuple(sources))


def _tileset(files: Iterable[Sequence[str]], name: str | None = None) -> Tileset:
    return Tileset(id=name, sources=tuple(ImageSource(uris=tuple(found)) for found in files))


def _check_common(manifest: ImageManifest | TableManifest) -> None:
    check_properties(manifest.properties)
    for name, instead in _TIMES.items():
        if name in manifest.properties:
            raise ValueError(f"properties: {name!r} is the manifest's {instead}; give that")
    time_fields(manifest.start_time, manifest.end_time)


def _uris_of_images(tilesets: Sequence[Tileset]) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (f"tilesets[{number}].sources[{index}]", source.uris)
        for number, tileset in enumerate(tilesets)
        for index, source in enumerate(tileset.sources)
    ]


def _check_uris(prefix: str | None, named: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    for where, uris in named:
        for uri in uris:
            if not _OBJECT.fullmatch(f"{prefix or ''}{uri}"):
                hint = f"behind uriPrefix {prefix!r}" if prefix else "a uriPrefix may hold the first part"
                raise ValueError(f"{where}.uris must be gs://bucket/object, got {uri!r}; {hint}")


def _refuse_same_files(sources: Sequence[ImageSource | TableSource]) -> None:
    seen: dict[str, int] = {}
    for number, source in enumerate(sources):
        first = seen.setdefault(source.uris[0], number)
        if first != number:
            raise ValueError(f"sources[{number}].uris: {source.uris[0]} is in sources[{first}] already")


def _refuse_empty(name: str, value: Collection[Any]) -> None:
    if not value:
        raise ValueError(f"{name} must not be empty")


def _refuse_other(name: str, value: str | None, allowed: Sequence[str]) -> None:
    if value is not None and value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _refuse_repeated(where: str, name: str, values: Sequence[str | None]) -> None:
    repeated = sorted({value for value in values if value is not None and values.count(value) > 1})
    if repeated:
        raise ValueError(f"{where}: {name} {', '.join(repeated)} is there more than once")
