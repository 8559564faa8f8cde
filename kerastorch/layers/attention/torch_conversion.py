"""Conversion of MultiHeadAttention from and to nn.MultiheadAttention."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error
from ..base.sharing import make_of_module, require_convertible, require_module
from ..base.torch_conversion import require_values

if TYPE_CHECKING:
    from typing_extensions import Self

_INPUTS = ("query", "key", "value")  # in the order of torch's parameters


class AttentionCounterpart:
    """Conversion from and to `nn.MultiheadAttention`.

    Torch joins the three projections of the inputs in one parameter, so that nothing is shared.
    """

    torch_only: ClassVar[Mapping[str, Any]] = {"batch_first": True, "add_zero_attn": False}
    keras_only: ClassVar[Mapping[str, Any]] = {"use_gate": False, "sliding_window": None}

    @classmethod
    def from_torch(cls, module: nn.Module, **arguments: Any) -> Self:
        """Make a layer from an `nn.MultiheadAttention` that computes the same.

        The layer is called with query, value, key, in this order; its masks are True where a step
        attends, those of the module where it does not. Where a step has no key at all, the module
        returns NaN.

        Args:
            module: The module, with `batch_first=True`; its parameters are copied.
            **arguments: Further arguments of the layer, such as `dtype`.

        Raises:
            ValueError: It is no such module, or Keras has no such layer.
        """
        owner = f"{cls.__name__}.from_torch"
        require_module(owner, module, nn.MultiheadAttention)
        found: Any = module
        require_values(owner, "module.", found, cls.torch_only, "Keras")
        if found.bias_k is not None:
            rule = "None, since Keras adds no key and no value"
            raise ValueError(argument_error(owner, "module.bias_k", rule, found.bias_k))
        use_bias, size = found.in_proj_bias is not None, found.head_dim
        made = {
            "num_heads": found.num_heads, "key_dim": size, "value_dim": size,
            "dropout": found.dropout, "use_bias": use_bias, "output_shape": None,
            "use_gate": False, "sliding_window": None,
        }  # fmt: skip
        weights = dict(zip(_INPUTS, _list_weights(found), strict=True))
        tensors = {f"{name}_weight": weight for name, weight in weights.items()}
        tensors["output_weight"] = found.out_proj.weight
        if use_bias:
            biases = zip(_INPUTS, found.in_proj_bias.chunk(3), strict=True)
            tensors |= {f"{name}_bias": bias for name, bias in biases}
            tensors["output_bias"] = found.out_proj.bias
        copies = {name: _copy(tensor) for name, tensor in tensors.items()}
        source = SimpleNamespace(**copies, training=module.training)
        return make_of_module(cls, source, made, arguments, copy=False)  # type: ignore[type-var]

    def to_torch(self: Any) -> nn.MultiheadAttention:
        """Convert the layer to an `nn.MultiheadAttention` with copies of its parameters.

        The module is called with query, key, value, in this order, and returns the output and the
        mean of the weights of the keys over the heads; `attn_mask` and `key_padding_mask` are True
        where a step does not attend. Where a step has no key at all, it returns NaN.

        Raises:
            ValueError: The layer is not built, or the module cannot compute what it computes.
        """
        owner = f"{type(self).__name__}.to_torch"
        require_convertible(self)
        require_values(owner, "", self, self.keras_only, "PyTorch")
        sizes = {name: self._tensor(f"{name}_weight").shape[1] for name in _INPUTS}
        size, first = sizes["query"], self._tensor("query_weight")
        rules = {
            "attention_axes": (None, (1,), (-2,)),
            "key_dim": (size / self.num_heads,),
            "value_dim": (self.key_dim,),
            "output_shape": (None, (size,)),
        }
        for name, valid in rules.items():
            own = getattr(self, name)
            if (tuple(own) if isinstance(own, list) else own) not in valid:
                rule = f"{' or '.join(map(repr, valid))}, as in nn.MultiheadAttention"
                related = {"features": size, "num_heads": self.num_heads}
                raise ValueError(argument_error(owner, name, rule, own, **related))
        module = nn.MultiheadAttention(
            size, self.num_heads, self.dropout, self.use_bias, kdim=sizes["key"],
            vdim=sizes["value"], batch_first=True, device=first.device, dtype=first.dtype,
        )  # fmt: skip
        with torch.no_grad():
            for own, name in zip(_list_weights(module), _INPUTS, strict=True):
                own.copy_(self._tensor(f"{name}_weight"))
            module.out_proj.weight.copy_(self._tensor("output_weight"))
            if self.use_bias:
                module.in_proj_bias.copy_(torch.cat([self._tensor(f"{n}_bias") for n in _INPUTS]))
                module.out_proj.bias.copy_(self._tensor("output_bias"))
        module.requires_grad_(self.trainable)
        return module.train(self.training)


def _list_weights(module: Any) -> list[Tensor]:
    """Return the weights of the three projections; views of one parameter if that is all."""
    if module.in_proj_weight is not None:
        return list(module.in_proj_weight.chunk(3))
    return [module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]


def _copy(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
