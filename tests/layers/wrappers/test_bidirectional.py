"""Bidirectional: its rows for the tests of every layer, and what is special about it."""

from kerastorch.layers import GRU, LSTM, Bidirectional, SimpleRNN

from ..case import cases

# The last tensor of the state is the second bias of torch.nn, which is always 0.
SECOND_BIAS = frozenset(["test_set_weights_takes_nothing_where_one_weight_is_computed"])

CASES = cases(
    Bidirectional,
    {"layer": LSTM(3, name="inner")},
    {"layer": GRU(3, return_sequences=True, name="inner"), "merge_mode": "ave"},
    {
        "layer": LSTM(2, kernel_regularizer="l2", activity_regularizer="l1", name="inner"),
        "backward_layer": SimpleRNN(2, go_backwards=True, bias_constraint="non_neg", name="other"),
        "merge_mode": "mul",
    },
    shape=(2, 5, 4),
    other=[(3, 5, 4)],
    refused=[(2, 4), (2, 5, 3), (2, 0, 4)],
    refused_arguments=[
        ("layer", 3, ValueError),
        ("layer", LSTM(3, go_backwards=True), ValueError),
        ("merge_mode", "max", ValueError),
        ("backward_layer", 3, ValueError),
        ("backward_layer", LSTM(3), ValueError),
    ],
    integers="converted",
    in_double=False,
    exempt=SECOND_BIAS,
)
