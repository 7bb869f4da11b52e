"""Expression graphs: JSON to a program of flat nodes, and the program to a value. Neither step recurses.

A lambda's body is evaluated anew for each call, in the lambda's own scope, since sibling lambdas reuse argument names. What
does not depend on an argument is evaluated once for all calls. Of an ``If``, only the chosen value is evaluated.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from airflow_ee.emulator import deadline
from airflow_ee.emulator.errors import EmulatorError, field_violation, invalid
from airflow_ee.emulator.pixels.types import is_whole
from airflow_ee.emulator.values.equality import truth

MAX_DEPTH = 100
"""Nodes written inside one another; references do not count."""

MAX_CALL_DEPTH = 40
"""Lambdas called from within lambdas."""

Call = Callable[[str, Mapping[str, Any]], Any]


@dataclass(slots=True)
class Node:
    """One step of a program."""

    kind: str
    children: list[int] = field(default_factory=list)
    payload: Any = None
    free: frozenset[str] = frozenset()
    """Arguments of enclosing lambdas that the value depends on."""


@dataclass(frozen=True, slots=True)
class Program:
    """Nodes, an order in which children come first, and which node is the answer."""

    nodes: Sequence[Node]
    order: Sequence[int]
    result: int


def compile_graph(expression: Mapping[str, Any]) -> Program:
    """Check an expression and lay it flat."""
    if not isinstance(expression, Mapping):
        raise _malformed("expression", expression)
    return _Compiler(expression).program()


class _Compiler:
    """Turns the nodes of ``values``, and those written inside them, into one list."""

    def __init__(self, expression: Mapping[str, Any]) -> None:
        values, result = expression.get("values"), expression.get("result")
        if not isinstance(values, Mapping) or not isinstance(result, str):
            raise invalid("Expression must have 'values' and a 'result' that names one of them.")
        self._values = values
        self._result = result
        self._nodes: list[Node] = []
        self._named: dict[str, int] = {}
        self._pending: list[tuple[Mapping[str, Any], int, int]] = []

    def program(self) -> Program:
        """The whole program; values that the result does not need are not even looked at."""
        result = self._reference(self._result)
        while self._pending:
            json, index, depth = self._pending.pop()
            if depth > MAX_DEPTH:
                raise invalid(f"Expression is nested too deeply: the maximum depth is {MAX_DEPTH}.")
            self._fill(self._nodes[index], json, depth)
        order = self._ordered()
        for index in order:
            self._nodes[index].free = self._free(self._nodes[index])
        if self._nodes[result].free:
            raise invalid(f"Argument reference outside of its function: {', '.join(sorted(self._nodes[result].free))}.")
        return Program(self._nodes, order, result)

    def _reference(self, key: str) -> int:
        if key not in self._named:
            if key not in self._values:
                raise invalid(f"Expression: value '{key}' is referenced but not defined.")
            self._named[key] = self._node(self._values[key], 1)
        return self._named[key]

    def _node(self, json: Any, depth: int) -> int:
        if not isinstance(json, Mapping) or len(json) != 1:
            raise field_violation("expression", "A ValueNode must have exactly one of its fields set.")
        self._nodes.append(Node("", []))
        self._pending.append((json, len(self._nodes) - 1, depth))
        return len(self._nodes) - 1

    def _fill(self, node: Node, json: Mapping[str, Any], depth: int) -> None:
        (kind, payload), *_ = json.items()
        handler = _KINDS.get(kind)
        expected = _PAYLOADS.get(kind, object)
        if handler is not None and not isinstance(payload, expected):
            raise _malformed(kind, payload)
        if handler is None:
            message = (
                f"Invalid JSON payload received. Unknown name \"{kind}\" at 'expression.values': Cannot find field."
            )
            raise field_violation("expression.values", message)
        node.kind = kind
        handler(self, node, payload, depth + 1)

    def constant(self, node: Node, payload: Any, _: int) -> None:
        """A literal."""
        node.payload = _literal(payload)

    def integer(self, node: Node, payload: Any, _: int) -> None:
        """A whole number beyond a double's reach, written as text."""
        try:
            node.kind, node.payload = "constantValue", int(payload)
        except ValueError:
            raise _malformed("integerValue", payload) from None
        if not -(2**63) <= node.payload < 2**63:
            raise _malformed("integerValue", payload)

    def raw_bytes(self, node: Node, payload: str, _: int) -> None:
        """Bytes in base 64."""
        try:
            node.kind, node.payload = "constantValue", base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Expression: bytesValue is not base64.") from None

    def array(self, node: Node, payload: Mapping[str, Any], depth: int) -> None:
        """A list of nodes."""
        node.children = [self._node(each, depth) for each in _part(payload, "arrayValue", "values", list)]

    def dictionary(self, node: Node, payload: Mapping[str, Any], depth: int) -> None:
        """Nodes by name."""
        members = _part(payload, "dictionaryValue", "values", dict)
        node.payload, node.children = list(members), [self._node(each, depth) for each in members.values()]

    def reference(self, node: Node, payload: str, _: int) -> None:
        """Another value of the graph."""
        node.children = [self._reference(payload)]

    def argument(self, node: Node, payload: str, _: int) -> None:
        """An argument of an enclosing lambda."""
        node.payload = payload

    def definition(self, node: Node, payload: Mapping[str, Any], _: int) -> None:
        """A lambda."""
        names = _part(payload, "functionDefinitionValue", "argumentNames", list)
        if not all(isinstance(name, str) for name in names):
            raise _malformed("functionDefinitionValue.argumentNames", names)
        node.payload = list(names)
        node.children = [self._reference(_part(payload, "functionDefinitionValue", "body", str))]

    def invocation(self, node: Node, payload: Mapping[str, Any], depth: int) -> None:
        """A call of an algorithm by name, or of a value that is a function."""
        arguments = _part(payload, "functionInvocationValue", "arguments", dict)
        node.children = [self._node(each, depth) for each in arguments.values()]
        if "functionReference" in payload:
            node.children.insert(0, self._reference(_part(payload, node.kind, "functionReference", str)))
        elif "functionName" not in payload:
            raise invalid("Expression: a functionInvocationValue needs functionName or functionReference.")
        name = _part(payload, node.kind, "functionName", str) if "functionName" in payload else None
        node.payload = (name, list(arguments))

    def _free(self, node: Node) -> frozenset[str]:
        if node.kind == "argumentReference":
            return frozenset({node.payload})
        below = frozenset().union(*(self._nodes[child].free for child in node.children))
        return below - frozenset(node.payload) if node.kind == "functionDefinitionValue" else below

    def _ordered(self) -> list[int]:
        """Children first; a cycle is refused."""
        order: list[int] = []
        state = [0] * len(self._nodes)  # 0 unseen, 1 open, 2 done
        for root in range(len(self._nodes)):
            stack = [root]
            while stack:
                index = stack[-1]
                if state[index] == 0:
                    state[index] = 1
                    if any(state[child] == 1 for child in self._nodes[index].children):
                        raise invalid("Expression contains a cycle.")
                    stack += [child for child in self._nodes[index].children if state[child] == 0]
                else:
                    stack.pop()
                    if state[index] == 1:
                        state[index] = 2
                        order.append(index)
        return order


def _part(payload: Mapping[str, Any], kind: str, name: str, expected: type[Part]) -> Part:
    """A field of a node, empty where it is left out as proto3 leaves out what is empty."""
    part = payload.get(name, expected())
    if not isinstance(part, expected):
        raise _malformed(f"{kind}.{name}", part)
    return part


def _malformed(field: str, found: object) -> EmulatorError:
    return field_violation("expression.values", f"Invalid value at 'expression.values' ({field}), {str(found)[:80]}")


Part = TypeVar("Part", list[Any], dict[str, Any], str)

_PAYLOADS: dict[str, type | tuple[type, ...]] = {
    "integerValue": (str, int),
    "bytesValue": str,
    "arrayValue": Mapping,
    "dictionaryValue": Mapping,
    "valueReference": str,
    "argumentReference": str,
    "functionDefinitionValue": Mapping,
    "functionInvocationValue": Mapping,
}

_KINDS: dict[str, Callable[[_Compiler, Node, Any, int], None]] = {
    "constantValue": _Compiler.constant,
    "integerValue": _Compiler.integer,
    "bytesValue": _Compiler.raw_bytes,
    "arrayValue": _Compiler.array,
    "dictionaryValue": _Compiler.dictionary,
    "valueReference": _Compiler.reference,
    "argumentReference": _Compiler.argument,
    "functionDefinitionValue": _Compiler.definition,
    "functionInvocationValue": _Compiler.invocation,
}


def _literal(value: Any, depth: int = 1) -> Any:
    """JSON knows doubles only: a whole double is a whole number, within lists and dictionaries too."""
    if depth > MAX_DEPTH:
        raise invalid(f"Expression is nested too deeply: the maximum depth is {MAX_DEPTH}.")
    if isinstance(value, float):
        return int(value) if is_whole(value) and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_literal(each, depth + 1) for each in value]
    return {key: _literal(each, depth + 1) for key, each in value.items()} if isinstance(value, dict) else value


def _is_choice(node: Node) -> bool:
    if node.kind != "functionInvocationValue" or node.payload[0] != "If":
        return False
    return "condition" in node.payload[1] and {"condition", "trueCase", "falseCase"}.issuperset(node.payload[1])


class Closure:
    """A lambda with the arguments of the lambdas around it."""

    def __init__(self, evaluator: Evaluator, node: Node, scope: Mapping[str, Any]) -> None:
        self._evaluator = evaluator
        self._body = node.children[0]
        self.argument_names: list[str] = node.payload
        self._scope = scope

    def __call__(self, *values: Any) -> Any:
        """Evaluate the body with positional arguments."""
        return self.call(dict(zip(self.argument_names, values, strict=False)))

    def passes(self, through: Mapping[str, str]) -> bool:
        """Whether the first argument reaches the result by these algorithms only, in the argument named for each."""
        node = self._evaluator.node(self._body)
        while node.kind != "argumentReference":
            name, arguments = node.payload if node.kind == "functionInvocationValue" else (None, [])
            if node.kind == "valueReference":
                node = self._evaluator.node(node.children[0])
            elif name in through and through[name] in arguments:
                node = self._evaluator.node(node.children[arguments.index(through[name])])
            else:
                return False
        return bool(self.argument_names) and node.payload == self.argument_names[0]

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Evaluate the body with named arguments."""
        missing = [name for name in self.argument_names if name not in arguments]
        if missing:
            raise invalid(
                f"A function of {len(self.argument_names)} arguments was called without {', '.join(missing)}."
            )
        return self._evaluator.evaluate(self._body, {**self._scope, **arguments})


class Evaluator:
    """Runs a program. ``call`` runs an algorithm by name."""

    def __init__(self, program: Program, call: Call) -> None:
        self._nodes = program.nodes
        self._result = program.result
        self._call = call
        self._shared: dict[int, Any] = {}
        self._depth = 0
        self._uses = self._count_uses(program)

    def node(self, index: int) -> Node:
        """A node of the program."""
        return self._nodes[index]

    def run(self) -> Any:
        """The program's result."""
        return self.evaluate(self._result, {})

    def _count_uses(self, program: Program) -> dict[int, int]:
        """How often each value is read, for those that no lambda's body reads again and again."""
        uses = dict.fromkeys(range(len(self._nodes)), 0)
        uses[program.result] += 1
        for node in self._nodes:
            for child in node.children:
                uses[child] += 1
                if node.free or node.kind == "functionDefinitionValue":
                    uses[child] += len(self._nodes)  # never falls to zero
        return uses

    def evaluate(self, root: int, scope: Mapping[str, Any]) -> Any:
        """The value of a node where the arguments in ``scope`` are known."""
        deadline.check()  # lambdas that call one another need no algorithm for 2^40 steps
        self._depth += 1
        if self._depth > MAX_CALL_DEPTH:
            raise invalid(f"Expression: functions are nested too deeply (maximum {MAX_CALL_DEPTH}).")
        local: dict[int, Any] = {}
        stack = [root]
        while stack:
            index = stack.pop()
            if index in self._shared or index in local:
                continue
            node = self._nodes[index]
            missing = self._missing(node, local)
            if missing:
                stack += [index, *missing]
                continue
            known = local if node.free else self._shared
            known[index] = self._value(node, [self._take(child, local) for child in self._needs(node, local)], scope)
        self._depth -= 1
        return self._take(root, local)

    def _needs(self, node: Node, local: Mapping[int, Any]) -> list[int]:
        if node.kind == "functionDefinitionValue":
            return []
        return self._choice(node, local) if _is_choice(node) else node.children

    def _choice(self, node: Node, local: Mapping[int, Any]) -> list[int]:
        """The condition, and once that is known the chosen value: the other one may well fail."""
        given = dict(zip(node.payload[1], node.children, strict=True))
        condition = given["condition"]
        if condition not in local and condition not in self._shared:
            return [condition]
        holds = truth(local[condition] if condition in local else self._shared[condition])
        chosen = "trueCase" if holds else "falseCase"
        return [condition, given[chosen]] if chosen in given else [condition]

    def _missing(self, node: Node, local: Mapping[int, Any]) -> list[int]:
        return [child for child in self._needs(node, local) if child not in self._shared and child not in local]

    def _take(self, index: int, local: Mapping[int, Any]) -> Any:
        """A known value; after its last use it is forgotten."""
        if index in local:
            return local[index]
        value = self._shared[index]
        self._uses[index] -= 1
        if not self._uses[index]:
            del self._shared[index]
        return value

    def _value(self, node: Node, children: list[Any], scope: Mapping[str, Any]) -> Any:
        match node.kind:
            case "constantValue":
                return node.payload
            case "arrayValue":
                return children
            case "dictionaryValue":
                return dict(zip(node.payload, children, strict=True))
            case "valueReference":
                return children[0]
            case "argumentReference":
                return scope[node.payload]
            case "functionDefinitionValue":
                return Closure(self, node, scope)
            case _:
                return self._invoke(node, children)

    def _invoke(self, node: Node, children: list[Any]) -> Any:
        if _is_choice(node):
            return children[1] if len(children) == 2 else None
        name, argument_names = node.payload
        if name is not None:
            return self._call(name, dict(zip(argument_names, children, strict=True)))
        function, *values = children
        arguments = dict(zip(argument_names, values, strict=True))
        if isinstance(function, str):
            return self._call(function, arguments)
        if not hasattr(function, "call"):
            raise invalid("Expression: functionReference does not name a function.")
        return function.call(arguments)
