"""Projections: how they are made, scaled and moved, and what they say of themselves."""

from __future__ import annotations

import re
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.promote import as_projection, as_transform, registry
from airflow_ee.emulator.pixels.crs import proj_crs
from airflow_ee.emulator.pixels.grid import Affine6, Projection
from airflow_ee.emulator.pixels.types import is_whole

_TERMS = ("elt_0_0", "elt_0_1", "elt_0_2", "elt_1_0", "elt_1_1", "elt_1_2")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@registry.implements("Projection", "Proj")
def make_projection(crs: Any, transform: list[Any] | None = None, transform_wkt: str | None = None) -> Projection:
    """A projection from a code or WKT and a transform."""
    base: Projection = as_projection(crs)
    if transform is not None and transform_wkt is not None:
        raise invalid("Projection: May not specify both 'transform' and 'transformWkt'.")
    if transform_wkt is not None:
        return Projection(base.crs, _affine(transform_wkt))
    return base if transform is None else Projection(base.crs, as_transform(transform))


def _affine(text: str) -> Affine6:
    """The terms of an affine transform in well-known text; what is not there is that of the identity."""
    if not re.match(r'\s*PARAM_MT\s*\[\s*"Affine"', text, re.IGNORECASE):
        raise invalid("Projection: only affine transforms in 'transformWkt' are emulated.")
    found = {
        name.lower(): float(value)
        for name, value in re.findall(r'PARAMETER\s*\[\s*"(elt_\d_\d)"\s*,\s*([-+.\deE]+)\s*\]', text, re.IGNORECASE)
    }
    terms = [found.get(name, usual) for name, usual in zip(_TERMS, _IDENTITY, strict=True)]
    return (terms[0], terms[1], terms[2], terms[3], terms[4], terms[5])


@registry.implements("Projection.nominalScale")
def nominal_scale(proj: Projection) -> float:
    """Metres a pixel."""
    return proj.nominal_scale


@registry.implements("Projection.crs")
def projection_crs(projection: Projection) -> str | None:
    """The code, null where there is none."""
    return projection.crs.text if projection.crs.is_code else None


@registry.implements("Projection.wkt")
def projection_wkt(projection: Projection) -> str:
    """The coordinate system as well-known text of the first version, as PROJ writes it."""
    return str(proj_crs(projection.crs.text).to_wkt("WKT1_GDAL", pretty=True))


@registry.implements("Projection.atScale")
def projection_at_scale(projection: Projection, meters: float) -> Projection:
    """Pixels of so many metres."""
    if meters <= 0:
        raise invalid(f"Projection.atScale: The scale must be greater than zero, got {meters}.")
    return projection.at_scale(meters)


@registry.implements("Projection.scale")
def projection_scaled(projection: Projection, x: float, y: float) -> Projection:
    """Pixels larger by factors."""
    a, b, c, d, e, f = projection.transform
    return Projection(projection.crs, (a * x, b * y, c, d * x, e * y, f))


@registry.implements("Projection.translate")
def projection_moved(projection: Projection, x: float, y: float) -> Projection:
    """Moved by so many pixels."""
    a, b, c, d, e, f = projection.transform
    return Projection(projection.crs, (a, b, a * x + b * y + c, d, e, d * x + e * y + f))


@registry.implements("Projection.transform")
def projection_transform(projection: Projection) -> str:
    """The affine transform as well-known text; terms that are those of the identity are left out."""
    terms = zip(_TERMS, projection.transform, _IDENTITY, strict=True)
    changed = [f'\n  PARAMETER["{name}", {_number(value)}]' for name, value, usual in terms if value != usual]
    head = 'PARAM_MT["Affine", \n  PARAMETER["num_row", 3], \n  PARAMETER["num_col", 3]'
    return ", ".join([head, *changed]) + "]"


def _number(value: float) -> str:
    return f"{int(value)}.0" if is_whole(value) else repr(float(value))
