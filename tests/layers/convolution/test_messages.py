"""What Conv2D says of calls that no row of a table can make: who refuses what, and what came.

The rule for each argument is tested in `tests/core/test_arguments.py`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from kerastorch import apply_constraints, attach_constraints
from kerastorch.layers import Conv2D, Dense


def built(**arguments: Any) -> Conv2D:
    return Conv2D(4, (2, 3), **{"input_shape": (5, 6, 3), **arguments})


def unbuilt(**arguments: Any) -> Conv2D:
    return Conv2D(4, (2, 3), **arguments)


def zeros(*shape: int, **options: Any) -> torch.Tensor:
    return torch.zeros(*shape, **options)


def normed(**arguments: Any) -> nn.Module:
    layer = built(**arguments)
    parametrizations.weight_norm(layer, "weight")
    return layer


def strided(**arguments: Any) -> Conv2D:
    return built(strides=2, padding="same", **arguments)


FIRST = {"data_format": "channels_first"}
NO_ARRAY = lambda shape, dtype: "ones"  # noqa: E731
WEIGHTS = "a list of arrays for [('kernel', (2, 3, 3, 4)), ('bias', (4,))]"
NOT_BUILT = "built. Received: layer=Conv2D(None, 4, kernel_size=(2, 3)). Call it on a batch first"
FITS = "a shape at least as large as the kernel. Received: "
ONE_OF = "one of its arguments. Received: {}. It accepts filters, kernel_size, strides, padding"
OWN = "a parameter of its own, not one computed from others. Received: kernel=<class"
PLAIN = "a built-in one that PyTorch, too, has as a module. Received: activation="
GROUPED = "a shape whose channels (axis -1) `groups` divides. Received: "
# The owner, the argument and the start of the rest -> what causes the message
VALUE_ERRORS = {
    ("Conv2D", "strides", ("1 where `dilation_rate` exceeds 1. Received: strides=(1, 2), "
     "dilation_rate=(2, 1). No layer")): lambda: unbuilt(strides=(1, 2), dilation_rate=(2, 1)),
    ("Conv2D", "filters", "divisible by `groups`. Received: filters=4, groups=3."):
        lambda: unbuilt(groups=3),
    ("Conv2D", "weights", ONE_OF.format("weights=[]")): lambda: unbuilt(weights=[]),
    ("Conv2D", "input_shape", ("a shape with a known number of channels, 1 at least (axis -1). "
     "Received: input_shape=(None, 5, 6, None)")): lambda: built(input_shape=(5, 6, None)),
    ("Conv2D", "input_shape", ("a shape with a known number of channels, 1 at least (axis 1). "
     "Received: input_shape=(None, 0, 5, 6)")): lambda: unbuilt(**FIRST).build((None, 0, 5, 6)),
    ("Conv2D", "input_shape", GROUPED + "input_shape=(None, 5, 6, 3), groups=2"):
        lambda: built(groups=2),
    ("Conv2D", "input_shape", FITS + "input_shape=(2, 4, 6, 3), kernel_size=(2, 3), "
     "dilation_rate=(4, 1)"): lambda: unbuilt(dilation_rate=(4, 1)).build((2, 4, 6, 3)),
    ("Conv2D", "input_shape", FITS + "input_shape=(2, 1, 6, 3)"):
        lambda: built().compute_output_shape((2, 1, 6, 3)),
    ("Conv2D", "inputs", GROUPED + "inputs=(2, 5, 6, 3), groups=2"):
        lambda: unbuilt(groups=2)(zeros(2, 5, 6, 3)),
    ("Conv2D", "inputs", FITS + "inputs=(2, 0, 6, 3), kernel_size=(2, 3)"):
        lambda: built(padding="same")(zeros(2, 0, 6, 3)),
    ("Conv2D", "inputs", "of 3 channels along axis 1. Received: inputs=(2, 5, 6, 3), data_format"):
        lambda: built(input_shape=(3, 5, 6), **FIRST)(zeros(2, 5, 6, 3)),
    ("Conv2D", "inputs", "a tensor or an array of real numbers. Received: inputs=array(['a']"):
        lambda: built()(np.array(["a"])),
    ("Conv2D", "kernel_initializer", ("a callable that returns an array of the shape (2, 3, 3, 4)."
     " Received: kernel_initializer=<function")):
        lambda: built(kernel_initializer=lambda shape, dtype: zeros(2, 3)),
    ("Conv2D", "bias_initializer", "a callable that returns an array of the shape (4,)."):
        lambda: built(bias_initializer=NO_ARRAY),
    ("Conv2D", "input_shape", "given to a layer not built yet. Received: input_shape=(None, 5, 6"):
        lambda: built().build((None, 5, 6, 3)),
    ("Conv2D.kernel", "layer", NOT_BUILT): lambda: unbuilt().kernel,
    ("Conv2D.count_params", "layer", NOT_BUILT): lambda: unbuilt().count_params(),
    ("Conv2D.enable_lora", "layer", NOT_BUILT): lambda: unbuilt().enable_lora(2),
    ("Conv2D.to_torch", "layer", NOT_BUILT): lambda: unbuilt().to_torch(),
    ("Conv2D", "weights", "a list of arrays for []. Received: weights=[(2,)]. Build the layer"):
        lambda: unbuilt().set_weights([np.zeros(2)]),
    ("Conv2D", "weights", WEIGHTS + ". Received: weights=[(4, 3, 2, 3), 'str']."):
        lambda: built().set_weights([np.zeros((4, 3, 2, 3)), "zeros"]),
    ("Conv2D", "weights", WEIGHTS + ". Received: weights=5."): lambda: built().set_weights(5),
    ("ParametrizedConv2D", "kernel", OWN): lambda: normed().set_weights(normed().get_weights()),
    ("Conv2D", "lora_alpha", "a finite number >= 0. Received: lora_alpha=-1.0."):
        lambda: built().enable_lora(2, -1.0),
    ("Conv2D", "kernel_constraint", "None with LoRA. Received: kernel_constraint="):
        lambda: unbuilt(lora_rank=2, kernel_constraint="non_neg"),
    ("Conv2D", "rank", "given once: the layer has LoRA already. Received: rank=3."):
        lambda: built(lora_rank=2).enable_lora(3),
    ("Conv2D", "rank", "a positive integer. Received: rank=0."): lambda: built().enable_lora(0),
    ("Conv2D.from_torch", "module", "an initialized nn.Conv2d. Received: module=ReLU()."):
        lambda: Conv2D.from_torch(nn.ReLU()),
    ("Conv2D.from_torch", "module", "an initialized nn.Conv2d. Received: module=LazyConv2d"):
        lambda: Conv2D.from_torch(nn.LazyConv2d(4, 3)),
    ("Conv2D.from_torch", "module.padding", ("0 or what 'same' is at every size, since Keras has "
     "no other padding. Received: module.padding=(2, 2), kernel_size=(3, 3)")):
        lambda: Conv2D.from_torch(nn.Conv2d(3, 4, 3, padding=2)),
    ("Conv2D.from_torch", "module.padding_mode", "'zeros'. Received: module.padding_mode='ref"):
        lambda: Conv2D.from_torch(nn.Conv2d(3, 4, 3, padding_mode="reflect")),
    ("Conv2D.to_torch", "dtype", "one that computes in its weights' dtype. Received: dtype='mixed"):
        lambda: built(dtype="mixed_float16").to_torch(),
    ("Conv2D.to_torch", "activation", PLAIN + "PReLU(num_parameters=1)."):
        lambda: built(activation=nn.PReLU()).to_torch(),
    ("Conv2D.to_torch", "input_size", ("given, since this 'same' padding depends on it. Received: "
     "input_size=None, strides=(2, 2).")): lambda: strided().to_torch(),
    ("Conv2D.to_torch", "input_size", "a positive integer or 2 of them. Received: input_size=(5, "):
        lambda: strided().to_torch((5, 6, 3)),
    ("Conv2D", "kernel_constraint", "a callable that returns the shape (2, 3, 3, 4) it was given."):
        lambda: apply_constraints(built(kernel_constraint=torch.sum)),
    ("attach_constraints", "optimizer", "one that steps some of the model's constrained weights."):
        lambda: attach_constraints(
            torch.optim.SGD(built().parameters()), built(kernel_constraint="non_neg")
        ),
}  # fmt: skip
OTHERS = {
    ("Conv2D", "filters", "left unchanged. Received: filters=5. Make another layer"):
        (AttributeError, lambda: setattr(built(), "filters", 5)),
    ("Conv2D", "inputs.dtype", "the weights' dtype, torch.float32. Received: inputs.dtype=torch.f"):
        (RuntimeError, lambda: built(autocast=False)(zeros(2, 5, 6, 3).double())),
    ("Dense", "inputs.device", "the weights' device, cpu. Received: inputs.device=device(type='m"):
        (RuntimeError, lambda: Dense(4, input_shape=(3,))(zeros(2, 3, device="meta"))),
    ("Conv2D.from_config", "config", "a dict. Received: config=5."):
        (TypeError, lambda: Conv2D.from_config(5)),
    ("Conv2D.from_config: Conv2D", "colour", ONE_OF.format("colour='red'")): (
        TypeError,
        lambda: Conv2D.from_config({"filters": 4, "kernel_size": 3, "colour": "red"}),
    ),
    ("Conv2D.from_config: Conv2D", "kernel_size", "a positive integer or 2 of them. Received: k"):
        (TypeError, lambda: Conv2D.from_config({"filters": 4, "kernel_size": 0})),
}  # fmt: skip


@pytest.mark.parametrize("said", [*VALUE_ERRORS, *OTHERS], ids=str)
def test_messages(said: tuple[str, str, str]) -> None:
    kind, cause = OTHERS.get(said) or (ValueError, VALUE_ERRORS[said])
    owner, argument, rest = said
    with pytest.raises(Exception) as caught:
        cause()
    message = str(caught.value)
    assert caught.type is kind
    assert message.startswith(f"{owner}: `{argument}` must be {rest}"), message
    assert re.search(r"Received: \w", message) and message.endswith(".") and "  " not in message


@pytest.mark.parametrize("state", [
    {"weight": zeros(4, 3, 2)},
    {"weight": zeros(4, 3, 2, 2)},
    {"weight": zeros(4, 3, 2, 3), "bias": zeros(5)},
], ids=["rank", "sizes", "bias"])  # fmt: skip
def test_messages_about_a_state_dict(state: dict[str, torch.Tensor]) -> None:
    model = nn.Sequential(unbuilt())
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict({f"0.{name}": value for name, value in state.items()})
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    expected = (
        "Conv2D: `state_dict` must be for Conv2D(None, 4, kernel_size=(2, 3)). "
        f"Received: state_dict={shapes}, prefix='0.'."
    )
    assert expected in str(caught.value).split("\n\t")


def test_a_config_that_lacks_an_argument_is_told_so_in_the_reader_s_words() -> None:
    with pytest.raises(TypeError) as caught:
        Conv2D.from_config({"filters": 4})
    message = str(caught.value)
    assert message.startswith("Conv2D.from_config: ") and "kernel_size" in message
    assert "BaseConv" not in message and "positional" not in message
