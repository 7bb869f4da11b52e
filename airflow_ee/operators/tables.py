"""Operators that compute features into a table, and single values into XCom."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_ee.hooks.failures import fail_fast
from airflow_ee.operators.arguments import integer, names, number, numbers, refuse_unless, text_or_none
from airflow_ee.operators.base import is_elsewhere
from airflow_ee.operators.locations import REGION_SUFFIXES, connection_for, location, read_text
from airflow_ee.operators.pixel_base import EarthEnginePixelBaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_ee.core.client import EarthEngineClient
    from airflow_ee.core.expression import Expression
    from airflow_ee.core.features import FeatureSource
    from airflow_ee.core.reduce_regions import RegionFeature, RegionReducer
    from airflow_ee.core.sinks.base import Location

__all__ = ["EarthEngineComputeFeaturesOperator", "EarthEngineComputeValueOperator"]

USUAL_STATISTICS = ("mean", "stdDev", "min", "max", "count")
LARGEST_XCOM_BYTES = 49_344
"""What Airflow's oldest database columns hold; a larger value belongs in a file."""


class _ComputeOperator(EarthEnginePixelBaseOperator):
    """What computing features and computing values have in common: the expression and the file."""

    template_fields: Sequence[str] = (
        *EarthEnginePixelBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "output_uri",
        "output_conn_id",
        "overwrite",
    )
    template_ext: Sequence[str] = (".json",)
    template_fields_renderers = {"expression": "json", "expression_kwargs": "json"}

    def __init__(
        self,
        *,
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        output_uri: str | None = None,
        output_conn_id: str | None = None,
        overwrite: str = "always",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(output_uri, str) and output_uri.endswith(".json") and not is_elsewhere(output_uri):
            raise ValueError(
                f"output_uri: Airflow would read {output_uri!r} as a template; give an absolute path or a URL"
            )
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.output_uri = output_uri
        self.output_conn_id = output_conn_id
        self.overwrite = overwrite

    def _target(self, uri: str) -> Location:
        """Where the file goes, refused here if it could not be written there."""
        refuse_unless("overwrite", self.overwrite, ("always", "never"))
        target = location(uri, connection_for(uri, self.output_conn_id, self.gcp_conn_id))
        target.check_writable()
        if self.overwrite == "never" and target.exists():
            raise ValueError(f"output_uri: {target.url} is there already, and overwrite is 'never'")
        return target

    def _expression(self, context: Context) -> Expression:
        return self.resolve_expression(self.expression, self.expression_kwargs, context)

    def _tell_of_simulation(self, client: EarthEngineClient) -> None:
        if client.simulated:
            self.log.warning("This is simulated: it comes from an emulator's own imagery, not from a satellite")


class EarthEngineComputeFeaturesOperator(_ComputeOperator):
    """Write the features of an expression, or statistics of an image over many regions, to a table.

    Without ``regions_uri`` the expression is a feature collection. With it the expression is an image, and every region
    becomes a row: its own properties and geometry, and the statistics under Earth Engine's names, such as ``mean`` for an
    image of one band and ``NDVI_mean`` for several. Regions of a file go along in as many requests as their size needs.

    A column's type comes from all rows: whole numbers and fractions become floats, unless a whole number is beyond 2**53;
    a list has one type; what has nothing in common, and what is nested, becomes text. Parquet's column ``geometry`` is
    GeoParquet; CSV has GeoJSON in its column ``.geo``, as Earth Engine's own exports. Equal features make equal files.

    :param expression: feature collection or image: REST graph, its JSON text, a ``.json`` file, an ``ee`` object, or a
        callable ``f(context, **expression_kwargs)`` that returns any of these
    :param expression_kwargs: for a callable
    :param output_uri: file to write: a local path or an object store's URL
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param overwrite: ``always`` or ``never``: a file that is there already fails the task
    :param file_format: ``PARQUET``, ``CSV`` or ``GEO_JSON``
    :param selectors: columns to write, in this order, of ``system:index``, properties and ``.geo``; None: the index, the
        properties by name, the geometry
    :param page_size: features asked for in one request
    :param regions_uri: ``.geojson`` or ``.json`` file of polygons or points, its text, or the id of a table asset
    :param statistics: of ``mean``, ``stdDev`` (of the population), ``min``, ``max``, ``count``, ``sum``, ``median``, ``mode``,
        ``variance``, ``first``; None: the first five, if ``percentiles`` are not given either
    :param percentiles: 0 to 100; their columns are ``p5``, ``p97.5``
    :param scale: metres along one side of a pixel; this or ``crs_transform`` with regions
    :param crs: code or WKT; None: that of the image's first band
    :param crs_transform: six numbers: scale x, shear x, x, shear y, scale y, y
    :param tile_scale: above 1, up to 16: smaller tiles on the service's side, where memory is not enough
    """

    template_fields: Sequence[str] = (
        *_ComputeOperator.template_fields,
        "file_format",
        "selectors",
        "page_size",
        "regions_uri",
        "statistics",
        "percentiles",
        "scale",
        "crs",
        "crs_transform",
        "tile_scale",
    )

    def __init__(
        self,
        *,
        output_uri: str,
        file_format: str = "PARQUET",
        selectors: Sequence[str] | str | None = None,
        page_size: int = 1000,
        regions_uri: str | None = None,
        statistics: Sequence[str] | str | None = None,
        percentiles: Sequence[float] | str | None = None,
        scale: float | str | None = None,
        crs: str | None = None,
        crs_transform: Sequence[float] | str | None = None,
        tile_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_uri=output_uri, **kwargs)
        self.file_format = file_format
        self.selectors = selectors
        self.page_size = page_size
        self.regions_uri = regions_uri
        self.statistics = statistics
        self.percentiles = percentiles
        self.scale = scale
        self.crs = crs
        self.crs_transform = crs_transform
        self.tile_scale = tile_scale

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the table; tell where it is and what is in it."""
        # Pyarrow and shapely are for workers; parsing a DAG file must not load them.
        from airflow_ee.core.sinks.base import scratch_directory

        with fail_fast(), scratch_directory() as directory:
            target = self._checked_target()
            selectors = names("selectors", self.selectors)
            source = self._source(context)
            with self.pixel_client() as client:
                table, requests = source.collect(client, directory / "features", selectors)
            if table.missing:
                self.log.warning("selectors: no feature has %s; such columns are empty", ", ".join(table.missing))
            table.write(directory / "table", self.file_format, source.provenance(client))
            size_bytes = target.publish(directory / "table")
        self._tell_of_simulation(client)
        self.log.info("Wrote %s: %d rows, %d bytes", target.url, table.rows, size_bytes)
        return {
            "uri": target.url,
            "bytes": size_bytes,
            "rows": table.rows,
            "columns": list(table.columns),
            **self.count({"requests": requests}),
            "request_digest": source.digest,
            "simulated": client.simulated,
        }

    def _checked_target(self) -> Location:
        from airflow_ee.core.tables import check_format

        check_format(self.file_format)
        return self._target(str(self.output_uri))

    def _source(self, context: Context) -> FeatureSource:
        from airflow_ee.core.features import FeatureSource

        page_size = integer("page_size", self.page_size)
        uri = text_or_none(self.regions_uri)
        if uri is None:
            self._refuse_arguments_of_regions()
        regions, asset = ((), None) if uri is None else self._regions(uri)
        expression = self._expression(context)
        return FeatureSource(
            expression=expression if uri is None else None,
            reducer=None if uri is None else self._reducer(expression),
            regions=regions,
            regions_asset=asset,
            page_size=1000 if page_size is None else page_size,
            workload_tag=self.effective_workload_tag(context),
        )

    def _refuse_arguments_of_regions(self) -> None:
        arguments = ("statistics", "percentiles", "scale", "crs", "crs_transform", "tile_scale")
        given = [name for name in arguments if text_or_none(getattr(self, name)) is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: only with regions_uri; without it the expression says all")

    def _regions(self, uri: str) -> tuple[Sequence[RegionFeature], str | None]:
        """Regions that a file holds, or the table asset that an id names."""
        from airflow_ee.core.reduce_regions import parse_regions
        from airflow_ee.core.wire import asset_name

        # Of a file beside the DAG's Airflow has put the text here.
        if uri.lstrip().startswith("{"):
            return parse_regions(uri), None
        if uri.lower().endswith(REGION_SUFFIXES):
            conn_id = connection_for(uri, self.output_conn_id, self.gcp_conn_id)
            return parse_regions(read_text("regions_uri", uri, conn_id)), None
        if is_elsewhere(uri):
            raise ValueError(f"regions_uri must be a .geojson or .json file, or the id of a table asset, got {uri!r}")
        asset_name(uri)
        return (), uri

    def _reducer(self, image: Expression) -> RegionReducer:
        from airflow_ee.core.reduce_regions import RegionReducer

        statistics, percentiles = names("statistics", self.statistics), numbers("percentiles", self.percentiles)
        if statistics is None:
            statistics = [] if percentiles else list(USUAL_STATISTICS)
        transform = numbers("crs_transform", self.crs_transform)
        return RegionReducer(
            image=image,
            statistics=tuple(statistics),
            percentiles=tuple(percentiles or ()),
            scale=number("scale", self.scale),
            crs=text_or_none(self.crs),
            crs_transform=None if transform is None else tuple(transform),
            tile_scale=number("tile_scale", self.tile_scale),
        )


class EarthEngineComputeValueOperator(_ComputeOperator):
    """Compute one value: a number, a text, a list, a dictionary.

    The value is the task's XCom, if it takes no more than 49,344 bytes as JSON; with ``output_uri`` it is written to a JSON
    file of any size, and the XCom says where. NaN and infinities, which JSON has no word for, are the texts ``NaN``,
    ``Infinity`` and ``-Infinity``, as the service writes them too. Of a null nothing is put into XCom.

    :param expression: REST graph, its JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns any of these
    :param expression_kwargs: for a callable
    :param output_uri: JSON file to write: a local path or an object store's URL; None: the value itself is returned
    :param output_conn_id: Airflow connection of the object store; for ``gs://`` it defaults to ``gcp_conn_id``
    :param overwrite: ``always`` or ``never``: a file that is there already fails the task
    """

    def execute(self, context: Context) -> Any:
        """Compute the value; return it, or tell where it is."""
        with fail_fast():
            uri = text_or_none(self.output_uri)
            target = None if uri is None else self._target(uri)
            expression = self._expression(context)
            with self.pixel_client() as client:
                value = client.compute_value(expression, workload_tag=self.effective_workload_tag(context))
            value = _in_words(value)
            content = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
            if target is None and len(content) > LARGEST_XCOM_BYTES:
                raise ValueError(
                    f"the value takes {len(content)} bytes, XCom is for up to {LARGEST_XCOM_BYTES}: give output_uri, and it is "
                    "written to a file"
                )
            if target is not None:
                target.write_bytes(content)
        self.count({"requests": 1})
        self._tell_of_simulation(client)
        if target is None:
            return value
        self.log.info("Wrote %s: %d bytes", target.url, len(content))
        return {
            "uri": target.url,
            "bytes": len(content),
            "request_digest": expression.digest,
            "simulated": client.simulated,
        }


def _in_words(value: Any) -> Any:
    """The value with words for numbers that JSON has none for."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_in_words(each) for each in value]
    return {name: _in_words(each) for name, each in value.items()} if isinstance(value, dict) else value
