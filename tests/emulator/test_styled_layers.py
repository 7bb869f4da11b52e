"""Pictures by styled layer descriptors."""

import numpy as np
import pytest

from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.pixels.raster import render
from airflow_ee.emulator.values.image import Image

from .test_neighbourhoods import from_array, run, whole

VALUES = np.array([[-5.0, 0, 5, 10, 15, 20, 25]])


def entries(*pairs):
    return "".join(f'<ColorMapEntry color="{color}" quantity="{quantity}" {more}/>' for quantity, color, more in pairs)


def styled(xml, values=VALUES, mask=None):
    image = run("Image.sldStyle", input=from_array(values, mask), sldXml=xml)
    assert image.names == ["vis-red", "vis-green", "vis-blue"]
    assert {band.type.dtype for band in image.bands} == {np.dtype("uint8")}
    rasters = render([band.node for band in image.bands], whole(*values.shape))
    shown = rasters[0].mask[0] > 0
    colours = np.stack([raster.values[0] for raster in rasters], axis=-1).tolist()
    return [
        "".join(f"{part:02x}" for part in colour) if seen else None for colour, seen in zip(colours, shown, strict=True)
    ]


MAP = entries((0, "#000000", ""), (10, "#ff0000", ""), (20, "#ff00ff", ""))


def test_a_ramp_goes_on_at_its_ends():
    found = styled(f"<RasterSymbolizer><ColorMap>{MAP}</ColorMap></RasterSymbolizer>")
    assert found == ["000000", "000000", "800000", "ff0000", "ff0080", "ff00ff", "ff00ff"]


def test_intervals_end_with_their_quantity():
    found = styled(f'<RasterSymbolizer><ColorMap type="intervals">{MAP}</ColorMap></RasterSymbolizer>')
    assert found == ["000000", "000000", "ff0000", "ff0000", "ff00ff", "ff00ff", None]


def test_values_are_met_exactly():
    found = styled(f'<RasterSymbolizer><ColorMap type="values">{MAP}</ColorMap></RasterSymbolizer>')
    assert found == [None, "000000", None, "ff0000", None, "ff00ff", None]


def test_no_opacity_is_transparent_and_any_other_is_opaque():
    clear = entries((0, "#000000", 'opacity="0.0"'), (10, "#ff0000", 'opacity="0.3"'))
    found = styled(f'<RasterSymbolizer><ColorMap type="values">{clear}</ColorMap></RasterSymbolizer>')
    assert found == [None, None, None, "ff0000", None, None, None]
    assert (
        styled(f"<RasterSymbolizer><Opacity>0.0</Opacity><ColorMap>{MAP}</ColorMap></RasterSymbolizer>") == [None] * 7
    )
    hidden = styled(
        f"<RasterSymbolizer><ColorMap>{MAP}</ColorMap></RasterSymbolizer>", mask=np.array([[1, 0, 1, 1, 1, 1, 1]])
    )
    assert hidden[1] is None


def test_whole_documents_have_namespaces():
    document = f"""<StyledLayerDescriptor xmlns="http://www.opengis.net/sld" version="1.0.0"><NamedLayer><UserStyle>
      <FeatureTypeStyle><Rule><RasterSymbolizer><Geometry/><ColorMap type="values" extended="false">{MAP}</ColorMap>
      <OverlapBehavior><AVERAGE/></OverlapBehavior></RasterSymbolizer></Rule></FeatureTypeStyle></UserStyle></NamedLayer>
      </StyledLayerDescriptor>"""
    assert styled(document)[3] == "ff0000"


def channels(*names):
    parts = zip(("Red", "Green", "Blue"), names, strict=True)
    inner = "".join(f"<{c}Channel><SourceChannelName>{n}</SourceChannelName></{c}Channel>" for c, n in parts)
    return f"<RasterSymbolizer><ChannelSelection>{inner}</ChannelSelection></RasterSymbolizer>"


def test_channels_go_by_name_and_then_by_number():
    layers = [from_array(np.full((1, 1), value), name=name) for value, name in ((10, "a"), (300, "b"), (-4, "1"))]
    image = Image(tuple(layer.bands[0] for layer in layers))

    def first(xml):
        made = run("Image.sldStyle", input=image, sldXml=xml)
        return [raster.values.item() for raster in render([band.node for band in made.bands], whole(1, 1))]

    assert first(channels("a", "b", "1")) == [10, 255, 0]
    assert first(channels("2", "3", "a")) == [255, 0, 10]
    assert first("<RasterSymbolizer/>") == [10, 255, 0]
    grey = "<GrayChannel><SourceChannelName>a</SourceChannelName></GrayChannel>"
    assert first(f"<RasterSymbolizer><ChannelSelection>{grey}</ChannelSelection></RasterSymbolizer>") == [10, 10, 10]


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<a>", "Invalid SLD document"),
        ("<a/>", "Exactly one RasterSymbolizer is required, got 0"),
        ("<a><RasterSymbolizer/><RasterSymbolizer/></a>", "got 2"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><RasterSymbolizer/>', "document types"),
        ("<RasterSymbolizer><ShadedRelief/></RasterSymbolizer>", "'ShadedRelief' is not emulated"),
        (
            "<RasterSymbolizer><ContrastEnhancement><Normalize/></ContrastEnhancement></RasterSymbolizer>",
            "'ContrastEnhancement'",
        ),
        ("<RasterSymbolizer><ColorMap type='far'/></RasterSymbolizer>", "Unknown ColorMap type 'far'"),
        ("<RasterSymbolizer><ColorMap/></RasterSymbolizer>", "at least one ColorMapEntry"),
        ("<RasterSymbolizer><ColorMap><Interpolate/></ColorMap></RasterSymbolizer>", "'Interpolate' is not emulated"),
        (
            "<RasterSymbolizer><ColorMap><ColorMapEntry color='#fff' quantity='x'/></ColorMap></RasterSymbolizer>",
            "'quantity'",
        ),
        (
            "<RasterSymbolizer><ColorMap><ColorMapEntry color='blau' quantity='1'/></ColorMap></RasterSymbolizer>",
            "Invalid color",
        ),
        (channels("b", "b", "z"), "Band pattern 'z' did not match"),
        ("<RasterSymbolizer><ChannelSelection/></RasterSymbolizer>", "needs a GrayChannel"),
    ],
)
def test_bad_documents_are_refused(xml, words):
    with pytest.raises(EmulatorError, match=words):
        styled(xml)
