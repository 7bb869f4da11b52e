"""A chart shows gaps as gaps, and says what is simulated."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from airflow_ee.core.charts import draw_series

HEADER = "region_id,band,image_start,mean,std,valid_fraction,unit,source,simulated"


def table(*rows):
    return "\n".join([HEADER, *rows]).encode()


def line(day, *, region="a", band="NDVI", mean="0.5", simulated="false"):
    moment = datetime(2020, 1, 1) + timedelta(days=day)
    return f"{region},{band},{moment:%Y-%m-%dT%H:%M:%SZ},{mean},0.1,0.9,1,MODIS,{simulated}"


def drawn(monkeypatch):
    """The figure that a chart is made of."""
    from matplotlib.figure import Figure

    figures = []
    original = Figure.__init__
    monkeypatch.setattr(Figure, "__init__", lambda self, *a, **k: (figures.append(self), original(self, *a, **k))[1])
    return figures


def test_a_missing_image_breaks_the_line(monkeypatch):
    figures = drawn(monkeypatch)
    draw_series(table(line(0), line(16), line(48), line(64, mean="")), title="t")
    (curve,) = figures[0].axes[0].get_lines()
    assert np.isnan(curve.get_ydata()).tolist() == [False, False, True, False, True]


def test_simulated_data_are_labelled_in_title_picture_and_footnote(monkeypatch):
    figures = drawn(monkeypatch)
    draw_series(table(line(0, simulated="true")), title="NDVI", attribution="NASA")
    texts = " ".join(text.get_text() for text in figures[0].findobj(lambda item: hasattr(item, "get_text")))
    assert "NDVI — SIMULATED DATA" in texts
    assert "Simulated by the local Earth Engine emulator" in texts
    assert "NASA" not in texts, "what was simulated is nobody's observation"


def test_real_data_are_attributed_and_not_called_simulated(monkeypatch):
    figures = drawn(monkeypatch)
    draw_series(table(line(0)), title="NDVI", attribution="NASA")
    texts = " ".join(text.get_text() for text in figures[0].findobj(lambda item: hasattr(item, "get_text")))
    assert "NASA" in texts
    assert "SIMULATED" not in texts.upper()


def test_the_wanted_band_and_region_are_drawn(monkeypatch):
    figures = drawn(monkeypatch)
    rows = [line(0, mean="0.1"), line(0, region="b", mean="0.2"), line(0, region="b", band="EVI", mean="0.3")]
    draw_series(table(*rows), title="t", band="EVI", region_id="b")
    assert figures[0].axes[0].get_lines()[0].get_ydata().tolist() == [0.3]
    assert figures[0].axes[0].get_ylabel() == "EVI (ratio)"


def test_a_table_without_the_band_is_refused():
    with pytest.raises(ValueError, match="no rows to draw of band LAI"):
        draw_series(table(line(0)), title="t", band="LAI")
