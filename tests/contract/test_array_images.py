"""Images of arrays at one pixel, through Google's client: what each function's reference page shows, in other numbers."""

import math

import numpy as np
import pytest

DOUBLE = {"type": "PixelType", "precision": "double"}


def at(ee, image):
    """The bands at one pixel; what is masked is null."""
    return image.reduceRegion(ee.Reducer.first(), ee.Geometry.Point([10.5, 45.5]), 30)


def row(ee, *numbers):
    return ee.Image(list(numbers)).toArray()


def table(ee, rows):
    return ee.Image(ee.Array(rows)).rename("array")


def hidden(ee, value):
    return ee.Image(value).updateMask(0)


def stack(ee, *values):
    """A collection of images of bands ``a`` and ``b``; None is masked."""
    images = [
        ee.Image.cat([ee.Image(each or 0).updateMask(0 if each is None else 1) for each in pair]).rename(["a", "b"])
        for pair in values
    ]
    return ee.ImageCollection(images)


M = [[1, 2, 3], [4, 5, 6]]
TALL = [[1, 0], [1, 1], [1, 2], [1, 3]]
PIXELS = [
    (lambda ee: row(ee, 4, 2, 7), {"array": [4, 2, 7]}),
    (lambda ee: row(ee, 4, 2).toArray(1), {"array": [[4], [2]]}),
    (lambda ee: ee.Image.cat(row(ee, 1, 2), row(ee, 3, 4).rename("b")).toArray(), {"array": [1, 2, 3, 4]}),
    (lambda ee: ee.Image.cat(row(ee, 1, 2), row(ee, 3, 4).rename("b")).toArray(1), {"array": [[1, 3], [2, 4]]}),
    (lambda ee: ee.Image(3).addBands(hidden(ee, 4)).toArray(), {"array": None}),
    (lambda ee: table(ee, M), {"array": M}),
    (lambda ee: row(ee, 4, 2).arrayFlatten([["x", "y"]]), {"x": 4, "y": 2}),
    (lambda ee: table(ee, [[1, 2], [3, 4]]).arrayFlatten([["r", "s"], ["x", "y"]]),
     {"r_x": 1, "r_y": 2, "s_x": 3, "s_y": 4}),
    (lambda ee: table(ee, [[1, 2]]).arrayFlatten([["r"], ["x", "y"]], "-"), {"r-x": 1, "r-y": 2}),
    (lambda ee: table(ee, [[5, 6, 7]]).arrayProject([1]), {"array": [5, 6, 7]}),
    (lambda ee: table(ee, [[5], [6]]).arrayProject([0]), {"array": [5, 6]}),
    (lambda ee: table(ee, [[5]]).arrayProject([]), {"array": 5}),
    (lambda ee: table(ee, M).arraySlice(1, 1), {"array": [[2, 3], [5, 6]]}),
    (lambda ee: table(ee, M).arraySlice(1, -2, -1), {"array": [[2], [5]]}),
    (lambda ee: table(ee, M).arraySlice(1, 0, 3, 2), {"array": [[1, 3], [4, 6]]}),
    (lambda ee: table(ee, M).arraySlice(0, ee.Image(1)), {"array": [[4, 5, 6]]}),
    (lambda ee: table(ee, M).arraySlice(0, hidden(ee, 1), 1), {"array": [[1, 2, 3]]}),
    (lambda ee: row(ee, 1, 2).arraySlice(0, 5), {"array": []}),
    (lambda ee: table(ee, M).arrayGet([1, 2]), {"array": 6}),
    (lambda ee: row(ee, 7, 8).arrayGet(ee.Image(1)), {"array": 8}),
    (lambda ee: row(ee, 7, 8).arrayGet(hidden(ee, 1)), {"array": None}),
    (lambda ee: table(ee, M).arrayLength(1), {"array": 3}),
    (lambda ee: table(ee, M).arrayLengths(), {"array": [2, 3]}),
    (lambda ee: table(ee, M).addBands(ee.Image(5)).arrayDimensions(), {"array": 2, "constant": 0}),
    (lambda ee: row(ee, 1, 2).arrayCat(row(ee, 3), 0), {"array": [1, 2, 3]}),
    (lambda ee: row(ee, 1, 2).arrayCat(row(ee, 3.5, 4), 1), {"array": [[1, 3.5], [2, 4]]}),
    (lambda ee: row(ee, 1, 2).arrayRepeat(0, 2), {"array": [1, 2, 1, 2]}),
    (lambda ee: row(ee, 1, 2).arrayRepeat(1, ee.Image(3)), {"array": [[1, 1, 1], [2, 2, 2]]}),
    (lambda ee: row(ee, 3, 1, 2).arraySort(), {"array": [1, 2, 3]}),
    (lambda ee: table(ee, M).arraySort(ee.Image(ee.Array([[3, 1, 2]]))), {"array": [[2, 3, 1], [5, 6, 4]]}),
    (lambda ee: table(ee, M).arrayMask(ee.Image(ee.Array([[0], [9]]))), {"array": [[4, 5, 6]]}),
    (lambda ee: row(ee, 1, 2, 3).arrayMask(row(ee, 1, 0, 1)), {"array": [1, 3]}),
    (lambda ee: row(ee, 1, 2).arrayMask(row(ee, 0, 0)), {"array": []}),
    (lambda ee: row(ee, 1, 2, 3).arrayAccum(0), {"array": [1, 3, 6]}),
    (lambda ee: row(ee, 2, 5, 3).arrayAccum(0, ee.Reducer.max()), {"array": [2, 5, 5]}),
    (lambda ee: row(ee, 2, 5, 5).arrayArgmax(), {"array": [1]}),
    (lambda ee: table(ee, [[1, 9], [3, 4]]).arrayArgmax(), {"array": [0, 1]}),
    (lambda ee: row(ee, 1, 2, 3).arrayDotProduct(row(ee, 4, 5, 6)), {"array": 32}),
    (lambda ee: row(ee, 1, 2).arrayPad([4], -1), {"array": [1, 2, -1, -1]}),
    (lambda ee: table(ee, [[1, 2]]).arrayPad([2, 1]), {"array": [[1, 2], [0, 0]]}),
    (lambda ee: row(ee, 1, 2).arrayPad([3], 0.5), {"array": [1, 2, 0.5]}),
    (lambda ee: row(ee, 1, 2, 3, 4).arrayReshape(ee.Image(ee.Array([2, -1])), 2), {"array": [[1, 2], [3, 4]]}),
    (lambda ee: table(ee, M).arrayReshape(row(ee, -1), 1), {"array": [1, 2, 3, 4, 5, 6]}),
    (lambda ee: table(ee, M).arrayTranspose(), {"array": [[1, 4], [2, 5], [3, 6]]}),
    (lambda ee: table(ee, M).matrixTranspose(), {"array": [[1, 4], [2, 5], [3, 6]]}),
    (lambda ee: ee.Image.matrixIdentity(2), {"identity": [[1, 0], [0, 1]]}),
    (lambda ee: table(ee, M).matrixDiagonal(), {"array": [[1], [5]]}),
    (lambda ee: table(ee, [[3], [4]]).matrixToDiag(), {"array": [[3, 0], [0, 4]]}),
    (lambda ee: table(ee, [[4, 0], [0, 2]]).matrixInverse(), {"array": [[0.25, 0], [0, 0.5]]}),
    (lambda ee: table(ee, [[2, 0], [0, 0]]).matrixPseudoInverse(), {"array": [[0.5, 0], [0, 0]]}),
    (lambda ee: table(ee, [[3, 0], [0, 4]]).matrixFnorm(), {"array": 5}),
    (lambda ee: table(ee, [[1, 2], [3, 4]]).matrixTrace(), {"array": 5}),
    (lambda ee: table(ee, [[1, 2], [3, 4]]).matrixDeterminant().round(), {"array": -2}),
    (lambda ee: table(ee, [[1, 2], [3, 4]]).matrixMultiply(ee.Image(ee.Array([[5], [6]]))), {"array": [[17], [39]]}),
    (lambda ee: table(ee, [[4, 2], [2, 2]]).matrixCholeskyDecomposition(), {"L": [[2, 0], [1, 1]]}),
    (lambda ee: table(ee, [[0, 2], [3, 3]]).matrixLUDecomposition(),
     {"L": [[1, 0], [0, 1]], "U": [[3, 3], [0, 2]], "P": [[0, 1], [1, 0]]}),
    (lambda ee: table(ee, [[0, 3], [2, 0]]).matrixSingularValueDecomposition(),
     {"U": [[1, 0], [0, 1]], "S": [[3, 0], [0, 2]], "V": [[0, 1], [1, 0]]}),
    (lambda ee: table(ee, [[3, 1], [4, 2]]).matrixQRDecomposition().multiply(10).round(),
     {"Q": [[-6, 8], [-8, -6]], "R": [[-50, -22], [0, -4]]}),
    (lambda ee: ee.Image([12, 0, -1]).int().bitsToArrayImage(),
     {"constant": [0, 0, 1, 1], "constant_1": [0], "constant_2": [1] * 64}),
    # elementwise: arrays with arrays, and with numbers
    (lambda ee: row(ee, 1, 2).add(row(ee, 10, 20)), {"array": [11, 22]}),
    (lambda ee: row(ee, 1, 2).multiply(3), {"array": [3, 6]}),
    (lambda ee: ee.Image(10).subtract(row(ee, 1, 2)), {"constant": [9, 8]}),
    (lambda ee: row(ee, 1, 5).gt(row(ee, 3, 3)), {"array": [0, 1]}),
    (lambda ee: row(ee, 1, 0).And(1), {"array": [1, 0]}),
    (lambda ee: row(ee, 1, 0).Not(), {"array": [0, 1]}),
    (lambda ee: row(ee, 4, 9).sqrt(), {"array": [2, 3]}),
    (lambda ee: row(ee, 1.7, -1.7).toInt(), {"array": [1, -1]}),
    (lambda ee: row(ee, 300).toByte(), {"array": [255]}),
    (lambda ee: row(ee, 1, 2).divide(row(ee, 0, 4)), {"array": [0, 0.5]}),
    (lambda ee: row(ee, -1.0, 4.5).log().arrayFlatten([["x", "y"]]), {"x": None, "y": math.log(4.5)}),
    # masks
    (lambda ee: row(ee, 1, 2).updateMask(0), {"array": None}),
    (lambda ee: row(ee, 1, 2).updateMask(0).mask(), {"array": 0}),
    (lambda ee: row(ee, 1, 2).updateMask(0).unmask(row(ee, 8, 9, 7)), {"array": [8, 9, 7]}),
    (lambda ee: row(ee, 1, 2).where(ee.Image(1), row(ee, 5)), {"array": [5]}),
    (lambda ee: ee.ImageCollection([row(ee, 1), row(ee, 2, 3).updateMask(0)]).mosaic(), {"array": [1]}),
    (lambda ee: row(ee, 1, 2).clip(ee.Geometry.Point([0, 0])), {"array": None}),
    (lambda ee: row(ee, 1, 2).reproject("EPSG:4326", None, 100), {"array": [1, 2]}),
    (lambda ee: row(ee, 1, 2).addBands(ee.Image(3)).select(["constant", "array"]), {"constant": 3, "array": [1, 2]}),
    # reductions along axes
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.sum(), [0]), {"array": [[5, 7, 9]]}),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.mean(), [1]), {"array": [[2], [5]]}),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.median(), [0, 1]), {"array": [[3.5]]}),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.count(), [1]), {"array": [[3], [3]]}),
    (lambda ee: row(ee, 1, 5, 3).arrayReduce(ee.Reducer.stdDev(), [0]).arrayGet(0).pow(2).multiply(3).round(), {"array": 8}),
    (lambda ee: row(ee, *range(11)).arrayReduce(ee.Reducer.percentile([10]), [0]), {"array": [1]}),
    (lambda ee: table(ee, [[1, 4], [5, 0]]).arrayReduce(ee.Reducer.minMax().forEach(["x", "y"]), [0], 1),
     {"array": [[1, 5, 0, 4]]}),
    (lambda ee: table(ee, [[1, 2], [2, 4], [3, 6]]).arrayReduce(ee.Reducer.linearFit(), [0], 1), {"array": [[2, 0]]}),
    (lambda ee: table(ee, [[3, 30], [1, 10]]).arrayReduce(
        ee.Reducer.min(2).combine(ee.Reducer.max(2), None, True), [0], 1), {"array": [[1, 10, 3, 30]]}),
    (lambda ee: row(ee, 1, 2).arraySlice(0, 2).arrayReduce(ee.Reducer.min(), [0]), {"array": []}),
    (lambda ee: table(ee, [[1, 2]]).arrayReduce(ee.Reducer.linearFit(), [0], 1).arrayLengths(), {"array": [0, 2]}),
    (lambda ee: table(ee, [[1, 2]]).arraySlice(0, 1).arrayReduce(ee.Reducer.mean(), [0]).arrayLengths(),
     {"array": [0, 2]}),
    (lambda ee: row(ee, 1, 2).arraySlice(0, 2).arrayReduce(ee.Reducer.sum(), [0]), {"array": [0]}),
    # collections
    (lambda ee: stack(ee, (1, 2), (3, 4)).toArray(), {"array": [[1, 2], [3, 4]]}),
    (lambda ee: stack(ee, (1, 2), (None, 4), (5, 6)).toArray(), {"array": [[1, 2], [5, 6]]}),
    (lambda ee: stack(ee, (None, 2)).toArray(), {"array": []}),
    (lambda ee: stack(ee, (None, 2)).toArray().arrayLength(0), {"array": 0}),
    (lambda ee: stack(ee, (1, 2), (3, 4)).toArrayPerBand(), {"a": [1, 3], "b": [2, 4]}),
    (lambda ee: stack(ee, (1, 2), (None, 4)).toArrayPerBand(), {"a": None, "b": [2, 4]}),
    (lambda ee: stack(ee, (1, 2), (None, 4)).toArrayPerBand(0, True), {"a": [1], "b": [2, 4]}),
    (lambda ee: stack(ee, (None, 2)).toArrayPerBand(0, True), {"a": None, "b": [2]}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3, 4)]).toArrayPerBand(1), {"array": [[1, 3], [2, 4]]}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3), row(ee, 9).updateMask(0)]).toArrayPerBand(0, True),
     {"array": [1, 2, 3]}),
    (lambda ee: stack(ee, (1, 2), (None, 4)).reduce(ee.Reducer.toList()), {"a_list": [1], "b_list": [2, 4]}),
    (lambda ee: stack(ee, (1, 2), (None, 4), (3, 6)).reduce(ee.Reducer.toList(2)), {"list": [[1, 2], [3, 6]]}),
    (lambda ee: stack(ee, (1, 2), (3, 4)).reduce(ee.Reducer.fixedHistogram(0, 4, 2)),
     {"a_histogram": [[0, 1], [2, 1]], "b_histogram": [[0, 0], [2, 1]]}),
    (lambda ee: stack(ee, (1, 2), (3, 2)).reduce(ee.Reducer.autoHistogram(4, 1)),
     {"a_histogram": [[1, 1], [2, 0], [3, 1]], "b_histogram": [[2, 2]]}),
    (lambda ee: stack(ee, (0, 0), (1, 3), (1, 1)).reduce(ee.Reducer.fixed2DHistogram(0, 2, 2, 0, 4, 2)),
     {"histogram": [[1, 0], [1, 1]], "xAxis": [0, 1], "yAxis": [0, 2]}),
    (lambda ee: stack(ee, (1, 2), (2, 4), (None, 9), (3, 6)).reduce(ee.Reducer.linearRegression(1)).select(0).multiply(10)
     .round(), {"coefficients": [[20]]}),
    (lambda ee: stack(ee, (1, 2), (None, 4)).reduce(ee.Reducer.linearRegression(1)),
     {"coefficients": None, "residuals": None}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3, 6)]).reduce(ee.Reducer.covariance()),
     {"array_covariance": [[1, 2], [2, 4]]}),
    (lambda ee: ee.ImageCollection([row(ee, 1).arraySlice(0, 1)]).reduce(ee.Reducer.covariance()), {"array_covariance": []}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3, 6)]).reduce(ee.Reducer.forEachElement(ee.Reducer.mean())),
     {"array_mean": [2, 4]}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3)]).reduce(ee.Reducer.last()), {"array_last": [3]}),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3)]).count(), {"array": 2}),
    (lambda ee: stack(ee, (1, 2), (3, 4)).toArray().matrixMultiply(ee.Image(ee.Array([[1], [1]]))).arrayProject([0]),
     {"array": [3, 7]}),
]  # fmt: skip
REFUSED = [
    (lambda ee: ee.Image(1).select([]).toArray(), "no bands"),
    (lambda ee: row(ee, 1).addBands(ee.Image(2)).toArray(), "same dimensions"),
    (lambda ee: ee.Image([1, 2]).toArray(1), "axis 1"),
    (lambda ee: row(ee, 1, 2).arrayFlatten([["x"]]), "do not match the labels"),
    (lambda ee: row(ee, 1, 2).arrayFlatten([["x"], ["y"]]), "2 lists of labels"),
    (lambda ee: row(ee, 1, 2).arrayFlatten([["x", "x"]]), "already exists"),
    (lambda ee: row(ee, 1).addBands(row(ee, 2)).arrayFlatten([["x"]]), "exactly one band"),
    (lambda ee: row(ee, 1, 2).arrayFlatten([[str(n) for n in range(9000)]]), "too many"),
    (lambda ee: table(ee, M).arrayProject([0]), "length 1"),
    (lambda ee: row(ee, 1).arrayProject([1]), "Axis 1"),
    (lambda ee: table(ee, M).arrayProject([0, 0]), "twice"),
    (lambda ee: row(ee, 1).arraySlice(1), "Axis 1"),
    (lambda ee: row(ee, 1).arraySlice(0, 0, 1, 0), "Step"),
    (lambda ee: ee.Image(1).arraySlice(0), "0 dimensions"),
    (lambda ee: row(ee, 1).arrayGet([1]), "out of bounds"),
    (lambda ee: row(ee, 1).arrayGet([-1]), "out of bounds"),
    (lambda ee: row(ee, 1).arrayGet([0, 0]), "2 bands"),
    (lambda ee: row(ee, 1).arrayLength(1), "Axis 1"),
    (lambda ee: row(ee, 1).arrayCat(table(ee, M), 0), "same dimensions"),
    (lambda ee: table(ee, M).arrayCat(table(ee, [[1]]), 0), "same lengths"),
    (lambda ee: row(ee, 1).arrayRepeat(0, 0), "0 copies"),
    (lambda ee: row(ee, 1).arrayRepeat(0, 10**9), "memory limit"),
    (lambda ee: row(ee, 1).arrayPad([10**9]), "memory limit"),
    (lambda ee: row(ee, 1).arrayPad([1, 1]), "2 lengths"),
    (lambda ee: table(ee, M).arraySort(), "same length along one axis"),
    (lambda ee: row(ee, 1, 2).arrayMask(row(ee, 1)), "same length along one axis"),
    (lambda ee: row(ee, 1, 2).arrayReshape(row(ee, 3), 1), "do not fit"),
    (lambda ee: row(ee, 1, 2).arrayReshape(row(ee, 1, 2), 1), "1 values"),
    (lambda ee: row(ee, 1, 2).arrayReshape(ee.Image(2), 1), "1-dimensional"),
    (lambda ee: row(ee, 1, 2).arrayDotProduct(row(ee, 1)), "equally long"),
    (lambda ee: row(ee, 1).matrixInverse(), "2-dimensional"),
    (lambda ee: table(ee, [[1, 2], [2, 4]]).matrixInverse(), "singular"),
    (lambda ee: table(ee, M).matrixInverse(), "square"),
    (lambda ee: table(ee, [[1, 2], [2, 4]]).matrixSolve(table(ee, [[1], [1]])), "singular"),
    (lambda ee: table(ee, M).matrixSolve(table(ee, [[1], [1]])), "fewer rows"),
    (lambda ee: table(ee, M).matrixMultiply(table(ee, M)), "rows on the right"),
    (lambda ee: table(ee, [[1, 2], [0, 1]]).matrixCholeskyDecomposition(), "symmetric"),
    (lambda ee: table(ee, [[0, 0], [0, 1]]).matrixLUDecomposition(), "singular"),
    (lambda ee: table(ee, [[1, 2]]).matrixToDiag(), "one column"),
    (lambda ee: ee.Image.matrixIdentity(10**6), "size"),
    (lambda ee: table(ee, [[-1.0]]).sqrt().matrixSingularValueDecomposition(), "not finite"),
    (lambda ee: table(ee, [[-1.0]]).sqrt().matrixPseudoInverse(), "not finite"),
    (lambda ee: row(ee, 1, 2).add(row(ee, 1, 2, 3)), "sizes must match"),
    (lambda ee: row(ee, 1, 2).add(table(ee, M)), "dimensions must match"),
    (lambda ee: row(ee, 1, 2).updateMask(row(ee, 1, 0)), "numbers are needed"),
    (lambda ee: row(ee, 1, 2).updateMask(0).unmask(0), "no common type"),
    (lambda ee: row(ee, 1).reduce(ee.Reducer.mean()), "Cannot convert Array to Number"),
    (lambda ee: ee.ImageCollection([row(ee, 1)]).mean(), "Cannot convert Array to Number"),
    (lambda ee: row(ee, 1).normalizedDifference(), "numbers are needed"),
    (lambda ee: row(ee, 1).focalMax(1), "numbers are needed"),
    (lambda ee: row(ee, 1).convolve(ee.Kernel.square(1)), "numbers are needed"),
    (lambda ee: row(ee, 1).remap([1], [2]), "numbers are needed"),
    (lambda ee: row(ee, 1).visualize(), "numbers are needed"),
    (lambda ee: row(ee, 1).neighborhoodToArray(ee.Kernel.square(1)), "numbers are needed"),
    (lambda ee: row(ee, 1.5).bitsToArrayImage(), "numbers are needed"),
    (lambda ee: ee.Image(1.5).bitsToArrayImage(), "integer only"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.minMax(), [0]), "fieldAxis"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.linearFit(), [0], 0), "must not be one of the axes"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.linearFit(), [0], 1), "Need 2 inputs"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.toList(), [0]), "must be a number"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.linearRegression(2), [0], 1), "must be a number"),
    (lambda ee: table(ee, M).arrayReduce(ee.Reducer.histogram(), [0]), "no pixel can hold it"),
    (lambda ee: table(ee, M).arrayAccum(2), "Axis 2"),
    (lambda ee: ee.ImageCollection([row(ee, 1)]).toArray(), "numbers are needed"),
    (lambda ee: ee.ImageCollection([ee.Image(1), ee.Image([1, 2])]).toArray(), "same bands"),
    (lambda ee: ee.ImageCollection([table(ee, M), table(ee, [[1]])]).toArrayPerBand(0), "same lengths"),
    (lambda ee: ee.ImageCollection([table(ee, M), table(ee, [[1]])]).toArrayPerBand(0, True), "same lengths"),
    (lambda ee: stack(ee, (1, 2)).reduce(ee.Reducer.covariance()), "1-dimensional"),
    (lambda ee: stack(ee, (1, 2)).reduce(ee.Reducer.forEachElement(ee.Reducer.mean())), "must be arrays"),
    (lambda ee: ee.ImageCollection([row(ee, 1, 2), row(ee, 3)]).reduce(ee.Reducer.covariance()), "same shape"),
]  # fmt: skip
TYPES = [
    (lambda ee: ee.Image([0, 1]).toByte().toArray(), {"precision": "int", "min": 0, "max": 255, "dimensions": 1}),
    (lambda ee: ee.Image([0.5]).toFloat().toArray().toArray(1), {"precision": "float", "min": 0.5, "max": 0.5, "dimensions": 2}),
    (lambda ee: stack(ee, (1, 2.5)).toArray(), {"precision": "double", "min": 1, "max": 2.5, "dimensions": 2}),
    (lambda ee: row(ee, 1, 2).arrayGet(0), {"precision": "int", "min": 1, "max": 2}),
    (lambda ee: row(ee, 1, 2).gt(1), {"precision": "int", "min": 0, "max": 1, "dimensions": 1}),
    (lambda ee: row(ee, 1, 2).cast({"array": ee.PixelType("float", None, None, 1)}),
     {"precision": "float", "min": 1, "max": 2, "dimensions": 1}),
    (lambda ee: table(ee, TALL).matrixSolve(table(ee, TALL)), {"precision": "double", "dimensions": 2}),
    (lambda ee: table(ee, TALL).toFloat().matrixMultiply(table(ee, TALL)), {"precision": "float", "dimensions": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("image", "expected"), PIXELS)
def test_pixels(evaluate, image, expected):
    found = evaluate(lambda ee: at(ee, image(ee)))
    assert found == expected


@pytest.mark.parametrize(("image", "words"), REFUSED)
def test_what_is_wrong_is_refused(refusal, image, words):
    assert words in refusal(lambda ee: at(ee, image(ee)))


@pytest.mark.parametrize(("image", "expected"), TYPES)
def test_types_tell_the_dimensions(evaluate, image, expected):
    (type_,) = evaluate(lambda ee: image(ee).bandTypes()).values()
    assert type_ == {"type": "PixelType", **expected}
    (band,) = evaluate(image)["bands"]
    assert band["data_type"] == type_


def test_one_array_per_row_of_a_sample(evaluate):
    def rows(ee):
        image = ee.Image.pixelLonLat().multiply(10).round().toArray().addBands(ee.Image(7))
        return image.sample(
            ee.Geometry.Rectangle([0, 0, 0.2, 0.1], None, False), None, ee.Projection("EPSG:4326").scale(0.1, 0.1)
        )

    found = [each["properties"] for each in evaluate(rows)["features"]]
    assert [each["array"] for each in found] == [[1, 1], [2, 1]] or [each["array"] for each in found] == [
        [1, 0],
        [2, 0],
    ]
    assert all(each["constant"] == 7 for each in found)


def test_a_region_table_has_arrays(evaluate):
    def rows(ee):
        images = ee.ImageCollection([ee.Image([1, 2]).toArray(), ee.Image([3, 4, 5]).toArray()])
        return images.getRegion(ee.Geometry.Point([1, 1]), 30)

    assert [each[4] for each in evaluate(rows)] == ["array", [1, 2], [3, 4, 5]]


def test_regions_collect_arrays(evaluate):
    def lists(ee):
        counted = ee.Image.pixelLonLat().select("longitude").floor().toInt()
        ragged = ee.Image(1).toArray().arrayRepeat(0, counted)
        region = ee.Geometry.Rectangle([1, 0, 3, 1], None, False)
        return ragged.reduceRegion(ee.Reducer.toList(), region, None, "EPSG:4326", [1, 0, 0, 0, -1, 0])

    assert evaluate(lists) == {"array": [[1], [1, 1]]}


def test_principal_components_need_the_covariance_of_a_region(evaluate):
    """The bands' covariance over a region, as a dictionary with an array."""
    values = np.random.default_rng(1).integers(0, 50, (3, 4))

    def covariances(ee, name):
        lon = ee.Image.pixelLonLat().select("longitude").floor().toInt()
        bands = ee.Image.cat([lon.remap([0, 1, 2, 3], each.tolist()).rename(f"b{n}") for n, each in enumerate(values)])
        centred = bands.subtract(ee.Image(values.mean(axis=1).tolist())) if name == "centeredCovariance" else bands
        region = ee.Geometry.Rectangle([0, 0, 4, 1], None, False)
        grid = {"crs": "EPSG:4326", "crsTransform": [1, 0, 0, 0, -1, 0]}
        return centred.toArray().reduceRegion(getattr(ee.Reducer, name)(), region, **grid).get("array")

    for name in ("covariance", "centeredCovariance"):
        found = evaluate(lambda ee, name=name: covariances(ee, name))
        np.testing.assert_allclose(found, np.cov(values, bias=True), rtol=1e-9)


def test_neighbours_as_arrays_and_bands(evaluate):
    def window(ee, method, *arguments):
        lon, lat = (ee.Image.pixelLonLat().select(each).floor().toInt() for each in ("longitude", "latitude"))
        image = lon.add(lat.multiply(10)).rename("p")
        image = image.updateMask(image.neq(12))
        made = getattr(image, method)(ee.Kernel.square(1), *arguments)
        grid = {"crs": "EPSG:4326", "crsTransform": [1, 0, 0, 0, -1, 0]}
        return made.reduceRegion(ee.Reducer.first(), ee.Geometry.Point([1.5, 1.5]), **grid)

    assert evaluate(lambda ee: window(ee, "neighborhoodToArray", -5)) == {"p": [[20, 21, 22], [10, 11, -5], [0, 1, 2]]}
    assert evaluate(lambda ee: window(ee, "neighborhoodToBands")) == {
        "p_-1_-1": 20, "p_0_-1": 21, "p_1_-1": 22, "p_-1_0": 10, "p_0_0": 11, "p_1_0": None,
        "p_-1_1": 0, "p_0_1": 1, "p_1_1": 2,
    }  # fmt: skip
