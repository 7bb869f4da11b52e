"""Exports of tables: features as files, as an asset, in BigQuery or as a FeatureView."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.core.batch import ExportTableRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.export_options import (
    TABLE_FORMATS,
    asset_options,
    bigquery_options,
    feature_view_options,
    file_options,
)
from airflow_ee.operators.arguments import integer, names, read_boolean
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import chosen_destination, refuse, rest_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EarthEngineExportTableOperator"]


class EarthEngineExportTableOperator(EarthEngineExportBaseOperator):
    """
    Export a collection of features.

    :param expression: REST graph, JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns one of these; it gives a FeatureCollection.
    :param expression_kwargs: Arguments of the callable.
    :param destination_uri: ``gs://bucket/prefix``, ``drive://folder/prefix``, ``projects/{project}/assets/{path}`` or
        ``bigquery://project.dataset.table``.
    :param file_export_options: Instead: ``fileExportOptions`` as the REST reference has it.
    :param asset_export_options: Instead: ``assetExportOptions``.
    :param bigquery_export_options: Instead: ``bigqueryExportOptions``.
    :param feature_view_export_options: Instead: ``featureViewExportOptions``.
    :param file_format: ``CSV``, ``GEO_JSON``, ``KML``, ``KMZ``, ``SHP`` or ``TF_RECORD_TABLE``; for files.
    :param selectors: Columns, in order; None: all that the first feature has.
    :param max_vertices: Geometries with more are cut into pieces; None: never.
    :param feature_view: Whether the asset of ``destination_uri`` becomes a FeatureView rather than a table.
    :param ingestion_time_parameters: Of a FeatureView: thinning and ranking as the REST reference has it.
    :param overwrite: Whether an asset, or the rows of a BigQuery table, that exist are replaced. Files always are.
    :param append: Whether rows are added to a BigQuery table that exists.
    """

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "destination_uri",
        "file_export_options",
        "asset_export_options",
        "bigquery_export_options",
        "feature_view_export_options",
        "file_format",
        "selectors",
        "max_vertices",
        "feature_view",
        "ingestion_time_parameters",
        "overwrite",
        "append",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "file_export_options": "json",
        "asset_export_options": "json",
        "bigquery_export_options": "json",
        "feature_view_export_options": "json",
        "ingestion_time_parameters": "json",
    }

    def __init__(
        self,
        *,
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        file_export_options: Mapping[str, Any] | None = None,
        asset_export_options: Mapping[str, Any] | None = None,
        bigquery_export_options: Mapping[str, Any] | None = None,
        feature_view_export_options: Mapping[str, Any] | None = None,
        file_format: str = "CSV",
        selectors: Sequence[str] | str | None = None,
        max_vertices: int | str | None = None,
        feature_view: bool | str = False,
        ingestion_time_parameters: Mapping[str, Any] | None = None,
        overwrite: bool | str = False,
        append: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.file_export_options = file_export_options
        self.asset_export_options = asset_export_options
        self.bigquery_export_options = bigquery_export_options
        self.feature_view_export_options = feature_view_export_options
        self.file_format = file_format
        self.selectors = selectors
        self.max_vertices = max_vertices
        self.feature_view = feature_view
        self.ingestion_time_parameters = ingestion_time_parameters
        self.overwrite = overwrite
        self.append = append

    def build_request(self, context: Context) -> ExportTableRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        return ExportTableRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            selectors=tuple(names("selectors", self.selectors) or ()),
            max_vertices=integer("max_vertices", self.max_vertices),
            **self._options(),
        )

    def requested_destination(self) -> Destination:
        """Return where the export was told to write."""
        return chosen_destination(self, _BODIES, bigquery=True)

    def _options(self) -> dict[str, Any]:
        """The destination's options, by the name that the request has for them."""
        name, options = rest_options(self, _BODIES)
        if options is not None:
            refuse(self, _DEFAULTS, "file_format", *_PLACES, why=f"{name} says it already")
            return {name: options}
        destination = Destination.parse(self.destination_uri or "", bigquery=True)
        if destination.kind in {"gs", "drive"}:
            refuse(self, _DEFAULTS, *_PLACES, why="it is not for files; those that exist are always replaced")
            return {"file_export_options": file_options(destination, self.file_format, TABLE_FORMATS)}
        refuse(self, _DEFAULTS, "file_format", why="it is for files")
        overwrite, append = read_boolean("overwrite", self.overwrite), read_boolean("append", self.append)
        if destination.kind == "bigquery":
            refuse(self, _DEFAULTS, *_FEATURE_VIEW, why="it is for FeatureViews, and the destination is BigQuery")
            return {"bigquery_export_options": bigquery_options(destination, overwrite=overwrite, append=append)}
        refuse(self, _DEFAULTS, "append", why="it is for BigQuery, and the destination is an asset")
        if not read_boolean("feature_view", self.feature_view):
            refuse(self, _DEFAULTS, "ingestion_time_parameters", why="it is for FeatureViews")
            return {"asset_export_options": asset_options(destination, overwrite=overwrite)}
        refuse(self, _DEFAULTS, "overwrite", why="FeatureViews have no such choice")
        parameters = self.ingestion_time_parameters
        return {"feature_view_export_options": feature_view_options(destination, ingestion_time_parameters=parameters)}


_BODIES = (
    "file_export_options",
    "asset_export_options",
    "bigquery_export_options",
    "feature_view_export_options",
)
_FEATURE_VIEW = ("feature_view", "ingestion_time_parameters")
_PLACES = (*_FEATURE_VIEW, "overwrite", "append")
_DEFAULTS: dict[str, Sequence[Any]] = {
    "file_format": ("CSV",),
    "feature_view": (False, "False"),
    "overwrite": (False, "False"),
    "append": (False, "False"),
}
