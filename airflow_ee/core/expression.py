"""What Earth Engine computes: an expression graph with one canonical text and so one digest."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_ee.core.region import Region

__all__ = [
    "RESAMPLING",
    "Expression",
    "clip",
    "constant",
    "geometry",
    "invoke",
    "load_image",
    "load_joined",
    "reference",
    "resample",
    "with_masks",
]

Node = Mapping[str, Any]
RESAMPLING = ("nearest", "bilinear", "bicubic")
_CLASSES = re.compile(
    r"(?i)(?:^|[^a-z])(?:qa|scl|qc|quality|mask|class|flags?|lc|lulc)(?:[^a-z]|$)|qa$|^qa|_qa|state_|dayofyear"
)
"""Names of bands whose numbers are codes, bits or days: what lies between two of them means something else."""

_KINDS = frozenset(
    {
        "argumentReference",
        "arrayValue",
        "bytesValue",
        "constantValue",
        "dictionaryValue",
        "functionDefinitionValue",
        "functionInvocationValue",
        "integerValue",
        "valueReference",
    }
)


@dataclass(frozen=True)
class Expression:
    """An expression graph of the REST API: ``{"result": key, "values": {key: node}}``.

    Equality, hash and digest follow the canonical JSON, so two graphs that differ only in the order of keys are one.

    >>> one = Expression.parse({"result": "0", "values": {"0": {"constantValue": 1}}})
    >>> one == Expression.parse('{"values": {"0": {"constantValue": 1}}, "result": "0"}')
    True
    >>> Expression.parse({"a": 1})
    Traceback (most recent call last):
    ValueError: expression is not a graph: it must have "result" and "values", got keys ['a']
    """

    text: str
    """Canonical JSON: sorted keys, no spaces."""

    @classmethod
    def parse(cls, value: Any) -> Expression:
        """Read a REST graph, its JSON text, or an object of the official client (anything with ``serialize()``).

        Raises
        ------
        ValueError
            When it is no graph, names a value that is not there, runs in a circle, or holds NaN or an infinity.
        """
        if isinstance(value, Expression):
            return value
        if isinstance(value, str):
            return cls.parse(_parse_json(value))
        if isinstance(value, Mapping):
            return cls(_canonical(_checked(value)))
        if callable(getattr(value, "serialize", None)) and not isinstance(value, type):
            return cls.parse(_parse_json(value.serialize()))
        raise ValueError(
            "expression must be a REST graph (dict), JSON text, a .json file, an ee object or a callable that returns one, "
            f"got {type(value).__name__}"
        )

    @cached_property
    def graph(self) -> dict[str, Any]:
        """The graph as it goes into a request."""
        graph: dict[str, Any] = json.loads(self.text)
        return graph

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of the canonical text."""
        return len(self.text.encode())

    def wrap(self, function_name: str, argument: str, **arguments: Node) -> Expression:
        """The graph of ``function_name`` applied to this one, which becomes its ``argument``."""
        graph = self.graph
        key = _fresh_key(graph["values"])
        node = invoke(function_name, **{argument: reference(graph["result"])}, **arguments)
        return Expression.parse({"result": key, "values": {**graph["values"], key: node}})

    def __repr__(self) -> str:
        return f"Expression({len(self.graph['values'])} values, {self.digest[:12]})"


def invoke(function_name: str, **arguments: Node) -> dict[str, Any]:
    """A node that applies an algorithm to nodes."""
    return {"functionInvocationValue": {"functionName": function_name, "arguments": dict(arguments)}}


def constant(value: Any) -> dict[str, Any]:
    """A node that is a JSON value."""
    return {"constantValue": value}


def reference(key: str) -> dict[str, Any]:
    """A node that stands for the graph's value ``key``."""
    return {"valueReference": key}


def geometry(geojson: Mapping[str, Any]) -> dict[str, Any]:
    """A node that is a GeoJSON geometry; edges are straight in longitude and latitude, points have none."""
    edges = {} if geojson["type"] in {"Point", "MultiPoint"} else {"geodesic": constant(False)}
    name = f"GeometryConstructors.{geojson['type']}"
    return invoke(name, coordinates=constant(geojson["coordinates"]), **edges)


def load_image(asset_id: str) -> Expression:
    """The image asset as an expression."""
    return Expression.parse({"result": "0", "values": {"0": invoke("Image.load", id=constant(asset_id))}})


def load_joined(parts: Sequence[tuple[str, Sequence[str]]]) -> Expression:
    """Bands of several image assets as one image.

    Parameters
    ----------
    parts
        Asset id and bands of each.
    """
    values: dict[str, Any] = {}
    for index, (asset_id, bands) in enumerate(parts):
        image = invoke("Image.load", id=constant(asset_id))
        chosen = invoke("Image.select", input=image, bandSelectors=constant(list(bands)))
        key = str(index)
        values[key] = (
            chosen if index == 0 else invoke("Image.addBands", dstImg=reference(str(index - 1)), srcImg=chosen)
        )
    return Expression.parse({"result": str(len(parts) - 1), "values": values})


def clip(expression: Expression, region: Region) -> Expression:
    """The image masked outside ``region``; edges are straight in longitude and latitude."""
    return expression.wrap("Image.clip", "input", geometry=geometry(region.to_geojson()))


def resample(expression: Expression, bands: Sequence[str], method: str) -> Expression:
    """The ``bands`` of an image, read between pixels by ``bilinear`` or ``bicubic``; bands of codes and bits stay nearest.

    >>> image = load_image("MODIS/061/MOD13Q1/2020_06_09")
    >>> resample(image, ["SummaryQA"], "bilinear") == image
    True

    Raises
    ------
    ValueError
        When ``method`` is none of these.
    """
    if method not in RESAMPLING:
        raise ValueError(f"resampling must be one of {', '.join(RESAMPLING)}, got {method!r}")
    continuous = [band for band in bands if not _CLASSES.search(band)]
    if method == "nearest" or not continuous:
        return expression
    graph = expression.graph
    values = dict(graph["values"])

    def chosen(names: Sequence[str]) -> dict[str, Any]:
        return invoke("Image.select", input=reference(graph["result"]), bandSelectors=constant(list(names)))

    smooth = invoke("Image.resample", image=chosen(continuous), mode=constant(method))
    codes = [band for band in bands if band not in continuous]
    both = invoke("Image.addBands", dstImg=smooth, srcImg=chosen(codes)) if codes else smooth
    key = _fresh_key(values)
    values[key] = invoke("Image.select", input=both, bandSelectors=constant(list(bands)))
    return Expression.parse({"result": key, "values": values})


def with_masks(
    expression: Expression,
    bands: Sequence[str],
    mask_bands: Sequence[str],
    *,
    fraction: bool = False,
    min_mask: float | None = None,
) -> Expression:
    """The ``bands`` of an image, followed by their masks as bands of their own.

    Earth Engine's NPY has no mask and writes 0 for masked pixels, so validity has to be asked for as pixels.

    Parameters
    ----------
    mask_bands
        Names of the masks of the first bands, one each; one alone serves for bands that are all masked alike.
    fraction
        Masks are float32 of 0 to 1, as Earth Engine has them; else uint8, 1 where the pixel is valid.
    min_mask
        Lowest mask, a fraction of 1, that is valid; None: any mask above 0.
    """
    graph = expression.graph
    values = dict(graph["values"])
    chosen = _fresh_key(values)
    values[chosen] = invoke("Image.select", input=reference(graph["result"]), bandSelectors=constant(list(bands)))
    first = constant(list(bands[: len(mask_bands)]))
    mask = invoke("Image.mask", image=invoke("Image.select", input=reference(chosen), bandSelectors=first))
    masks = (
        invoke("Image.toFloat", value=mask) if fraction else invoke("Image.toUint8", value=_reaching(mask, min_mask))
    )
    named = invoke("Image.rename", input=masks, names=constant(list(mask_bands)))
    result = _fresh_key(values)
    values[result] = invoke("Image.addBands", dstImg=reference(chosen), srcImg=named)
    return Expression.parse({"result": result, "values": values})


def _reaching(mask: Node, min_mask: float | None) -> Node:
    compare, limit = ("Image.gt", 0) if min_mask is None else ("Image.gte", min_mask)
    return invoke(compare, image1=mask, image2=invoke("Image.constant", value=constant(limit)))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise ValueError(f"expression is not JSON: {problem}; a file must end in .json") from None


def _canonical(graph: Mapping[str, Any]) -> str:
    return json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _checked(graph: Mapping[str, Any]) -> dict[str, Any]:
    if "result" not in graph or not isinstance(graph.get("values"), Mapping):
        raise ValueError(
            f'expression is not a graph: it must have "result" and "values", got keys {sorted(graph)[:10]}'
        )
    result, values = graph["result"], graph["values"]
    if result not in values:
        raise ValueError(f"expression: result {result!r} is not among its values")
    edges = {key: tuple(_references(key, node)) for key, node in values.items()}
    for key, targets in edges.items():
        for target in targets:
            if target not in values:
                raise ValueError(f"expression: value {key!r} refers to {target!r}, which is not there")
    _refuse_circles(edges)
    return {"result": result, "values": dict(values)}


def _references(key: str, node: Any) -> Iterable[str]:
    """Keys that a node refers to; walks with a stack, because graphs of real scripts are deep."""
    stack = [node]
    while stack:
        item = stack.pop()
        if not isinstance(item, Mapping) or len(item) != 1 or not _KINDS.issuperset(item):
            raise ValueError(
                f"expression: value {key!r} holds a node that must have exactly one kind, got {str(item)[:120]}"
            )
        ((kind, content),) = item.items()
        match kind:
            case "valueReference":
                yield content
            case "constantValue":
                _refuse_nan(key, content)
            case "functionDefinitionValue":
                yield _field(key, content, "body")
            case "functionInvocationValue":
                if "functionReference" in content:
                    yield content["functionReference"]
                elif not isinstance(content, Mapping) or not isinstance(content.get("functionName"), str):
                    raise ValueError(f"expression: value {key!r} calls a function without a functionName")
                stack.extend(dict(content.get("arguments") or {}).values())
            case "arrayValue":
                stack.extend(_field(key, content, "values"))
            case "dictionaryValue":
                stack.extend(dict(_field(key, content, "values")).values())


def _field(key: str, content: Any, name: str) -> Any:
    if not isinstance(content, Mapping) or name not in content:
        raise ValueError(f"expression: value {key!r} holds a node without {name!r}")
    return content[name]


def _refuse_nan(key: str, constant_value: Any) -> None:
    stack = [constant_value]
    while stack:
        item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"expression: value {key!r} holds {item}, which JSON and Earth Engine cannot carry")
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _refuse_circles(edges: Mapping[str, Sequence[str]]) -> None:
    """Depth-first walk with colours: a value met again while it is open is a circle."""
    done: set[str] = set()
    for start in edges:
        stack, open_keys = [(start, iter(edges[start]))], {start}
        while stack:
            key, targets = stack[-1]
            target = next((item for item in targets if item not in done), None)
            if target is None:
                stack.pop()
                open_keys.discard(key)
                done.add(key)
            elif target in open_keys:
                raise ValueError(f"expression: value {target!r} depends on itself")
            else:
                open_keys.add(target)
                stack.append((target, iter(edges[target])))


def _fresh_key(values: Mapping[str, Any]) -> str:
    number = len(values)
    while str(number) in values:
        number += 1
    return str(number)
