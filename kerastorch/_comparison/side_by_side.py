"""compare: a model's values next to those of a Keras model, layer by layer."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._core import arguments
from .._core.arrays import to_numpy
from ..saving.formats.open import open_weight_file
from ..saving.formats.zip_archive import SIGNATURE
from .attempts import Trial
from .causes import Cause, find_cause, has_right_input
from .difference import APART, measure_difference
from .recording import Call, Recording, as_recording, leaves, record
from .result import Comparison, LayerDifference
from .running import ModuleCall, Run, describe_error, evaluating, list_modules, match_modules, run

FORMAT = "an .npz file that compat/record_reference.py wrote"


def compare(
    model: nn.Module, reference: Any, inputs: Any = None, *, rtol: float = 1e-5
) -> Comparison:
    """Run a model, and report where and why it first differs from a Keras model.

    It runs in evaluation mode, without gradients, and its modes are restored. Modules are matched
    by name: `model.encoder.conv1` is the Keras layer "conv1" in the model "encoder". They may be
    layers of Keras or of PyTorch, in either layout. For the first that differs, the known mistakes
    are tried on the reference's own input: other padding than "same" or "causal", swapped height
    and width, another epsilon, another flatten order, a flipped, transposed or reshaped kernel,
    depthwise channels in another order, another activation or bias, other weights or statistics.

    Args:
        model: What `load_model` returned, or any module with submodules named like the layers of
            the reference.
        reference: The path of a file that `compat/record_reference.py` wrote where Keras is
            installed, or a live Keras model of any backend.
        inputs: A batch for a live model: an array, or a list or dict of them. A recording has its
            own.
        rtol: The tolerance, relative to the largest absolute value of the output.

    Raises:
        ValueError: an argument is invalid, the file is no recording, or no module matches.
        FileNotFoundError: the file does not exist.

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
        raise ValueError(describe_error("model", "a torch.nn.Module", type(model).__name__))
    if not (isinstance(rtol, (int, float)) and 0 <= rtol < math.inf):
        raise ValueError(describe_error("rtol", "a number >= 0", rtol))
    recording, name = _get_recording(reference, inputs)
    layers = list(dict.fromkeys(call.layer for call in recording.calls))
    modules = match_modules(model, layers)
    found = run(model, recording, modules, rtol)
    with evaluating(model):
        both = _SideBySide(recording, found, float(rtol))
        fits = all(sorted(row.shape) == sorted(row.found) for row in both.outputs)
        if not (modules or fits):
            rule = f"one with submodules named like the reference's layers, {layers}"
            raise ValueError(describe_error("model", rule, list(list_modules(model))))
        return both.make_result(name)


def _get_recording(reference: Any, inputs: Any) -> tuple[Recording, str]:
    reference = arguments.as_path("compare", "reference", reference)
    if isinstance(reference, Path):
        if inputs is not None:
            remedy = "The file has its own inputs."
            raise ValueError(describe_error("inputs", "None with a file", "...", remedy))
        return read_recording(reference), str(reference)
    if not (callable(reference) and hasattr(reference, "layers") and hasattr(reference, "name")):
        rule = f"a Keras model, or the path of {FORMAT}"
        raise ValueError(describe_error("reference", rule, type(reference).__name__))
    if inputs is None:
        raise ValueError(describe_error("inputs", "a batch for the Keras model", inputs))
    with torch.no_grad():
        return record(reference, inputs), f"the Keras model {reference.name}"


def read_recording(path: Path) -> Recording:
    """Return the recording in a file, or raise ValueError if it is none."""
    message = describe_error("reference", FORMAT, str(path))
    with path.open("rb") as file:
        if not file.read(len(SIGNATURE)).startswith(SIGNATURE):
            raise ValueError(message)
    try:
        with open_weight_file(path) as contents:
            weights = [weight for layer in contents.layers for weight in layer.weights]
            return as_recording({weight.path: to_numpy(weight.read()) for weight in weights})
    except ValueError as error:
        raise ValueError(f"{message} {error}") from error


class _SideBySide:
    """A run side by side with a recording."""

    def __init__(self, recording: Recording, found: Run, rtol: float) -> None:
        self._recording = recording
        self._run = found
        self._rtol = rtol
        recorded: defaultdict[str, list[Call]] = defaultdict(list)
        for call in recording.calls:
            recorded[call.layer].append(call)
        self._pairs = [
            (recorded[taken.layer][taken.call], taken)
            for taken in found.calls
            if taken.call < len(recorded[taken.layer])
        ]
        self._taken = {id(call): taken for call, taken in self._pairs}
        self.outputs = [] if found.error else self._compare_outputs()

    def make_result(self, reference: str) -> Comparison:
        """Return the result of `compare`."""
        error = self._run.error
        stopped = None if error is None else f"{type(error).__name__}: {error}"
        if stopped is not None and not self._pairs:
            shapes = [array.shape for array in leaves(self._recording.inputs)]
            rule = f"able to run on the reference's inputs, of the shapes {shapes}"
            raise ValueError(describe_error("model", rule, stopped)) from error
        first: LayerDifference | None = None
        cause: Cause | None = None
        rows = []
        for call, taken in self._pairs:
            for n, expected in enumerate(call.outputs):
                output = taken.outputs[n] if n < len(taken.outputs) else None
                row = self._compare(call.layer, call.kind, taken.call, n, output, expected)
                if not row.ok and first is None:
                    trial = None if n else self._trial(call, taken)
                    likely = None if trial is None else find_cause(trial)
                    if likely and likely.outside and self._is_compensated(likely, expected):
                        what = "crop" if likely.name == "padding" else likely.name
                        row = replace(row, ok=True, note=f"{what} comes after it")
                    else:
                        first, cause = row, likely
                rows.append(row)
        if first is None:
            first = next((row for row in self.outputs if not row.ok), None)
        left = (call.layer for call in self._recording.calls if id(call) not in self._taken)
        return Comparison(
            ok=first is None and stopped is None,
            layers=tuple(rows),
            first=first,
            cause=cause,
            outputs=tuple(self.outputs),
            missing=tuple(dict.fromkeys(left)),
            error=stopped,
            reference=reference,
            rtol=self._rtol,
        )

    def _compare_outputs(self) -> list[LayerDifference]:
        found, expected = self._run.outputs, self._recording.outputs
        if len(found) != len(expected) or not all(isinstance(o, Tensor) for o in found):
            rule = f"one that returns {len(expected)} tensors, as the reference does"
            kinds = [type(output).__name__ for output in found]
            raise ValueError(describe_error("model", rule, kinds))
        return [
            self._compare(f"output {n}", "", 0, 0, ours, theirs)
            for n, (ours, theirs) in enumerate(zip(found, expected, strict=True))
        ]

    def _compare(
        self, layer: str, kind: str, call: int, n: int, found: Tensor | None, expected: Any
    ) -> LayerDifference:
        measure = APART if found is None else measure_difference(found, torch.from_numpy(expected))
        shape = () if found is None else tuple(found.shape)
        ok = measure.relative <= self._rtol
        return LayerDifference(layer, kind, call, n, expected.shape, shape, *measure, ok)

    def _trial(self, call: Call, taken: ModuleCall) -> Trial | None:
        """Return the trial of a layer, or None if it has no tensor as input or output."""
        given = [leaf for leaf in leaves([taken.args, taken.kwargs]) if isinstance(leaf, Tensor)]
        if not (given and taken.outputs and call.inputs and call.outputs):
            return None

        def to_tensor(array: Any) -> Tensor:
            return torch.from_numpy(array).to(given[0].device)

        weights = self._recording.weights.get(call.layer, {})
        return Trial(
            call=taken,
            taken=tuple(given),
            given=taken.outputs[0],
            inputs=tuple(map(to_tensor, call.inputs)),
            expected=to_tensor(call.outputs[0]),
            weights={name: to_tensor(array) for name, array in weights.items()},
            images=tuple(map(to_tensor, self._unflatten(call))),
            rtol=self._rtol,
        )

    def _unflatten(self, call: Call) -> list[Any]:
        """Return the recorded arrays that a layer's input or output is flattened from."""
        flat = [array for array in (*call.inputs[:1], *call.outputs) if array.ndim == 2]
        known = {id(a): a for c in self._recording.calls for a in (*c.inputs, *c.outputs)}
        images = (array for array in known.values() if array.ndim > 2)
        return [image for image in images if any(_is_flat(image, array) for array in flat)]

    def _is_compensated(self, cause: Cause, expected: Any) -> bool:
        """Return whether the model compensates for a difference after the layer."""
        if cause.name == "flatten order":  # by the order of the weights that follow
            return bool(self.outputs) and all(row.ok for row in self.outputs)
        return self._reaches_reader(expected, set())

    def _reaches_reader(self, expected: Any, seen: set[int]) -> bool:
        """Return whether an expected output is the input of a later layer, or a right output."""
        seen.add(id(expected))
        rows = zip(self._recording.outputs, self.outputs, strict=False)
        if any(output is expected and row.ok for output, row in rows):
            return True
        for call in self._recording.calls:
            if all(array is not expected for array in call.inputs):
                continue
            taken = self._taken.get(id(call))
            if taken is not None:
                trial = self._trial(call, taken)
                right = trial is not None and has_right_input(trial)
            else:
                outputs = (array for array in call.outputs if id(array) not in seen)
                right = any(self._reaches_reader(array, seen) for array in outputs)
            if right:
                return True
        return False


def _is_flat(image: Any, flat: Any) -> bool:
    return image.size == flat.size and np.array_equal(image.reshape(len(image), -1), flat)
