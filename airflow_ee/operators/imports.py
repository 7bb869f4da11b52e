"""Imports: batch operations of Earth Engine that make assets of files in Cloud Storage."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow_ee.core.assets import make_parents
from airflow_ee.core.batch import ImportImageRequest, ImportTableRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.ingestion import ImageManifest, MissingData, TableManifest
from airflow_ee.core.object_names import BAND_PATTERN
from airflow_ee.core.wire_assets import check_properties, own_asset_name, time_fields
from airflow_ee.operators.arguments import mapping, numbers, read_boolean, text_or_none
from airflow_ee.operators.dates import read_moment
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import refuse
from airflow_ee.operators.manifests import read_manifest, source_objects

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.batch import BatchRequest
    from airflow_ee.operators.starting import Starter

__all__ = ["EarthEngineImportImageOperator", "EarthEngineImportTableOperator"]

Manifest = TypeVar("Manifest", ImageManifest, TableManifest)
# What a manifest says itself.
_BESIDE_SOURCES = ("asset_id", "properties", "start_time", "end_time")
_DEFAULTS: dict[str, Sequence[Any]] = {"band_pattern": (BAND_PATTERN,)}


class _ImportOperator(EarthEngineExportBaseOperator, Generic[Manifest]):
    """What imports have in common: a manifest, or the files of which one is made."""

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "manifest",
        "source_uri",
        "asset_id",
        "properties",
        "start_time",
        "end_time",
        "overwrite",
        "create_parents",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"manifest": "json", "properties": "json"}
    of_sources: ClassVar[tuple[str, ...]] = ()
    """Arguments of this kind that say what the manifest of ``source_uri`` is like."""

    def __init__(
        self,
        *,
        manifest: Any = None,
        source_uri: str | None = None,
        asset_id: str | None = None,
        properties: Mapping[str, Any] | str | None = None,
        start_time: str | date | datetime | None = None,
        end_time: str | date | datetime | None = None,
        overwrite: bool | str = False,
        create_parents: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.source_uri = source_uri
        self.asset_id = asset_id
        self.properties = properties
        self.start_time = start_time
        self.end_time = end_time
        self.overwrite = overwrite
        self.create_parents = create_parents

    def requested_destination(self) -> Destination:
        """Return the asset that the import was told to make."""
        name = self._asset_name() if self._is_of_sources() else self._given_manifest().name
        return Destination(kind="asset", prefix=name)

    def checked_manifest(self) -> Manifest:
        """Return the manifest that the arguments mean; a bucket is looked into last."""
        refuse(self, {}, "priority", why="imports have none")
        if not self._is_of_sources():
            refuse(self, _DEFAULTS, *_BESIDE_SOURCES, *self.of_sources, why="the manifest says it")
            return self._given_manifest()
        if text_or_none(self.asset_id) is None:
            raise ValueError("asset_id is missing: source_uri tells the files, not what becomes of them")
        times = {name: read_moment(name, getattr(self, name)) for name in ("start_time", "end_time")}
        time_fields(**times)
        properties = check_properties(mapping("properties", self.properties))
        fields = {"properties": properties, **times, **self._fields()}
        return replace(self._made_manifest(self._asset_name()), **fields)

    @abstractmethod
    def _given_manifest(self) -> Manifest:
        """What ``manifest`` means."""

    @abstractmethod
    def _made_manifest(self, name: str) -> Manifest:
        """A manifest of what ``source_uri`` means."""

    def _fields(self) -> dict[str, Any]:
        """Fields of a manifest that is made, beyond those that all kinds have."""
        return {}

    def _starter(self, context: Context, request: BatchRequest) -> Starter:
        """Folders are made only when something is about to be started in them."""
        starter = super()._starter(context, request)
        if not read_boolean("create_parents", self.create_parents):
            return starter

        def admit() -> None:
            starter.admit()
            made = make_parents(starter.client, request.destination.prefix)
            self.log.info("Folders that were missing: %s", ", ".join(made) or "none")

        return replace(starter, admit=admit)

    def _is_of_sources(self) -> bool:
        given = [name for name in ("manifest", "source_uri") if text_or_none(getattr(self, name)) is not None]
        if len(given) != 1:
            raise ValueError(f"an import needs manifest or source_uri, got {' and '.join(given) or 'none'}")
        return given == ["source_uri"]

    def _asset_name(self) -> str:
        return own_asset_name("asset_id", str(self.asset_id))


class EarthEngineImportImageOperator(_ImportOperator[ImageManifest]):
    """
    Make an image asset of GeoTIFFs in Cloud Storage.

    It starts once, and is waited for and cancelled, as exports are. Imports have no ``priority`` and no workload tag.

    :param manifest: ``ImageManifest`` as the REST reference has it: a mapping, its JSON text, or a ``.json`` file.
    :param source_uri: Instead: one GeoTIFF, ``gs://bucket/scene.tif``, or what the names of several begin with,
        ``gs://bucket/folder/``. The manifest is made of them: a band of each if their names end in bands, else one mosaic.
    :param asset_id: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``; with ``source_uri``, as are all below
        but the last two: a manifest says these things itself.
    :param band_pattern: Regular expression that finds ``(?P<band>...)`` at the end of a file's name without its suffix; None:
        names tell no bands. By default bands as Landsat and Sentinel-2 name them.
    :param properties: Texts and numbers by name, or the JSON text of these.
    :param start_time: When the data begin: ISO date or moment; without a zone it is UTC.
    :param end_time: When they end; not part of them.
    :param missing_data: Values that stand for no data, in all bands.
    :param pyramiding_policy: How lower resolutions are made, of all bands: ``MEAN``, ``SAMPLE``, ``MIN``, ``MAX``, ``MODE``
        or ``MEDIAN``; None: the service's own, MEAN.
    :param overwrite: Whether an asset that is there is replaced.
    :param create_parents: Whether folders that are missing around it are made.
    """

    template_fields: Sequence[str] = (
        *_ImportOperator.template_fields,
        "band_pattern",
        "missing_data",
        "pyramiding_policy",
    )
    of_sources = ("band_pattern", "missing_data", "pyramiding_policy")

    def __init__(
        self,
        *,
        band_pattern: str | None = BAND_PATTERN,
        missing_data: Sequence[float] | str | None = None,
        pyramiding_policy: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.band_pattern = band_pattern
        self.missing_data = missing_data
        self.pyramiding_policy = pyramiding_policy

    def build_request(self, context: Context) -> ImportImageRequest:  # noqa: ARG002
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        overwrite = read_boolean("overwrite", self.overwrite)
        return ImportImageRequest(manifest=self.checked_manifest(), description="unnamed", overwrite=overwrite)

    def _given_manifest(self) -> ImageManifest:
        return read_manifest(ImageManifest.parse, self.manifest, self.gcp_conn_id)

    def _made_manifest(self, name: str) -> ImageManifest:
        files = source_objects(self.source_uri, self.gcp_conn_id)
        return ImageManifest.of_objects(name, files, band_pattern=text_or_none(self.band_pattern))

    def _fields(self) -> dict[str, Any]:
        values = numbers("missing_data", self.missing_data)
        return {
            "missing_data": None if values is None else MissingData(values=tuple(values)),
            "pyramiding_policy": text_or_none(self.pyramiding_policy),
        }


class EarthEngineImportTableOperator(_ImportOperator[TableManifest]):
    """
    Make a table asset of CSV files or shapefiles in Cloud Storage.

    It starts once, and is waited for and cancelled, as exports are. Imports have no ``priority`` and no workload tag.

    :param manifest: ``TableManifest`` as the REST reference has it: a mapping, its JSON text, or a ``.json`` file.
    :param source_uri: Instead: one file, ``gs://bucket/fields.csv``, ``.shp`` or ``.zip``, or what the names of several begin
        with, ``gs://bucket/folder/``. Beside a ``.shp`` the service finds its ``.dbf``, ``.shx`` and ``.prj``.
    :param asset_id: ``projects/{project}/assets/{path}`` or ``users/{user}/{path}``; with ``source_uri``, as are all below
        but the last two: a manifest says these things itself.
    :param source_options: Fields of the REST reference's ``TableSource``, for every file: ``{"csvDelimiter": ";"}``.
    :param properties: Texts and numbers by name, or the JSON text of these.
    :param start_time: When the data begin: ISO date or moment; without a zone it is UTC.
    :param end_time: When they end; not part of them.
    :param overwrite: Whether an asset that is there is replaced.
    :param create_parents: Whether folders that are missing around it are made.
    """

    template_fields: Sequence[str] = (*_ImportOperator.template_fields, "source_options")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **_ImportOperator.template_fields_renderers,
        "source_options": "json",
    }
    of_sources = ("source_options",)

    def __init__(self, *, source_options: Mapping[str, Any] | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_options = source_options

    def build_request(self, context: Context) -> ImportTableRequest:  # noqa: ARG002
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        overwrite = read_boolean("overwrite", self.overwrite)
        return ImportTableRequest(manifest=self.checked_manifest(), description="unnamed", overwrite=overwrite)

    def _given_manifest(self) -> TableManifest:
        return read_manifest(TableManifest.parse, self.manifest, self.gcp_conn_id)

    def _made_manifest(self, name: str) -> TableManifest:
        files = source_objects(self.source_uri, self.gcp_conn_id)
        return TableManifest.of_objects(name, files, options=mapping("source_options", self.source_options))
