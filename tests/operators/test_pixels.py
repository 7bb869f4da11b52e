"""Pixel operators against the emulator: files as asked for, bad input refused before a pixel is asked for."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.settings import Limits
from airflow_ee.operators.pixels import EarthEngineComputePixelsOperator, EarthEngineGetPixelsOperator

IMAGE = "MODIS/061/MOD13Q1/2023_06_10"
REGION = [-55.6, -12.1, -55.5, -12.0]
VISIBLE = {"ranges": [{"min": 0, "max": 10000}]}
CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
GRID = PixelGrid(crs="EPSG:4326", transform=(0.01, 0, -55.6, 0, -0.01, -12.0), width=8, height=6)


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


def get(tmp_path, **arguments):
    arguments = {
        "asset_id": IMAGE,
        "region": REGION,
        "bands": ["NDVI"],
        "output_uri": str(tmp_path / "x.tif"),
        **arguments,
    }
    return EarthEngineGetPixelsOperator(task_id="task", request_retries=0, **arguments).execute(CONTEXT)


def constant_image(value):
    return {"result": "0", "values": {"0": {"functionInvocationValue": {
        "functionName": "Image.constant", "arguments": {"value": {"constantValue": value}}}}}}  # fmt: skip


def compute(tmp_path, **arguments):
    arguments = {"expression": constant_image(7), "grid": GRID, "output_uri": str(tmp_path / "x.tif"), **arguments}
    return EarthEngineComputePixelsOperator(task_id="task", request_retries=0, **arguments).execute(CONTEXT)


def test_the_native_grid_is_cut_to_the_region_and_its_outside_masked(server, tmp_path):
    summary = get(tmp_path)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.transform.a == pytest.approx(231.65635826)
        assert "Sinusoidal" in file.crs.to_wkt()
        assert file.nodata == -32768
        pixels = file.read(1, masked=True)
        assert file.tags()["simulated"] == "true"
        assert file.tags()["source"] == IMAGE
    assert 0 < np.ma.getmaskarray(pixels).mean() < 1
    assert summary["simulated"] is True
    assert summary["requests"] == 1
    assert server.calls.count("image:computePixels") == 1
    assert "getPixels" not in server.calls, "masked pixels are read with their masks"


def test_plain_getpixels_is_called_without_masks_and_the_answer_kept_as_it_is(server, tmp_path):
    get(tmp_path, mask="none", file_format="GEO_TIFF", region=None, grid=GRID)
    assert server.calls == ["assets.get", "getPixels"]
    body = next(item for item in server.requests if item.method == "getPixels").body
    assert body["fileFormat"] == "GEO_TIFF"
    with rasterio.open(tmp_path / "x.tif") as file:
        assert (file.width, file.height) == (8, 6)


def test_npy_with_a_mask_band_tells_masked_from_zero(server, tmp_path):
    get(tmp_path, output_uri=str(tmp_path / "x.npy"), file_format="NPY", mask="band")
    array = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert array.dtype.names == ("NDVI", "NDVI_mask")
    assert set(np.unique(array["NDVI_mask"])) == {0, 1}


def test_a_picture_is_made_by_the_service(server, tmp_path):
    options = {"ranges": [{"min": 0, "max": 10000}], "paletteColors": ["ffffff", "006400"]}
    get(tmp_path, output_uri=str(tmp_path / "x.png"), file_format="PNG", visualization_options=options)
    assert (tmp_path / "x.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_of_simulated_imagery_shows_it_and_says_where_it_comes_from(server, tmp_path):
    options = {"ranges": [{"min": -2000, "max": 30000}]}
    form = {"file_format": "PNG", "visualization_options": options, "clip_to_region": False}
    get(tmp_path, output_uri=str(tmp_path / "x.png"), region=[-55.6, -12.2, -55.4, -12.0], **form)
    with rasterio.open(tmp_path / "x.png") as file:
        picture, tags = file.read(1), file.tags()
    assert (tags["source"], tags["simulated"]) == (IMAGE, "true")
    word = picture[:11, :58]
    assert set(np.unique(word)) == {0, 255}
    assert "".join("#" if lit else " " for lit in word[2, 2:12]) == " ###   ### "[:10]


def test_a_large_grid_is_put_together_from_tiles_on_the_same_lattice(server, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_ee.core.image_file.BLOCK", 16)
    whole = get(tmp_path, output_uri=str(tmp_path / "whole.tif"), file_format="GEO_TIFF")
    monkeypatch.setattr(Limits.__init__, "__kwdefaults__", {**Limits.__init__.__kwdefaults__, "target_bytes": 1500})
    tiled = get(tmp_path, output_uri=str(tmp_path / "tiled.tif"), file_format="GEO_TIFF")
    assert whole["requests"] == 1
    assert tiled["requests"] > 4
    assert (tmp_path / "whole.tif").read_bytes() == (tmp_path / "tiled.tif").read_bytes()


def test_an_expression_is_computed_on_an_exact_grid(server, tmp_path):
    compute(tmp_path, file_format="GEO_TIFF")
    with rasterio.open(tmp_path / "x.tif") as file:
        assert tuple(file.transform)[:6] == GRID.transform
        assert (file.read(1) == 7).all()


def test_the_workload_tag_of_dag_and_task_goes_with_the_request(server, tmp_path):
    compute(tmp_path)
    body = next(item for item in server.requests if item.method == "image:computePixels").body
    assert body["workloadTag"] == "dag-task"


BAD = [
    ({"file_format": "TIFF"}, "file_format must be one of COG"),
    ({"mask": "alpha"}, "mask must be one of nodata, band, fraction, none"),
    ({"region": [10, 45, 9, 46]}, "region: west must be less"),
    ({"region": [10, 46, 11, 45]}, "region: south must be less"),
    ({"scale": 0, "crs": "EPSG:4326"}, "scale must be above 0"),
    ({"scale": -3, "crs": "EPSG:4326"}, "scale must be above 0"),
    ({"scale": 0.0001, "crs": "EPSG:4326"}, "a side must not exceed 32768"),
    ({"max_pixels": 10}, "max_pixels: the job needs 2736 pixels, more than 10"),
    ({"max_requests": 0}, "max_requests: the job needs 1 requests, more than 0"),
    ({"max_bytes": 10}, "max_bytes: the job needs [0-9]+ bytes, more than 10"),
    ({"overwrite": "maybe"}, "overwrite must be one of if_changed, always, never"),
    ({"resampling": "cubic"}, "resampling must be one of nearest, bilinear, bicubic"),
    ({"mask": "fraction"}, "mask=.fraction. is kept by ZARR, NPY, NPZ, TF_RECORD"),
    ({"estimate_only": "perhaps"}, "estimate_only must be true or false"),
    ({"bands": ["NVDI"]}, "has no band 'NVDI'; it has NDVI"),
    ({"bands": ["NDVI", "NDVI"]}, "each band at most once"),
    ({"min_mask": 2}, "min_mask must be above 0"),
    ({"nodata": 5, "mask": "band"}, "nodata is only for"),
    ({"visualization_options": {"ranges": []}, "file_format": "COG", "mask": "x"}, "mask must be one of"),
    ({"visualization_options": {"gamma": 1}}, "visualization_options make a picture"),
    ({"grid": GRID, "scale": 10}, "grid is used exactly as it is"),
    ({"grid_from_asset": IMAGE, "scale": 10}, "grid_from_asset excludes scale"),
    ({"asset_id": "MODIS/061/MOD13Q1"}, "asset_id must be an image"),
    ({"output_uri": ""}, "an output needs a path"),
    ({"region": "/nowhere/area.geojson"}, "there is no file"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[str(row[0])[:40] for row in BAD])
def test_bad_input_is_refused_before_a_pixel_is_asked_for(server, tmp_path, arguments, words):
    with pytest.raises(AirflowFailException, match=words):
        get(tmp_path, **arguments)
    assert not {"getPixels", "image:computePixels"} & set(server.calls)
    assert list(tmp_path.glob("x*")) == []


def test_a_place_that_cannot_become_a_file_is_refused_before_anything_is_sent(server, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for place, words in (("file/x.tif", "is a file"), ("folder", "is a folder"), ("/dev/null", "is a device")):
        with pytest.raises(AirflowFailException, match=words):
            get(tmp_path, output_uri=str(tmp_path / place))
    assert server.calls == []


def test_behind_a_symbolic_link_the_file_is_replaced_and_not_the_link(server, tmp_path):
    (tmp_path / "real.tif").write_text("old")
    (tmp_path / "link.tif").symlink_to(tmp_path / "real.tif")
    get(tmp_path, output_uri=str(tmp_path / "link.tif"))
    assert (tmp_path / "link.tif").is_symlink()
    with rasterio.open(tmp_path / "real.tif") as file:
        assert file.count == 1


@pytest.mark.parametrize("expression", [{}, "nonsense", 7, {"result": "0", "values": {}}])
def test_an_expression_that_is_no_graph_is_refused_before_anything_is_sent(server, tmp_path, expression):
    with pytest.raises(AirflowFailException, match="expression"):
        compute(tmp_path, expression=expression)
    assert server.calls == []


def test_a_computed_image_needs_a_grid(server, tmp_path):
    with pytest.raises(AirflowFailException, match="no grid: a computed image has none of its own"):
        compute(tmp_path, grid=None)
    assert server.calls == []


def test_a_denied_computation_names_the_permission_and_does_not_fall_back(server, tmp_path):
    server.inject("image:computePixels", "403 permission=earthengine.computations.create")
    with pytest.raises(
        AirflowFailException, match=r"(?s)earthengine.computations.create.*roles/earthengine.writer.*mask='none'"
    ):
        get(tmp_path)
    assert "getPixels" not in server.calls
    assert not server.pending
    assert not (tmp_path / "x.tif").exists()


@pytest.mark.parametrize("fault", ["400 timeout", "400 memory"])
def test_what_is_too_much_at_once_is_asked_for_in_quarters(server, tmp_path, fault):
    server.inject("image:computePixels", fault)
    grid = PixelGrid(crs="EPSG:4326", transform=(0.001, 0, -55.6, 0, -0.001, -12.0), width=200, height=150)
    summary = compute(tmp_path, grid=grid)
    assert summary["requests"] == 4
    assert not server.pending


def test_no_file_is_left_when_a_tile_cannot_be_had(server, tmp_path):
    server.inject("image:computePixels", "404")
    with pytest.raises(AirflowFailException, match="tile at row 0, column 0"):
        compute(tmp_path)
    assert list(tmp_path.glob("*x*")) == []


def test_an_estimate_asks_for_no_pixel_and_writes_nothing(server, tmp_path):
    told = get(tmp_path, estimate_only="True")
    assert told["estimate"]["requests"] == 1
    assert told["estimate"]["pixels"] > 1000
    assert not {"getPixels", "image:computePixels"} & set(server.calls)
    assert list(tmp_path.glob("*x*")) == []


def test_an_output_from_the_same_request_is_left_alone(server, tmp_path):
    first = get(tmp_path)
    before = (tmp_path / "x.tif").stat().st_mtime_ns
    second = get(tmp_path)
    assert server.calls.count("image:computePixels") == 1
    assert (tmp_path / "x.tif").stat().st_mtime_ns == before
    assert (first["unchanged"], second["unchanged"]) == (False, True)
    assert second["valid_fraction"] == first["valid_fraction"]
    assert get(tmp_path, overwrite="always")["unchanged"] is False
    assert server.calls.count("image:computePixels") == 2


@pytest.mark.parametrize(
    "changed", [{"bands": ["EVI"]}, {"nodata": -1.0}, {"clip_to_region": False}, {"file_format": "GEO_TIFF"}]
)
def test_an_output_from_another_request_is_replaced_or_kept_as_wanted(server, tmp_path, changed):
    get(tmp_path)
    with pytest.raises(AirflowFailException, match="overwrite='never'"):
        get(tmp_path, overwrite="never", **changed)
    assert get(tmp_path, overwrite="never")["unchanged"] is True
    assert get(tmp_path, **changed)["unchanged"] is False
    assert get(tmp_path, overwrite="never", **changed)["unchanged"] is True


def test_an_output_that_was_damaged_since_is_made_again(server, tmp_path):
    get(tmp_path)
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(content[:-1])
    get(tmp_path)
    assert (tmp_path / "x.tif").read_bytes() == content


def test_the_manifest_tells_of_every_tile_and_nothing_else_stays(server, tmp_path):
    summary = get(tmp_path)
    told = json.loads((tmp_path / "x.tif.manifest.json").read_text())
    assert summary["manifest_uri"] == str(tmp_path / "x.tif.manifest.json")
    assert [(tile["row"], tile["col"], tile["attempts"]) for tile in told["tiles"]] == [(0, 0, 1)]
    assert told["outputs"][0]["bytes"] == (tmp_path / "x.tif").stat().st_size
    assert told["provenance"]["source"] == IMAGE
    assert told["provenance"]["request_digest"] == summary["request_digest"]
    assert {path.name for path in tmp_path.glob("*x*")} == {"x.tif", "x.tif.manifest.json", "x.tif.stac.json"}


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_continuous_bands_are_smoothed_and_codes_are_not(server, tmp_path, method):
    bands = ["NDVI", "SummaryQA"]
    grid = {
        "scale": 100,
        "crs": "EPSG:32721",
        "bands": bands,
        "file_format": "NPY",
        "mask": "band",
        "clip_to_region": False,
    }
    get(tmp_path, output_uri=str(tmp_path / "nearest.npy"), **grid)
    get(tmp_path, output_uri=str(tmp_path / "smooth.npy"), resampling=method, **grid)
    nearest, smooth = (np.load(tmp_path / f"{name}.npy") for name in ("nearest", "smooth"))
    assert (nearest["NDVI"] != smooth["NDVI"]).mean() > 0.5
    both = (nearest["SummaryQA_mask"] == 1) & (smooth["SummaryQA_mask"] == 1)
    assert both.mean() > 0.5
    assert (nearest["SummaryQA"][both] == smooth["SummaryQA"][both]).all()


def test_npz_and_npy_hold_the_same_pixels_and_masks(server, tmp_path):
    options = {"bands": ["NDVI", "EVI"], "mask": "band"}
    get(tmp_path, output_uri=str(tmp_path / "x.npy"), file_format="NPY", **options)
    get(tmp_path, output_uri=str(tmp_path / "x.npz"), file_format="NPZ", **options)
    array, members = np.load(tmp_path / "x.npy"), np.load(tmp_path / "x.npz")
    assert set(members) == {"NDVI", "NDVI_mask", "EVI", "EVI_mask"}
    for name in members:
        assert (members[name] == array[name]).all()


def test_fractions_of_masks_are_kept_where_asked_for(server, tmp_path):
    get(tmp_path, output_uri=str(tmp_path / "x.npz"), file_format="NPZ", mask="fraction")
    mask = np.load(tmp_path / "x.npz")["NDVI_mask"]
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert 0 < mask.mean() < 1


@pytest.mark.parametrize("file_format", ["GEO_TIFF", "NPY", "NPZ", "TF_RECORD", "ZARR", "PNG"])
@pytest.mark.parametrize("mask", ["band", "none"])
def test_every_output_of_simulated_imagery_is_said_to_be(server, tmp_path, file_format, mask):
    get(tmp_path, file_format=file_format, mask=mask, visualization_options=None if file_format != "PNG" else VISIBLE)
    told = json.loads((tmp_path / "x.tif.manifest.json").read_text())
    assert told["provenance"]["simulated"] == "true"
