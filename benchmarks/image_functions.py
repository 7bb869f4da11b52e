"""The thirty image functions that scripts use most, by the emulator and by numpy, on the same arrays with their masks.

Images whose pixels lie in memory take the place of loading and warping. Both go through them block by block, as the emulator does, so that both
meet the same caches. What the emulator tells must be what numpy tells, where it is valid.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.pixels.grid import Grid, Projection
from airflow_ee.emulator.pixels.raster import BLOCK_SIDE, Node, Positional, Raster, answer
from airflow_ee.emulator.pixels.types import type_of_dtype
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.image import Band, Image
from benchmarks.scale import scale

PROJECTION = Projection(Crs("EPSG:32632"), (10, 0, 6e5, 0, -10, 51e5))
ROUNDS = 7
Pixels = tuple[np.ndarray, np.ndarray]
"""Values and how valid each is, from 0 to 1."""
ONE = np.float32(1)


def main() -> None:
    """Each function in turn; the worst ratio counts."""
    side = scale().function_side
    made = inputs(side)
    blocks = list(Grid(PROJECTION, 0, 0, side, side).blocks(BLOCK_SIDE))
    rows = {name: compared(*case, made, blocks) for name, case in cases(made).items()}
    worst = max(rows.values(), key=lambda row: row["ratio"])
    results = {"functions.cpu_over_numpy": {"value": worst["ratio"], "details": rows}}
    sys.stdout.write(json.dumps(results) + "\n")


def inputs(side: int) -> dict[str, Pixels]:
    """Bands of reflectances, of whole numbers and of bits, each masked in places of its own."""
    random = np.random.default_rng(5)

    def mask() -> np.ndarray:
        return (random.random((side, side)) > 0.1).astype(np.float32)

    shape = (side, side)
    floats = {name: (random.random(shape, np.float32), mask()) for name in ("red", "green", "blue", "nir")}
    whole = {"qa": random.integers(0, 1 << 16, shape, np.uint16), "kind": random.integers(0, 4, shape, np.uint8)}
    return {**floats, **{name: (values, mask()) for name, values in whole.items()}}


def image(made: Mapping[str, Pixels], *names: str) -> Image:
    """An image of bands that are in memory."""

    def node(pixels: Pixels) -> Positional:
        def part(grid: Grid) -> Raster:
            return Raster(*cut(pixels, grid))

        return Positional(part)

    bands = (Band(name, type_of_dtype(made[name][0].dtype), node(made[name]), PROJECTION) for name in names)
    return Image(tuple(bands))


def cut(pixels: Pixels, grid: Grid) -> Pixels:
    """A block of a band."""
    window = (slice(grid.row, grid.row + grid.height), slice(grid.col, grid.col + grid.width))
    return pixels[0][window], pixels[1][window]


Case = tuple[str, dict[str, Any], Callable[[dict[str, Pixels]], list[Pixels]]]


def cases(made: dict[str, Pixels]) -> dict[str, Case]:
    """Function, arguments, and the same by numpy, by a short name."""
    one, two, bits, classes = (image(made, name) for name in ("nir", "red", "qa", "kind"))
    several = image(made, "red", "green", "blue", "nir")
    colours = image(made, "red", "green", "blue")
    both = {"image1": one, "image2": two}
    arguments: dict[str, dict[str, Any]] = {
        "select": {"input": several, "bandSelectors": ["nir", "red"]},
        "rename": {"input": one, "names": ["x"]},
        "addBands": {"dstImg": one, "srcImg": two},
        "constant": {"value": 3},
        "mask": {"image": one},
        "updateMask": {"image": one, "mask": classes},
        "selfMask": {"image": classes},
        "unmask": {"input": one, "value": image_of(0)},
        "where": {"input": one, "test": classes, "value": two},
        "normalizedDifference": {"input": several, "bandNames": ["nir", "red"]},
        **dict.fromkeys(PAIRS, both),
        "not": {"value": classes},
        "bitwiseAnd": {"image1": bits, "image2": image_of(1 << 10)},
        "float": {"value": bits},
        "byte": {"value": bits},
        "unitScale": {"input": one, "low": 0.2, "high": 0.6},
        "reduce": {"image": several, "reducer": registry_call("Reducer.mean", {})},
        "visualize": {"image": colours, "min": 0, "max": 1},
        "rgbToHsv": {"image": colours},
        "hsvToRgb": {"image": colours},
    }
    return {name: (f"Image.{name}", each, numpys(name)) for name, each in arguments.items()}


def truth(compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A comparison as numbers."""
    return lambda left, right: compute(left, right).astype(np.uint8)


def quotient(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Division by zero gives 0."""
    return np.divide(left, right, out=np.zeros_like(left), where=right != 0)


PAIRS: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": quotient,
    "pow": np.power,
    **{name: truth(compute) for name, compute in (
        ("gt", np.greater), ("gte", np.greater_equal), ("lt", np.less), ("lte", np.less_equal), ("eq", np.equal), ("and", np.logical_and),
    )},
}  # fmt: skip
"""Functions of two images."""


def numpys(name: str) -> Callable[[dict[str, Pixels]], list[Pixels]]:
    """The same by numpy."""
    if name in PAIRS:
        return lambda made: pair(PAIRS[name], made["nir"], made["red"])
    return lambda made: ONE_BY_ONE[name](SimpleNamespace(**made))


def pair(compute: Callable[..., np.ndarray], left: Pixels, right: Pixels) -> list[Pixels]:
    """A function of two bands."""
    return [(compute(left[0], right[0]), np.minimum(left[1], right[1]))]


def index(red: Pixels, nir: Pixels) -> list[Pixels]:
    """A normalized difference: in doubles, and masked where either is negative."""
    one, two = nir[0].astype(np.float64), red[0].astype(np.float64)
    good = (one >= 0) & (two >= 0)
    valid = np.where(good, np.minimum(nir[1], red[1]), np.float32(0))
    return [(quotient(one - two, one + two).astype(np.float32), valid)]


def shown(*bands: Pixels) -> list[Pixels]:
    """Bytes of 0 to 1."""
    return [
        (np.clip(np.rint(values.astype(np.float64) * 255), 0, 255).astype(np.uint8), valid.copy())
        for values, valid in bands
    ]


def coloured(change: str, *bands: Pixels) -> list[Pixels]:
    """Another colour space."""
    import matplotlib.colors

    changed = getattr(matplotlib.colors, change)(np.stack([values for values, _ in bands], axis=-1))
    every = np.minimum.reduce([valid for _, valid in bands])
    return [(changed[..., number], every) for number in range(3)]


def mean(*bands: Pixels) -> list[Pixels]:
    """Of the bands that are valid, weighted by their masks: in doubles."""
    values, weights = (np.stack(each).astype(np.float64) for each in zip(*bands, strict=True))
    total = weights.sum(axis=0)
    known = total > 0
    found = np.divide((values * weights).sum(axis=0), total, out=np.zeros_like(total), where=known)
    return [(found, known.astype(np.float32))]


def where(given: Pixels, test: Pixels, value: Pixels) -> list[Pixels]:
    """Other values where a test says so."""
    replaced = (test[0] != 0) & (test[1] > 0) & (value[1] > 0)
    return [(np.where(replaced, value[0], given[0]), np.where(replaced, given[1] * value[1], given[1]))]


ONE_BY_ONE: dict[str, Callable[[SimpleNamespace], list[Pixels]]] = {
    "select": lambda band: [copied(band.nir), copied(band.red)],
    "rename": lambda band: [copied(band.nir)],
    "addBands": lambda band: [copied(band.nir), copied(band.red)],
    "constant": lambda band: [(np.full(band.nir[0].shape, 3, np.uint8), np.ones_like(band.nir[1]))],
    "mask": lambda band: [(band.nir[1].copy(), np.ones_like(band.nir[1]))],
    "updateMask": lambda band: [(band.nir[0].copy(), np.minimum(band.nir[1], (band.kind[0] != 0) * band.kind[1]))],
    "selfMask": lambda band: [(band.kind[0].copy(), band.kind[1] * (band.kind[0] != 0))],
    "unmask": lambda band: [(np.where(band.nir[1] > 0, band.nir[0], np.float32(0)), np.ones_like(band.nir[1]))],
    "where": lambda band: where(band.nir, band.kind, band.red),
    "normalizedDifference": lambda band: index(band.red, band.nir),
    "not": lambda band: [((band.kind[0] == 0).astype(np.uint8), band.kind[1].copy())],
    "bitwiseAnd": lambda band: [(band.qa[0] & np.uint16(1 << 10), band.qa[1].copy())],
    "float": lambda band: [(band.qa[0].astype(np.float32), band.qa[1].copy())],
    "byte": lambda band: [(np.minimum(band.qa[0], 255).astype(np.uint8), band.qa[1].copy())],
    "unitScale": lambda band: [((band.nir[0] - np.float32(0.2)) / np.float32(0.4), band.nir[1].copy())],
    "reduce": lambda band: mean(band.red, band.green, band.blue, band.nir),
    "visualize": lambda band: shown(band.red, band.green, band.blue),
    "rgbToHsv": lambda band: coloured("rgb_to_hsv", band.red, band.green, band.blue),
    "hsvToRgb": lambda band: coloured("hsv_to_rgb", band.red, band.green, band.blue),
}  # fmt: skip


def copied(pixels: Pixels) -> Pixels:
    """Arrays of one's own: what the emulator gives is no part of its input either."""
    return pixels[0].copy(), pixels[1].copy()


def image_of(value: float) -> Image:
    """A constant."""
    return cast("Image", registry_call("Image.constant", {"value": value}))


def registry_call(name: str, arguments: Mapping[str, Any]) -> Any:
    """What a function of the emulator gives; none here asks for an asset."""
    return Session(cast("Catalog", None), registry, datetime.now(UTC)).call(name, arguments)


def compared(
    name: str,
    arguments: dict[str, Any],
    by_numpy: Callable[[dict[str, Pixels]], list[Pixels]],
    made: dict[str, Pixels],
    blocks: list[Grid],
) -> dict[str, Any]:
    """CPU seconds of both for all blocks; both must tell the same."""
    windows = [{band: cut(pixels, block) for band, pixels in made.items()} for block in blocks]

    def emulator() -> None:
        found: Image = registry_call(name, arguments)
        nodes = [band.node for band in found.bands]
        for block in blocks:
            answer(nodes, block)

    def numpy() -> None:
        for window in windows:
            by_numpy(window)

    check(name, [band.node for band in registry_call(name, arguments).bands], by_numpy, blocks, windows)
    seconds = quickest(emulator=emulator, numpy=numpy)
    ratio = seconds["emulator"] / seconds["numpy"]
    return {"ratio": round(ratio, 2), **{each: round(value, 5) for each, value in seconds.items()}}


def quickest(**works: Callable[[], Any]) -> dict[str, float]:
    """CPU seconds of each, the least of several rounds in which they take turns."""
    return {name: min(times) for name, times in _rounds(works).items()}


def _rounds(works: Mapping[str, Callable[[], Any]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            begin = time.process_time()
            work()
            times[name].append(time.process_time() - begin)
    return times


def check(
    name: str,
    nodes: list[Node],
    by_numpy: Callable[[dict[str, Pixels]], list[Pixels]],
    blocks: list[Grid],
    windows: list[dict[str, Pixels]],
) -> None:
    """Refuse to compare what differs."""
    for block, window in zip(blocks, windows, strict=True):
        for ours, (values, mask) in zip(answer(nodes, block), by_numpy(window), strict=True):
            valid = mask > 0
            np.testing.assert_array_equal(ours.mask > 0, valid, err_msg=name)
            np.testing.assert_allclose(
                np.broadcast_to(ours.values, valid.shape)[valid].astype(np.float64),
                values[valid].astype(np.float64), rtol=1e-5, atol=1e-6, err_msg=name,
            )  # fmt: skip


if __name__ == "__main__":
    main()
