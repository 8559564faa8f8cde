"""compare beside Keras: the mistakes of convolutions of any rank, and of normalizations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import Tensor, nn
from torch.nn import functional as F

from kerastorch import compare
from kerastorch.saving.model_loading import load_model

SHAPES = {1: (8, 4), 2: (7, 6, 4), 3: (4, 5, 6, 4)}  # "same" of stride 2 is uneven
SAME: dict[str, Any] = {"strides": 2, "padding": "same"}
CONV: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSE: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Case(NamedTuple):
    """A layer of Keras, a module, and how each weight gets into it, rightly and wrongly."""

    layer: Callable[[], Any]
    module: Callable[[], nn.Module]
    name: str  # of the cause
    right: Callable[[Any], Any] = lambda kernel: np.moveaxis(kernel, (-1, -2), (0, 1))
    wrong: Callable[[Any], Any] | None = None  # None: the module itself is wrong
    before: tuple[int, ...] | None = None  # the padding and the crop that make the port right
    after: tuple[int, ...] | None = None
    mended: Callable[[], nn.Module] | None = None  # the right module, if it is another one


def depthwise(kernel: Any) -> Any:
    """Put filters of (*sizes, channels, multiplier) in PyTorch's order."""
    moved = np.moveaxis(kernel, (-2, -1), (0, 1))
    return moved.reshape(-1, 1, *kernel.shape[:-2])


def by_multiplier(kernel: Any) -> Any:
    moved = np.moveaxis(kernel, (-1, -2), (0, 1))
    return moved.reshape(-1, 1, *kernel.shape[:-2])


def reshaped(kernel: Any) -> Any:
    return kernel.reshape(-1, 1, *kernel.shape[:-2])


def unswapped(kernel: Any) -> Any:
    """Put the last two axes of a kernel first, as they are."""
    return np.moveaxis(kernel, (-2, -1), (0, 1))


def conv_cases(rank: int) -> dict[str, Case]:
    conv, transpose = getattr(layers, f"Conv{rank}D"), getattr(layers, f"Conv{rank}DTranspose")
    ends = {1: (0, 1), 2: (0, 1, 1, 1), 3: (0, 1, 1, 1, 0, 1)}[rank]
    bare, crop = partial(TRANSPOSE[rank], 4, 4, 3, 2), (0, -1) * rank
    return {
        f"same {rank}": Case(
            partial(conv, 4, 3, **SAME),
            partial(CONV[rank], 4, 4, 3, 2, padding=1),
            "padding",
            before=ends,
            mended=partial(CONV[rank], 4, 4, 3, 2),
        ),
        f"transpose {rank}": Case(
            partial(transpose, 4, 3, **SAME),
            partial(bare, padding=1, output_padding=1),
            "padding",
            after=crop,
            mended=bare,
        ),
        f"filters and channels {rank}": Case(
            partial(transpose, 4, 3, **SAME), bare, "kernel transposed", wrong=unswapped, after=crop
        ),
    }


def depthwise_cases(rank: int) -> dict[str, Case]:
    make = getattr(layers, f"DepthwiseConv{rank}D")
    layer = partial(make, 3, depth_multiplier=3)
    own = partial(CONV[rank], 4, 12, 3, groups=4)
    cases = {"by multiplier": by_multiplier, "reshaped": reshaped}
    names = {"by multiplier": "depthwise channels", "reshaped": "kernel reshaped"}
    found = {
        f"{key} {rank}": Case(layer, own, names[key], depthwise, wrong)
        for key, wrong in cases.items()
    }
    strided = partial(CONV[rank], 4, 12, 3, 2, groups=4)
    ends = {1: (0, 1), 2: (0, 1, 1, 1)}[rank]
    same = partial(make, 3, depth_multiplier=3, **SAME)
    wrong = partial(strided, padding=1)
    found[f"depthwise same {rank}"] = Case(
        same, wrong, "padding", depthwise, before=ends, mended=strided
    )
    return found


def causal(**options: Any) -> Case:
    layer = partial(layers.Conv1D, 4, 3, padding="causal", dilation_rate=2)
    own = partial(nn.Conv1d, 4, 4, 3, dilation=2)
    return Case(layer, partial(own, **options), "padding", before=(4, 0), mended=own)


CASES = {
    **conv_cases(1),
    **conv_cases(2),
    **conv_cases(3),
    **depthwise_cases(1),
    **depthwise_cases(2),
    "causal for same": causal(padding="same"),
    "causal for symmetric": causal(padding=2),
}


def build(case: Case) -> tuple[Any, Any, Any]:
    """Return a built model, its layer, and inputs."""
    layer = case.layer()
    shape = next(s for s in SHAPES.values() if len(s) == layer.rank + 1)
    model = keras.Sequential([keras.Input(shape), layer])
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    return model, layer, generator.normal(size=(2, *shape)).astype(np.float32)


def port(module: nn.Module, layer: Any, convert: Any, case: Case, *, mended: bool) -> nn.Module:
    """Return the module as Keras's layer, with the padding and the crop around it if wanted."""
    kernel, bias = layer.get_weights()
    state = {"weight": torch.tensor(convert(kernel).copy()), "bias": torch.tensor(bias)}
    module.load_state_dict(state)

    class Port(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module(layer.name, module)

        def forward(self, x: Tensor) -> Tensor:
            x = x.movedim(-1, 1)
            if mended and case.before:
                x = F.pad(x, case.before)
            y = module(x)
            return F.pad(y, case.after) if mended and case.after else y

    return Port()


@pytest.mark.parametrize("key", CASES)
def test_mistakes_beside_a_live_layer(key: str) -> None:
    case = CASES[key]
    model, layer, inputs = build(case)
    right = port((case.mended or case.module)(), layer, case.right, case, mended=True)
    found = compare(right, model, inputs)
    assert found.ok, str(found)
    assert found.cause is None
    convert = case.wrong or case.right
    wrong = port(case.module(), layer, convert, case, mended=case.wrong is not None)
    found = compare(wrong, model, inputs)
    assert not found.ok
    assert found.cause is not None, str(found)
    assert found.cause.name == case.name, str(found)


@pytest.mark.parametrize("key", [key for key in CASES if not key.startswith("causal")])
def test_mistakes_in_a_loaded_layer(key: str, tmp_path: Any) -> None:
    """A layer of kerastorch agrees; with the wrong weight, the same cause is named."""
    case = CASES[key]
    model, layer, inputs = build(case)
    model.save(tmp_path / "net.keras")
    loaded = load_model(tmp_path / "net.keras")
    assert compare(loaded, model, inputs).ok
    if case.wrong is not None:
        weight = torch.tensor(case.wrong(layer.get_weights()[0]).copy())
        with torch.no_grad():
            loaded.layers[layer.name].weight.copy_(weight)
        found = compare(loaded, model, inputs)
        assert found.cause is not None, str(found)
        assert found.cause.name == case.name, str(found)


@pytest.mark.parametrize("rank", [1, 2])
def test_mistakes_in_a_separable_convolution(rank: int) -> None:
    make = getattr(layers, f"SeparableConv{rank}D")
    layer = make(5, 3, depth_multiplier=3, activation="relu", name="layer", **SAME)
    model = keras.Sequential([keras.Input(SHAPES[rank]), layer])
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    inputs = generator.normal(size=(2, *SHAPES[rank])).astype(np.float32)
    first, last, bias = layer.get_weights()
    pad: Any = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d}[rank]

    def port(convert: Any, *before: nn.Module, padding: int = 0) -> nn.Module:
        steps = CONV[rank](4, 12, 3, 2, padding, groups=4, bias=False), CONV[rank](12, 5, 1)
        with torch.no_grad():
            steps[0].weight.copy_(torch.tensor(convert(first).copy()))
            steps[1].weight.copy_(torch.tensor(np.moveaxis(last, (-1, -2), (0, 1))))
            steps[1].bias.copy_(torch.tensor(bias))
        named = {"layer": nn.Sequential(*before, *steps), "relu": nn.ReLU()}
        return nn.Sequential(OrderedDict(named))

    ends = pad({1: (0, 1), 2: (0, 1, 1, 1)}[rank])
    found = compare(port(depthwise, ends), model, inputs)
    assert found.ok, str(found)
    for wrong, name in (
        (port(by_multiplier, ends), "depthwise channels"),
        (port(reshaped, ends), "kernel reshaped"),
        (port(depthwise, padding=1), "padding"),
    ):
        found = compare(wrong, model, inputs)
        assert found.cause is not None, str(found)
        assert found.cause.name == name, str(found)


NORMS: dict[str, tuple[Any, Any, bool]] = {  # of Keras, of torch, whether its channels are axis 1
    "batch": (layers.BatchNormalization, partial(nn.BatchNorm2d, 4), True),
    "layer": (layers.LayerNormalization, partial(nn.LayerNorm, 4), False),
    "group": (partial(layers.GroupNormalization, 2), partial(nn.GroupNorm, 2, 4), True),
    "rms": (layers.RMSNormalization, partial(nn.RMSNorm, 4), False),
}


@pytest.mark.parametrize("defaults", ["torch's for Keras's", "Keras's for torch's"])
@pytest.mark.parametrize("norm", NORMS)
def test_epsilons_beside_a_live_layer(norm: str, defaults: str) -> None:
    make, make_plain, moves = NORMS[norm]
    if defaults == "torch's for Keras's":
        layer, module = make(name="norm"), make_plain()
    else:
        layer, module = make(epsilon=1e-5, name="norm"), make_plain(eps=1e-3)
    model = keras.Sequential([keras.Input((5, 3, 4)), layer])
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    names = ("weight", "bias", "running_mean", "running_var")
    values = map(torch.from_numpy, layer.get_weights())
    module.load_state_dict(dict(zip(names, values, strict=False)), strict=False)
    inputs = generator.normal(size=(2, 5, 3, 4)).astype(np.float32) * 0.1

    class Port(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = module

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = module(x.movedim(-1, 1) if moves else x)
            return y

    found = compare(Port(), model, inputs)
    assert found.cause is not None, str(found)
    assert found.cause.name == "epsilon"
    assert f"Keras's is {layer.epsilon:g}" in found.cause.text
    module.eps = layer.epsilon
    found = compare(Port(), model, inputs)
    assert found.ok, str(found)
    assert found.cause is None
