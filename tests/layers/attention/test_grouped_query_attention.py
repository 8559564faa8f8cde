"""GroupedQueryAttention."""

from __future__ import annotations

from kerastorch.layers import GroupedQueryAttention
from tests.layers.case import cases

REFUSED = [
    ("num_key_value_heads", 3, ValueError),
    ("dropout", 1.5, ValueError),
    ("sliding_window", 0, ValueError),
    ("kernel_initializer", "foo", ValueError),
    ("colour", 1, ValueError),
]
HEADS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
RANDOM = {"bias_initializer": "random_normal"}
CASES = [
    *cases(
        GroupedQueryAttention,
        {**HEADS, **RANDOM},
        {**HEADS, "num_key_value_heads": 1, "use_bias": False, "sliding_window": 2},
        {**HEADS, "num_key_value_heads": 4, "use_gate": True, **RANDOM},
        {**HEADS, "kernel_regularizer": "l2", "activity_regularizer": "l1"},
        {**HEADS, "bias_regularizer": "l1", "kernel_constraint": "max_norm"},
        {**HEADS, "dropout": 0.3, "seed": 3},
        samples=True,
        integers="converted",
        in_double=False,
        integers_agree=False,  # Keras on torch does not multiply them
        shape=(3, 4, 5),
        other=[(2, 6, 5)],
        refused=[(3, 4, 6), (4, 5)],
        refused_arguments=REFUSED,
    ),
]
