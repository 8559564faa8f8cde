"""Random models as plain PyTorch: outputs, and gradients in training."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch

from kerastorch.layers.base.layer import Layer
from kerastorch.plain import to_source, to_torch
from kerastorch.plain.proof.comparison import measure_structures
from tests.models.random_graphs import IMAGE, random_functional, random_sequential
from tests.plain.models import build

QUICK, MANY = 25, 250
SEEDS = [*range(QUICK), *(pytest.param(s, marks=pytest.mark.sweep) for s in range(QUICK, MANY))]
pytestmark = pytest.mark.filterwarnings("ignore:softmax.*:UserWarning")


def make(seed: int):
    config = random_sequential(seed) if seed % 5 == 4 else random_functional(seed)
    return build(config, seed)


def draws(model) -> bool:
    """Return whether a layer is random in training, or is not there for it."""
    kinds = ("Dropout", "Noise", "Random", "StochasticDepth", "Mix", "Aug", "Contrast")
    return any(any(k in type(one).__name__ for k in kinds) for one in model.modules())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_is_written(seed: int) -> None:
    model = make(seed)
    plain = to_torch(model).double()  # which proves it, in evaluation
    if draws(model):
        return
    reference = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((3, *IMAGE[1:]), generator=generator, dtype=torch.float64)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, wanted = plain.train()(mine), reference.train()(theirs)
    leaves = torch.utils._pytree.tree_leaves
    assert (
        measure_structures(
            [one.detach() for one in leaves(wanted)], [one.detach() for one in leaves(found)]
        )
        < 1e-9
    )
    for number, (a, b) in enumerate(zip(leaves(wanted), leaves(found), strict=True), 1):
        for total in (a, b):
            if total.requires_grad:
                (number * total.square().sum()).backward(retain_graph=True)
    if theirs.grad is not None:
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-8)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("options", [{"inference": True}, {"layout": "channels_first"}])
def test_the_other_forms_are_proved_too(seed: int, options: dict) -> None:
    to_source(make(seed), **options)


def test_the_random_models_have_many_layers() -> None:
    found = Counter(
        type(one).__name__
        for seed in range(40)
        for one in make(seed).modules()
        if isinstance(one, Layer)
    )
    assert len(found) > 25
