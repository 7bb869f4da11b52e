"""Confusion matrices."""

import numpy as np
import pytest

COUNTS = [[8, 2, 0], [1, 6, 3], [0, 0, 0]]
VALUES = [
    (lambda matrix: matrix, COUNTS),
    (lambda matrix: matrix.array(), COUNTS),
    (lambda matrix: matrix.order(), [0, 1, 2]),
    (lambda matrix: matrix.accuracy(), 14 / 20),
    (lambda matrix: matrix.producersAccuracy(), [[0.8], [0.6], [0]]),
    (lambda matrix: matrix.consumersAccuracy(), [[8 / 9, 0.75, 0]]),
    (lambda matrix: matrix.kappa(), pytest.approx((20 * 14 - 170) / (400 - 170))),
    (lambda matrix: matrix.fscore(), pytest.approx([16 / 19, 12 / 18, 0])),
    (lambda matrix: matrix.fscore(2), pytest.approx([40 / 49, 30 / 48, 0])),
]


@pytest.mark.parametrize(("ask", "expected"), VALUES)
def test_accuracies_are_shares_of_rows_and_columns(evaluate, ask, expected):
    assert evaluate(lambda ee: ask(ee.ConfusionMatrix(ee.Array(COUNTS)))) == expected


def test_classes_have_the_names_given(evaluate):
    assert evaluate(lambda ee: ee.ConfusionMatrix(ee.Array(COUNTS), [11, 42, 7]).order()) == [11, 42, 7]


def test_kappa_is_that_of_the_two_marginal_distributions(evaluate):
    counts = np.array([[5, 1], [2, 9]])
    chance = (counts.sum(0) / counts.sum()) @ (counts.sum(1) / counts.sum())
    kappa = (np.trace(counts) / counts.sum() - chance) / (1 - chance)
    assert evaluate(lambda ee: ee.ConfusionMatrix(ee.Array(counts.tolist())).kappa()) == pytest.approx(kappa)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda ee: ee.ConfusionMatrix(ee.Array([[1, 2]])), "square"),
        (lambda ee: ee.ConfusionMatrix(ee.Array([[1.5]])), "whole"),
        (lambda ee: ee.ConfusionMatrix(ee.Array([[1]]), [1, 2]), "2 classes"),
        (lambda ee: ee.ConfusionMatrix(ee.Array([[0]])).accuracy(), "empty"),
        (lambda ee: ee.ConfusionMatrix(ee.Array([[3]])).kappa(), "chance"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(refusal, make, words):
    assert words in refusal(make)
