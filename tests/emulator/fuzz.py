"""Random requests: graphs of random algorithms with plausible arguments, and real requests that were tampered with.

Everything follows from a seed, so that a case that breaks the emulator can be made again.
"""

import copy
import json
from random import Random

PLACES = [[-2.0, 49.0], [0.0, 0.0], [180.0, 0.0], [-180.0, 89.9], [11.1, 47.2], [1e6, 3.0], [0.0, 90.0]]
IMAGES = ["MODIS/061/MOD13Q1/2023_06_10", "MODIS/061/MOD13Q1/2023_01_01", "no/such/image", "", "../../etc/passwd"]
COLLECTIONS = ["MODIS/061/MOD13Q1", "COPERNICUS/S2_SR_HARMONIZED", "no/such", ""]
NUMBERS = [0, 1, -1, 2, 3, 0.5, -0.5, 7, 100, 255, 256, 1e-9, 1e9, 1e18, -1e18, 2**31, 2**53, 1e308, 30, 90, 180, 360]
TEXTS = ["", "a", "NDVI", "system:index", "EPSG:4326", "EPSG:32632", "yyyy-MM-dd", "day", "year", "[", "(", "*", "%d", "é", "0",
         "2023-06-10", "b(0)+1", "mean", "2023-06-10T10:00:00", "UTC", "Europe/Berlin", "int8", "x" * 300]  # fmt: skip
MAX_DEPTH = 4

BODIES = {
    "computePixels": lambda graph: {
        "expression": graph, "fileFormat": "NPY",
        "grid": {"crsCode": "EPSG:32632", "dimensions": {"width": 9, "height": 7},
                 "affineTransform": {"scaleX": 30.0, "translateX": 600000.0, "scaleY": -30.0, "translateY": 5200000.0}},
    },
    "value": lambda graph: {"expression": graph},
}  # fmt: skip


def invocation(name, arguments):
    """A call as a node."""
    return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}


def constant(value):
    """A literal as a node."""
    return {"constantValue": value}


class Graphs:
    """Makes random expressions from signatures as ``algorithms.list`` shows them."""

    def __init__(self, signatures, names, seed):
        self._random = Random(seed)
        known = {each["name"].removeprefix("algorithms/"): each for each in signatures}
        self._signatures = {name: known[name] for name in names if name in known}
        self._names = sorted(self._signatures)
        self._by_type = {}
        for name in self._names:
            self._by_type.setdefault(base(self._signatures[name]["returnType"]), []).append(name)

    def expression(self):
        """One expression."""
        return {"result": "0", "values": {"0": self.call(self._random.choice(self._names), 0)}}

    def call(self, name, depth):
        """A call of an algorithm; now and then an argument is missing, or is one that there is not."""
        arguments = {}
        for each in self._signatures[name].get("arguments", []):
            if each.get("optional") and self._random.random() < 0.6:
                continue
            if self._random.random() < 0.02:
                continue
            arguments[each["argumentName"]] = self.value(each["type"], depth + 1)
        if self._random.random() < 0.01:
            arguments["surprise"] = constant(1)
        return invocation(name, arguments)

    def value(self, kind, depth):
        """A value of a kind, or in one of ten cases of any kind at all."""
        random = self._random
        if random.random() < 0.1:
            kind = random.choice(["Number", "String", "List<Object>", "Image", "Feature", "Geometry", "null", "Date"])
        makers = self._by_type.get(base(kind), [])
        if makers and depth < MAX_DEPTH and random.random() < 0.4:
            return self.call(random.choice(makers), depth)
        return self._plain(kind, depth)

    def _plain(self, kind, depth):
        maker = getattr(self, f"_{base(kind).lower()}", None)
        return maker(kind, depth) if maker else self._object(kind, depth)

    def _object(self, _kind, depth):
        return self._plain(
            self._random.choice(["Number", "String", "List<Number>", "Dictionary<Object>", "null"]), depth + 1
        )

    def _null(self, _kind, _depth):
        return constant(None)

    def _number(self, _kind, _depth):
        return constant(self._random.choice(NUMBERS))

    _integer = _long = _float = _number

    def _string(self, _kind, _depth):
        return constant(self._random.choice(TEXTS))

    def _boolean(self, _kind, _depth):
        return constant(self._random.choice([True, False, 0, 1]))

    def _list(self, kind, depth):
        inner = kind[5:-1] if kind.startswith("List<") else "Object"
        size = self._random.choice([0, 1, 2, 3, 6])
        return {"arrayValue": {"values": [self.value(inner, depth + 1) for _ in range(size)]}}

    def _dictionary(self, _kind, depth):
        keys = self._random.sample(TEXTS, self._random.choice([0, 1, 3]))
        return {"dictionaryValue": {"values": {key: self.value("Object", depth + 1) for key in keys}}}

    def _array(self, _kind, _depth):
        nested = self._random.choice([[], [1, 2, 3], [[1, 2], [3, 4]], [[1.5], [-2]], [[[1]]], [[1, 2], [3]]])
        return invocation("Array", {"values": constant(nested)})

    def _image(self, _kind, depth):
        pick = self._random.random()
        if pick < 0.3:
            return invocation("Image.load", {"id": constant(self._random.choice(IMAGES[:2]))})
        if pick < 0.35:
            return invocation("Image.load", {"id": constant(self._random.choice(IMAGES))})
        if pick < 0.5:
            return invocation("Image.pixelLonLat", {})
        return invocation(
            "Image.constant", {"value": self.value(self._random.choice(["Number", "List<Number>"]), depth + 1)}
        )

    def _imagecollection(self, _kind, depth):
        if self._random.random() < 0.5:
            loaded = invocation("ImageCollection.load", {"id": constant(self._random.choice(COLLECTIONS))})
            return invocation(
                "Collection.limit", {"collection": loaded, "limit": constant(self._random.choice([0, 1, 3]))}
            )
        return invocation("ImageCollection.fromImages", {"images": self._list("List<Image>", depth)})

    def _featurecollection(self, _kind, depth):
        return invocation("Collection", {"features": self._list("List<Feature>", depth)})

    def _collection(self, kind, depth):
        return self._random.choice([self._featurecollection, self._imagecollection])(kind, depth)

    def _feature(self, _kind, depth):
        return invocation("Feature", {"geometry": self._geometry("", depth), "metadata": self._dictionary("", depth)})

    def _element(self, kind, depth):
        return self._random.choice([self._feature, self._image])(kind, depth)

    def _geometry(self, _kind, _depth):
        random = self._random
        point = random.choice(PLACES)
        size = random.choice([0.001, 0.01, 1, 170])
        ring = [
            point,
            [point[0] + size, point[1]],
            [point[0] + size, point[1] - size],
            [point[0], point[1] - size],
            point,
        ]
        kind, coordinates = random.choice(
            [
                ("Point", point),
                ("LineString", [point, PLACES[1]]),
                ("Polygon", [ring]),
                ("Polygon", []),
                ("MultiPoint", PLACES[:2]),
            ]
        )
        return invocation(f"GeometryConstructors.{kind}", {"coordinates": constant(coordinates)})

    _rectangle = _geometry

    def _projection(self, _kind, _depth):
        return invocation(
            "Projection",
            {"crs": constant(self._random.choice(["EPSG:4326", "EPSG:32632", "SR-ORG:6974", "EPSG:1", ""]))},
        )

    def _errormargin(self, _kind, _depth):
        return invocation("ErrorMargin", {"value": constant(self._random.choice([0, 1, 100]))})

    def _date(self, _kind, _depth):
        return invocation(
            "Date", {"value": constant(self._random.choice([0, 1.7e12, -1e15, 1e17, "2023-06-10", "no date"]))}
        )

    def _daterange(self, _kind, _depth):
        return invocation("DateRange", {"start": self._date("", 0), "end": self._date("", 0)})

    def _algorithm(self, _kind, depth):
        body = self.call(self._random.choice(self._names), max(depth, MAX_DEPTH - 1))
        return {"functionDefinitionValue": {"argumentNames": ["_MAPPING_VAR_0_0"], "body": body}}


def base(kind):
    """A type's own name: ``List`` of ``List<Float>``."""
    return {"<any>": "Object"}.get(kind, kind.split("<")[0])


def flat(expression):
    """Bodies of lambdas written in place become values of their own, as the format wants it."""
    values = dict(expression["values"])

    def visit(node):
        if isinstance(node, dict):
            definition = node.get("functionDefinitionValue")
            if definition and isinstance(definition["body"], dict):
                key = str(len(values))
                values[key] = None
                values[key] = visit(definition["body"])
                return {"functionDefinitionValue": {**definition, "body": key}}
            return {key: visit(value) for key, value in node.items()}
        return [visit(each) for each in node] if isinstance(node, list) else node

    values["0"] = visit(values["0"])
    return {"result": "0", "values": values}


ODDITIES = [
    None,
    0,
    -1,
    1e400,
    "",
    "x",
    [],
    {},
    [[]],
    {"value": {}},
    True,
    "../..",
    "\x00",
    "9" * 400,
    2**70,
    {"values": {}},
    "0",
]


def tampered(document, random):
    """A copy with one to three things changed: removed, replaced, renamed, doubled or swapped."""
    copied = copy.deepcopy(document)
    for _ in range(random.randint(1, 3)):
        places = list(_places(copied))
        if not places:
            return copied
        holder, key = random.choice(places)
        _tamper(holder, key, random, places)
    return copied


def _tamper(holder, key, random, places):
    act = random.choice(["remove", "replace", "replace", "rename", "swap"])
    if act == "replace":
        holder[key] = copy.deepcopy(random.choice(ODDITIES))
    elif act == "remove":
        del holder[key]
    elif act == "rename" and isinstance(holder, dict):
        holder[random.choice(["surprise", "constantValue", "grid", "values", "functionName"])] = holder.pop(key)
    else:
        other, other_key = random.choice(places)
        holder[key] = copy.deepcopy(other[other_key])


def _places(node):
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        yield from _places(node[key])


def as_body(document):
    """JSON as bytes; endless numbers are written as Python writes them, which no JSON reader takes."""
    return json.dumps(document).encode()
