"""Masks of merged sequences, and attention, as plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.configs import dense, functional, input_layer, layer, node, sequential, tensor
from tests.models.masks.examples import IDS, OTHERS, STEPS, called, embedding, ids, recurrent
from tests.plain.models import assert_plain, assert_plain_and_trains_alike, build

SWEEP = pytest.mark.sweep


def sequence_input(name: str = "a", features: int = 3) -> Any:
    return input_layer(name, (None, STEPS, features))


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Maximum", "Average", "Concatenate"])
@pytest.mark.parametrize("other", ["two", "b"])
@pytest.mark.parametrize("keras_2", [False, True])
def test_merged_masks(kind, other, keras_2):
    pair = ["one", other]
    merged = (
        [[[name, 0, 0, {}] for name in pair]]
        if keras_2
        else [node([tensor(name) for name in pair])]
    )
    config = functional(
        ids("x"),
        ids("y"),
        sequence_input("b"),
        embedding("one", called(keras_2, "x")),
        embedding("two", called(keras_2, "y")),
        {**layer(kind, "merged", merged), "module": "keras.layers", "registered_name": None},
        recurrent("GRU", "gru", called(keras_2, "merged")),
        inputs=[["x", 0, 0], ["y", 0, 0], ["b", 0, 0]],
        outputs=[["gru", 0, 0], ["two", 0, 0]],
    )
    assert_plain_and_trains_alike(config, IDS, OTHERS, torch.randn(4, STEPS, 3))


@pytest.mark.parametrize(
    "kind", ["BatchNormalization", "LayerNormalization", "Dense", "GlobalAveragePooling1D"]
)
def test_layers_between_with_a_mask(kind):
    options = {"units": 3} if kind == "Dense" else {}
    ends = [layer("Masking", "masking", mask_value=0.5), layer(kind, "middle", **options)]
    is_average = kind == "GlobalAveragePooling1D"
    ends.append(dense("last") if is_average else recurrent("LSTM", "last"))
    x = torch.randn(4, STEPS, 3)
    x[:3][IDS[:3] == 0] = 0.5
    assert_plain_and_trains_alike(sequential(sequence_input(), *ends), x)


HEADS = {"num_heads": 2, "key_dim": 3}


GATED = pytest.param({"use_gate": True}, marks=SWEEP)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.25}, GATED])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_heads_with_masks(options, scores, causal, masked, given):
    kwargs: Any = {"attention_mask": tensor("m")} if given else {}
    kwargs |= {"return_attention_scores": scores, "use_causal_mask": causal}
    config = functional(
        ids("x"),
        ids("y"),
        layer("InputLayer", "m", [], batch_shape=[None, STEPS, STEPS], dtype="bool"),
        embedding("one", called(False, "x"), mask_zero=masked),
        embedding("two", called(False, "y"), mask_zero=masked),
        layer(
            "MultiHeadAttention", "heads", [node(tensor("one"), tensor("two"), **kwargs)],
            **HEADS, **options,
        ),
        inputs=[["x", 0, 0], ["y", 0, 0], ["m", 0, 0]],
        outputs=[["heads", 0, number] for number in range(1 + scores)],
    )  # fmt: skip
    mask = torch.rand(4, STEPS, STEPS) > 0.4
    mask[0, 1] = False
    assert_plain(build(config), [IDS, OTHERS, mask])


def test_attention_of_the_usual_sizes_is_torchs():
    call = [node(tensor("a"), tensor("a"))]
    config = functional(
        sequence_input(features=6),
        layer("MultiHeadAttention", "heads", call, **HEADS),
        inputs=[["a", 0, 0]],
        outputs=[["heads", 0, 0]],
    )
    code = assert_plain_and_trains_alike(config, torch.randn(2, STEPS, 6))
    assert "self.heads = nn.MultiheadAttention(6, 2, batch_first=True)" in code
    assert "x, _ = self.heads(a, a, a, need_weights=False)" in code or "self.heads(x, x, x" in code


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scores", [False, True])
def test_attention_with_masks(kind, causal, scores):
    kwargs = {"use_causal_mask": causal, "return_attention_scores": scores}
    config = functional(
        ids("x"),
        ids("y"),
        embedding("one", called(False, "x")),
        embedding("two", called(False, "y")),
        layer(kind, "attention", [node([tensor("one"), tensor("two")], **kwargs)]),
        inputs=[["x", 0, 0], ["y", 0, 0]],
        outputs=[["attention", 0, number] for number in range(1 + scores)],
    )
    assert_plain_and_trains_alike(config, IDS, OTHERS)
