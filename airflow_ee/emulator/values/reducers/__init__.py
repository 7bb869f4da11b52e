"""Reducers: many rows to a few results. One reducer serves lists, tables, regions of an image and stacks of images."""

from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels
from airflow_ee.emulator.values.reducers.reducer import (
    Reducer,
    Single,
    combined,
    for_each,
    grouped,
    repeated,
    split,
)

__all__ = [
    "Column", "Kernel", "Layers", "Output", "Pixels", "Reducer", "Single", "combined", "for_each", "grouped", "repeated",
    "split",
]  # fmt: skip
