"""Laws of array images: tiles join, ways there and back cancel out, and numpy finds the same pixel by pixel."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels import cells
from airflow_ee.emulator.pixels.cells import Canvas, Raster, chosen
from airflow_ee.emulator.pixels.grid import Grid
from airflow_ee.emulator.pixels.raster import Positional, answer, render
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.values.array import Array
from airflow_ee.emulator.values.image import Band, Image
from airflow_ee.emulator.values.reducers import Column
from tests.emulator.test_neighbourhoods import PLANE

HEIGHT, WIDTH, DATES = 6, 7, 9


def run(name, **arguments):
    return registry.call(name, arguments)


def image_of(**bands):
    """Bands of pixels and their masks, on the plane's first rows and columns."""

    def read(values, mask):
        def window(grid):
            part = (slice(grid.row, grid.row + grid.height), slice(grid.col, grid.col + grid.width))
            return Raster(values[part], mask[part])

        return window

    made = []
    for name, (values, mask) in bands.items():
        node = Positional(read(np.asarray(values), np.asarray(mask, dtype=np.float32)))
        made.append(Band(name, type_of_dtype(np.asarray(values).dtype), node, PLANE))
    return Image(tuple(made))


def grid_of(shape=(HEIGHT, WIDTH), row=0, col=0):
    return Grid(PLANE, row=row, col=col, height=shape[0], width=shape[1])


def lists(raster, shape=(HEIGHT, WIDTH)):
    """Each pixel's array, None where it is masked."""
    whole = cells.spread_raster(raster, shape)
    found = {}
    for at in np.ndindex(shape):
        lengths = raster.axes if whole.lengths is None else whole.lengths[(slice(None), *at)]
        part = tuple(slice(length) for length in lengths)
        found[at] = whole.values[(..., *at)][part] if whole.mask[at] > 0 else None
    return found


def pixels(image, grid=None):
    grid = grid or grid_of()
    (raster,) = answer([band.node for band in image.bands], grid)
    return lists(raster, grid.shape)


def series(seed=0, gaps=0.4, names=("one", "t", "s", "y")):
    """A collection of bands by date, some of them masked, and the stack (dates, bands, rows, columns) without masked rows."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(DATES, len(names), HEIGHT, WIDTH))
    values[:, 0] = 1
    valid = random.random((DATES, HEIGHT, WIDTH)) > gaps
    images = [
        image_of(**{name: (values[date, at], valid[date]) for at, name in enumerate(names)}) for date in range(DATES)
    ]
    return run("ImageCollection.fromImages", images=images), values, valid


RAGGED, STACK, VALID = series()
SERIES = run("ImageCollection.toArray", collection=RAGGED)
ENOUGH = run("Image.updateMask", image=SERIES, mask=run("Image.gt", image1=run("Image.arrayLength", input=SERIES, axis=0), image2=3))  # fmt: skip
X = run("Image.arraySlice", input=ENOUGH, axis=1, start=0, end=3)
Y = run("Image.arraySlice", input=ENOUGH, axis=1, start=3, end=4)
SQUARE = run("Image.matrixMultiply", image1=run("Image.matrixTranspose", input=X), image2=X)
SHOWN = {
    "series": SERIES,
    "solved": run("Image.matrixSolve", image1=X, image2=Y),
    "inverse": run("Image.matrixInverse", value=SQUARE),
    "sorted": run("Image.arraySort", image=SERIES, keys=run("Image.arraySlice", input=SERIES, axis=1, start=1, end=2)),
    "mean": run("Image.arrayReduce", input=SERIES, reducer=run("Reducer.mean"), axes=[0]),
    "lines": run("Image.arrayReduce", input=run("ImageCollection.toArray", collection=series(1, 0.85, ("t", "y"))[0]),
        reducer=run("Reducer.linearFit"), axes=[0], fieldAxis=1),
    "cumulated": run("Image.arrayAccum", input=SERIES, axis=0),
    "sine": run("Image.cos", value=SERIES),
    "listed": Image(run("ImageCollection.reduce", collection=RAGGED, reducer=run("Reducer.toList")).bands[3:]),
    "fitted": Image(run("ImageCollection.reduce", collection=RAGGED,
        reducer=run("Reducer.linearRegression", numX=3)).bands[:1]),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_tiles_are_parts_of_the_whole_to_the_last_bit(name):
    whole = pixels(SHOWN[name])
    for window in [(0, 0, 2, 3), (3, 4, 3, 3), (5, 6, 1, 1), (2, 1, 1, 1), (0, 0, 6, 1)]:
        row, col, height, width = window
        part = pixels(SHOWN[name], grid_of((height, width), row, col))
        for at, found in part.items():
            expected = whole[at[0] + row, at[1] + col]
            assert (found is None) == (expected is None)
            if found is not None:
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", SHOWN)
def test_pixels_that_do_not_fit_into_memory_at_once_come_part_by_part(name, monkeypatch):
    expected = pixels(SHOWN[name])
    monkeypatch.setattr(cells, "MAX_CELLS", 200)
    for canvas in (cells.Canvas,):
        monkeypatch.setattr(canvas, "_room", _unlimited(canvas._room))
    found = pixels(SHOWN[name])
    for at in expected:
        assert (found[at] is None) == (expected[at] is None)
        if found[at] is not None:
            np.testing.assert_array_equal(found[at], expected[at])


def _unlimited(room):
    """A test's answer may hold all that its parts may not."""

    def apply(self, part):
        limit, cells.MAX_CELLS = cells.MAX_CELLS, 2**24
        try:
            return room(self, part)
        finally:
            cells.MAX_CELLS = limit

    return apply


def test_rows_are_the_dates_that_show_all_bands():
    for at, found in pixels(SERIES).items():
        np.testing.assert_array_equal(found, STACK[VALID[(slice(None), *at)]][(..., *at)])


def test_solutions_are_those_of_numpy():
    solved = pixels(SHOWN["solved"])
    for at, found in solved.items():
        rows = STACK[VALID[(slice(None), *at)]][(..., *at)]
        assert (found is None) == (len(rows) <= 3)
        if found is not None:
            np.testing.assert_allclose(found, np.linalg.lstsq(rows[:, :3], rows[:, 3:], rcond=None)[0], rtol=1e-9)


def test_three_ways_to_the_same_coefficients():
    """Normal equations, the pseudo-inverse, and the reducer."""
    moments = run("Image.matrixMultiply", image1=run("Image.matrixTranspose", input=X), image2=Y)
    normal = run("Image.matrixMultiply", image1=SHOWN["inverse"], image2=moments)
    pseudo = run("Image.matrixMultiply", image1=run("Image.matrixPseudoInverse", value=X), image2=Y)
    solved = pixels(SHOWN["solved"])
    for other in (normal, pseudo, SHOWN["fitted"]):
        for at, found in pixels(other).items():
            if solved[at] is None:
                assert found is None
            else:
                np.testing.assert_allclose(found, solved[at], rtol=1e-6, atol=1e-9)


def test_inverse_pairs_cancel_out():
    unity = run("Image.matrixMultiply", image1=SQUARE, image2=SHOWN["inverse"])
    for found in pixels(unity).values():
        if found is not None:
            np.testing.assert_allclose(found, np.eye(3), atol=1e-8)
    again = run("Image.arrayTranspose", input=run("Image.arrayTranspose", input=SERIES))
    parts = [run("Image.arraySlice", input=SERIES, axis=0, start=start, end=end) for start, end in ((0, 2), (2, None))]
    whole = run("Image.arrayCat", image1=parts[0], image2=parts[1], axis=0)
    flat = run("Image.arrayReshape", image=SERIES, lengths=Array(np.array([-1])), dimensions=1)
    rows = run("Image.arrayReshape", image=flat, lengths=Array(np.array([-1, 4])), dimensions=2)
    everything = run("Image.gt", image1=run("Image.arraySlice", input=SERIES, axis=1, start=0, end=1), image2=0)
    kept = run("Image.arrayMask", input=SERIES, mask=everything)
    expected = pixels(SERIES)
    for other in (again, whole, rows, kept):
        for at, found in pixels(other).items():
            np.testing.assert_array_equal(found, expected[at])


def test_sorting_twice_is_sorting_once():
    first = run("Image.arraySlice", input=SERIES, axis=1, start=1, end=2)
    once = run("Image.arraySort", image=first)
    twice = run("Image.arraySort", image=once)
    given_ = pixels(first)
    for at, found in pixels(twice).items():
        np.testing.assert_array_equal(found, np.sort(given_[at], axis=0))


@pytest.mark.parametrize(
    ("name", "arguments", "oracle"),
    [
        ("mean", {}, np.mean), ("sum", {}, np.sum), ("min", {}, np.min), ("max", {}, np.max), ("median", {}, np.median),
        ("stdDev", {}, np.std), ("variance", {}, np.var), ("product", {}, np.prod), ("count", {}, np.size),
        ("percentile", {"percentiles": [30]}, lambda v: np.percentile(v, 30)), ("first", {}, lambda v: v[0]),
        ("last", {}, lambda v: v[-1]),
    ],
)  # fmt: skip
def test_reductions_along_axes_are_those_of_numpy(name, arguments, oracle):
    reducer = run(f"Reducer.{name}", **arguments)
    reduced = pixels(run("Image.arrayReduce", input=SERIES, reducer=reducer, axes=[0]))
    for at, rows in pixels(SERIES).items():
        if len(rows):
            expected = [[oracle(column) for column in rows.T]]
            np.testing.assert_allclose(reduced[at], expected, rtol=1e-9, atol=1e-12)


def test_decompositions_multiply_to_the_matrix():
    for name, product in {
        "matrixQRDecomposition": lambda q, r: q @ r,
        "matrixSingularValueDecomposition": lambda u, s, v: u @ s @ v.T,
    }.items():
        image = run(f"Image.{name}", image=X)
        parts = [lists(raster) for raster in answer([band.node for band in image.bands], grid_of())]
        for at, rows in pixels(X).items():
            if rows is not None:
                np.testing.assert_allclose(product(*(part[at] for part in parts)), rows, atol=1e-9)
                assert abs(np.linalg.det(parts[0][at])) == pytest.approx(1)
    lower, upper, order = (
        lists(raster)
        for raster in answer([band.node for band in run("Image.matrixLUDecomposition", image=SQUARE).bands], grid_of())
    )
    (half,) = (
        lists(raster)
        for raster in answer(
            [band.node for band in run("Image.matrixCholeskyDecomposition", image=_symmetric()).bands], grid_of()
        )
    )
    for at, matrix in pixels(SQUARE).items():
        if matrix is not None:
            np.testing.assert_allclose(lower[at] @ upper[at], order[at] @ matrix, atol=1e-9)
            np.testing.assert_allclose(half[at] @ half[at].T, matrix, atol=1e-9)


def _symmetric():
    """The square without the last bit in which its halves may differ."""
    turned = run("Image.matrixTranspose", input=SQUARE)
    return run("Image.multiply", image1=run("Image.add", image1=SQUARE, image2=turned), image2=0.5)


REGRESSIONS = [
    ("linearRegression", {"numX": 3, "numY": 1}, 4), ("robustLinearRegression", {"numX": 2, "numY": 2}, 4),
    ("ridgeRegression", {"numX": 3, "lambda": 0.5}, 4), ("pearsonsCorrelation", {}, 2), ("spearmansCorrelation", {}, 2),
    ("kendallsCorrelation", {"numInputs": 2}, 2), ("kendallsCorrelation", {}, 1), ("sensSlope", {}, 2),
    ("geometricMedian", {"numX": 3}, 3), ("toList", {}, 1), ("toList", {"tupleSize": 3}, 3),
    ("fixedHistogram", {"min": -1, "max": 1, "steps": 4}, 1), ("autoHistogram", {"maxBuckets": 8}, 1),
    ("autoHistogram", {"maxBuckets": 4, "cumulative": True}, 1),
    ("fixed2DHistogram", {"xMin": -1, "xMax": 1, "xSteps": 2, "yMin": -2, "yMax": 2, "ySteps": 3}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "inputs"), REGRESSIONS)
def test_pixels_are_reduced_as_lists_are(name, arguments, inputs):
    reducer = run(f"Reducer.{name}", **arguments)
    columns = [_layers(at + 1 if inputs < 4 else at) for at in range(inputs)]
    results = reducer.of_layers(columns)
    shown = [lists(Raster(each.values, np.asarray(each.known, np.float32), each.lengths)) for each in results]
    for at in np.ndindex(HEIGHT, WIDTH):
        valid = VALID[(slice(None), *at)]
        rows = [Column(STACK[(slice(None), place, *at)], valid * 1.0, valid)
                for place in (range(1, inputs + 1) if inputs < 4 else range(inputs))]  # fmt: skip
        expected = reducer.of_columns(rows, function="test").values()
        for part, value in zip(shown, expected, strict=True):
            if not valid.any() or value is None:
                assert part[at] is None
            else:
                wanted = value.values if isinstance(value, Array) else np.asarray(value)
                # Where a solver stops hangs on the last bit.
                tolerance = 1e-5 if name == "geometricMedian" else 1e-9
                np.testing.assert_allclose(part[at], wanted, rtol=tolerance, atol=tolerance)


def _layers(place):
    return [Raster(STACK[date, place], VALID[date].astype(np.float32)) for date in range(DATES)]


def test_covariances_and_reductions_of_each_element_at_pixels():
    vectors = [run("Image.toArray", image=run("Image.select", input=each, bandSelectors=["t", "s", "y"]))
               for each in RAGGED.elements]  # fmt: skip
    collection = run("ImageCollection.fromImages", images=vectors)
    found = pixels(run("ImageCollection.reduce", collection=collection, reducer=run("Reducer.covariance")))
    each = run("Reducer.forEachElement", reducer=run("Reducer.median"))
    middles = pixels(run("ImageCollection.reduce", collection=collection, reducer=each))
    for at in found:
        rows = STACK[VALID[(slice(None), *at)]][(..., *at)][:, 1:]
        if len(rows):
            np.testing.assert_allclose(found[at], np.cov(rows.T, bias=True), atol=1e-12)
            np.testing.assert_allclose(middles[at], np.median(rows, axis=0))
        else:
            assert found[at] is None
            assert middles[at] is None


small = arrays(np.float64, (3, 2), elements=st.integers(-9, 9))


@given(st.lists(small, min_size=1, max_size=3), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_what_was_joined_falls_apart_again(parts, hidden):
    ones = np.ones((3, 2))
    mask = ones.copy()
    mask.flat[hidden] = 0
    image = image_of(**{f"b{n}": (part, mask if n == 0 else ones) for n, part in enumerate(parts)})
    flat = run("Image.arrayFlatten", image=run("Image.toArray", image=image), coordinateLabels=[image.names])
    for raster, part in zip(render([band.node for band in flat.bands], grid_of((3, 2))), parts, strict=True):
        np.testing.assert_array_equal(raster.mask, mask)
        np.testing.assert_array_equal(raster.values[mask > 0], part[mask > 0])


ragged = st.lists(st.lists(st.integers(-9, 9), max_size=4), min_size=4, max_size=4)


def ragged_image(rows):
    lengths = np.array([len(row) for row in rows]).reshape(1, 2, 2)
    values = np.zeros((lengths.max(), 2, 2))
    for at, row in zip(np.ndindex(2, 2), rows, strict=True):
        values[(slice(len(row)), *at)] = row
    raster = Raster(values, np.ones((2, 2), np.float32), lengths)
    return Image((Band("b", type_of_dtype("float64").of_arrays(1), Positional(lambda _: raster), PLANE),))


@given(ragged, ragged, st.integers(-3, 3), st.none() | st.integers(-3, 3), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_arrays_of_any_length_are_handled_as_lists_are(one, two, start, end, step):
    first, second = ragged_image(one), ragged_image(two)
    grid = grid_of((2, 2))
    expected = {
        "Image.arrayCat": [left + right for left, right in zip(one, two, strict=True)],
        "Image.arraySlice": [row[start:end:step] for row in one],
        "Image.arraySort": [sorted(row) for row in one],
        "Image.arrayAccum": [list(np.cumsum(row)) for row in one],
        "Image.arrayRepeat": [row * 2 for row in one],
        "Image.arrayMask": [[each for each in row if each > 0] for row in one],
    }
    positive = run("Image.gt", image1=first, image2=0)
    given_ = {
        "Image.arrayCat": {"image1": first, "image2": second, "axis": 0},
        "Image.arraySlice": {"input": first, "start": start, "step": step, **({} if end is None else {"end": end})},
        "Image.arraySort": {"image": first},
        "Image.arrayAccum": {"input": first, "axis": 0},
        "Image.arrayRepeat": {"input": first, "axis": 0, "copies": 2},
        "Image.arrayMask": {"input": first, "mask": positive},
    }
    for name, arguments in given_.items():
        found = pixels(run(name, **arguments), grid)
        assert [each.tolist() for each in found.values()] == expected[name], name


@given(ragged, ragged)
@settings(max_examples=60, deadline=None)
def test_arrays_meet_arrays_of_their_own_length_only(one, two):
    image = run("Image.add", image1=ragged_image(one), image2=ragged_image(two))
    if [len(row) for row in one] == [len(row) for row in two]:
        found = pixels(image, grid_of((2, 2))).values()
        assert [each.tolist() for each in found] == [[a + b for a, b in zip(*pair, strict=True)]
                                                     for pair in zip(one, two, strict=True)]  # fmt: skip
    else:
        with pytest.raises(EmulatorError, match="sizes must match"):
            pixels(image, grid_of((2, 2)))


def test_a_canvas_grows_with_its_parts_and_choices_keep_lengths():
    long = Raster(np.arange(3.0).reshape(3, 1, 1), np.ones((1, 1), np.float32))
    short = Raster(np.full((1, 1, 1), 7.0), np.ones((1, 1), np.float32))
    canvas = Canvas((1, 2))
    canvas.put(0, 0, (1, 1), short)
    canvas.put(0, 1, (1, 1), long)
    assert [each.tolist() for each in lists(canvas.finished(), (1, 2)).values()] == [[7.0], [0.0, 1.0, 2.0]]
    both = chosen(np.array([[True, False]]), long, short)
    assert [each.tolist() for each in lists(both, (1, 2)).values()] == [[0.0, 1.0, 2.0], [7.0]]


def test_singular_pixels_are_no_matter_where_they_are_masked():
    matrix = run("Image.toArray", image=run("Image.toArray", image=image_of(
        a=(np.zeros((2, 2)), [[0, 0], [0, 0]]), b=(np.ones((2, 2)), np.ones((2, 2))))), axis=1)  # fmt: skip
    row = run("Image.arraySlice", input=matrix, axis=0, start=0, end=1)
    inverse = run("Image.matrixInverse", value=row)
    assert set(pixels(inverse, grid_of((2, 2))).values()) == {None}


def _outer_product():
    rows = run(
        "Image.arrayRepeat",
        input=run("Image.toArray", image=run("Image.constant", value=[1.5, 2.5])),
        axis=0,
        copies=1500,
    )
    column = run("Image.toArray", image=rows, axis=1)
    return run("Image.matrixMultiply", image1=column, image2=run("Image.arrayTranspose", input=column))


LARGE = {
    "products": _outer_product,
    "identities": lambda: run("Image.add", image1=run("Image.matrixIdentity", size=1000), image2=0.5),
    "long constants": lambda: run("Image.sin", value=run("Image.constant", value=Array(np.arange(4e6)))),
    "windows": lambda: run("Image.neighborhoodToArray", image=run("Image.constant", value=1.5),
        kernel=run("Kernel.square", radius=100)),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_no_image_of_arrays_takes_memory_without_bound(name):
    """Hundreds of gigabytes if all pixels were computed at once: part by part they take time, which is bounded elsewhere."""
    image = LARGE[name]()
    flat = run("Image.arrayGet", image=image, position=[0] * image.bands[0].type.dimensions)
    tracemalloc.start()
    with pytest.raises(EmulatorError, match="timed out"), deadline.within(1.0):
        render([flat.bands[0].node], grid_of((256, 256)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**30
