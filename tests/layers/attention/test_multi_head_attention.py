"""MultiHeadAttention."""

from __future__ import annotations

from kerastorch.layers import MultiHeadAttention
from tests.layers.case import cases

REFUSED = [
    *(("num_heads", value, ValueError) for value in (0, -1, 2.5, "3", None)),
    *(("key_dim", value, ValueError) for value in (0, -1, 2.5, "3", None)),
    ("value_dim", -1, ValueError),
    ("dropout", 1.5, ValueError),
    ("sliding_window", 0, ValueError),
    ("output_shape", 2.5, ValueError),
    ("attention_axes", "1", ValueError),
    ("kernel_initializer", "foo", ValueError),
    ("colour", 1, ValueError),
]
HEADS = {"num_heads": 2, "key_dim": 3}
RANDOM = {"bias_initializer": "random_normal"}
SHAPES = {"shape": (3, 4, 5), "other": [(2, 6, 5)], "refused": [(3, 4, 6), (4, 5)]}
CASES = [
    *cases(
        MultiHeadAttention,
        {**HEADS, **RANDOM},
        {**HEADS, "use_bias": False},
        {"num_heads": 3, "key_dim": 2, "value_dim": 4, "output_shape": 7, **RANDOM},
        {**HEADS, "output_shape": (2, 3), "use_gate": True, **RANDOM},
        {**HEADS, "sliding_window": 2},
        {**HEADS, "kernel_regularizer": "l2", "activity_regularizer": "l1", "use_gate": True},
        {**HEADS, "bias_regularizer": "l1", "kernel_constraint": "max_norm"},
        integers="converted",
        in_double=False,
        converts=False,
        integers_agree=False,  # Keras on torch does not multiply them
        refused_arguments=REFUSED,
        **SHAPES,
    ),
    *cases(
        MultiHeadAttention,
        {**HEADS, "dropout": 0.3},
        {**HEADS, "dropout": 0.3, "seed": 3},
        samples=True,
        integers="converted",
        in_double=False,
        converts=False,
        integers_agree=False,  # Keras on torch does not multiply them
        refused_arguments=REFUSED,
        **SHAPES,
    ),
    *cases(
        MultiHeadAttention,
        {**HEADS, "attention_axes": 2},
        {**HEADS, "attention_axes": (1, 2)},
        {**HEADS, "attention_axes": [-2, 1]},
        {**HEADS},
        integers="converted",
        in_double=False,
        converts=False,
        integers_agree=False,  # Keras on torch does not multiply them
        shape=(2, 4, 3, 5),
        refused=[(2, 4, 3, 6)],
        refused_arguments=REFUSED,
    ),
]
