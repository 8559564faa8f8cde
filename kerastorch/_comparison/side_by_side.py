"""compare: a model's numbers beside those of a Keras model, layer by layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._core import arguments
from .._core.arrays import to_array
from .._core.errors import problem
from ..saving.formats.array_files import open_arrays
from ..saving.formats.zip_archive import SIGNATURE
from .attempts import Trial
from .causes import Cause, find_cause, took_the_right
from .difference import APART, measured
from .recording import Call, Recording, as_recording, leaves, record
from .result import Comparison, LayerDifference
from .running import Run, Taken, evaluating, matched, modules_by_path, rerun, run

FORMAT = "an .npz file that compat/record_reference.py wrote"


def compare(
    model: nn.Module, reference: Any, inputs: Any = None, *, rtol: float = 1e-5
) -> Comparison:
    """Run a model beside a Keras model, and tell where they first differ, and why.

    It runs in evaluation mode, without gradients, and is left as it was. Its modules are known by
    their names: `model.encoder.conv1` is the Keras layer "conv1" in the model "encoder". They may
    be layers of Keras or plain ones of PyTorch, in either layout. For the first one that differs
    the known mistakes are tried on the reference's own input to it: another padding than "same",
    height and width swapped, another epsilon, another order of flattening, a flipped, transposed
    or reshaped kernel, another activation or bias, other weights or statistics.

    Args:
        model: What `load_model` returned, or any module with submodules that are named like the
            layers of the reference.
        reference: The path of what `compat/record_reference.py` recorded where Keras lives, or a
            live Keras model, whatever its backend.
        inputs: A batch for a live model: an array, or a list or dict of them. A recording has its
            own.
        rtol: The largest difference that is none, relative to the largest number of the output.

    Raises:
        ValueError: an argument is refused, the file is no recording, or the two have nothing in
            common.
        FileNotFoundError: there is no such file.

    Example:
        >>> import numpy as np
        >>> from torch import nn
        >>> class Keras:
        ...     name, layers, operations = "net", (), ()
        ...     def __call__(self, inputs, training):
        ...         return np.maximum(inputs, 0)
        >>> print(compare(nn.ReLU(), Keras(), np.array([[-1.0, 2.0]])))
        layer     class  shape   absolute  relative
        output 0         (1, 2)  0.0e+00   0.0e+00   ok
        The model agrees with the Keras model net, within 1e-05.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(problem("compare", "model", "a torch.nn.Module", type(model).__name__))
    if not (isinstance(rtol, (int, float)) and 0 <= rtol < math.inf):
        raise ValueError(problem("compare", "rtol", "a number >= 0", rtol))
    recording, name = _recording_of(reference, inputs)
    layers = list(dict.fromkeys(call.layer for call in recording.calls))
    modules = matched(model, layers)
    found = run(model, recording.inputs, modules, partial(_nearness, recording, rtol))
    with evaluating(model):
        comparing = _Comparing(recording, modules, found, float(rtol))
        if not (modules or comparing.outputs_fit):
            rule = f"one with submodules named like the reference's layers, {layers}"
            raise ValueError(problem("compare", "model", rule, list(modules_by_path(model))))
        return comparing.result(name)


def _nearness(recording: Recording, rtol: float, found: Run) -> tuple[int, ...]:
    """Return how many outputs agree, and how many have the right shape at least."""
    pairs = [
        (output, torch.from_numpy(expected))
        for output, expected in zip(found.outputs, recording.outputs, strict=False)
        if isinstance(output, Tensor)
    ]
    distances = [measured(output, expected).relative for output, expected in pairs]
    return sum(n <= rtol for n in distances), sum(n < math.inf for n in distances)


def _recording_of(reference: Any, inputs: Any) -> tuple[Recording, str]:
    reference = arguments.path("compare", "reference", reference)
    if isinstance(reference, Path):
        if inputs is not None:
            remedy = "The file has its own inputs."
            raise ValueError(problem("compare", "inputs", "None with a file", "...", remedy))
        return read_recording(reference), str(reference)
    if not (callable(reference) and hasattr(reference, "layers") and hasattr(reference, "name")):
        rule = f"a Keras model, or the path of {FORMAT}"
        raise ValueError(problem("compare", "reference", rule, type(reference).__name__))
    if inputs is None:
        rule = "a batch for the Keras model"
        raise ValueError(problem("compare", "inputs", rule, inputs))
    with torch.no_grad():
        return record(reference, inputs), f"the Keras model {reference.name}"


def read_recording(path: Path) -> Recording:
    """Return what a file recorded.

    Raises:
        ValueError: it is no recording.
        FileNotFoundError: there is no such file.
    """
    message = problem("compare", "reference", FORMAT, str(path))
    with path.open("rb") as file:
        if not file.read(len(SIGNATURE)).startswith(SIGNATURE):
            raise ValueError(message)
    try:
        with open_arrays(path) as contents:
            weights = [weight for layer in contents.layers for weight in layer.weights]
            return as_recording({weight.path: to_array(weight.read()) for weight in weights})
    except ValueError as error:
        raise ValueError(f"{message} {error}") from error


class _Comparing:
    """All that one comparison knows."""

    def __init__(
        self, recording: Recording, modules: dict[str, nn.Module], found: Run, rtol: float
    ) -> None:
        self._recording = recording
        self._modules = modules
        self._run = found
        self._rtol = rtol
        recorded = {(call.layer, n): call for call, n in _numbered(recording.calls)}
        keys = ((taken.layer, taken.call) for taken in found.calls)
        pairs = zip(map(recorded.get, keys), found.calls, strict=True)
        self._pairs = [(call, taken) for call, taken in pairs if call is not None]
        self._taken = {id(call): taken for call, taken in self._pairs}
        self._outputs = [] if found.error else self._output_rows()

    def result(self, reference: str) -> Comparison:
        """Return what `compare` returns."""
        self._require_a_run()
        first: LayerDifference | None = None
        cause: Cause | None = None
        rows = []
        for call, taken in self._pairs:
            for n, expected in enumerate(call.outputs):
                row = self._row(call, taken, n, expected)
                if not row.ok and first is None:
                    likely = self._cause(call, taken, n)
                    if likely is not None and likely.outside and self._is_made_up(likely, expected):
                        row = replace(row, ok=True, note=f"{likely.name} comes after it")
                    else:
                        first, cause = row, likely
                rows.append(row)
        if first is None:
            first = next((row for row in self._outputs if not row.ok), None)
        error = self._run.error
        missing = dict.fromkeys(
            call.layer for call in self._recording.calls if id(call) not in self._taken
        )
        return Comparison(
            ok=first is None and error is None,
            layers=tuple(rows),
            first=first,
            cause=cause,
            outputs=tuple(self._outputs),
            missing=tuple(missing),
            error=None if error is None else f"{type(error).__name__}: {error}",
            reference=reference,
            rtol=self._rtol,
        )

    @property
    def outputs_fit(self) -> bool:
        """Whether the outputs, at least, have the shapes of the reference's."""
        return all(sorted(row.shape) == sorted(row.found) for row in self._outputs)

    def _require_a_run(self) -> None:
        error = self._run.error
        if error is not None and not self._pairs:
            shapes = [array.shape for array in leaves(self._recording.inputs)]
            rule = f"able to run on the reference's inputs, of the shapes {shapes}"
            message = problem("compare", "model", rule, f"{type(error).__name__}: {error}")
            raise ValueError(message) from error

    def _row(self, call: Call, taken: Taken, n: int, expected: Any) -> LayerDifference:
        found = taken.outputs[n] if n < len(taken.outputs) else None
        return self._difference(call.layer, call.kind, taken.call, n, found, expected)

    def _output_rows(self) -> list[LayerDifference]:
        found, expected = self._run.outputs, self._recording.outputs
        if len(found) != len(expected) or not all(isinstance(o, Tensor) for o in found):
            rule = f"one that returns {len(expected)} tensors, as the reference does"
            kinds = [type(output).__name__ for output in found]
            raise ValueError(problem("compare", "model", rule, kinds))
        return [
            self._difference(f"output {n}", "", 0, 0, ours, theirs)
            for n, (ours, theirs) in enumerate(zip(found, expected, strict=True))
        ]

    def _difference(
        self, layer: str, kind: str, call: int, n: int, found: Tensor | None, expected: Any
    ) -> LayerDifference:
        measure = APART if found is None else measured(found, torch.from_numpy(expected))
        shape = () if found is None else tuple(found.shape)
        ok = measure.relative <= self._rtol
        return LayerDifference(layer, kind, call, n, expected.shape, shape, *measure, ok)

    # The cause

    def _cause(self, call: Call, taken: Taken, n: int) -> Cause | None:
        trial = self._trial(call, taken)
        return None if n or trial is None else find_cause(trial)

    def _trial(self, call: Call, taken: Taken) -> Trial | None:
        """Return the layer as a trial, or None where it takes or gives no tensor."""
        given = [leaf for leaf in leaves([taken.args, taken.kwargs]) if isinstance(leaf, Tensor)]
        if not (given and taken.outputs and call.inputs and call.outputs):
            return None
        module, device = self._modules[call.layer], given[0].device
        kept = self._recording.weights.get(call.layer, {})
        return Trial(
            layer=call.layer,
            module=module,
            run=rerun(module, taken),
            taken=tuple(given),
            given=taken.outputs[0],
            inputs=tuple(torch.from_numpy(array).to(device) for array in call.inputs),
            expected=torch.from_numpy(call.outputs[0]).to(device),
            weights={name: torch.from_numpy(array).to(device) for name, array in kept.items()},
            images=tuple(torch.from_numpy(array).to(device) for array in self._images(call)),
            rtol=self._rtol,
        )

    def _images(self, call: Call) -> list[Any]:
        """Return the recorded arrays that are a layer's input or output once they are flat."""
        flat = [array for array in (*call.inputs[:1], *call.outputs) if array.ndim == 2]
        known = [array for c in self._recording.calls for array in (*c.inputs, *c.outputs)]
        return [
            array
            for array in {id(array): array for array in known}.values()
            if array.ndim > 2 and any(_is_flat(array, other) for other in flat)
        ]

    def _is_made_up(self, cause: Cause, expected: Any) -> bool:
        """Return whether the model makes up for what a layer lacks, after the layer."""
        if cause.name == "flatten order":  # by the order of the weights that follow
            return bool(self._outputs) and all(row.ok for row in self._outputs)
        return self._arrives(expected, set())

    def _arrives(self, expected: Any, seen: set[int]) -> bool:
        """Return whether what a layer should give out is what a later one takes, or an output."""
        seen.add(id(expected))
        rows = zip(self._recording.outputs, self._outputs, strict=False)
        if any(output is expected and row.ok for output, row in rows):
            return True
        for call in self._recording.calls:
            if any(array is expected for array in call.inputs):
                taken = self._taken.get(id(call))
                if taken is not None:
                    trial = self._trial(call, taken)
                    right = trial is not None and took_the_right(trial)
                else:
                    right = any(
                        self._arrives(array, seen)
                        for array in call.outputs
                        if id(array) not in seen
                    )
                if right:
                    return True
        return False


def _numbered(calls: tuple[Call, ...]) -> Iterator[tuple[Call, int]]:
    """Yield each call with the number of the layer's calls before it."""
    counts: Counter[str] = Counter()
    for call in calls:
        yield call, counts[call.layer]
        counts[call.layer] += 1


def _is_flat(image: Any, flat: Any) -> bool:
    return image.size == flat.size and np.array_equal(image.reshape(len(image), -1), flat)
