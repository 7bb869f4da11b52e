"""Textures against a co-occurrence matrix that is really made, as Haralick defines them."""

import numpy as np
import pytest

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.raster import render

from .test_neighbourhoods import MASK, VALUES, from_array, run, whole

LEVELS = (VALUES // 40).astype(np.uint8)
OFFSETS = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]


def matrix(window, offset):
    made = np.zeros((6, 6))
    for row, col in np.ndindex(window.shape):
        other = row + offset[0], col + offset[1]
        if 0 <= other[0] < window.shape[0] and 0 <= other[1] < window.shape[1]:
            made[window[row, col], window[other]] += 1
            made[window[other], window[row, col]] += 1
    return made / made.sum()


def entropy(shares):
    shares = shares[shares > 0]
    return -(shares * np.log(shares)).sum()


def haralick(p):
    i, j = np.indices(p.shape)
    own = p.sum(axis=1)
    mean = (i * p).sum()
    variance = ((i - mean) ** 2 * p).sum()
    sums = np.array([p[i + j == k].sum() for k in range(11)])
    gaps = np.array([p[abs(i - j) == k].sum() for k in range(6)])
    margins = np.outer(own, own)
    used = p > 0
    joint = -(p[used] * np.log(margins[used])).sum()
    average, gap = (np.arange(11) * sums).sum(), (np.arange(6) * gaps).sum()
    return {
        "asm": (p**2).sum(), "contrast": ((i - j) ** 2 * p).sum(),
        "corr": ((i * j * p).sum() - mean**2) / variance if variance > 1e-12 else 0,
        "var": variance, "idm": (p / (1 + (i - j) ** 2)).sum(), "savg": average,
        "svar": ((np.arange(11) - average) ** 2 * sums).sum(), "sent": entropy(sums), "ent": entropy(p),
        "dvar": ((np.arange(6) - gap) ** 2 * gaps).sum(), "dent": entropy(gaps),
        "imcorr1": (entropy(p) - joint) / entropy(own) if entropy(own) > 1e-12 else 0,
        "imcorr2": np.sqrt(max(0, 1 - np.exp(-2 * (joint - entropy(p))))), "maxcorr": 0, "diss": (abs(i - j) * p).sum(),
        "inertia": ((i - j) ** 2 * p).sum(), "shade": ((i + j - 2 * mean) ** 3 * p).sum(),
        "prom": ((i + j - 2 * mean) ** 4 * p).sum(),
    }  # fmt: skip


def shown(image):
    return dict(zip(image.names, render([band.node for band in image.bands], whole(*VALUES.shape)), strict=True))


@pytest.mark.parametrize("size", [1, 2])
def test_metrics_are_those_of_the_matrix(size):
    found = shown(run("Image.glcmTexture", image=from_array(LEVELS, name="B"), size=size))
    for row in range(size, 14 - size):
        for col in range(size, 17 - size):
            window = LEVELS[row - size : row + size + 1, col - size : col + size + 1]
            each = [haralick(matrix(window, offset)) for offset in OFFSETS]
            for name in each[0]:
                expected = np.mean([metrics[name] for metrics in each])
                assert found[f"B_{name}"].values[row, col] == pytest.approx(expected, abs=1e-9), name
    assert len(found) == 18


def test_levels_may_be_far_apart():
    far = LEVELS.astype(np.int64) * 2**40
    near, wide = (shown(run("Image.glcmTexture", image=from_array(each))) for each in (LEVELS, far))
    for name in ("asm", "ent", "sent", "dent", "imcorr1", "corr"):
        np.testing.assert_allclose(
            wide[f"b_{name}"].values[1:-1, 1:-1], near[f"b_{name}"].values[1:-1, 1:-1], atol=1e-9
        )


def test_directions_can_be_kept_apart():
    kernel = run("Kernel.fixed", weights=[[0, 0, 0], [1, 0, 1], [0, 1, 0]])
    image = run("Image.glcmTexture", image=from_array(LEVELS), kernel=kernel, average=False)
    assert len(image.names) == 36
    assert image.names[0] == "b_asm_-1_0"
    assert image.names[18] == "b_asm_0_1"
    found = shown(image)
    window = LEVELS[4:7, 4:7]
    assert found["b_contrast_0_1"].values[5, 5] == pytest.approx(haralick(matrix(window, (1, 0)))["contrast"])


def test_windows_must_be_known_as_a_whole():
    found = shown(run("Image.glcmTexture", image=from_array(LEVELS, MASK)))["b_asm"].mask
    for row, col in np.ndindex(LEVELS.shape):
        inside = 1 <= row < 13 and 1 <= col < 16
        assert found[row, col] == (inside and MASK[row - 1 : row + 2, col - 1 : col + 2].all())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"size": 0}, "'size'"), ({"size": 500}, "'size'"), ({"kernel": run("Kernel.square", radius=4)}, "further"),
     ({"kernel": run("Kernel.fixed", weights=[[1]])}, "no pixel but its centre")],
)  # fmt: skip
def test_windows_and_kernels_have_limits(arguments, words):
    with pytest.raises(EmulatorError, match=words):
        run("Image.glcmTexture", image=from_array(LEVELS), **arguments)
    with pytest.raises(EmulatorError, match="integer inputs"):
        run("Image.glcmTexture", image=from_array(LEVELS.astype(np.float32)))


def test_a_window_equals_its_part_of_the_whole():
    nodes = [band.node for band in run("Image.glcmTexture", image=from_array(LEVELS, MASK)).bands]
    complete = render(nodes, whole(20, 20, -2, -2))
    for row, col, height, width in ((0, 0, 1, 1), (3, 5, 4, 1), (7, 2, 2, 9)):
        for all_, part in zip(complete, render(nodes, whole(height, width, row, col)), strict=True):
            window = (slice(row + 2, row + 2 + height), slice(col + 2, col + 2 + width))
            np.testing.assert_array_equal(part.mask, all_.mask[window])
            np.testing.assert_array_equal(
                np.where(part.mask > 0, part.values, 0), np.where(all_.mask > 0, all_.values, 0)[window]
            )
