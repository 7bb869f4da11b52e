"""Exports of maps: an image as tiles for web maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_ee.core.batch import ExportMapRequest
from airflow_ee.core.destination import Destination
from airflow_ee.core.export_options import map_options, map_tile_options
from airflow_ee.operators.arguments import integer, number, read_boolean, text_or_none
from airflow_ee.operators.export_base import EarthEngineExportBaseOperator
from airflow_ee.operators.export_destinations import chosen_destination, refuse, rest_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["EarthEngineExportMapOperator"]


class EarthEngineExportMapOperator(EarthEngineExportBaseOperator):
    """
    Export an image as map tiles, ``prefix/{zoom}/{x}/{y}`` in Cloud Storage.

    :param expression: REST graph, JSON text, a ``.json`` file, an ``ee`` object, or a callable
        ``f(context, **expression_kwargs)`` that returns one of these; it gives an RGB image, 8 bits deep, cut to where
        tiles are wanted.
    :param expression_kwargs: Arguments of the callable.
    :param destination_uri: ``gs://bucket/prefix``.
    :param tile_export_options: Instead: ``tileExportOptions`` as the REST reference has it.
    :param file_format: ``AUTO_JPEG_PNG``, ``JPEG`` or ``PNG``.
    :param start_zoom: First zoom level, 0 to 24.
    :param end_zoom: Last zoom level, 0 to 24.
    :param scale: Instead: metres along one side of a pixel of the last level.
    :param skip_empty: Whether tiles that are masked throughout are left out.
    :param permissions: ``PUBLIC`` or ``DEFAULT_OBJECT_ACL``, of the tiles; None: the service's own.
    :param maps_api_key: Key that the page beside the tiles has; the service makes it.
    """

    template_fields: Sequence[str] = (
        *EarthEngineExportBaseOperator.template_fields,
        "expression",
        "expression_kwargs",
        "destination_uri",
        "tile_export_options",
        "file_format",
        "start_zoom",
        "end_zoom",
        "scale",
        "skip_empty",
        "permissions",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "expression": "json",
        "expression_kwargs": "json",
        "tile_export_options": "json",
    }

    def __init__(
        self,
        *,
        expression: Any,
        expression_kwargs: Mapping[str, Any] | None = None,
        destination_uri: str | None = None,
        tile_export_options: Mapping[str, Any] | None = None,
        file_format: str = "AUTO_JPEG_PNG",
        start_zoom: int | str = 0,
        end_zoom: int | str | None = None,
        scale: float | str | None = None,
        skip_empty: bool | str = False,
        permissions: str | None = None,
        maps_api_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.expression = expression
        self.expression_kwargs = expression_kwargs
        self.destination_uri = destination_uri
        self.tile_export_options = tile_export_options
        self.file_format = file_format
        self.start_zoom = start_zoom
        self.end_zoom = end_zoom
        self.scale = scale
        self.skip_empty = skip_empty
        self.permissions = permissions
        self.maps_api_key = maps_api_key

    def build_request(self, context: Context) -> ExportMapRequest:
        """
        Return the request: everything that can be checked is checked here, before anything is sent.

        :param context: Airflow's context.
        """
        name, options = rest_options(self, ("tile_export_options",))
        if options is None:
            destination = Destination.parse(self.destination_uri or "")
            permissions = text_or_none(self.permissions)
            options = map_options(destination, file_format=self.file_format, permissions=permissions)
        else:
            refuse(
                self, {"file_format": ("AUTO_JPEG_PNG",)}, "file_format", "permissions", why=f"{name} says it already"
            )
        return ExportMapRequest(
            expression=self.resolve_expression(self.expression, self.expression_kwargs, context),
            description="unnamed",
            priority=integer("priority", self.priority),
            workload_tag=self.effective_workload_tag(context),
            tile_export_options=options,
            tile_options=map_tile_options(
                start_zoom=integer("start_zoom", self.start_zoom) or 0,
                end_zoom=integer("end_zoom", self.end_zoom),
                scale=number("scale", self.scale),
                skip_empty=read_boolean("skip_empty", self.skip_empty),
                maps_api_key=self.maps_api_key,
            ),
        )

    def requested_destination(self) -> Destination:
        """Return where the export was told to write."""
        return chosen_destination(self, ("tile_export_options",))
