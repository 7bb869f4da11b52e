"""What clients ask first: the discovery document, and the signatures of the algorithms."""

from __future__ import annotations

import importlib.util
import inspect
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from airflow_ee.emulator.api.calls import Answer, Call
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.session import Session

_TYPES = {"str": "String", "int": "Integer", "float": "Number", "bool": "Boolean", "list": "List", "dict": "Dictionary"}


@cache
def discovery_document(version: str) -> dict[str, Any]:
    """A document that is enough for Google's own Python client."""
    text = (files(__package__) / "discovery.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text.replace('"v1/', f'"{version}/'))
    if version == "v1alpha":
        methods = document["resources"]["projects"]["resources"]["image"]["methods"]
        methods["importExternal"] = json.loads(json.dumps(methods["import"]).replace("import", "importExternal"))
    return {**document, "version": version}


def list_algorithms(_call: Call, _session: Session) -> Answer:
    """Every signature, whether it can be evaluated here or not: clients build their methods from them."""
    return Answer({"algorithms": signatures()})


@cache
def signatures() -> list[dict[str, Any]]:
    """The signatures that come with an installed client, read as data; without one, those of this registry."""
    spec = importlib.util.find_spec("ee")
    if spec is not None and spec.origin is not None:
        recorded = Path(spec.origin).parent / "tests" / "algorithms.json"
        if recorded.is_file():
            algorithms: list[dict[str, Any]] = json.loads(recorded.read_text(encoding="utf-8"))["algorithms"]
            return algorithms
    return own_signatures()


def own_signatures() -> list[dict[str, Any]]:
    """Signatures made from the functions that are evaluated here."""
    return [_signature(name) for name in registry.names]


def _signature(name: str) -> dict[str, Any]:
    signature = registry.signature(name)
    public = dict(zip(registry.argument_names(name), _arguments(signature), strict=True))
    arguments = [_argument(argument, parameter) for argument, parameter in public.items()]
    returned = _type(signature.return_annotation)
    return {"name": f"algorithms/{name}", "description": "", "returnType": returned, "arguments": arguments}


def _arguments(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [each for each in signature.parameters.values() if each.annotation != "Session"]


def _argument(name: str, parameter: inspect.Parameter) -> dict[str, Any]:
    shown = {"argumentName": name, "type": _type(parameter.annotation), "description": ""}
    if parameter.default is inspect.Parameter.empty:
        return shown
    return {**shown, "optional": True, "defaultValue": parameter.default}


def _type(annotation: Any) -> str:
    """The public type behind an annotation, which is text in every module here."""
    name = str(annotation).split("|")[0].split("[")[0].strip()
    return _TYPES.get(name, "Object" if name in ("Any", "None") else name)
