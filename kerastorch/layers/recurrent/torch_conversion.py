"""Conversion of recurrent layers and cells from and to the modules of torch.nn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ... import activations
from ..._core.errors import argument_error
from ..base.sharing import make_of_module, require_convertible, share_or_copy
from ..base.torch_conversion import TorchCounterpart, require_values

if TYPE_CHECKING:
    from typing_extensions import Self


class RecurrentCounterpart(TorchCounterpart):
    """Conversion from and to a module of torch.nn of one layer and one direction."""

    torch_arguments: ClassVar[Mapping[str, str]] = {"hidden_size": "units", "bias": "use_bias"}
    torch_only: ClassVar[Mapping[str, Any]] = {
        "num_layers": 1, "bidirectional": False, "batch_first": True, "proj_size": 0,
    }  # fmt: skip
    keras_only: ClassVar[Mapping[str, Any]] = {
        "go_backwards": False, "stateful": False, "dropout": 0.0, "recurrent_dropout": 0.0,
    }  # fmt: skip
    torch_fixed: ClassVar[Mapping[str, Any]] = {}  # arguments -> what the module computes
    weight_specs: ClassVar[Any]

    @classmethod
    def from_torch(cls, module: nn.Module, *, copy: bool = False, **arguments: Any) -> Self:
        """Make a layer from a module of torch.nn that computes the same.

        But for a GRU, Keras has one bias where torch has two: where the second is not 0, their sum
        is a copy.

        Args:
            module: The module, with `batch_first=True`.
            copy: Whether the parameters are copied; otherwise they are shared.
            **arguments: Further arguments of the layer, such as `return_sequences`.

        Raises:
            ValueError: It is no such module, or Keras has no such layer.
        """
        made = cls._read_module(f"{cls.__name__}.from_torch", module)
        found = [getattr(module, name, None) for name in cls._list_torch_names()]
        names = [spec.parameter for spec in cls.weight_specs]
        tensors = dict(zip(names, cls._join_weights(found), strict=True))
        source: Any = SimpleNamespace(**tensors, training=module.training)
        return make_of_module(cls, source, made, arguments, copy=copy)  # type: ignore[type-var]

    def to_torch(self: Any, *, copy: bool = False) -> nn.Module:  # type: ignore[override]
        """Convert the layer to `nn.LSTM`, `nn.GRU`, `nn.RNN` or a cell of torch.nn.

        The module returns the outputs at all times and the last states, whatever `return_sequences`
        and `return_state` say. But for a GRU, its second bias is 0 and is not trained, since Keras
        has one.

        Args:
            copy: Whether the parameters are copied; otherwise they are shared.

        Raises:
            ValueError: The layer is not built, or the module cannot compute what it computes.
        """
        owner = f"{type(self).__name__}.to_torch"
        require_convertible(self)
        require_values(owner, "", self, self.keras_only, "PyTorch")
        for name, value in self.torch_fixed.items():
            wanted = activations.get(value) if isinstance(value, str) else value
            if getattr(self, name) != wanted:
                rule = f"{value!r}, as in torch.nn"
                raise ValueError(argument_error(owner, name, rule, getattr(self, name)))
        return self._fill_module(self._make_torch(owner), copy)  # type: ignore[no-any-return]

    @classmethod
    def _read_module(cls, owner: str, module: Any) -> dict[str, Any]:
        return {**super()._read_module(owner, module), **cls.torch_fixed}

    def _make_torch(self: Any, owner: str, **options: Any) -> nn.Module:
        """Return a module of the layer's sizes."""
        cls = self._find_torch_class()
        if not issubclass(cls, nn.RNNCellBase):
            options["batch_first"] = True
        first = self._tensor(self.weight_specs[0].parameter)
        options |= {"device": first.device, "dtype": first.dtype}
        module: nn.Module = cls(first.shape[1], self.units, bias=self.use_bias, **options)
        return module.train(self.training)

    def _fill_module(self: Any, module: nn.Module, copy: bool) -> nn.Module:
        """Give a module the layer's weights, or copies."""
        for name, spec in zip(self._list_torch_names(), self.weight_specs, strict=True):
            tensor = self._tensor(spec.parameter)
            if tensor is not None:
                found = share_or_copy(tensor, copy=copy or spec.buffer)
                setattr(module, name, nn.Parameter(found, False) if spec.buffer else found)
        return module

    @classmethod
    def _list_torch_names(cls) -> list[str]:
        suffix = "" if issubclass(cls._find_torch_class(), nn.RNNCellBase) else "_l0"
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [name + suffix for name in names]

    @classmethod
    def _join_weights(cls, found: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the layer's weights for the four of a module."""
        kernel, recurrent, first, second = found
        if first is None or second is None or not cls.weight_specs[3].buffer:
            return list(found)
        if not second.any():
            return [kernel, recurrent, first, None]
        both = nn.Parameter((first + second).detach(), first.requires_grad)
        return [kernel, recurrent, both, None]
