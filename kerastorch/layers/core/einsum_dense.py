"""EinsumDense: a product of the input and a kernel along any axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ... import initializers
from ..._core.arguments import as_positive_int
from ..._core.registry import keras_layer
from ..base.kernel import KernelLayer
from ..base.weights import Shape, Sizes, WeightSpec, declare_weight

__all__ = ["EinsumDense"]

_EQUATION = re.compile(r"(\.{3})?([a-zA-Z]+)(\.{3})?,([a-zA-Z]+)->(\.{3})?([a-zA-Z]+)(\.{3})?")


class Equation(NamedTuple):
    """The letters of the axes; `more` is where the input may have further ones: left or right."""

    inputs: str
    kernel: str
    outputs: str
    more: str

    def split(self, shape: Sequence[Any]) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Return the size of each letter of an input shape, and the sizes of further axes."""
        count = len(self.inputs)
        start = len(shape) - count if self.more == "left" else 0
        sizes = dict(zip(self.inputs, shape[start:], strict=False))
        return sizes, tuple(shape[:start] if self.more == "left" else shape[count:])


@keras_layer()
class EinsumDense(KernelLayer):
    """A dense layer along any axes: `activation(einsum(equation, inputs, kernel) + bias)`.

    Same as `keras.layers.EinsumDense`, with the exceptions of `Conv2D`; quantized layers are
    refused. `compute_output_shape` knows the sizes that `output_shape` leaves open, too.

    Args:
        equation: Letters for the axes of input, kernel and output: "abc,cd->abd", "...x,xy->...y"
            or "ab...,bc->ac...".
        output_shape: The sizes of the output's letters but the batch; None for that of the input.
        activation: A name from `kerastorch.activations`, or any callable.
        bias_axes: The letters of the output along which the bias differs; None for no bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, bias_constraint, lora_rank, lora_alpha,
            input_shape, device, **kwargs: As in `Dense`.
        gptq_unpacked_column_size, quantization_config: None; accepted since Keras has them.

    Shape:
        - Input and output: by the equation.
        - `weight`: by the letters of the kernel, in their order.
        - `bias`: the sizes from the first letter of `bias_axes` on, 1 for letters not in it; or
          None.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> layer = EinsumDense("abc,cd->abd", output_shape=(None, 64), bias_axes="d")
        >>> tuple(layer(torch.rand(4, 32, 128)).shape)
        (4, 32, 64)
    """

    weight_specs: ClassVar[tuple[WeightSpec, ...]] = (
        declare_weight("weight", "kernel"),
        declare_weight("bias", "bias", when="bias_axes"),
        *KernelLayer.weight_specs[2:],
    )
    fixed_arguments = ("equation", "output_shape", "bias_axes")
    _config_keys_first = (
        *("output_shape", "equation", "activation", "bias_axes", "kernel_initializer"),
        *("bias_initializer", "kernel_regularizer", "bias_regularizer", "activity_regularizer"),
    )
    _config_keys_last = ("lora_rank", "lora_alpha")
    _omit_config_if_unset = ("lora_rank", "lora_alpha")
    _never_in_config = ("gptq_unpacked_column_size",)
    _shape_arguments = ("equation",)
    supports_masking = False
    bias_axes: str | None

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: None = None,
        quantization_config: None = None,
        *,
        activity_regularizer: Any = None,
        input_shape: Sequence[int | None] | None = None,
        device: torch.device | str | int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        owner = type(self).__name__
        self.equation, self._equation = equation, self._parse(equation)
        given = (output_shape,) if isinstance(output_shape, int) else output_shape
        if isinstance(given, str) or not isinstance(given, Sequence):
            self._refuse_argument("output_shape", "an integer or a tuple of sizes", output_shape)
        self.output_shape = tuple(
            n if n is None else as_positive_int(owner, "output_shape", n) for n in given
        )
        named = len(self._equation.outputs) - (self._equation.more != "left")
        if len(self.output_shape) != named:
            rule = f"{named} sizes, for the letters of the output but the batch"
            self._refuse_argument("output_shape", rule, output_shape, equation=equation)
        unknown = bias_axes is not None and (
            not isinstance(bias_axes, str) or not set(bias_axes) <= set(self._equation.outputs)
        )
        if unknown or bias_axes == "":
            rule = f"None, or letters of the output {self._equation.outputs!r}"
            self._refuse_argument("bias_axes", rule, bias_axes)
        self.bias_axes = bias_axes
        self._assign_arguments(locals())
        for name, value in (
            ("gptq_unpacked_column_size", gptq_unpacked_column_size),
            ("quantization_config", quantization_config),
        ):
            if value is not None:
                self._refuse_argument(name, "None", value, "Quantized layers are not supported.")
            setattr(self, name, None)
        self._set_lora(lora_rank, lora_alpha)
        self._register_weights(device, input_shape)

    def _parse(self, equation: Any) -> Equation:
        rule = 'of the form "ab,bc->ac", "...ab,bc->...ac" or "ab...,bc->ac..."'
        found = _EQUATION.fullmatch(equation) if isinstance(equation, str) else None
        if found is None:
            self._refuse_argument("equation", rule, equation)
        left, inputs, right, kernel, out_left, outputs, out_right = found.groups()
        if (left, right) != (out_left, out_right) or (left and right):
            self._refuse_argument("equation", rule, equation)
        for letters in (inputs, kernel, outputs):
            if len(set(letters)) < len(letters):
                self._refuse_argument("equation", "with each letter once in a tensor", equation)
        if not set(kernel) <= {*inputs, *outputs} or not set(outputs) <= {*inputs, *kernel}:
            rule = "with letters of the kernel and the output that others have, too"
            self._refuse_argument("equation", rule, equation)
        return Equation(inputs, kernel, outputs, "left" if left else "right" if right else "")

    @property
    def use_bias(self) -> bool:  # type: ignore[override]
        """Whether there is a bias."""
        return self.bias_axes is not None

    # Shapes

    def _check_shape(self, shape: Any, argument: str = "input_shape", batch: bool = True) -> Sizes:
        found = super()._check_shape(shape, argument, batch)
        rank, count = len(found) + (not batch), len(self._equation.inputs)
        more = self._equation.more
        if rank < count + (more == "left") or (not more and rank != count):
            rule = f"of {count + (more == 'left')} dimensions{' or more' if more else ''}"
            self._refuse_shape(argument, rule, found)
        return found

    def _sizes(self, shape: Sizes, argument: str) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Return the size of each letter, and the sizes of the further axes."""
        equation = self._equation
        sizes, more = equation.split(shape)
        letters = equation.outputs if equation.more == "left" else equation.outputs[1:]
        for letter, size in zip(letters, self.output_shape, strict=True):
            own = sizes.get(letter)
            if None not in (own, size) and own != size:
                rule = f"of the size {size} along the axis {letter!r}, as `output_shape` is"
                self._refuse_shape(argument, rule, shape)
            sizes[letter] = own if size is None else size
        return sizes, more

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        sizes, more = self._sizes(shape, argument)
        own = tuple(sizes[letter] for letter in self._equation.outputs)
        return (*more, *own) if self._equation.more == "left" else (*own, *more)

    def _weight_shapes(self, shape: Any, argument: str = "input_shape") -> dict[str, Shape]:
        shape, equation = self._check_shape(shape, argument), self._equation
        sizes, more = self._sizes(shape, argument)
        kernel = tuple(sizes[letter] for letter in equation.kernel)
        found = {"weight": kernel}
        if self.bias_axes is not None:
            first = min(map(equation.outputs.index, self.bias_axes))
            axes = equation.outputs[first:]
            bias = [sizes[letter] if letter in self.bias_axes else 1 for letter in axes]
            found["bias"] = (*bias, *(1 for _ in more if equation.more == "right"))
        if any(not size for sizes in found.values() for size in sizes):
            rule = "a shape with known sizes of the axes of the kernel and the bias, 1 at least"
            self._refuse_shape(argument, rule, shape)
        return {**found, **self._lora_shapes(kernel, self.lora_rank)}

    def _infer_input_shape(self, shapes: Mapping[str, Shape]) -> Sequence[int | None] | None:
        equation, kernel = self._equation, shapes.get("weight", ())
        if len(kernel) != len(equation.kernel):
            return None
        sizes = dict(zip(equation.kernel, kernel, strict=True))
        bias = shapes.get("bias")
        extra = 1 if equation.more == "left" else 0
        if bias is not None and self.bias_axes is not None:
            axes = equation.outputs[min(map(equation.outputs.index, self.bias_axes)) :]
            sizes |= {a: n for a, n in zip(axes, bias, strict=False) if a in self.bias_axes}
            extra = max(extra, len(bias) - len(axes)) if equation.more == "right" else extra
        more = [None] * extra
        own = [sizes.get(letter) for letter in equation.inputs]
        return [*more, *own] if equation.more == "left" else [*own, *more]

    def _lora_shapes(self, weight: Shape, rank: int | None) -> dict[str, Shape]:
        if not rank:
            return {}
        return {"lora_kernel_a": (*weight[:-1], rank), "lora_kernel_b": (rank, weight[-1])}

    def _weight_with_lora(self, weight: Tensor) -> Tensor:
        scale = (self.lora_alpha or 0) / (self.lora_rank or 1)
        return (weight + scale * (self.lora_kernel_a @ self.lora_kernel_b)).to(weight.dtype)

    def _fill(self, spec: WeightSpec, view: Tensor) -> None:
        """Count the fan in and the fan out of the kernel by the letters of input and output."""
        initializer = getattr(self, spec.initializer)
        is_scaled = isinstance(initializer, initializers.VarianceScaling)
        if spec.name == "kernel" and is_scaled and initializer.input_axes is None:
            letters, outputs = enumerate(self._equation.kernel), self._equation.outputs
            axes: tuple[list[int], list[int]] = ([], [])
            for axis, letter in letters:
                axes[letter in outputs].append(axis)
            initializer.input_axes, initializer.output_axes = axes
            super()._fill(spec, view)
            initializer.input_axes = initializer.output_axes = None
        else:
            super()._fill(spec, view)

    # The computation

    def _require_rank(self, x: Tensor) -> None:
        count, more = len(self._equation.inputs), self._equation.more
        least = count + (more == "left")
        if x.ndim < least or (not more and x.ndim != count):
            rule = f"of {least} dimensions{' or more' if more else ''}"
            self._refuse_shape("inputs", rule, x.shape)

    def _compute(self, x: Tensor) -> Tensor:
        weight, bias = self._tensor("weight"), self._tensor("bias")
        if self._always_casts or x.dtype is not weight.dtype:
            x, weight, bias = self._cast_inputs_and_weights(x, weight, bias)
        outputs = torch.einsum(self.equation, x, weight)
        return self.activation(outputs if bias is None else outputs + bias)

    def _require_fit(self, x: Tensor) -> None:
        shape = self._check_shape(tuple(x.shape), "inputs")
        sizes, _ = self._sizes(shape, "inputs")
        own = dict(zip(self._equation.kernel, self.weight.shape, strict=True))
        wrong = [a for a in self._equation.inputs if own.get(a, sizes[a]) != sizes[a]]
        if wrong:
            rule = f"of the size {own[wrong[0]]} along the axis {wrong[0]!r}"
            self._refuse_shape("inputs", rule, x.shape)

    def _is_lowerable(self) -> bool:
        return False

    def extra_repr(self) -> str:
        """Return the arguments that differ from the defaults."""
        size = tuple(self.weight.shape) if self.built else None
        given = [f"{size}", repr(self.equation), f"output_shape={self.output_shape}"]
        return ", ".join([*given, *self._format_non_defaults(bias_axes=None, use_bias=False)])
