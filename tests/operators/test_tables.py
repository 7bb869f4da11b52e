"""Operators for tables and values against the emulator: the rows that Google's own client gets, in files other readers read."""

import csv
import json
import threading
from types import SimpleNamespace

import pyarrow.parquet
import pyogrio
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.core.errors import Unavailable
from airflow_ee.core.settings import Limits
from airflow_ee.operators.tables import EarthEngineComputeFeaturesOperator, EarthEngineComputeValueOperator

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
IMAGE = "MODIS/061/MOD13Q1/2023_06_10"
COMPUTE = "table:computeFeatures"


def invoke(name, **arguments):
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value):
    return {"constantValue": value}


def graph(node):
    return {"result": "0", "values": {"0": node}}


def collection(rows):
    """Features at points, with the rows as their properties."""
    features = [
        invoke(
            "Feature",
            geometry=invoke("GeometryConstructors.Point", coordinates=constant([-55.5 + number / 100, -12])),
            metadata=constant(row),
        )
        for number, row in enumerate(rows)
    ]
    return graph(invoke("Collection", features={"arrayValue": {"values": features}}))


def ndvi():
    return graph(
        invoke("Image.select", input=invoke("Image.load", id=constant(IMAGE)), bandSelectors=constant(["NDVI"]))
    )


def boxes(count, **more):
    """Squares side by side, as a GeoJSON collection."""

    def box(number):
        west, south = -55.6 + number * 0.004, -12.1
        ring = [
            [west, south],
            [west + 0.005, south],
            [west + 0.005, south + 0.005],
            [west, south + 0.005],
            [west, south],
        ]
        return {"type": "Polygon", "coordinates": [ring]}

    features = [
        {
            "type": "Feature",
            "id": f"field-{number}",
            "properties": {"crop": "soy", "n": number},
            "geometry": box(number),
        }
        for number in range(count)
    ]
    return {"type": "FeatureCollection", "features": features, **more}


@pytest.fixture
def server(emulator, connect):
    connect(endpoint=emulator.url, is_anonymous=True)
    return emulator


@pytest.fixture
def regions(tmp_path):
    file = tmp_path / "fields.geojson"
    file.write_text(json.dumps(boxes(7)))
    return str(file)


def features(tmp_path, **arguments):
    arguments = {"output_uri": str(tmp_path / "out" / "table"), "request_retries": 2, **arguments}
    return EarthEngineComputeFeaturesOperator(task_id="task", **arguments).execute(CONTEXT)


def value(expression, **arguments):
    return EarthEngineComputeValueOperator(task_id="task", expression=expression, **arguments).execute(CONTEXT)


ROWS = [{"n": number, "half": number / 2, "name": f"é{number}"} for number in range(5)]


def test_features_become_a_table_and_the_summary_tells_of_it(server, tmp_path):
    summary = features(tmp_path, expression=collection(ROWS), page_size=2)
    file = tmp_path / "out" / "table"
    table = pyarrow.parquet.read_table(file)
    assert table["n"].to_pylist() == list(range(5))
    assert table["half"].to_pylist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert table["system:index"].to_pylist() == ["0", "1", "2", "3", "4"]
    assert len(summary.pop("request_digest")) == 64
    assert summary == {
        "uri": str(file),
        "bytes": file.stat().st_size,
        "rows": 5,
        "columns": ["system:index", "half", "n", "name", ".geo"],
        "requests": 3,
        "simulated": False,
    }
    bodies = [item.body for item in server.requests if item.method == COMPUTE]
    assert {body["workloadTag"] for body in bodies} == {"dag-task"}


def test_csv_and_geojson_hold_the_same_rows(server, tmp_path):
    features(tmp_path, expression=collection(ROWS), file_format="CSV", output_uri=str(tmp_path / "x.csv"))
    features(tmp_path, expression=collection(ROWS), file_format="GEO_JSON", output_uri=str(tmp_path / "x.geojson"))
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in ROWS]
    assert json.loads(rows[1][".geo"]) == {"type": "Point", "coordinates": [-55.49, -12]}
    meta, _, _, fields = pyogrio.raw.read(tmp_path / "x.geojson", columns=["n", "half"])
    assert {name: list(column) for name, column in zip(meta["fields"], fields, strict=True)} == {
        "n": list(range(5)),
        "half": [0.0, 0.5, 1.0, 1.5, 2.0],
    }


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(page_size=st.integers(1, 12), file_format=st.sampled_from(["PARQUET", "CSV", "GEO_JSON"]))
def test_the_size_of_pages_does_not_change_the_file(server, tmp_path, page_size, file_format):
    rows = [
        {"mixed": number if number % 4 else number / 3, "late": [number] if number > 8 else None}
        for number in range(11)
    ]
    expression = collection([{name: each for name, each in row.items() if each is not None} for row in rows])
    for name, size in (("whole", 1000), ("paged", page_size)):
        features(
            tmp_path, expression=expression, page_size=size, file_format=file_format, output_uri=str(tmp_path / name)
        )
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "paged").read_bytes()


def test_the_official_client_gets_equal_rows(server, tmp_path):
    def expression(context, offset):
        import ee

        dry = ee.FeatureCollection([ee.Feature(ee.Geometry.Point([number, 1]), {"n": number}) for number in range(6)])
        return dry.filter(ee.Filter.gt("n", 1)).map(lambda each: each.set("m", ee.Number(each.get("n")).add(offset)))

    summary = features(tmp_path, expression=expression, expression_kwargs={"offset": 0.5}, page_size=3)
    import ee

    theirs = ee.data.computeFeatures({"expression": expression(None, 0.5)})["features"]
    ours = pyarrow.parquet.read_table(summary["uri"]).to_pylist()
    assert [(row["n"], row["m"]) for row in ours] == [
        (item["properties"]["n"], item["properties"]["m"]) for item in theirs
    ]
    assert [row["n"] for row in ours] == [2, 3, 4, 5]


def test_statistics_of_regions_are_those_of_the_official_client(server, tmp_path, regions):
    arguments = {"regions_uri": regions, "scale": 250, "crs": "EPSG:4326", "percentiles": [10, 97.5]}
    summary = features(tmp_path, expression=ndvi(), statistics="mean,stdDev,min,max,count", **arguments)
    table = pyarrow.parquet.read_table(summary["uri"])
    assert table.column_names == [
        "system:index", "count", "crop", "max", "mean", "min", "n", "p10", "p97.5", "stdDev", "geometry",
    ]  # fmt: skip
    assert [str(table.schema.field(name).type) for name in ("count", "n", "mean", "max")] == [
        "int64", "int64", "double", "double",
    ]  # fmt: skip

    def theirs(context):
        import ee

        reducer = ee.Reducer.mean()
        for each in (ee.Reducer.stdDev(), ee.Reducer.min(), ee.Reducer.max(), ee.Reducer.count()):
            reducer = reducer.combine(each, None, True)
        reducer = reducer.combine(ee.Reducer.percentile([10, 97.5], ["p10", "p97.5"]), None, True)
        areas = ee.FeatureCollection(
            [
                ee.Feature(ee.Geometry(item["geometry"], None, False), item["properties"])
                for item in boxes(7)["features"]
            ]
        )
        return ee.Image(IMAGE).select("NDVI").reduceRegions(areas, reducer, scale=250, crs="EPSG:4326")

    official = pyarrow.parquet.read_table(features(tmp_path, expression=theirs, output_uri=str(tmp_path / "y"))["uri"])
    names = ["count", "crop", "max", "mean", "min", "n", "p10", "p97.5", "stdDev"]
    assert table.select(names).to_pylist() == official.select(names).to_pylist()
    assert table["system:index"].to_pylist() == [f"field-{number}" for number in range(7)]
    assert min(table["count"].to_pylist()) > 2
    assert summary["simulated"] is True


def test_many_regions_are_cut_into_requests_and_none_is_lost(server, tmp_path, regions, monkeypatch):
    arguments = {"expression": ndvi(), "regions_uri": regions, "statistics": ["mean"], "scale": 250}
    whole = features(tmp_path, **arguments, output_uri=str(tmp_path / "whole"))
    assert whole["requests"] == 2, "one for the bands, one for the regions"
    limits = {**Limits.__init__.__kwdefaults__, "max_body_bytes": 17_900}
    monkeypatch.setattr(Limits.__init__, "__kwdefaults__", limits)
    cut = features(tmp_path, **arguments, output_uri=str(tmp_path / "cut"))
    assert cut["requests"] > 3
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()
    assert cut["rows"] == 7


def test_regions_of_a_table_asset_are_reduced_by_the_service_alone(server, tmp_path):
    import ee

    from airflow_ee.hooks.earth_engine import EarthEngineHook

    EarthEngineHook().initialize_ee()
    areas = [
        ee.Feature(ee.Geometry(item["geometry"], None, False), item["properties"]) for item in boxes(3)["features"]
    ]
    task = ee.batch.Export.table.toAsset(ee.FeatureCollection(areas), assetId="projects/demo-project/assets/fields")
    task.start()
    while task.active():
        threading.Event().wait(0.05)
    assert task.status()["state"] == "COMPLETED"
    arguments = {"regions_uri": "projects/demo-project/assets/fields", "statistics": ["mean", "count"], "scale": 250}
    summary = features(tmp_path, expression=ndvi(), page_size=2, **arguments)
    assert summary["requests"] == 3
    rows = pyarrow.parquet.read_table(summary["uri"]).to_pylist()
    assert [(row["n"], row["crop"]) for row in rows] == [(0, "soy"), (1, "soy"), (2, "soy")]
    (tmp_path / "three.geojson").write_text(json.dumps(boxes(3)))
    inlined = features(tmp_path, expression=ndvi(), **{**arguments, "regions_uri": str(tmp_path / "three.geojson")})
    known = pyarrow.parquet.read_table(inlined["uri"]).to_pylist()
    assert [(row["mean"], row["count"]) for row in rows] == [(row["mean"], row["count"]) for row in known]


def test_a_request_that_is_too_much_is_asked_for_in_smaller_parts(server, tmp_path, regions):
    arguments = {"expression": ndvi(), "regions_uri": regions, "scale": 250}
    whole = features(tmp_path, **arguments, output_uri=str(tmp_path / "whole"))
    server.inject(COMPUTE, "400 timeout", "400 memory")
    cut = features(tmp_path, **arguments, output_uri=str(tmp_path / "cut"))
    sizes = [str(item.body).count("GeometryConstructors.Polygon") for item in server.requests if item.method == COMPUTE]
    assert sizes == [7, 7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert (whole["rows"], cut["rows"]) == (7, 7)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()
    assert not server.pending


def test_a_region_that_is_too_much_alone_is_named(server, tmp_path, regions):
    server.inject(COMPUTE, *["400 timeout"] * 3)
    with pytest.raises(AirflowFailException, match="region 'field-0': Computation timed out"):
        features(tmp_path, expression=ndvi(), regions_uri=regions, scale=250)
    assert not (tmp_path / "out").exists()


def test_a_region_that_no_request_has_room_for_is_named_before_one_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Limits.__init__, "__kwdefaults__", {**Limits.__init__.__kwdefaults__, "max_body_bytes": 20_000})
    wide = boxes(2)
    ring = [[-55.6 + number * 1e-4, -12.1] for number in range(300)]
    wide["features"][1]["geometry"]["coordinates"] = [[*ring, [-55.5, -12.0], ring[0]]]
    file = tmp_path / "wide.geojson"
    file.write_text(json.dumps(wide))
    with pytest.raises(AirflowFailException, match=r"region 'field-1' alone takes \d{4} bytes.*as a table asset"):
        features(tmp_path, expression=ndvi(), regions_uri=str(file), scale=250)
    assert COMPUTE not in server.calls


def test_a_region_without_a_valid_pixel_has_nulls_and_columns_keep_their_types(server, tmp_path):
    nothing = graph(invoke("Image.updateMask", image=invoke("Image.constant", value=constant(3)), mask=constant(0)))
    file = tmp_path / "fields.json"
    file.write_text(json.dumps(boxes(2)))
    summary = features(tmp_path, expression=nothing, regions_uri=str(file), scale=250, statistics=["mean", "count"])
    table = pyarrow.parquet.read_table(summary["uri"])
    assert table["mean"].to_pylist() == [None, None]
    assert table["count"].to_pylist() == [0, 0]
    assert str(table.schema.field("mean").type) == "double"


BAD = [
    ({"file_format": "SHP"}, "file_format must be one of PARQUET, CSV, GEO_JSON, got 'SHP'"),
    ({"page_size": 0}, "page_size must be at least 1, got 0"),
    ({"page_size": "many"}, "page_size must be a number, got 'many'"),
    ({"selectors": ["a", "a"]}, "selectors: each column at most once"),
    ({"overwrite": "maybe"}, "overwrite must be one of always, never, got 'maybe'"),
    ({"output_uri": "/dev/null"}, "is a device"),
    ({"expression": {"a": 1}}, "expression is not a graph"),
    ({"scale": 30, "statistics": ["mean"]}, "statistics, scale: only with regions_uri"),
    ({"regions_uri": "gs://bucket/fields.shp"}, "regions_uri must be a .geojson or .json file"),
    ({"regions_uri": "a b"}, "asset id must be a path"),
    ({"regions_uri": "/nowhere.geojson", "scale": 30}, "regions_uri: there is no file /nowhere.geojson"),
    ({"regions_uri": "FILE"}, "give scale or crs_transform, one of them"),
    ({"regions_uri": "FILE", "scale": 30, "crs_transform": "1,0,0,0,-1,0"}, "give scale or crs_transform, one of them"),
    ({"regions_uri": "FILE", "crs_transform": "1,0,0,0,-1,0"}, "crs_transform must be six numbers, and needs crs"),
    ({"regions_uri": "FILE", "scale": 0}, "scale must be above 0 metres, got 0"),
    ({"regions_uri": "FILE", "scale": 30, "statistics": "mean,std"}, r"statistics must be of mean.*got \['std'\]"),
    ({"regions_uri": "FILE", "scale": 30, "percentiles": [101]}, r"percentiles must be in 0..100, got \[101.0\]"),
    ({"regions_uri": "FILE", "scale": 30, "percentiles": [5, 5]}, "each at most once, got p5, p5"),
    ({"regions_uri": "FILE", "scale": 30, "tile_scale": 17}, "tile_scale must be in 0.1..16, got 17"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda item: str(item)[:60])
def test_bad_arguments_are_refused_before_anything_is_sent_or_written(server, tmp_path, regions, arguments, words):
    if arguments.get("regions_uri") == "FILE":
        arguments = {**arguments, "regions_uri": regions}
    with pytest.raises(AirflowFailException, match=words):
        features(tmp_path, **{"expression": collection(ROWS), **arguments})
    assert server.calls == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"geometry": None}, r"number 1 \('field-1'\): it has no geometry"),
        ({"geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}}, "got type 'LineString'"),
        ({"geometry": {"type": "Point", "coordinates": [181, 0]}}, "it leaves the world"),
        ({"geometry": {"type": "Point", "coordinates": "x"}}, "it is not valid GeoJSON"),
    ],
)
def test_a_region_that_is_none_is_named(server, tmp_path, change, words):
    bad = boxes(3)
    bad["features"][1] |= change
    (tmp_path / "bad.geojson").write_text(json.dumps(bad))
    with pytest.raises(AirflowFailException, match=words):
        features(tmp_path, expression=ndvi(), regions_uri=str(tmp_path / "bad.geojson"), scale=30)
    assert server.calls == []


def test_an_existing_file_is_replaced_unless_it_must_not_be(server, tmp_path):
    file = tmp_path / "x"
    file.write_text("old")
    with pytest.raises(AirflowFailException, match="is there already, and overwrite is 'never'"):
        features(tmp_path, expression=collection(ROWS), output_uri=str(file), overwrite="never")
    assert file.read_text() == "old"
    assert server.calls == []
    features(tmp_path, expression=collection(ROWS), output_uri=str(file))
    assert pyarrow.parquet.read_table(file).num_rows == 5


def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(server, tmp_path):
    file = tmp_path / "out" / "x"
    file.parent.mkdir()
    file.write_text("old")
    server.inject(COMPUTE, "delay=0", *["503"] * 3)
    with pytest.raises(Unavailable):
        features(tmp_path, expression=collection(ROWS), output_uri=str(file), page_size=2)
    assert [path.name for path in file.parent.iterdir()] == ["x"]
    assert file.read_text() == "old"


def test_selectors_may_come_from_a_template(server, tmp_path):
    summary = features(tmp_path, expression=collection(ROWS), selectors="name, n")
    assert summary["columns"] == ["name", "n"]
    assert pyarrow.parquet.read_table(summary["uri"]).column_names == ["name", "n"]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (constant({"a": [1, 2.5, None, "x"]}), {"a": [1, 2.5, None, "x"]}),
        (constant(7), 7),
        (constant("text"), "text"),
        (invoke("Number.sqrt", input=constant(-1)), "NaN"),
    ],
)
def test_a_value_is_the_tasks_xcom(server, node, expected):
    assert value(graph(node)) == expected


def test_a_value_that_is_too_large_for_xcom_is_refused_and_fits_a_file(server, tmp_path):
    expression = graph(constant(["x" * 100] * 1000))
    with pytest.raises(
        AirflowFailException, match="the value takes 1040.. bytes, XCom is for up to 49344: give output_uri"
    ):
        value(expression)
    summary = value(expression, output_uri=str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == ["x" * 100] * 1000
    assert summary["bytes"] == (tmp_path / "x.json").stat().st_size
    assert (summary["uri"], summary["simulated"]) == (str(tmp_path / "x.json"), False)


def test_numbers_that_json_has_no_word_for_are_words():
    from airflow_ee.operators.tables import _in_words

    found = _in_words({"a": [float("nan"), {"b": float("inf")}], "c": float("-inf"), "d": 1.5})
    assert found == {"a": ["NaN", {"b": "Infinity"}], "c": "-Infinity", "d": 1.5}


def test_a_relative_json_output_is_refused_because_airflow_would_read_it():
    with pytest.raises(ValueError, match="Airflow would read 'x.json' as a template"):
        EarthEngineComputeValueOperator(task_id="task", expression={}, output_uri="x.json")
    assert EarthEngineComputeValueOperator(task_id="task", expression={}, output_uri="/x/{{ ds }}.json").output_uri
