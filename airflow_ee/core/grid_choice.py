"""From the arguments that users type to the one grid they mean, or a refusal that says what contradicts what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_ee.core import wire
from airflow_ee.core.grid import Affine6, PixelGrid, cut_grid, fit_dimensions, parse_crs, snap_scale, snap_transform
from airflow_ee.core.region import Region

__all__ = ["choose_grid"]


def choose_grid(
    *,
    grid: PixelGrid | Mapping[str, Any] | str | None = None,
    region: Region | None = None,
    scale: float | str | None = None,
    crs: str | None = None,
    crs_transform: Sequence[float] | str | None = None,
    dimensions: Sequence[int] | str | None = None,
    native: PixelGrid | None = None,
) -> PixelGrid:
    """The grid that these arguments mean.

    Either ``grid``, used exactly as it is; or ``region`` with one of ``scale``, ``crs_transform`` and ``dimensions``;
    or the ``native`` grid of an image, cut to ``region`` if there is one. Strings, as templates make them, are read.

    Raises
    ------
    ValueError
        When the arguments contradict each other or do not suffice; the message names them.
    """
    given = [
        name
        for name, value in (("scale", scale), ("crs_transform", crs_transform), ("dimensions", dimensions))
        if value not in (None, "")
    ]
    if grid not in (None, ""):
        if given or crs:
            raise ValueError(
                f"grid is used exactly as it is: leave out {', '.join([*given, *(['crs'] if crs else [])])}"
            )
        return _read_grid(grid)
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other: give one of scale, crs_transform, dimensions")
    if not given:
        return _native(native, region, crs)
    if region is None:
        raise ValueError(f"{given[0]} needs a region: they make a grid together")
    chosen = crs or (native.crs if native else None)
    if not chosen:
        raise ValueError(f"{given[0]} needs a crs, such as EPSG:32633: a computed image has no useful one of its own")
    parse_crs(chosen)
    if scale not in (None, ""):
        return snap_scale(region, scale=_number("scale", scale), crs=chosen)
    if crs_transform not in (None, ""):
        return snap_transform(region, crs=chosen, transform=_read_transform(crs_transform))
    return fit_dimensions(region, crs=chosen, dimensions=_read_dimensions(dimensions))


def _native(native: PixelGrid | None, region: Region | None, crs: str | None) -> PixelGrid:
    if crs:
        raise ValueError("crs needs a scale, crs_transform or dimensions to make a grid")
    if native is None:
        raise ValueError(
            "no grid: a computed image has none of its own (EPSG:4326 at 1 degree). Give grid, grid_from_asset, or region with "
            "scale and crs"
        )
    return native if region is None else cut_grid(native, region)


def _read_grid(value: Any) -> PixelGrid:
    if isinstance(value, PixelGrid):
        return value
    if isinstance(value, str):
        value = _read_json("grid", value)
    if not isinstance(value, Mapping):
        raise ValueError(f"grid must be a PixelGrid or the REST object, got {type(value).__name__}")
    grid = wire.grid_from_rest(value)
    parse_crs(grid.crs)
    return grid


def _read_transform(value: Any) -> Affine6:
    numbers = _read_json("crs_transform", value) if isinstance(value, str) else value
    if not isinstance(numbers, Sequence) or len(numbers) != 6:
        raise ValueError(f"crs_transform must be six numbers (scale x, shear x, x, shear y, scale y, y), got {value!r}")
    a, b, c, d, e, f = (_number("crs_transform", number) for number in numbers)
    return a, b, c, d, e, f


def _read_dimensions(value: Any) -> tuple[int, int]:
    parts = value.lower().split("x") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or len(parts) != 2:
        raise ValueError(f"dimensions must be [width, height] or 'WIDTHxHEIGHT', got {value!r}")
    width, height = (_number("dimensions", part) for part in parts)
    if width != int(width) or height != int(height):
        raise ValueError(f"dimensions must be whole numbers, got {value!r}")
    return int(width), int(height)


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise ValueError(f"{name} is not JSON: {problem}, got {text[:80]!r}") from None


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {value!r}") from None
