"""InputLayer: the shape and dtype of a model's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ... import config
from ..._core.arguments import as_shape_of_any_rank
from ..._core.config_versions import downgrade_config
from ..._core.errors import argument_error
from ..._core.registry import keras_layer
from ...dtype_policies import get_dtype_name
from ..base.stateless import StatelessLayer
from ..base.weights import Sizes

__all__ = ["InputLayer"]

_TYPES = (
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


@keras_layer()
class InputLayer(StatelessLayer):
    """Checks an input's shape and casts it to the dtype of the layer.

    Same as `keras.layers.InputLayer`, except that it is called with the input, which Keras's model
    passes around it, and that nested and symbolic tensors are refused. `sparse` and `ragged` are
    accepted as on TensorFlow; Keras's torch backend refuses both.

    Args:
        shape: The shape of one sample; None for a size that varies.
        batch_size: The batch size.
        dtype: The dtype; by default `kerastorch.config.floatx()`.
        sparse: Whether sparse tensors are expected. Dense ones are accepted all the same, and
            `torch.sparse` ones, with or without it, are made dense.
        ragged: Whether rows of several lengths are expected; they must come in a dense tensor.
        batch_shape: The shape with the batch, in place of `shape` and `batch_size`.
        input_tensor: None.
        optional: Whether the input may be None.
        name: The layer's name.
        **kwargs: `input_shape` or `batch_input_shape`: Keras 2's `shape` and `batch_shape`.

    Shape:
        - Input and output: `batch_shape`.

    Raises:
        ValueError: An argument is invalid.

    Example:
        >>> import numpy as np
        >>> InputLayer((None, 2))(np.ones((1, 3, 2))).dtype
        torch.float32
    """

    renamed_arguments: ClassVar = {"batch_input_shape": "batch_shape"}
    is_flat = True  # the caller decides on the order of the elements
    _declared = "float32"  # while the base class's constructor runs

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", shape)
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        super().__init__(name=name, **kwargs)
        owner = type(self).__name__
        if sparse and ragged:
            self._refuse_argument("ragged", "False with `sparse`", ragged, sparse=sparse)
        if input_tensor is not None:
            self._refuse_argument("input_tensor", "None", input_tensor)
        if (shape is None) == (batch_shape is None):
            rule = "given where `batch_shape` is not"
            self._refuse_argument("shape", rule, shape, batch_shape=batch_shape)
        if batch_shape is not None and batch_size is not None:
            self._refuse_argument("batch_size", "left out with `batch_shape`", batch_size)
        if shape is not None:
            sizes = as_shape_of_any_rank(owner, "shape", shape, 0, batch=False)
            batch_shape = (batch_size, *sizes)
        self.batch_shape = as_shape_of_any_rank(owner, "batch_shape", batch_shape, 0)
        self._declared = config.floatx() if dtype is None else self._check_dtype(dtype)
        self.sparse, self.ragged, self.optional = bool(sparse), bool(ragged), optional

    def _check_dtype(self, dtype: Any) -> str:
        if isinstance(dtype, Mapping):  # a policy, as configs have them
            inner = dtype.get("config")
            dtype = inner.get("name") if isinstance(inner, Mapping) else dtype
        if isinstance(dtype, torch.dtype):
            dtype = get_dtype_name(dtype)
        found = {int: "int32", float: "float32", bool: "bool"}.get(dtype, dtype)  # as Keras has it
        named = getattr(found, "name", getattr(found, "__name__", found))
        if named not in _TYPES:
            self._refuse_argument("dtype", "one of " + ", ".join(map(repr, _TYPES)), dtype)
        return str(named)

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self._declared

    @property
    def compute_dtype(self) -> str:
        """The same as `dtype`."""
        return self.dtype

    def get_config(self, target: str | None = None) -> dict[str, Any]:
        """Return the config with Keras's keys only; see `Layer.get_config`."""
        keys = ("batch_shape", "dtype", "sparse", "ragged", "name", "optional")
        written = {key: getattr(self, key) for key in keys}
        if target is None:
            return written
        omitted = [key for key in ("ragged", "optional") if not written[key]]  # early ones lack it
        return {k: v for k, v in downgrade_config(written, target).items() if k not in omitted}

    @property
    def _input_rank(self) -> int:
        return len(self.batch_shape)

    def _output_shape(self, shape: Sizes, argument: str = "input_shape") -> Sizes:
        sizes = zip(shape, self.batch_shape, strict=False)
        same = all(None in (size, wanted) or size == wanted for size, wanted in sizes)
        if len(shape) != len(self.batch_shape) or not same:
            self._refuse_argument(argument, f"of the shape {self.batch_shape}", tuple(shape))
        return shape

    def forward(self, inputs: Any) -> Any:
        """Cast the input to the layer's dtype.

        Raises:
            ValueError: It has another shape than the layer's, or is nested.
        """
        if inputs is None and self.optional:
            return None
        x = to_dense(self._as_tensor(inputs), type(self).__name__, "inputs")
        self._output_shape(x.shape, "inputs")
        return x.to(getattr(torch, self.dtype))


def to_dense(x: Tensor, owner: str, argument: str) -> Tensor:
    """Convert a sparse tensor to a dense one; raise for a nested one."""
    if x.is_nested:
        rule, remedy = "dense or sparse", "Pad it with `to_padded_tensor`."
        raise ValueError(argument_error(owner, argument, rule, "a nested tensor", remedy))
    return x if x.layout is torch.strided else x.to_dense()
