"""The point whose distances from all rows have the least sum."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.values.reducers.kernel import Compute, Output, Statistic, added, check_width

Numbers = NDArray[np.float64]

MAX_STEPS = 500
_PRECISION = 1e-7
"""The least step, as a part of the rows' mean distance, that is still worth taking."""


def _nearest_to_all(values: list[Numbers], weights: Numbers) -> list[Numbers]:
    """By Weiszfeld's steps, in the form that passes through rows (Vardi and Zhang 2000): each pixel as long as it moves."""
    shape = values[0].shape[1:]
    points = np.stack(values).reshape(len(values), len(weights), prod(shape))
    valid = (weights > 0).astype(np.float64).reshape(len(weights), prod(shape))
    count = np.maximum(added(valid), 1)
    centre = np.stack([added(each * valid) / count for each in points])
    moving = np.arange(prod(shape))
    for _ in range(MAX_STEPS):
        deadline.check()
        moved, step, size = _step(points[..., moving], valid[..., moving], centre[..., moving])
        centre[..., moving] = moved
        moving = moving[step > _PRECISION * size]
        if not moving.size:
            break
    return [each.reshape(shape) for each in centre]


def _step(points: Numbers, valid: Numbers, centre: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """A better centre, how far it is from the last one, and how far the rows are."""
    away = points - centre[:, np.newaxis]
    distance = np.sqrt((away**2).sum(axis=0))
    off = (distance > 0) & (valid > 0)
    pull = np.divide(valid, distance, out=np.zeros_like(distance), where=off)
    total = added(pull)
    here = added(valid * (distance == 0))
    towards = np.stack([added(each * pull) for each in away])
    force = np.sqrt((towards**2).sum(axis=0))
    # A row that lies at the centre holds it there, unless the others pull harder than it weighs.
    share = np.clip(1 - np.divide(here, force, out=np.ones_like(force), where=force > 0), 0.0, 1.0)
    change = np.divide(towards, total, out=np.zeros_like(towards), where=total > 0) * share
    return centre + change, np.sqrt((change**2).sum(axis=0)), added(distance * valid) / np.maximum(added(valid), 1)


def geometric_median(inputs: int, eta: float, step: float) -> Statistic:
    """As many inputs as the points have coordinates; how the solver goes does not matter, since it goes to the end."""
    label = "Reducer.geometricMedian"
    if inputs < 1:
        raise invalid(f"{label}: numX must be at least 1, got {inputs}.")
    if not (eta > 0 and step > 0):
        raise invalid(f"{label}: eta and initialStepSize must be positive, got {eta:g} and {step:g}.")
    check_width(label, inputs)
    outputs = tuple(Output(f"median_{place}") for place in range(inputs))
    compute: Compute = _nearest_to_all
    return Statistic(label, outputs, inputs, False, compute=compute)
