"""MultiHeadAttention from and to nn.MultiheadAttention."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch.layers import MultiHeadAttention

B, T, S, E = 2, 5, 7, 6
SIZES = {"same": {}, "separate": {"kdim": 4, "vdim": 3}}


def make(**options):
    module = nn.MultiheadAttention(E, 2, **{"batch_first": True, "dtype": torch.double, **options})
    if module.in_proj_bias is not None:  # torch begins with zeros
        nn.init.normal_(module.in_proj_bias)
        nn.init.normal_(module.out_proj.bias)
    return module


def draw(module):
    sizes = ((T, E), (S, module.kdim), (S, module.vdim))
    return [torch.randn(B, *size, dtype=torch.double) for size in sizes]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_there_and_back_with_masks(sizes, bias):
    module = make(bias=bias, **sizes)
    layer = MultiHeadAttention.from_torch(module)
    assert layer.dtype == "float64" and (layer.num_heads, layer.key_dim) == (2, 3)
    again = layer.to_torch()
    assert_close(again.state_dict(), module.state_dict(), rtol=0, atol=0)
    query, key, value = draw(module)
    attend = torch.rand(B, T, S) < 0.6
    attend[..., 2] = True  # a step without keys gives NaN
    present = torch.arange(S) < torch.tensor([S, 4])[:, None]
    plain = {
        "none": {},
        "attention": {"attn_mask": ~attend.repeat_interleave(2, 0)},
        "padding": {"key_padding_mask": ~present},
        "causal": {"attn_mask": ~torch.ones(T, S).tril().bool()},
    }
    ours = {
        "none": {},
        "attention": {"attention_mask": attend},
        "padding": {"value_mask": present},
        "causal": {"use_causal_mask": True},
    }
    for name, given in plain.items():
        for one in (module, again):
            for mode in (True, False):
                one.train(mode), layer.train(mode)
                options = {"average_attn_weights": False, **given}
                expected, scores = one(query, key, value, **options)
                assert_close(layer(query, value, key, **ours[name]), expected)
                found = layer(query, value, key, return_attention_scores=True, **ours[name])
                assert_close(found, (expected, scores))


def test_training_goes_the_same_way():
    module = make(dropout=0.0)
    layer, (query, key, value) = MultiHeadAttention.from_torch(module), draw(module)
    for one, given in ((module, (query, key, value)), (layer, (query, value, key))):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        outputs = one(*given)
        (outputs[0] if isinstance(outputs, tuple) else outputs).square().sum().backward()
        optimizer.step()
    assert_close(layer.to_torch().state_dict(), module.state_dict())


def test_arguments_modes_and_copies():
    module = make(dropout=0.25).eval().requires_grad_(False)
    layer = MultiHeadAttention.from_torch(module, name="heads", kernel_regularizer="l2")
    assert layer.dropout == 0.25 and layer.name == "heads" and not layer.training
    assert not any(weight.requires_grad for weight in layer.weights)
    before = [weight.clone() for weight in layer.weights]
    module.in_proj_weight.zero_(), module.out_proj.weight.zero_()
    assert_close(layer.weights, before, rtol=0, atol=0)
    again = MultiHeadAttention.from_torch(module, trainable=False).to_torch()
    assert again.dropout == 0.25 and not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    with pytest.raises(ValueError, match="`num_heads` must be left to the module"):
        MultiHeadAttention.from_torch(module, num_heads=2)


@pytest.mark.parametrize(("options", "argument"), [
    ({"batch_first": False}, "module.batch_first"),
    ({"add_zero_attn": True}, "module.add_zero_attn"),
    ({"add_bias_kv": True}, "module.bias_k"),
])  # fmt: skip
def test_what_keras_lacks_is_refused(options, argument):
    with pytest.raises(ValueError, match=f"MultiHeadAttention.from_torch: `{argument}` must be"):
        MultiHeadAttention.from_torch(make(**options))
    with pytest.raises(ValueError, match=r"must be an initialized nn\.MultiheadAttention"):
        MultiHeadAttention.from_torch(nn.Linear(2, 3))


@pytest.mark.parametrize(("arguments", "argument"), [
    ({"key_dim": 2}, "key_dim"),
    ({"value_dim": 2}, "value_dim"),
    ({"output_shape": 4}, "output_shape"),
    ({"output_shape": (2, 3)}, "output_shape"),
    ({"attention_axes": (2,)}, "attention_axes"),
    ({"use_gate": True}, "use_gate"),
    ({"sliding_window": 2}, "sliding_window"),
])  # fmt: skip
def test_what_torch_lacks_is_refused(arguments, argument):
    layer = MultiHeadAttention(**{"num_heads": 2, "key_dim": 3, **arguments})
    with pytest.raises(ValueError, match="`layer` must be built"):
        layer.to_torch()
    layer.build((None, T, E))
    with pytest.raises(ValueError, match=f"MultiHeadAttention.to_torch: `{argument}` must be"):
        layer.to_torch()


@pytest.mark.parametrize("arguments", [{"output_shape": E}, {"attention_axes": [1]}])
def test_what_says_the_same_is_accepted(arguments):
    layer = MultiHeadAttention(2, 3, **arguments)
    layer.build((None, T, E))
    x = torch.randn(B, T, E)
    assert_close(layer.to_torch()(x, x, x)[0], layer(x))
