"""Mixtures and distances of spectra against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.image import Image

from .test_neighbourhoods import PLANE, from_array, run, whole

optimize = pytest.importorskip("scipy.optimize")
stats = pytest.importorskip("scipy.stats")


def cube(values, mask=None):
    """An image of one band for each layer."""
    layers = [from_array(layer, mask, f"b{number}") for number, layer in enumerate(values)]
    return Image(tuple(band for layer in layers for band in layer.bands))


def shown(image, shape):
    return np.stack([raster.values for raster in render([band.node for band in image.bands], whole(*shape))])


ENDMEMBERS = [[88.0, 42, 48, 38], [50, 21, 20, 110], [51, 20, 14, 9]]


@pytest.mark.parametrize("sum_to_one", [False, True])
def test_mixtures_are_found_again(sum_to_one):
    random = np.random.default_rng(3)
    shares = random.dirichlet((1, 1, 1), 12).T.reshape(3, 3, 4)
    mixed = np.einsum("eb,exy->bxy", ENDMEMBERS, shares)
    for non_negative in (False, True):
        image = run(
            "Image.unmix", image=cube(mixed), endmembers=ENDMEMBERS, sumToOne=sum_to_one, nonNegative=non_negative
        )
        assert image.names == ["band_0", "band_1", "band_2"]
        assert {band.type.precision for band in image.bands} == {"double"}
        np.testing.assert_allclose(shown(image, (3, 4)), shares, atol=1e-9)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_shares_are_those_of_least_squares(seed, count):
    random = np.random.default_rng(seed)
    spectra, pixels = random.random((4, count)), random.random((4, 2, 3)) * 2 - 0.5
    arguments = {"image": cube(pixels), "endmembers": spectra.T.tolist()}
    plain, positive = (shown(run("Image.unmix", **arguments, nonNegative=flag), (2, 3)) for flag in (False, True))
    whole_shares = shown(run("Image.unmix", **arguments, sumToOne=True), (2, 3))
    both = shown(run("Image.unmix", **arguments, sumToOne=True, nonNegative=True), (2, 3))
    np.testing.assert_allclose(whole_shares.sum(axis=0), 1)
    np.testing.assert_allclose(both.sum(axis=0), 1)
    assert (both >= 0).all()
    for at in np.ndindex(2, 3):
        pixel = pixels[(slice(None), *at)]
        np.testing.assert_allclose(plain[(slice(None), *at)], np.linalg.pinv(spectra) @ pixel, atol=1e-8)
        best = np.linalg.norm(spectra @ positive[(slice(None), *at)] - pixel)
        assert best == pytest.approx(optimize.nnls(spectra, pixel)[1], abs=1e-8)
        heavy = np.vstack([spectra, np.full(count, 1e5)])
        weighed, _ = optimize.nnls(heavy, np.append(pixel, 1e5))
        found = np.linalg.norm(spectra @ both[(slice(None), *at)] - pixel)
        assert found == pytest.approx(np.linalg.norm(spectra @ weighed - pixel), abs=1e-4)


@pytest.mark.parametrize(
    ("endmembers", "words"),
    [([], "at least one endmember"), ([[1, 2]], "needs 4 values"), ([[1, 2, 3, "a"]], "Number"), ([3], "List")],
)
def test_endmembers_have_a_value_for_each_band(endmembers, words):
    with pytest.raises(EmulatorError, match=words):
        run("Image.unmix", image=cube(np.ones((4, 1, 1))), endmembers=endmembers)


def test_too_many_subsets_are_refused():
    with pytest.raises(EmulatorError, match="nonNegative"):
        run("Image.unmix", image=cube(np.ones((2, 1, 1))), endmembers=[[1, 2]] * 11, nonNegative=True)


ONE, TWO = np.array([1.0, 2, 3]), np.array([3.0, 2, 2])
BY_HAND = {
    "sam": np.arccos(13 / np.sqrt(14 * 17)),
    "sid": float(stats.entropy(ONE, TWO) + stats.entropy(TWO, ONE)),
    "sed": 5.0,
    "emd": 2.0 + 2.0 + 1.0,
}


@pytest.mark.parametrize("metric", BY_HAND)
def test_distances_by_hand(metric):
    first, second = cube(ONE[:, None, None]), cube(TWO[:, None, None])
    image = run("Image.spectralDistance", image1=first, image2=second, metric=metric)
    assert image.names == ["distance"]
    assert shown(image, (1, 1)).item() == pytest.approx(BY_HAND[metric])


@pytest.mark.parametrize("metric", BY_HAND)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_distances_are_symmetric_and_zero_at_home(metric, seed):
    one, two = (cube(np.random.default_rng([seed, n]).random((3, 2, 2)) + 0.1) for n in range(2))
    there = shown(run("Image.spectralDistance", image1=one, image2=two, metric=metric), (2, 2))
    back = shown(run("Image.spectralDistance", image1=two, image2=one, metric=metric), (2, 2))
    np.testing.assert_allclose(there, back)
    assert (there >= 0).all()
    home = shown(run("Image.spectralDistance", image1=one, image2=one, metric=metric), (2, 2))
    np.testing.assert_allclose(home, 0, atol=1e-7)


def test_distances_need_equal_bands_and_a_known_metric():
    with pytest.raises(EmulatorError, match="Got 3 and 2"):
        run("Image.spectralDistance", image1=cube(np.ones((3, 1, 1))), image2=cube(np.ones((2, 1, 1))))
    for name in ("Image.spectralErosion", "Image.spectralDilation", "Image.spectralGradient"):
        with pytest.raises(EmulatorError, match="Unknown metric 'far'"):
            run(name, image=cube(np.ones((3, 1, 1))), metric="far")


@pytest.mark.parametrize("centroid", [False, True])
def test_morphology_picks_whole_spectra(centroid):
    random = np.random.default_rng(5)
    values, mask = random.random((3, 6, 7)), (random.random((6, 7)) > 0.2).astype(np.float32)
    image = cube(values, mask)
    arguments = {"image": image, "metric": "sed", "useCentroid": centroid}
    eroded, dilated = (shown(run(f"Image.spectral{name}", **arguments), (6, 7)) for name in ("Erosion", "Dilation"))
    gradient = shown(run("Image.spectralGradient", **arguments), (6, 7))[0]
    for row, col in np.argwhere(mask > 0):
        near = [values[:, r, c] for r in range(max(0, row - 1), min(6, row + 2))
                for c in range(max(0, col - 1), min(7, col + 2)) if mask[r, c]]  # fmt: skip
        origin = np.mean(near, axis=0) if centroid else values[:, row, col]
        far = [((each - origin) ** 2).sum() for each in near]
        np.testing.assert_allclose(eroded[:, row, col], near[int(np.argmin(far))])
        np.testing.assert_allclose(dilated[:, row, col], near[int(np.argmax(far))])
        spread = ((near[int(np.argmin(far))] - near[int(np.argmax(far))]) ** 2).sum()
        assert gradient[row, col] == pytest.approx(spread)
    assert image.bands[0].projection == PLANE
