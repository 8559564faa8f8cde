"""Random modules with random names, orders and gaps: what lands wrong is an error or a warning."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from kerastorch.saving import FileError
from tests.formats.keras_files import model_archive, model_h5
from tests.models.configs import input_layer, layer, sequential

SIZE = 4
CLASSES = {  # kind -> class, config, the arrays by name, and the module of torch
    "dense": ("Dense", {"units": SIZE}, {"kernel": (4, 4), "bias": (4,)}, nn.Linear),
    "conv2d": (
        "Conv2D",
        {"filters": SIZE, "kernel_size": 1},
        {"kernel": (1, 1, 4, 4), "bias": (4,)},
        lambda size, out: nn.Conv2d(size, out, 1),
    ),
    "p_re_lu": ("PReLU", {"shared_axes": [1, 2]}, {"alpha": (1, 1, 4)}, lambda _, o: nn.PReLU(o)),
    "batch_normalization": (
        "BatchNormalization",
        {"epsilon": 1e-5, "momentum": 0.9},
        dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (4,)),
        lambda _, out: nn.BatchNorm2d(out),
    ),
}
PARAMETERS = ("weight", "bias", "running_mean", "running_var")  # in the order of the arrays


def draw(generator, folder):
    """Return a source, a module, a mapping, and the value that each parameter should get."""
    kinds = [generator.choice([*CLASSES, "dense"]) for _ in range(generator.randint(2, 5))]
    automatic, shift = generator.random() < 0.3, generator.randint(0, 1)
    counts = dict.fromkeys(kinds, 0)
    names, others, values, entries, arrays, tree = [], [], {}, [], {}, {}
    for place, kind in enumerate(kinds):
        class_name, config, shapes, _ = CLASSES[kind]
        number = counts[kind]
        counts[kind] += 1
        group = f"{kind}_{number}" if number else kind
        name = f"{kind}_{number + shift}" if automatic and number + shift else f"k{place}_{kind}"
        names.append(name)
        others.append(group if automatic else f"t{generator.randint(100, 999)}_{place}")
        values[name] = [10.0 * place + n for n in range(len(shapes))]
        filled = [np.full(s, v, "f4") for s, v in zip(shapes.values(), values[name], strict=True)]
        entries.append(layer(class_name, name, trainable=True, dtype="float32", **config))
        arrays[name] = dict(zip(shapes, filled, strict=True))
        tree |= {f"layers/{group}/vars/{n}": array for n, array in enumerate(filled)}
    config = sequential(input_layer("x", (None, 3, 3, SIZE)), *entries)
    written = generator.choice(["h5", "keras", "list", "dict"])
    if written == "h5":
        source = model_h5(folder / "m.h5", config, arrays)
    elif written == "keras":
        source = model_archive(folder / "m.keras", config, tree)
    elif written == "list":
        source = [array for some in arrays.values() for array in some.values()]
    else:
        source = {f"{name}/{key}": a for name, some in arrays.items() for key, a in some.items()}

    order = list(range(len(kinds)))
    generator.shuffle(order) if generator.random() < 0.6 else None
    module, expected = nn.Module(), {}
    gap = not automatic and generator.random() < 0.2
    for place in order[: len(order) - gap]:
        kind, name = kinds[place], names[place]
        own = name if not automatic and generator.random() < 0.5 else others[place]
        out = 5 if generator.random() < 0.1 else SIZE
        setattr(module, own, CLASSES[kind][3](SIZE, out))
        for parameter, value in zip(PARAMETERS, values[name], strict=False):
            expected[f"{own}.{parameter}"] = value
    paths = [name for name, _ in module.named_children()]
    mapping = {generator.choice(paths): None} if generator.random() < 0.3 else {}
    return source, module, mapping, expected


def load_at_random(seed, folder):
    """Return whether anything was loaded without a word, after checking that it was right."""
    generator = random.Random(seed)
    source, module, mapping, expected = draw(generator, folder)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = kerastorch.load_weights(
                module, source, mapping=mapping, strict=generator.random() < 0.5
            )
    except FileError:
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, before[name]), seed
        return False
    loaded = {entry.target for entry in report.loaded}
    for name, tensor in module.state_dict().items():
        if name not in loaded:
            assert torch.equal(tensor, before[name]), seed
        elif not report.warnings:
            assert (tensor == expected[name]).all(), (seed, name, report)
    return bool(loaded) and not report.warnings


@pytest.mark.parametrize("first", [0, pytest.param(1000, marks=pytest.mark.sweep)])
def test_nothing_lands_in_another_place_without_a_word(first, tmp_path):
    seeds = range(first, first + (4000 if first else 300))
    quiet = sum(load_at_random(seed, tmp_path) for seed in seeds)
    assert quiet > len(seeds) / 5
