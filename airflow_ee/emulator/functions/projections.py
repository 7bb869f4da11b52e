"""What projections say of themselves."""

from __future__ import annotations

from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.grid import Projection
from airflow_ee.emulator.pixels.types import is_whole


@registry.implements("Projection.transform")
def projection_transform(projection: Projection) -> str:
    """The affine transform as well-known text; terms that are those of the identity are left out."""
    a, b, c, d, e, f = projection.transform
    terms = {"elt_0_0": (a, 1.0), "elt_0_1": (b, 0.0), "elt_0_2": (c, 0.0)}
    terms |= {"elt_1_0": (d, 0.0), "elt_1_1": (e, 1.0), "elt_1_2": (f, 0.0)}
    changed = [f'\n  PARAMETER["{name}", {_number(value)}]' for name, (value, usual) in terms.items() if value != usual]
    head = 'PARAM_MT["Affine", \n  PARAMETER["num_row", 3], \n  PARAMETER["num_col", 3]'
    return ", ".join([head, *changed]) + "]"


def _number(value: float) -> str:
    return f"{int(value)}.0" if is_whole(value) else repr(float(value))
