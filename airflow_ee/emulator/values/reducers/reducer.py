"""Reducers: steps side by side, each with its share of the inputs. One reducer serves lists, tables, regions and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airflow_ee.emulator.errors import invalid
from airflow_ee.emulator.pixels.types import DOUBLE, PixelType
from airflow_ee.emulator.values.reducers.column import Column
from airflow_ee.emulator.values.reducers.kernel import Kernel, Layers, Output, Pixels, check_width


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel of a reducer and the inputs that it takes."""

    kernel: Kernel
    inputs: tuple[int, ...]
    weighted: bool
    weights: tuple[int, ...] = ()
    """For split weights: the inputs that weigh the others, as many as those."""

    def shifted(self, by: int) -> Step:
        """The same step over later inputs."""
        return replace(self, inputs=tuple(i + by for i in self.inputs), weights=tuple(i + by for i in self.weights))

    def on_columns(self, columns: Sequence[Column]) -> list[Any]:
        """The results over rows."""
        chosen = [columns[i] for i in self.inputs]
        if not self.kernel.takes_arrays and any(column.values.ndim > 1 for column in chosen):
            raise invalid(f"{self.kernel.label}: Cannot convert Array to Number.")
        if self.weights:
            chosen = [_weighed(one, columns[two]) for one, two in zip(chosen, self.weights, strict=True)]
        return self.kernel.on_columns(chosen, weighted=self.weighted)

    def on_layers(self, inputs: Sequence[Layers]) -> list[Pixels]:
        """The results at every pixel."""
        chosen = [inputs[i] for i in self.inputs]
        if self.weights:
            chosen = [_weighed_layers(one, inputs[two]) for one, two in zip(chosen, self.weights, strict=True)]
        return self.kernel.on_layers(chosen, weighted=self.weighted)


def _weighed(column: Column, weights: Column) -> Column:
    counted = column.counted & weights.counted
    return replace(column, weights=np.where(counted, np.maximum(weights.numbers("Reducer.splitWeights"), 0.0), 0.0))


def _weighed_layers(layers: Layers, weights: Layers) -> Layers:
    pairs = zip(layers, weights, strict=True)
    return [one._replace(mask=np.where((one.mask > 0) & (two.mask > 0), two.values, 0.0)) for one, two in pairs]


@dataclass(frozen=True, slots=True)
class Reducer:
    """Steps in order; their results one after the other are the reducer's.

    A result whose name is empty is left out.
    """

    steps: tuple[Step, ...]
    input_count: int
    names: tuple[str, ...]
    description: Mapping[str, Any] = field(default_factory=lambda: {"type": "Reducer"})
    """How ``getInfo`` shows the reducer."""

    @classmethod
    def of(cls, kernel: Kernel, description: Mapping[str, Any] | None = None) -> Reducer:
        """A reducer of one step that takes all the inputs."""
        step = Step(kernel, tuple(range(kernel.input_count)), kernel.weighted)
        names = tuple(output.name for output in kernel.outputs)
        return cls((step,), kernel.input_count, names, description or {"type": kernel.label})

    @property
    def label(self) -> str:
        """What messages call it."""
        return str(self.description["type"])

    @property
    def output_names(self) -> list[str]:
        """Names of the results."""
        return [name for name in self.names if name]

    @property
    def weighted_inputs(self) -> list[bool]:
        """Of each input, whether any step weighs it."""
        heavy = {i for step in self.steps if step.weighted and not step.weights for i in step.inputs}
        return [i in heavy for i in range(self.input_count)]

    def renamed(self, names: Sequence[str]) -> Reducer:
        """The same results under other names."""
        if len(names) != len(self.names):
            raise invalid(f"Reducer.setOutputs: Need {len(self.names)} output names, got {len(names)}.")
        kept = [str(name) for name in names if name]
        if len(set(kept)) != len(kept):
            raise invalid(f"Reducer: Output names must differ, got {kept}.")
        return replace(self, names=tuple(names))

    def described(self, type_: str, **arguments: Any) -> Reducer:
        """The same with another description, without the arguments that are null."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return replace(self, description={"type": type_, **given})

    def unweighted(self) -> Reducer:
        """Every row counts the same."""
        return replace(self, steps=tuple(replace(step, weighted=False, weights=()) for step in self.steps))

    def of_columns(self, columns: Sequence[Column], *, function: str) -> dict[str, Any]:
        """The results over rows, by name."""
        self.check_inputs(len(columns), function)
        results = [result for step in self.steps for result in step.on_columns(columns)]
        return {name: result for name, result in zip(self.names, results, strict=True) if name}

    def of_layers(self, inputs: Sequence[Layers]) -> list[Pixels]:
        """The results at every pixel, in the order of :attr:`output_names`."""
        results = [result for step in self.steps for result in step.on_layers(inputs)]
        return [result for name, result in zip(self.names, results, strict=True) if name]

    def pixel_types(self, types: Sequence[PixelType], count: int) -> list[PixelType]:
        """The types of :meth:`of_layers`' results; refuses results that no pixel can hold."""
        found = []
        for step in self.steps:
            if not step.kernel.fits_pixels:
                raise step.kernel.no_pixels()
            own = [types[i] for i in step.inputs]
            if not step.kernel.takes_arrays and any(type_.dimensions for type_ in own):
                raise invalid(f"{step.kernel.label}: Cannot convert Array to Number.")
            found += step.kernel.result_types(own, count)
        return [type_ for name, type_ in zip(self.names, found, strict=True) if name]

    def check_numbers(self) -> None:
        """Refuse a reducer whose results over numbers are not all numbers, where no arrays can be."""
        types = self.pixel_types([DOUBLE] * self.input_count, 1)
        if any(type_.dimensions for type_ in types):
            raise invalid(f"{self.label}: its results must be numbers here.")

    def singles(self) -> list[Single]:
        """Each result by itself, so that only what is asked for need be computed."""
        found: list[Single] = []
        for step in self.steps:
            for place, output in enumerate(step.kernel.outputs):
                names = tuple("result" if each == place else "" for each in range(len(step.kernel.outputs)))
                found.append(Single(output, replace(self, steps=(step,), names=names)))
        return [single for name, single in zip(self.names, found, strict=True) if name]

    def by_step(self) -> list[Reducer]:
        """The reducer as one for each step, with the names that are that step's; those without a name are left out."""
        found, start = [], 0
        for step in self.steps:
            names = self.names[start : start + len(step.kernel.outputs)]
            start += len(names)
            if any(names):
                found.append(replace(self, steps=(step,), names=names))
        return found

    def check_inputs(self, count: int, function: str) -> None:
        """Refuse another number of inputs than the reducer's."""
        if count != self.input_count:
            raise invalid(f"{function}: Need {self.input_count} inputs for {self.label}, got {count}.")

    def as_value(self) -> dict[str, Any]:
        """How ``getInfo`` shows the reducer."""
        return dict(self.description)


class Single(NamedTuple):
    """One result of a reducer."""

    output: Output
    reducer: Reducer
    """A reducer with this result only."""


def combined(first: Reducer, second: Reducer, *, shared: bool, prefix: str = "") -> Reducer:
    """Both side by side, over the same inputs or over those of the first and then of the second."""
    if shared and first.input_count != second.input_count:
        counts = f"{first.input_count} and {second.input_count}"
        raise invalid(f"Reducer.combine: Reducers that share inputs must have equally many, got {counts}.")
    check_width("Reducer.combine", max(first.input_count + second.input_count, len(first.names) + len(second.names)))
    shift = 0 if shared else first.input_count
    names = first.names + tuple(prefix + name if name else "" for name in second.names)
    inputs = first.input_count + (0 if shared else second.input_count)
    steps = first.steps + tuple(step.shifted(shift) for step in second.steps)
    unnamed = Reducer(steps, inputs, ("",) * len(names))
    arguments = {"outputPrefix": prefix or None, "sharedInputs": shared or None}
    whole = unnamed.described("Reducer.combine", reducer1=first, reducer2=second, **arguments)
    return whole.renamed(names)


def for_each(reducer: Reducer, names: Sequence[str]) -> Reducer:
    """A copy for each name, each with inputs of its own; the name alone where the reducer has one result."""
    if not names:
        raise invalid("Reducer.forEach: at least one output name is needed.")
    check_width("Reducer.forEach", len(names) * max(reducer.input_count, len(reducer.names)))
    single = len(reducer.output_names) == 1
    steps = tuple(step.shifted(n * reducer.input_count) for n in range(len(names)) for step in reducer.steps)
    labels = [("" if not own else name if single else f"{name}_{own}") for name in names for own in reducer.names]
    unnamed = Reducer(steps, len(names) * reducer.input_count, ("",) * len(labels))
    return unnamed.described("Reducer.forEach", reducer=reducer, outputNames=list(names)).renamed(labels)


def split(reducer: Reducer) -> Reducer:
    """Each weighted input becomes two: the values, and what they count for."""
    heavy = reducer.weighted_inputs
    place = [i + sum(heavy[:i]) for i in range(reducer.input_count)]
    steps = []
    for step in reducer.steps:
        weights = tuple(place[i] + 1 for i in step.inputs) if step.weighted and not step.weights else ()
        old = tuple(place[i] for i in step.weights)
        steps.append(replace(step, inputs=tuple(place[i] for i in step.inputs), weights=weights or old))
    wider = replace(reducer, steps=tuple(steps), input_count=reducer.input_count + sum(heavy))
    return wider.described("Reducer.splitWeights", reducer=reducer)


@dataclass(frozen=True, slots=True)
class Repeated(Kernel):
    """Copies of a reducer, each with inputs of its own; every result is the list of the copies' results."""

    takes_arrays: ClassVar[bool] = True

    reducer: Reducer = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:  # noqa: ARG002 -- its reducer knows
        """The results by name, each a list."""
        width = self.reducer.input_count
        copies = [
            self.reducer.of_columns(columns[start : start + width], function=self.label)
            for start in range(0, self.input_count, width)
        ]
        return [[copy[name] for copy in copies] for name in self.reducer.output_names]


def repeated(reducer: Reducer, count: int) -> Reducer:
    """So many copies."""
    if count < 1:
        raise invalid(f"Reducer.repeat: count must be at least 1, got {count}.")
    check_width("Reducer.repeat", count * reducer.input_count)
    outputs = tuple(Output(name) for name in reducer.output_names)
    kernel = Repeated(
        "Reducer.repeat", outputs, count * reducer.input_count, any(reducer.weighted_inputs), reducer=reducer
    )
    return Reducer.of(kernel).described("Reducer.repeat", reducer=reducer, count=count)


@dataclass(frozen=True, slots=True)
class Grouped(Kernel):
    """A reducer applied to the rows of each value of one input."""

    takes_arrays: ClassVar[bool] = True

    reducer: Reducer = field(kw_only=True)
    place: int = field(kw_only=True)
    name: str = field(kw_only=True)

    def on_columns(self, columns: Sequence[Column], *, weighted: bool) -> list[Any]:
        """A list of dictionaries, by group in ascending order."""
        rest = [column for number, column in enumerate(columns) if number != self.place]
        groups = columns[self.place]
        rows = groups.rows(weighted=weighted)
        if rest:  # a group needs something to reduce
            rows &= np.logical_or.reduce([column.rows(weighted=weighted) for column in rest])
        keys, parts = _partition(groups.values[rows])
        inner = [column.where(rows) for column in rest]
        return [[self._group(key, part, inner) for key, part in zip(keys, parts, strict=True)]]

    def _group(self, key: Any, rows: NDArray[np.int64], columns: Sequence[Column]) -> dict[str, Any]:
        chosen = [Column(each.values[rows], each.weights[rows], each.counted[rows]) for each in columns]
        return {self.name: key, **self.reducer.of_columns(chosen, function=self.label)}


def _partition(values: NDArray[Any]) -> tuple[list[Any], list[NDArray[np.int64]]]:
    """Distinct values in order, and the rows of each; whole numbers among real ones become whole."""
    if values.ndim > 1:
        raise invalid("Reducer.group: groups must be all numbers or all texts.")
    try:
        keys, where = np.unique(values, return_inverse=True)
    except TypeError:
        raise invalid("Reducer.group: groups must be all numbers or all texts.") from None
    order = np.argsort(where, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(where[order])) + 1) if len(keys) else []
    return [_whole(key) for key in keys.tolist()], parts


def _whole(key: Any) -> Any:
    return int(key) if isinstance(key, float) and key.is_integer() else key


def grouped(reducer: Reducer, place: int, name: str) -> Reducer:
    """One result, ``groups``."""
    if not 0 <= place <= reducer.input_count:
        raise invalid(f"Reducer.group: groupField must be from 0 to {reducer.input_count}, got {place}.")
    inputs, weighted = reducer.input_count + 1, any(reducer.weighted_inputs)
    kernel = Grouped("Reducer.group", (Output("groups"),), inputs, weighted, reducer=reducer, place=place, name=name)
    return Reducer.of(kernel).described("Reducer.group", reducer=reducer, groupField=place, groupName=name)
