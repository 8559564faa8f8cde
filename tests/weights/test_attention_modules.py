"""Keras's weights into nn.MultiheadAttention and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import layers, load_weights, save_weights
from kerastorch.saving import FileError
from tests.weights.weight_files import array, old_file, sequential, tree_file

E, HEADS, SIZE = 6, 2, 3
NAMES = ("query", "key", "value", "output")


def draw(query=E, key=E, value=E, bias=True):
    """Return the kernel and the bias of each projection, as Keras has them."""
    sizes = {"query": query, "key": key, "value": value}
    kernels = [array(size, HEADS, SIZE) for size in sizes.values()] + [array(HEADS, SIZE, query)]
    biases = [*(array(HEADS, SIZE) for _ in sizes), array(query)]
    return [[kernel, own][: 1 + bias] for kernel, own in zip(kernels, biases, strict=True)]


def write(folder, parts):
    return tree_file(folder, make_groups("layers/multi_head_attention", parts))


def make_groups(path, parts):
    pairs = zip(NAMES, parts, strict=True)
    return {path: [], **{f"{path}/{name}_dense": part for name, part in pairs}}


def keras_layer(parts, query=E, key=E, value=E):
    layer = layers.MultiHeadAttention(HEADS, SIZE, use_bias=len(parts[0]) > 1)
    layer.build((None, None, query), (None, None, value), (None, None, key))
    layer.set_weights([one for part in parts for one in part])
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"key": 4, "value": 5}])
def test_the_module_computes_the_same_and_goes_back(tmp_path, sizes, bias):
    parts = draw(**sizes, bias=bias)
    options = {"kdim": sizes.get("key"), "vdim": sizes.get("value")}
    module = nn.MultiheadAttention(E, HEADS, bias=bias, batch_first=True, **options)
    before = dict(module.named_parameters())
    report = load_weights(nn.Sequential(module), write(tmp_path, parts))
    assert len(report.loaded) == (8 if bias else 4) and not report.missing
    expected = keras_layer(parts, **sizes)
    q, k, v = (torch.rand(2, 5, sizes.get(name, E)) for name in NAMES[:3])
    assert_close(module(q, k, v)[0], expected(q, v, k))
    assert all(before[name] is value for name, value in module.named_parameters())
    save_weights(nn.Sequential(module), tmp_path / "n.weights.h5")
    again = keras_layer([[0 * one for one in part] for part in parts], **sizes)
    load_weights(nn.Sequential(again), tmp_path / "n.weights.h5")
    for left, right in zip(again.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def named(parts, names=(*NAMES[:3], "attention_output")):
    """Return the arrays under the names of Keras 2."""
    return {
        f"m/{name}/{own}:0": one
        for name, part in zip(names, parts, strict=True)
        for own, one in zip(("kernel", "bias"), part, strict=True)
    }


def config(**options):
    given = {"name": "m", "num_heads": HEADS, "key_dim": SIZE, "value_dim": SIZE, **options}
    return sequential(("MultiHeadAttention", given))


def test_a_file_of_keras_2(tmp_path):
    parts = draw()
    module, x = nn.MultiheadAttention(E, HEADS, batch_first=True), torch.rand(2, 5, E)
    load_weights(nn.ModuleDict({"m": module}), old_file(tmp_path, {"m": named(parts)}, config()))
    assert_close(module(x, x, x)[0], keras_layer(parts)(x))


@pytest.mark.parametrize(("options", "words"), [
    ({"attention_axes": [2]}, r"no attention_axes, where the source has attention_axes=\[2\]"),
    ({"sliding_window": 3}, "no sliding_window, where the source has sliding_window=3"),
])  # fmt: skip
def test_what_the_module_does_not_compute(tmp_path, options, words):
    path = old_file(tmp_path, {"m": named(draw())}, config(**options))
    model = nn.ModuleDict({"m": nn.MultiheadAttention(E, HEADS)})
    with pytest.raises(FileError, match=words):
        load_weights(model, path)


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_modules_that_keras_lacks(tmp_path, option):
    model = nn.Sequential(nn.MultiheadAttention(E, HEADS, **{option: True}))
    with pytest.raises(FileError, match=f"MultiheadAttention: `{option}` must be False"):
        load_weights(model, write(tmp_path, draw()))


def test_wrong_shapes_change_nothing(tmp_path):
    parts = draw()
    module = nn.MultiheadAttention(E, 3)  # other heads
    before = [parameter.clone() for parameter in module.parameters()]
    for given in (parts, [*parts[:3], [parts[3][0], array(7)]]):
        with pytest.raises(FileError, match=r"in_proj_weight\[query\] has the shape \(6, 3, 2\)"):
            load_weights(nn.Sequential(module), write(tmp_path, given))
    assert_close([*module.parameters()], before, rtol=0, atol=0)


def test_a_part_of_a_parameter(tmp_path):
    parts, module = draw(), nn.MultiheadAttention(E, HEADS)
    before = module.in_proj_weight.detach().clone()
    path = "layers/multi_head_attention/key_dense/vars/0"
    mapping = {"0.in_proj_weight[key]": path}
    with pytest.raises(FileError, match=r"missing: 0\.in_proj_weight\[query\]"):
        load_weights(nn.Sequential(module), write(tmp_path, parts), mapping=mapping)
    load_weights(nn.Sequential(module), write(tmp_path, parts), mapping=mapping, strict=False)
    expected = torch.tensor(parts[1][0]).permute(1, 2, 0).reshape(E, E)
    assert_close(module.in_proj_weight.chunk(3), (before[:E], expected, before[2 * E :]))


def test_tied_parameters_need_equal_arrays(tmp_path):
    first, second = (nn.MultiheadAttention(E, HEADS, bias=False) for _ in range(2))
    second.in_proj_weight = first.in_proj_weight
    model, parts = nn.Sequential(first, second), draw(bias=False)
    for other in (parts, draw(bias=False)):
        group = "layers/multi_head_attention"
        groups = {**make_groups(group, parts), **make_groups(f"{group}_1", other)}
        path = tree_file(tmp_path, groups)
        if other is parts:
            load_weights(model, path)
            expected = torch.tensor(parts[2][0]).permute(1, 2, 0).reshape(E, E)
            assert_close(second.in_proj_weight[2 * E :], expected)
        else:
            with pytest.raises(FileError, match=r"\[query\] are one parameter"):
                load_weights(model, path)
