"""Formulas written as text, such as ``2.5 * (b('NIR') - red) / (nir + 6 * red + 1)``: parsed, then run on images.

The parser puts operators in postfix order with a stack of its own, so that no depth of parentheses can exhaust Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.functions.bands import matching
from airflow_ee.emulator.functions.promote import as_image, registry
from airflow_ee.emulator.session import Session
from airflow_ee.emulator.values.image import Image

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
        |(?P<text>'[^']*'|"[^"]*")
        |(?P<name>[A-Za-z_]\w*)
        |(?P<sign>\*\*|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>!~&|^?:()\[\],.=]))""",
    re.VERBOSE,
)
_BINARY = {
    "**": (11, "pow"), "*": (9, "multiply"), "/": (9, "divide"), "%": (9, "mod"), "+": (8, "add"), "-": (8, "subtract"),
    "<<": (7, "leftShift"), ">>": (7, "rightShift"), "<": (6, "lt"), "<=": (6, "lte"), ">": (6, "gt"), ">=": (6, "gte"),
    "==": (5, "eq"), "!=": (5, "neq"), "&": (4, "bitwiseAnd"), "^": (3.5, "xor"), "|": (3, "bitwiseOr"),
    "&&": (2, "and"), "||": (1, "or"),
}  # fmt: skip
_PREFIX = {"-": "negate", "+": "keep", "!": "not", "~": "bitwiseNot"}
_PREFIX_PRECEDENCE = 10
_CONSTANTS = {"PI": 3.141592653589793, "E": 2.718281828459045}


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction for a machine with a stack of values."""

    kind: str
    value: Any = None
    count: int = 0


class Formula:
    """A parsed formula: a function of images by name."""

    def __init__(self, text: str, argument: str, names: list[str], session: Session) -> None:
        self._argument = argument
        self.argument_names = names
        self._session = session
        self._result_name, body = _assignment(text)
        self._steps = parsed(body)

    def __call__(self, *images: Any) -> Image:
        """Run with positional images."""
        return self.call(dict(zip(self.argument_names, images, strict=False)))

    def call(self, arguments: Mapping[str, Any]) -> Image:
        """Run with images by name."""
        images = {name: as_image(value) for name, value in arguments.items()}
        stack: list[Any] = []
        for step in self._steps:
            stack.append(self._run(step, stack, images))
        result: Image = as_image(stack[-1])
        if self._result_name and len(result.bands) == 1:
            result = self._call("rename", input=result, names=[self._result_name])
        return result

    def _run(self, step: Step, stack: list[Any], images: Mapping[str, Image]) -> Any:
        operands = stack[len(stack) - step.count :] if step.count else []
        del stack[len(stack) - step.count :]
        match step.kind:
            case "number" | "text":
                return step.value
            case "name":
                return self._variable(step.value, images)
            case "bands":
                return self._bands(images[self._argument], operands)
            case "index":
                return self._bands(operands[0], operands[1:])
            case "dot":
                return self._bands(operands[0], [step.value])
            case "choose":
                return self._call("where", input=operands[2], test=operands[0], value=operands[1])
            case "operator":
                return self._operate(step.value, operands)
        return self._function(step.value, operands)

    def _variable(self, name: str, images: Mapping[str, Image]) -> Any:
        if name in images:
            return images[name]
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        raise invalid(f"Image.parseExpression: Unknown variable '{name}'.")

    @staticmethod
    def _bands(image: Image, selectors: list[Any]) -> Image:
        if not selectors:
            return image
        chosen = [band for each in selectors for band in matching(image, each, "Image.expression")]
        return image.with_bands(chosen)

    def _operate(self, name: str, operands: list[Any]) -> Any:
        if name == "xor":
            return self._either(*operands)
        if len(operands) == 2:
            return self._call(name, image1=operands[0], image2=operands[1])
        if name == "keep":
            return operands[0]
        if name == "negate":
            return self._call("multiply", image1=operands[0], image2=-1)
        return self._call(name, value=operands[0])

    def _either(self, one: Any, two: Any) -> Any:
        """Of truth values the logical and the bitwise exclusive or are the same; of others it is open which is meant."""
        one, two = as_image(one), as_image(two)
        if any(not 0 <= limit <= 1 for image in (one, two) for band in image.bands for limit in band.type.range):
            raise invalid("Image.parseExpression: The operator '^' between values other than 0 and 1 is not emulated")
        return self._call("neq", image1=one, image2=two)

    def _function(self, name: str, operands: list[Any]) -> Any:
        if name in ("min", "max") and len(operands) > 2:
            result = operands[0]
            for each in operands[1:]:
                result = self._call(name, image1=result, image2=each)
            return result
        if len(operands) == 2:
            return self._call(name, image1=operands[0], image2=operands[1])
        return self._call(name, value=operands[0])

    def _call(self, name: str, **arguments: Any) -> Any:
        return self._session.call(f"Image.{name}", arguments)


def parsed(text: str) -> list[Step]:
    """A formula in postfix order."""
    return _Parser(text).steps()


def _assignment(text: str) -> tuple[str | None, str]:
    found = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", text, re.DOTALL)
    return (found[1], found[2]) if found else (None, text)


@dataclass(slots=True)
class _Open:
    """A parenthesis, bracket or call that waits for its end."""

    kind: str
    name: str = ""
    commas: int = 0
    empty: bool = True


class _Parser:
    """Dijkstra's shunting yard."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._output: list[Step] = []
        self._operators: list[Any] = []
        self._at = 0

    def steps(self) -> list[Step]:
        """The whole formula in postfix order."""
        operand_before = False
        while self._at < len(self._tokens):
            kind, word = self._tokens[self._at]
            self._at += 1
            operand_before = self._operand(kind, word) if not operand_before else self._after(word)
        self._unwind(0)
        if self._operators or not self._output:
            raise invalid("Image.parseExpression: the formula ends too early.")
        return self._output

    def _operand(self, kind: str, word: str) -> bool:
        """Where a value must begin; True when one has been read whole."""
        if self._operators and isinstance(self._operators[-1], _Open) and word != ")":
            self._operators[-1].empty = False
        if kind == "number":
            value = int(word, 16) if word.startswith("0x") else float(word)
            self._output.append(Step("number", int(value) if float(value).is_integer() and "." not in word else value))
        elif kind == "text":
            self._output.append(Step("text", word[1:-1]))
        elif kind == "name":
            return self._name(word)
        elif word == "(":
            self._operators.append(_Open("group"))
            return False
        elif word in _PREFIX:
            self._operators.append((_PREFIX_PRECEDENCE, Step("operator", _PREFIX[word], 1)))
            return False
        elif word == ")" and self._operators and isinstance(self._operators[-1], _Open):
            self._close(")")
        else:
            raise invalid(f"Image.parseExpression: unexpected '{word}'.")
        return True

    def _name(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][1] == "(":
            self._at += 1
            self._operators.append(_Open("call", word))
            return False
        self._output.append(Step("name", word))
        return True

    def _after(self, word: str) -> bool:
        """Where a value has ended; True when another still has not to begin."""
        if word in _BINARY:
            precedence, name = _BINARY[word]
            self._unwind(precedence if word != "**" else precedence + 0.1)
            self._operators.append((precedence, Step("operator", name, 2)))
            return False
        handlers: dict[str, Callable[[], bool]] = {
            ")": lambda: self._close(")"), "]": lambda: self._close("]"), "[": self._bracket, ",": self._comma,
            ".": self._dot, "?": self._question, ":": self._colon,
        }  # fmt: skip
        if word not in handlers:
            raise invalid(f"Image.parseExpression: unexpected '{word}'.")
        return handlers[word]()

    def _unwind(self, precedence: float) -> None:
        while self._operators and not isinstance(self._operators[-1], _Open):
            if self._operators[-1][0] < precedence:
                return
            self._output.append(self._operators.pop()[1])

    def _open(self, *kinds: str) -> _Open:
        self._unwind(0)
        if not self._operators or self._operators[-1].kind not in kinds:
            raise invalid("Image.parseExpression: parentheses do not match.")
        found: _Open = self._operators[-1]
        return found

    def _close(self, word: str) -> bool:
        opened = self._open(*(("group", "call") if word == ")" else ("index",)))
        self._operators.pop()
        count = 0 if opened.empty else opened.commas + 1
        if opened.kind == "index":
            self._output.append(Step("index", None, count + 1))
        elif opened.kind == "call":
            self._output.append(Step("bands", None, count) if opened.name == "b" else Step("call", opened.name, count))
        elif opened.empty:
            raise invalid("Image.parseExpression: empty parentheses.")
        return True

    def _bracket(self) -> bool:
        self._operators.append(_Open("index"))
        return False

    def _comma(self) -> bool:
        self._open("call", "index").commas += 1
        return False

    def _dot(self) -> bool:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] != "name":
            raise invalid("Image.parseExpression: a band's name must follow '.'.")
        self._output.append(Step("dot", self._tokens[self._at][1], 1))
        self._at += 1
        return True

    def _question(self) -> bool:
        self._unwind(0.5)
        self._operators.append(_Open("choice"))
        return False

    def _colon(self) -> bool:
        self._open("choice")
        self._operators.pop()
        self._operators.append((0.4, Step("choose", None, 3)))
        return False


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise invalid(f"Image.parseExpression: cannot read '{text[at : at + 20]}'.")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


@registry.implements("Image.parseExpression")
def parse_expression(
    expression: str,
    arg_name: str,
    vars: list[Any],
    session: Session,
    map_free_vars_to_default_image_bands: bool = False,
) -> Formula:
    """A function of the images that the formula names."""
    if map_free_vars_to_default_image_bands:
        raise invalid("Image.parseExpression with 'mapFreeVarsToDefaultImageBands' is not emulated")
    return Formula(expression, arg_name, [str(name) for name in vars], session)
