"""Special functions of pixels: those of plain numbers, one pixel after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from airflow_ee.emulator import deadline
from airflow_ee.emulator.functions import special
from airflow_ee.emulator.functions.arithmetic import Compute1, Compute2, binary, real_type, unary
from airflow_ee.emulator.functions.promote import registry
from airflow_ee.emulator.pixels.raster import Values

_UNARY: dict[str, Callable[[float], float]] = {
    "gamma": special.gamma,
    "digamma": special.digamma,
    "trigamma": special.trigamma,
    "lanczos": special.lanczos,
    "erfInv": special.inverse_erf,
    "erfcInv": special.inverse_erfc,
}


def _each(function: Callable[..., float]) -> Callable[..., Values]:
    def checked(*numbers: float) -> float:
        deadline.check()  # far from the origin some of them take many steps
        return function(*map(float, numbers))

    return np.vectorize(checked, otypes=[np.float64])


for _name, _function in _UNARY.items():
    _compute: Compute1 = _each(_function)
    registry.add(f"Image.{_name}", unary(_compute, lambda type_: real_type(type_, type_)))

_incomplete: Compute2 = _each(special.incomplete_gamma)
registry.add("Image.gammainc", binary("Image.gammainc", _incomplete, real_type))
