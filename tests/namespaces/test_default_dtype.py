"""`torch.set_default_dtype` changes nothing: Keras's floatx decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kerastorch
from kerastorch import attach_constraints, initializers, regularization_loss
from kerastorch.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    SpatialDropout2D,
    UpSampling2D,
)
from tests.comparison.models import IMAGES, Keras
from tests.layers.contract import batch
from tests.torch_tools.test_torch_tools import MODELS

DEFAULTS = [torch.float64, torch.float16, torch.bfloat16]
SHAPE = (5, 6, 3)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def initial_values() -> list[Tensor]:
    """Return what each initializer that draws gives, with a seed and without."""
    classes = {c for c in vars(initializers).values() if isinstance(c, type)}
    drawn = {c for c in classes if issubclass(c, initializers.Initializer)}
    values = []
    for cls in sorted(drawn, key=lambda cls: cls.__name__):
        try:
            makers = [cls(), cls(seed=3)]
        except TypeError:  # it draws nothing, or is the base class
            continue
        values += [make((2, 3, 4, 5)) for make in makers]
    assert len(values) >= 20
    return values


def layers() -> list[Tensor]:
    rules = {"kernel_regularizer": "l1l2", "activity_regularizer": "l2", "padding": "same"}
    model = nn.Sequential(
        Conv2D(4, (2, 3), strides=2, activation="gelu", lora_rank=2, **rules),
        BatchNormalization(),
        UpSampling2D(2, interpolation="bicubic"),
        Dropout(0.4),
        Dropout(0.4, seed=1),
        Dropout(0.4, noise_shape=(None, 1, 1, None)),
        SpatialDropout2D(0.4, seed=2),
        Flatten(),
        Dense(3, kernel_constraint="max_norm", kernel_regularizer="orthogonal_regularizer"),
    )
    outputs = model(batch((2, *SHAPE)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    attach_constraints(optimizer, model)
    loss = regularization_loss(model)
    (outputs.square().mean() + loss).backward()
    optimizer.step()
    return [outputs, loss, *model.state_dict().values()]


def losses_of_nothing() -> list[Tensor]:
    kinds: list[Any] = [Conv2D(2, 3, input_shape=SHAPE), Dense(2, dtype="float64"), Flatten()]
    return [regularization_loss(layer) for layer in kinds]


def loaded_models() -> list[Tensor]:
    found = []
    for path, shape in MODELS.values():
        model, x = kerastorch.load_model(path), batch(shape)
        outputs = [model(x), model.train()(x)]
        found += [t for each in outputs for t in ([each] if isinstance(each, Tensor) else each)]
        found += list(model.state_dict().values())
    return found


def comparisons() -> list[str]:
    """Return what is said of layers without weights: their inputs' type is the array's."""
    layer = UpSampling2D(2, interpolation="bilinear", name="up")
    return [str(kerastorch.compare(nn.Sequential(layer), Keras(layer), IMAGES))]


MAKERS = [initial_values, layers, losses_of_nothing, loaded_models]


@pytest.mark.parametrize("dtype", DEFAULTS, ids=str)
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_all_values_and_their_types_are_the_same(make: Callable[[], list[Tensor]], dtype):
    torch.manual_seed(0)
    expected = make()
    torch.manual_seed(0)
    with default_dtype(dtype):
        found = make()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DEFAULTS, ids=str)
def test_comparisons_are_the_same(dtype):
    expected = comparisons()
    with default_dtype(dtype):
        assert comparisons() == expected


def test_layers_beside_torch_s_own_in_float64():
    with default_dtype(torch.float64):
        before = nn.Sequential(nn.Linear(4, 5), Dense(3))
        after = nn.Sequential(Dense(3), nn.Linear(3, 2))
        both = nn.Sequential(Dense(3, dtype="float64"), nn.Linear(3, 2))
        x = torch.ones(2, 4)
        assert before(x).dtype is torch.float32  # cast, as in Keras
        with pytest.raises(RuntimeError, match="must have the same dtype"):
            after(x)
        assert both(x).dtype is torch.float64
        kerastorch.config.set_floatx("float64")
        try:
            assert Dense(3)(x).dtype is torch.float64
        finally:
            kerastorch.config.set_floatx("float32")
