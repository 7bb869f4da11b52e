"""Confusion matrices: rows are actual classes, columns predicted ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.elementwise import Values
from airflow_ee.emulator.functions.promote import as_whole, cannot, registry
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.confusion import ConfusionMatrix


@registry.promotes(ConfusionMatrix)
def as_confusion_matrix(value: Any) -> ConfusionMatrix:
    """Nothing else becomes a confusion matrix by itself."""
    if isinstance(value, ConfusionMatrix):
        return value
    raise cannot(value, "ConfusionMatrix")


@registry.implements("ConfusionMatrix")
def make_matrix(array: Any, order: list[Any] | None = None) -> ConfusionMatrix:
    """From a square array of whole numbers; lists are not taken, as documented."""
    if not isinstance(array, Array):
        raise cannot(array, "Array")
    if array.dimensions != 2 or array.shape[0] != array.shape[1]:
        raise invalid(f"ConfusionMatrix: the array must be square, got lengths {list(array.shape)}.")
    if array.values.dtype.kind != "i":
        raise invalid("ConfusionMatrix: the array must have whole numbers.")
    classes = tuple(range(len(array.values))) if order is None else tuple(map(as_whole, order))
    if len(classes) != len(array.values):
        raise invalid(f"ConfusionMatrix: {len(classes)} classes for {len(array.values)} rows.")
    return ConfusionMatrix(array.values, classes)


@registry.implements("ConfusionMatrix.array")
def matrix_array(confusion_matrix: ConfusionMatrix) -> Array:
    """The counts."""
    return Array(confusion_matrix.counts)


@registry.implements("ConfusionMatrix.order")
def order(confusion_matrix: ConfusionMatrix) -> list[int]:
    """The classes of rows and columns."""
    return list(confusion_matrix.order)


def _share(part: Values, whole: Values) -> Values:
    """A part of a whole; of nothing it is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0))


@registry.implements("ConfusionMatrix.accuracy")
def accuracy(confusion_matrix: ConfusionMatrix) -> float:
    """The share on the diagonal."""
    counts = confusion_matrix.counts
    if not counts.sum():
        raise invalid("ConfusionMatrix.accuracy: the accuracy of an empty matrix is not emulated.")
    return float(np.trace(counts) / counts.sum())


@registry.implements("ConfusionMatrix.producersAccuracy")
def producers_accuracy(confusion_matrix: ConfusionMatrix) -> Array:
    """Of each actual class the share that was predicted, as a column."""
    counts = confusion_matrix.counts
    return Array(_share(np.diagonal(counts), counts.sum(axis=1))[:, np.newaxis])


@registry.implements("ConfusionMatrix.consumersAccuracy")
def consumers_accuracy(confusion_matrix: ConfusionMatrix) -> Array:
    """Of each predicted class the share that is actual, as a row."""
    counts = confusion_matrix.counts
    return Array(_share(np.diagonal(counts), counts.sum(axis=0))[np.newaxis, :])


@registry.implements("ConfusionMatrix.fscore")
def f_score(confusion_matrix: ConfusionMatrix, beta: float = 1.0) -> Array:
    """The weighted harmonic mean of both accuracies by class."""
    counts = confusion_matrix.counts
    recall = _share(np.diagonal(counts), counts.sum(axis=1))
    precision = _share(np.diagonal(counts), counts.sum(axis=0))
    square = beta * beta
    return Array(_share((1 + square) * precision * recall, square * precision + recall))


@registry.implements("ConfusionMatrix.kappa")
def kappa(confusion_matrix: ConfusionMatrix) -> float:
    """Cohen's kappa: agreement beyond that of chance."""
    counts = confusion_matrix.counts.astype(np.float64)
    total = counts.sum()
    chance = float((counts.sum(axis=0) * counts.sum(axis=1)).sum())
    if not total * total - chance:
        raise invalid("ConfusionMatrix.kappa: kappa where all agreement is chance is not emulated.")
    return float((total * np.trace(counts) - chance) / (total * total - chance))
