"""STAC catalogs as image collections, and the command that makes one of a folder; pystac, rasterio and numpy judge."""

import http.server
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation import validate_dict

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.__main__ import main
from airflow_ee.emulator.catalog.mounts import MountError

from .conftest import FIELD_IMAGES, MODIS_IMAGES, UNHURRIED, Rest, call, graph, image, loaded
from .test_official_client import initialised

PUBLIC = "projects/earthengine-public/assets"
GRID = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_200_000)}


def geotiff(path, values, *, names=(), tags=None, scale=None, **profile):
    """Values as (bands, rows, columns)."""
    values = np.asarray(values)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **{**GRID, **shape, **profile}) as file:
        file.write(values)
        file.update_tags(**(tags or {}))
        if scale:
            file.scales, file.offsets = [scale[0]] * count, [scale[1]] * count
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def made(folder, *options):
    """The catalog that the command makes of a folder."""
    assert main(["catalog", str(folder), *options]) == 0
    return folder / "collection.json"


def item_of(name, start="2020-06-01T10:00:00Z", **assets):
    """An item as another program might write it."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": start},
        "links": [],
        "assets": assets,
    }


def catalog_of(folder, *items, kind="Catalog", **fields):
    """A static catalog whose items are files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    links = [{"rel": "item", "href": f"./{item['id']}.json"} for item in items]
    shown = {"type": kind, "stac_version": "1.0.0", "id": "c", "description": "d", "links": links, **fields}
    path = folder / "catalog.json"
    path.write_text(json.dumps(shown))
    return path


def test_the_command_makes_a_valid_collection_of_real_images(tmp_path, capsys):
    if not FIELD_IMAGES.is_dir():
        pytest.skip("the real images are not beside this checkout")
    path = tmp_path / "made" / "collection.json"
    assert main(["catalog", str(FIELD_IMAGES), "--output", str(path), "--id", "field", "--license", "CC-BY-4.0"]) == 0
    assert capsys.readouterr().out == f"{path}: 33 items; serve them with --catalog ID={path}\n"
    collection = pystac.Collection.from_file(str(path))
    assert (collection.id, collection.license) == ("field", "CC-BY-4.0")
    items = list(collection.get_items())
    assert len(items) == 33
    for item in items:
        assert set(item.assets) == {"reflectance", "scl"}
        names = []
        for asset in item.assets.values():
            assert not asset.href.startswith("/"), "links are relative, so that the catalog can move with its images"
            with rasterio.open(asset.get_absolute_href()) as dataset:
                assert asset.extra_fields["proj:code"] == f"EPSG:{dataset.crs.to_epsg()}"
                assert asset.extra_fields["proj:shape"] == list(dataset.shape)
                assert tuple(asset.extra_fields["proj:transform"]) == tuple(dataset.transform)
                assert [band["data_type"] for band in asset.extra_fields["bands"]] == list(dataset.dtypes)
                assert [band.get("nodata") for band in asset.extra_fields["bands"]] == list(dataset.nodatavals)
                names += dataset.descriptions
        assert [band["name"] for asset in item.assets.values() for band in asset.extra_fields["bands"]] == names
        assert item.datetime == datetime.strptime(item.id, "%Y%m%d").replace(tzinfo=UTC)
    # Schemas of extensions are on the network only; those of the core come with pystac.
    for each in (collection, *items):
        validate_dict({**each.to_dict(), "stac_extensions": []})
    extent = collection.extent.temporal.intervals[0]
    assert extent == [items[0].datetime, items[-1].datetime]


def test_a_catalog_serves_what_its_folder_serves(tmp_path, real):
    if not MODIS_IMAGES.is_dir():
        pytest.skip("the real images are not beside this checkout")
    path = tmp_path / "collection.json"
    assert main(["catalog", str(MODIS_IMAGES), "--output", str(path)]) == 0
    with Emulator(catalogs={"my/modis": path}, **UNHURRIED) as running:
        rest = Rest(running.url)
        names = [asset["name"] for asset in rest.get(f"{PUBLIC}/my/modis:listAssets").json()["assets"]]
        assert len(names) == 137
        for name in names:
            index = name.rsplit("/", 1)[1]
            answer = rest.asset_pixels(name)
            assert answer.headers["x-earth-engine-emulator"] == "mounted"
            assert answer.content == real.asset_pixels(f"{PUBLIC}/MODIS/061/MOD13Q1/{index}").content
            mask = graph(call("Image.mask", image=image(f"my/modis/{index}")))
            there = graph(call("Image.mask", image=image(f"MODIS/061/MOD13Q1/{index}")))
            assert rest.compute(mask).content == real.compute(there).content


def test_names_dates_properties_and_footprints_are_queryable(tmp_path):
    values = np.arange(12, dtype="uint16").reshape(1, 3, 4)
    geotiff(tmp_path / "T32_20200601T101559_B04.tif", values, tags={"CLOUD_COVER": "12.5", "SCENE": "9", "X": "nan"})
    geotiff(tmp_path / "T32_20200601T101559_B08.tif", values + 50, scale=(0.0001, -0.1), nodata=55)
    east = rasterio.Affine(10, 0, 700_000, 0, -10, 5_200_000)
    geotiff(tmp_path / "T33_20200611_B04.tif", values, tags={"CLOUD_COVER": "80"}, transform=east)
    geotiff(tmp_path / "MOD.A2020183.tif", values, names=["NDVI"])
    geotiff(tmp_path / "aerial.tif", [values[0], values[0]], tags={"TIFFTAG_DATETIME": "2020:08:01 12:30:00"})
    path = made(tmp_path, "--days", "2", "--title", "My fields")
    described = json.loads((tmp_path / "items/T32_20200601T101559.json").read_text())["assets"]["B08"]["bands"]
    assert described == [
        {"name": "B08", "data_type": "uint16", "nodata": 55, "raster:scale": 0.0001, "raster:offset": -0.1}
    ]
    with Emulator(catalogs=[f"my/fields={path}"], **UNHURRIED) as running:
        ee = initialised(running.url)
        collection = ee.ImageCollection("my/fields")
        shown = collection.getInfo()
        assert [each["properties"]["system:index"] for each in shown["features"]] == [
            "T32_20200601T101559",
            "T33_20200611",
            "MOD.A2020183",
            "aerial",
        ]
        first = shown["features"][0]
        start = datetime(2020, 6, 1, 10, 15, 59, tzinfo=UTC).timestamp() * 1000
        assert first["properties"]["system:time_start"] == start
        assert first["properties"]["system:time_end"] == start + 2 * 86400_000
        assert {name: first["properties"][name] for name in ("CLOUD_COVER", "SCENE", "X")} == {
            "CLOUD_COVER": 12.5,
            "SCENE": 9,
            "X": "nan",
        }
        assert [band["id"] for band in first["bands"]] == ["B04", "B08"]
        assert [band["id"] for each in shown["features"][1:] for band in each["bands"]] == ["B04", "NDVI", "b1", "b2"]

        def found(chosen):
            return chosen.aggregate_array("system:index").getInfo()

        assert found(collection.filter(ee.Filter.lt("CLOUD_COVER", 50))) == ["T32_20200601T101559"]
        assert found(collection.filterDate("2020-06-02", "2020-07-02")) == ["T33_20200611", "MOD.A2020183"]
        there = ee.Geometry.Point([700_020, 5_199_985], "EPSG:32632")
        assert found(collection.filterBounds(there)) == ["T33_20200611"]
        masked = ee.Image("my/fields/T32_20200601T101559").reduceRegion(
            ee.Reducer.count(), ee.Geometry.Rectangle([600_000, 5_199_970, 600_040, 5_200_000], "EPSG:32632", False), 10
        )
        assert masked.getInfo() == {"B04": 12, "B08": 11}
        asset = Rest(running.url).get(f"{PUBLIC}/my/fields").json()
        assert (asset["type"], asset["properties"]["title"]) == ("IMAGE_COLLECTION", "My fields")


def test_a_catalog_of_another_program_is_read_with_its_children_and_older_band_lists(tmp_path):
    values = np.array([[[0, 7], [9, 0]]], "int16")
    for name in ("red.tif", "qa.tif", "picture.tif"):
        geotiff(tmp_path / name, values)
    geotiff(tmp_path / "both.tif", np.concatenate([values, values + 1]))
    tiff = {"type": "image/tiff; application=geotiff"}
    many = item_of(
        "scene",
        picture={"href": "../picture.tif", "roles": ["overview"], **tiff},
        red={"href": "../red.tif", "eo:bands": [{"name": "B4"}], "raster:bands": [{"nodata": 0}], **tiff},
        qa={"href": str(tmp_path / "qa.tif"), **tiff},
        notes={"href": "../notes.txt"},
    )
    many["properties"] |= {"eo:cloud_cover": 3, "flag": True, "missing": None, "nested": {"a": 1}, "proj:epsg": 32632}
    many["geometry"] = {"type": "Polygon", "coordinates": [[[10, 46.9], [10.1, 46.9], [10.1, 47], [10, 46.9]]]}
    many["bbox"] = [10, 46.9, 10.1, 47]
    two = item_of("two", "2020-05-01T00:00:00Z", data={"href": f"file://{tmp_path}/both.tif"})
    catalog_of(tmp_path / "child", many)
    links = [{"rel": "child", "href": "./child/catalog.json"}, {"rel": "root", "href": "https://example.org/root.json"}]
    path = catalog_of(tmp_path, links=links)
    (tmp_path / "more.json").write_text(json.dumps({"type": "FeatureCollection", "features": [two]}))
    shown = json.loads(path.read_text())
    path.write_text(json.dumps({**shown, "links": [*shown["links"], {"rel": "item", "href": "more.json"}]}))
    with Emulator(catalogs={"s": path}, **UNHURRIED) as running:
        rest = Rest(running.url)
        assets = rest.get(f"{PUBLIC}/s:listAssets").json()["assets"]
        assert [asset["id"] for asset in assets] == ["s/two", "s/scene"]
        scene = assets[1]
        assert [band["id"] for band in scene["bands"]] == ["B4", "qa"]
        assert [band["id"] for band in assets[0]["bands"]] == ["b1", "b2"]
        assert scene["properties"] == {"eo:cloud_cover": 3, "flag": 1, "system:index": "scene"}
        assert len(scene["geometry"]["coordinates"][0]) == 4
        masks = rest.pixels(graph(call("Image.mask", image=image("s/scene"))))
        np.testing.assert_array_equal(masks["B4"], values[0] != 0)
        np.testing.assert_array_equal(masks["qa"], 1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"assets": {"data": {"href": "gone.tif"}}}, r"item bad: there is no file .*gone\.tif \(asset data\)"),
        ({"assets": {"notes": {"href": "a.txt"}}}, "item bad has no GeoTIFF among its assets"),
        ({"assets": {"data": {"href": "broken.tif"}}}, r"item bad: broken\.tif cannot be read as a GeoTIFF"),
        ({"assets": {"data": {"href": "linked.tif"}}}, r"item bad: linked\.tif cannot be read as a GeoTIFF"),
        (
            {"assets": {"data": {"href": "fine.tif", "bands": [{"name": "a"}, {"name": "b"}]}}},
            "item bad: asset data describes 2 bands, its file has 1",
        ),
        (
            {"assets": {"a": {"href": "fine.tif", "bands": [{"name": "x"}]}, "x": {"href": "fine.tif"}}},
            "item bad has band 'x' twice",
        ),
        ({"assets": {"data": {"href": "https://example.org/a.tif"}}}, "is on the network; --remote-files"),
        ({"assets": {"data": {"href": "s3://bucket/a.tif"}}}, "names s3://bucket/a.tif; files must be paths"),
        ({"properties": {}}, r"item bad of .*bad\.json is malformed"),
        (
            {"assets": {"data": {"href": "fine.tif"}}, "geometry": {"type": "Circle"}, "bbox": [0, 0, 1, 1]},
            "item bad: ",
        ),
        ({"type": "Something"}, r"bad\.json is no STAC item, collection or catalog"),
    ],
)
def test_a_bad_item_is_refused_by_its_name(tmp_path, change, complaint):
    geotiff(tmp_path / "fine.tif", np.ones((1, 2, 2), "uint8"))
    (tmp_path / "broken.tif").write_bytes(b"II*\0not a picture")
    (tmp_path / "linked.tif").write_text(
        "<VRTDataset rasterXSize='2' rasterYSize='2'><VRTRasterBand><SimpleSource>"
        f"<SourceFilename>{tmp_path}/fine.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    path = catalog_of(tmp_path, item_of("bad", data={"href": "fine.tif"}) | change)
    if change.get("type"):
        path.write_text(path.read_text().replace("./None.json", "./bad.json"))
    with pytest.raises(MountError, match=complaint):
        Emulator(catalogs={"s": path})


def test_a_catalog_without_items_and_one_with_two_of_a_name_are_refused(tmp_path):
    geotiff(tmp_path / "fine.tif", np.ones((1, 2, 2), "uint8"))
    with pytest.raises(MountError, match="no items in"):
        Emulator(catalogs={"s": catalog_of(tmp_path)})
    twice = {"type": "FeatureCollection", "features": [item_of("a", data={"href": "fine.tif"})] * 2}
    (tmp_path / "twice.json").write_text(json.dumps(twice))
    with pytest.raises(MountError, match="two items have the id 'a'"):
        Emulator(catalogs={"s": tmp_path / "twice.json"})
    with pytest.raises(MountError, match="cannot be read as JSON"):
        Emulator(catalogs={"s": tmp_path / "missing.json"})


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ([], "no GeoTIFF in"),
        (["undated.tif"], "undated.tif has no date"),
        (["x_20201399.tif"], "x_20201399.tif has no date"),
        (["20200101_a.tif", "20200101-a.tiff"], "two files are the same part of 20200101"),
    ],
)
def test_a_folder_that_cannot_be_a_catalog_is_told(tmp_path, capsys, names, complaint):
    for name in names:
        geotiff(tmp_path / name, np.ones((1, 2, 2), "uint8"))
    assert main(["catalog", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert complaint in error


def test_a_folder_that_is_not_there_is_told_and_one_for_the_output_gets_the_catalog(tmp_path, capsys):
    assert main(["catalog", str(tmp_path / "nowhere")]) == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    images, place = tmp_path / "images", tmp_path / "place"
    images.mkdir()
    place.mkdir()
    geotiff(images / "20200101.tif", np.ones((1, 2, 2), "uint8"))
    assert main(["catalog", str(images), "--output", str(place)]) == 0
    assert capsys.readouterr().out.startswith(f"{place / 'collection.json'}: 1 items")


def test_the_command_runs_as_people_type_it_and_names_a_bad_file(tmp_path):
    (tmp_path / "20200101.tif").write_bytes(b"nothing")
    command = [sys.executable, "-m", "airflow_ee.emulator", "catalog", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert "20200101.tif cannot be read as a GeoTIFF" in found.stderr


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Answers requests for parts of files, which the standard library's handler does not."""

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:
            whole = file.read()
        first, last = int(wanted[1]), min(int(wanted[2]), len(whole) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(whole)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(whole[first : last + 1])

    def log_message(self, *_):
        self.server.asked.append(self.path)


@pytest.fixture
def web(tmp_path):
    """A folder, and the address that serves it."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: _Ranges(*arguments, directory=str(folder))
    )
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", server
    server.shutdown()
    server.server_close()


def test_files_on_the_network_are_read_when_that_is_allowed_and_only_then(web, tmp_path):
    folder, url, server = web
    values = np.arange(12, dtype="int16").reshape(1, 3, 4)
    geotiff(folder / "a.tif", values, names=["NDVI"], nodata=3)
    (folder / "far.json").write_text(json.dumps(item_of("far", data={"href": "a.tif"})))
    links = [{"rel": "item", "href": f"{url}/far.json"}, {"rel": "item", "href": "./near.json"}]
    path = catalog_of(tmp_path, item_of("near", data={"href": f"{url}/a.tif"}), links=links)
    with pytest.raises(MountError, match="which is on the network"):
        Emulator(catalogs={"s": path})
    assert not server.asked, "nothing was asked without leave"
    with Emulator(catalogs={"s": path}, remote_files=True, **UNHURRIED) as running:
        rest = Rest(running.url)
        for name in ("near", "far"):
            np.testing.assert_array_equal(
                loaded(rest.asset_pixels(f"{PUBLIC}/s/{name}"))["NDVI"], np.where(values[0] == 3, 0, values[0])
            )
    assert {"/far.json", "/a.tif"} <= set(server.asked)
    assert not [asked for asked in server.asked if asked not in ("/far.json", "/a.tif")], (
        "no other files are looked for"
    )


def test_a_file_that_is_gone_from_the_network_is_told_by_its_address(web, tmp_path):
    folder, url, _ = web
    geotiff(folder / "b.tif", np.random.default_rng(1).integers(0, 255, (1, 400, 400)).astype("uint8"))
    path = catalog_of(tmp_path, item_of("a", data={"href": f"{url}/b.tif"}))
    with Emulator(catalogs={"s": path}, remote_files=True, **UNHURRIED) as running:
        (folder / "b.tif").unlink()
        answer = Rest(running.url).asset_pixels(f"{PUBLIC}/s/a")
        assert answer.status_code == 400
        assert f"Unable to read {url}/b.tif" in answer.json()["error"]["message"]


def test_what_is_on_the_network_cannot_name_files_of_this_machine(web, tmp_path):
    folder, url, _ = web
    geotiff(tmp_path / "own.tif", np.ones((1, 2, 2), "uint8"))
    (folder / "sly.json").write_text(json.dumps(item_of("sly", data={"href": f"file://{tmp_path}/own.tif"})))
    path = catalog_of(tmp_path, links=[{"rel": "item", "href": f"{url}/sly.json"}])
    with pytest.raises(MountError, match="files must be paths, or URLs"):
        Emulator(catalogs={"s": path}, remote_files=True)
