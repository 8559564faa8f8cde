"""Map the classes of torch.nn to Keras: one adapter in `ADAPTERS` is all that a class needs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..._core import arguments
from ..._core.errors import argument_error, short_repr
from ..._core.layout import depthwise_weight_to_kernel, weight_to_kernel
from ..._ops.window_arithmetic import (
    TransposedPadding,
    compute_fixed_padding,
    plan_transposed_padding,
)
from ...layers.base.functional import (
    BatchNorm,
    Convolution,
    MatrixProduct,
    Pooling,
    SampleNorm,
    TransposedConvolution,
)
from .adapter import Adapter, Config, Kinds, ModuleWeight, View, are_equal, is_depthwise
from .attention import ATTENTION_ADAPTER
from .recurrent import RECURRENT_ADAPTERS


def find_adapter(module: nn.Module, *, any_forward: bool = False) -> Adapter | None:
    """Return the adapter of a module's class; only with `any_forward` if its `forward` differs."""
    for adapter in ADAPTERS:
        for cls in adapter.classes:
            if isinstance(module, cls):
                return adapter if any_forward or type(module).forward is cls.forward else None
    return None


def _list_conv_weights(module: Any) -> list[ModuleWeight]:
    depthwise = partial(depthwise_weight_to_kernel, channels=module.in_channels)
    others: tuple[View, ...] = (depthwise,) if is_depthwise(module) else ()
    return [ModuleWeight("weight", "kernel", weight_to_kernel, others), _BIAS]


def _choose_conv(module: Any, kinds: Kinds) -> Kinds:
    """Return both classes, the convolution last, if each channel is convolved by itself."""
    return kinds[::-1] if is_depthwise(module) else kinds[:1]


def _compare_conv(module: Any, config: Config) -> Iterator[str]:
    yield from _compare_steps(module, config)
    if module.padding_mode != "zeros":
        yield f"padding_mode={module.padding_mode!r}, where Keras pads with zeros"
    padding = config.get("padding", "valid")
    different = f"padding={module.padding!r}, where the source has padding={padding!r}"
    if padding not in ("valid", "same", "causal"):
        yield different
        return
    geometry = module.kernel_size, module.stride, module.dilation
    own, wanted = module.padding, compute_fixed_padding(padding, *geometry)
    if isinstance(own, str):
        own = compute_fixed_padding(own, *geometry)
    if own != wanted:
        if wanted is None:
            different += ", which is uneven or depends on the input's size"
        elif padding == "same":
            different += f", which is {wanted}"
        yield f"{different}. Use the layer of the same name from kerastorch.layers instead."


def _compute_conv(module: Any) -> Convolution | None:
    if module.padding_mode != "zeros":
        return None
    padding = (0,) * len(module.kernel_size) if module.padding == "valid" else module.padding
    steps = module.stride, padding, module.dilation, module.groups
    return Convolution(module.weight, module.bias, *steps)


def _list_transposed_weights(module: Any) -> tuple[ModuleWeight, ...]:
    if module.groups != 1:
        owner, remedy = type(module).__name__, "Keras's transposed convolutions have no groups."
        raise ValueError(argument_error(owner, "groups", "1", module.groups, remedy))
    return _KERNEL, _BIAS  # (in, out, *spatial) and (*spatial, out, in)


def _compare_transposed(module: Any, config: Config) -> Iterator[str]:
    yield from _compare_steps(module, config)
    rank, padding = len(module.kernel_size), config.get("padding", "valid")
    strides, more = _steps(config.get("strides", 1), module), config.get("output_padding")
    if strides is None or padding not in ("valid", "same"):
        return
    if more is not None:
        try:
            more = arguments.as_nonnegative_ints("", "", more, rank)
        except ValueError:
            return
    plan = plan_transposed_padding(module.kernel_size, strides, module.dilation, padding, more)
    if _own_padding(module) == plan:
        return
    own = f"padding={module.padding}, output_padding={module.output_padding}"
    source = f"padding={padding!r}" + ("" if more is None else f", output_padding={more}")
    # Keras crops an odd rest at the end, which torch never does.
    exact = f"that is padding={plan.padding}, output_padding={plan.output_padding}"
    exact = "torch has no padding that is the same" if any(plan.cropped) else exact
    yield f"{own}, where the source has {source}: {exact}"


def _own_padding(module: Any) -> TransposedPadding:
    return TransposedPadding(module.padding, module.output_padding, (0,) * len(module.padding))


def _compute_transposed(module: Any) -> TransposedConvolution | None:
    if module.groups != 1:
        return None
    steps = module.stride, _own_padding(module), module.dilation
    return TransposedConvolution(module.weight, module.bias, *steps)


def _compare_steps(module: Any, config: Config) -> Iterator[str]:
    """Yield where the stride or the dilation differs from the config's."""
    for name, argument in (("stride", "strides"), ("dilation", "dilation_rate")):
        own, wanted = getattr(module, name), _steps(config.get(argument, 1), module)
        if wanted is not None and wanted != tuple(own):
            yield f"{name}={own}, where the source has {argument}={wanted}"


def _steps(value: Any, module: Any) -> tuple[int, ...] | None:
    """Return a stride or dilation of a config for each axis; None if it is not valid."""
    try:
        return arguments.as_positive_ints("", "", value, len(module.kernel_size))
    except ValueError:
        return None


def _compare_epsilon(module: Any, config: Config) -> Iterator[str]:
    epsilon = config.get("epsilon", 1e-3)
    if not are_equal(module.eps, epsilon):  # None, which RMSNorm may have, is that of the dtype
        remedy = f"Make the module with eps={epsilon!r}."
        yield f"eps={module.eps!r}, where the source has epsilon={epsilon!r}. {remedy}"


def _compare_layer_norm(module: Any, config: Config) -> Iterator[str]:
    yield from _compare_epsilon(module, config)
    if config.get("rms_scaling"):
        yield "it subtracts the mean, where the source has rms_scaling=True"


def _compare_rms_norm(module: Any, config: Config) -> Iterator[str]:
    return _compare_epsilon(module, {"epsilon": config.get("epsilon", 1e-6)})


def _compare_group_norm(module: Any, config: Config) -> Iterator[str]:
    yield from _compare_epsilon(module, config)
    groups = config.get("groups", 32)
    if module.num_groups != (module.num_channels if groups == -1 else groups):
        yield f"num_groups={module.num_groups}, where the source has groups={short_repr(groups)}"


def _compute_batch_norm(module: Any) -> BatchNorm:
    weights = (module.weight, module.bias, module.running_mean, module.running_var)
    return BatchNorm(*weights, module.eps)


def _compute_norm(function: Any, sizes: str, module: Any) -> SampleNorm:
    def normalize(x: Tensor, *given: Any) -> Tensor:
        normalized: Tensor = function(x, getattr(module, sizes), *given)
        return normalized

    epsilon = torch.finfo(torch.float32).eps if module.eps is None else module.eps
    return SampleNorm(normalize, module.weight, getattr(module, "bias", None), epsilon)


def _rms_norm(x: Tensor, sizes: Any, weight: Any, bias: None, epsilon: float) -> Tensor:
    return F.rms_norm(x, sizes, weight, epsilon)


def _list_prelu_weights(module: Any) -> list[ModuleWeight]:
    count, ones = module.num_parameters, [(1,) * axes for axes in range(1, 4)]  # shared axes
    shapes = [(*shape, count) for shape in ones] + [(count, *shape) for shape in ones[1:]]
    others = tuple(partial(Tensor.view, size=shape) for shape in shapes)
    return [ModuleWeight("weight", "alpha", others=others)]


def _compare_embedding(module: Any, config: Config) -> Iterator[str]:
    if module.max_norm is not None:
        yield f"max_norm={module.max_norm}, where Keras has none"


def _compute_pooling(module: Any) -> Pooling:
    rank = int(type(module).__name__[-2])
    given = (module.kernel_size, module.stride, module.padding)
    size, stride, padding = (n if isinstance(n, tuple) else (n,) * rank for n in given)
    kind: Any = "max" if isinstance(module, _MAX_POOLS) else "average"
    return Pooling(kind, size, stride, padding)


_KERNEL, _BIAS = ModuleWeight("weight", "kernel", weight_to_kernel), ModuleWeight("bias", "bias")
_AFFINE = ModuleWeight("weight", "gamma"), ModuleWeight("bias", "beta")
_SCALE = ModuleWeight("weight", "scale")
_MEAN = ModuleWeight("running_mean", "moving_mean")
_VARIANCE = ModuleWeight("running_var", "moving_variance")
_EMBEDDINGS = ModuleWeight("weight", "embeddings")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_POOLS = (*_MAX_POOLS, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTERS = (
    Adapter(
        {
            nn.Conv1d: ("conv1d", "depthwise_conv1d"),
            nn.Conv2d: ("conv2d", "depthwise_conv2d"),
            nn.Conv3d: ("conv3d",),
        },
        _list_conv_weights,
        _compare_conv,
        _compute_conv,
        _choose_conv,
    ),
    Adapter(
        {getattr(nn, f"ConvTranspose{rank}d"): (f"conv{rank}d_transpose",) for rank in (1, 2, 3)},
        _list_transposed_weights,
        _compare_transposed,
        _compute_transposed,
    ),
    Adapter(
        {nn.Linear: ("dense",)},
        lambda module: (_KERNEL, _BIAS),
        function=lambda module: MatrixProduct(module.weight, module.bias),
    ),
    Adapter(
        dict.fromkeys(BATCH_NORMS, ("batch_normalization",)),
        lambda module: (*_AFFINE, _MEAN, _VARIANCE),
        _compare_epsilon,
        _compute_batch_norm,
    ),
    Adapter(
        {nn.LayerNorm: ("layer_normalization",)},
        lambda module: _AFFINE,
        _compare_layer_norm,
        partial(_compute_norm, F.layer_norm, "normalized_shape"),
    ),
    Adapter(
        {nn.GroupNorm: ("group_normalization",)},
        lambda module: _AFFINE,
        _compare_group_norm,
        partial(_compute_norm, F.group_norm, "num_groups"),
    ),
    Adapter(
        {nn.RMSNorm: ("rms_normalization",)},
        lambda module: [_SCALE],
        _compare_rms_norm,
        partial(_compute_norm, _rms_norm, "normalized_shape"),
    ),
    Adapter({nn.Embedding: ("embedding",)}, lambda module: [_EMBEDDINGS], _compare_embedding),
    Adapter({nn.PReLU: ("p_re_lu",)}, _list_prelu_weights),
    Adapter(dict.fromkeys(_POOLS, ()), lambda module: (), function=_compute_pooling),
    *RECURRENT_ADAPTERS,
    ATTENTION_ADAPTER,
)
# The Keras classes whose weights are known, in snake_case
KINDS = frozenset(kind for one in ADAPTERS for kinds in one.classes.values() for kind in kinds)
