"""What Earth Engine computes: an expression graph with one canonical text and so one digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_ee.core.region import Region

__all__ = ["Expression", "clip", "constant", "invoke", "load_image", "reference", "with_masks"]

Node = Mapping[str, Any]

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


def load_image(asset_id: str) -> Expression:
    """The image asset as an expression."""
    return Expression.parse({"result": "0", "values": {"0": invoke("Image.load", id=constant(asset_id))}})


def clip(expression: Expression, region: Region) -> Expression:
    """The image masked outside ``region``; edges are straight in longitude and latitude."""
    geojson = region.to_geojson()
    geometry = invoke(
        f"GeometryConstructors.{geojson['type']}",
        coordinates=constant(geojson["coordinates"]),
        geodesic=constant(False),
    )
    return expression.wrap("Image.clip", "input", geometry=geometry)


def with_masks(
    expression: Expression, bands: Sequence[str], *, suffix: str, min_mask: float | None = None
) -> Expression:
    """The ``bands`` of an image, followed by one uint8 band each that is 1 where the pixel is valid.

    Earth Engine's NPY has no mask and writes 0 for masked pixels, so validity has to be asked for as pixels of its own.

    Parameters
    ----------
    suffix
        Ending of a mask band's name.
    min_mask
        Lowest mask, a fraction of 1, that is valid; None: any mask above 0.
    """
    graph = expression.graph
    values = dict(graph["values"])
    chosen = _fresh_key(values)
    values[chosen] = invoke("Image.select", input=reference(graph["result"]), bandSelectors=constant(list(bands)))
    compare, limit = ("Image.gt", 0) if min_mask is None else ("Image.gte", min_mask)
    valid = invoke(
        compare,
        image1=invoke("Image.mask", image=reference(chosen)),
        image2=invoke("Image.constant", value=constant(limit)),
    )
    named = invoke(
        "Image.rename", input=invoke("Image.toUint8", value=valid), names=constant([band + suffix for band in bands])
    )
    result = _fresh_key(values)
    values[result] = invoke("Image.addBands", dstImg=reference(chosen), srcImg=named)
    return Expression.parse({"result": result, "values": values})


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
